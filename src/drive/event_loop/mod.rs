//! The loop drive: exchanges of one thread's event loop. The host watches the sockets and keeps
//! one timer; this performs what the exchanges decide until they wait.
//!
//! Everything may happen inside a callback: the host may free, pause or abort the exchange it is
//! called for, and start others. So an exchange is taken out of its place while it runs, callbacks
//! are made with nothing borrowed, and what they ask for is noted and acted on when they return.

mod attempt;
mod host;
mod idle;
mod lent;
mod places;
mod run;
mod shared;
mod sockets;
mod turn;

pub use host::{Events, Hooks};

use super::attempt::Attempt;
use super::engine::{Engine, KeepsIdle};
use super::forward::report_start;
use super::held::Held;
use super::request::Request;
use super::routes::Route;
use super::scratch::Lease;
use super::start::{self, StartError};
use crate::exchange::Exchange;
use crate::os::event::Event;
use crate::os::socket::Stream;
use crate::os::{Address, clock};
use host::{Control, ExchangeLog};
use lent::Lent;
use shared::{Seat, Shared};
use sockets::{Owner, Sockets};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Interest in reading, and readiness to.
pub const READABLE: u32 = 1;
/// Interest in writing, and readiness to.
pub const WRITABLE: u32 = 2;
/// The peer has closed, or the connection has failed.
pub const HANGUP: u32 = 4;
/// The handle of the loop's own waker.
const WAKER: u64 = 0;
/// Receives of one exchange in one turn, so that a large response does not hold up the others.
const BUDGET: u32 = 16;
/// Body bytes that are held for an application that does not take them.
const BODY_PENDING_MAX: usize = 256 << 10;

struct Slot {
    control: Rc<Control>,
    events: Rc<dyn Events>,
    lease: Lease,
    request: Request,
    request_body: Vec<u8>,
    route: Route,
    attempt: Attempt,
    connecting: Option<Stream>,
    inbound: Range<usize>,
    /// What the host has not taken yet.
    held: Held,
    /// The exchange is paused, because no more can be held.
    full: bool,
    /// The exchange is over, but the host does not know it yet.
    over: bool,
    drained: bool,
    /// The host has told that the application closed the connection.
    hung_up: bool,
    /// Where it stands on a connection that others use too.
    seat: Option<Seat>,
    /// It has something to send there.
    queued: bool,
    /// It makes a connection for others too.
    making: bool,
    /// Whether a kept connection may be used, when it asks for one again.
    reuse: bool,
    /// The handle of its socket, if the host knows it.
    socket: Option<u64>,
    deadline: Option<Duration>,
    begun: bool,
    body_wanted: bool,
    /// The host does not know the exchange yet: no callback may come.
    starting: bool,
}

#[derive(Default)]
struct Places {
    slots: Vec<Place>,
    free: Vec<usize>,
    deadlines: BTreeSet<(Duration, usize)>,
    timer: Option<Duration>,
    closed: bool,
}

#[derive(Default)]
struct Place {
    generation: u32,
    slot: Option<Box<Slot>>,
    control: Option<Rc<Control>>,
    /// When the loop looks at it: no later than at its deadline, which may have moved on since.
    due: Option<Duration>,
}

/// The name of an exchange in its loop. It never means another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    index: usize,
    generation: u32,
}

/// By what other threads reach the loop.
struct Signal {
    waker: Event,
    /// Exchanges whose wait in a queue is over.
    woken: Mutex<Vec<Key>>,
    /// Somebody waits for what may be idle here.
    wanted: AtomicBool,
}

impl KeepsIdle for Signal {
    fn hand_over(&self) {
        if !self.wanted.swap(true, SeqCst) {
            self.waker.notify();
        }
    }
}

/// The exchanges of one event loop. Used by one thread.
pub struct EventLoop {
    engine: Arc<Engine>,
    hooks: Box<dyn Hooks>,
    /// The host tells of readiness once.
    edge: bool,
    places: RefCell<Places>,
    sockets: RefCell<Sockets>,
    shared: RefCell<Shared>,
    /// A call that ends with a turn's end is under way.
    in_turn: Cell<bool>,
    signal: Arc<Signal>,
    /// When the oldest idle connection is next looked at.
    idle_due: Cell<Option<Duration>>,
    /// The receive buffer of whichever exchange runs: one that waits holds none.
    buffer: Cell<Box<[u8]>>,
    /// Requests of exchanges that are over, for the memory they have.
    spare: RefCell<Vec<Request>>,
}

impl EventLoop {
    /// A loop with nothing in it. The host is asked at once to watch its waker.
    pub fn new(engine: Arc<Engine>, hooks: Box<dyn Hooks>) -> io::Result<Self> {
        let (waker, woken, wanted) = (Event::new()?, Mutex::default(), AtomicBool::new(false));
        let signal = Arc::new(Signal { waker, woken, wanted });
        let keeper: Weak<Signal> = Arc::downgrade(&signal);
        engine.add_keeper(keeper);
        hooks.watch(WAKER, signal.waker.fd(), READABLE);
        Ok(Self {
            engine,
            edge: hooks.is_edge_triggered(),
            hooks,
            places: RefCell::default(),
            sockets: RefCell::default(),
            shared: RefCell::default(),
            in_turn: Cell::default(),
            signal,
            idle_due: Cell::default(),
            buffer: Cell::default(),
            spare: RefCell::default(),
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// An empty request, with the memory of one that is over where there is one.
    pub fn spare_request(&self) -> Request {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Starts an exchange. None of its events comes before this returns.
    pub fn start(&self, route: Route, request: Request, events: Rc<dyn Events>) -> Result<Key, StartError> {
        let mut lease = self.engine.scratches.take();
        start::check(&self.engine, route, &request, &mut lease)
            .inspect_err(|error| report_start(&self.engine, route, &request, error, &self.log(&*events)))?;
        let spooled = start::needs_spool(&request, self.engine.settings(route));
        let attempt = Attempt::new(route.balancer, request.source);
        let mut slot = Box::new(Slot {
            control: Rc::default(),
            events,
            lease,
            request,
            request_body: Vec::new(),
            route,
            attempt,
            connecting: None,
            inbound: 0..0,
            held: Held::default(),
            full: false,
            over: false,
            drained: false,
            hung_up: false,
            seat: None,
            queued: false,
            making: false,
            reuse: false,
            socket: None,
            deadline: None,
            begun: false,
            body_wanted: false,
            starting: true,
        });
        if !spooled {
            self.begin(&mut slot, false)?;
        } else {
            // The body is asked for in the loop's next turn.
            slot.deadline = Some(clock::now());
        }
        let key = self.place(&slot.control);
        if slot.begun {
            self.run(key, slot)
        } else {
            self.put_back(key, slot)
        }
        Ok(key)
    }

    fn begin(&self, slot: &mut Slot, spooled: bool) -> Result<(), StartError> {
        let now = clock::now();
        start::start(&self.engine, slot.route, &slot.request, &mut slot.lease, spooled, now).inspect_err(
            |error| report_start(&self.engine, slot.route, &slot.request, error, &self.log(&*slot.events)),
        )?;
        slot.request_body = slot.request.lend_body();
        slot.begun = true;
        Ok(())
    }

    /// A descriptor is ready as it is watched for. A handle of the past is passed over.
    pub fn ready(&self, socket: u64, events: u32) {
        self.turn(|| self.look_at(socket, events));
    }

    /// Does something, and what comes of it at the end of a turn.
    fn turn(&self, work: impl FnOnce()) {
        let outer = self.in_turn.replace(true);
        work();
        if !outer {
            self.end_turn();
            self.in_turn.set(false);
            self.set_timer();
        }
    }

    fn look_at(&self, socket: u64, events: u32) {
        if socket == WAKER {
            return self.wake();
        }
        let owner = self.sockets.borrow_mut().owner(socket);
        let index = match owner {
            Some(Owner::Exchange(index)) => index,
            Some(Owner::Shared(at)) => return self.shared_ready(at, events),
            Some(Owner::Idle) if events == WRITABLE => return,
            Some(Owner::Idle) => return self.look_at_idle(socket),
            None => return,
        };
        let Some((key, mut slot)) = self.take_if(index, |slot| slot.socket == Some(socket)) else { return };
        let is_one_of = |kinds| events & kinds != 0;
        slot.drained &= !is_one_of(READABLE | HANGUP);
        slot.hung_up |= is_one_of(HANGUP);
        slot.lease.exchange.handle_ready(is_one_of(READABLE | HANGUP), is_one_of(WRITABLE | HANGUP));
        self.run(key, slot);
    }

    fn wake(&self) {
        self.signal.waker.clear();
        if self.signal.wanted.swap(false, SeqCst) {
            self.hand_over();
        }
        let keys = std::mem::take(&mut *self.signal.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for key in keys {
            let Some((key, mut slot)) = self.take(key) else { continue };
            let now = clock::now();
            let got = slot.attempt.take_grant(&self.engine, &mut slot.lease.exchange, now);
            self.take_up(key, &mut slot, got);
            self.run(key, slot);
        }
    }

    /// The time of the timer has come.
    pub fn expire(&self) {
        self.places.borrow_mut().timer = None;
        self.turn(|| self.expire_due());
    }

    fn expire_due(&self) {
        let unread = std::mem::take(&mut self.shared.borrow_mut().unread);
        unread.into_iter().for_each(|(socket, events)| self.look_at(socket, events));
        let now = clock::now();
        while let Some(index) = self.next_due(now) {
            if let Some((key, slot)) = self.take_if(index, |slot| slot.deadline.is_some_and(|at| at <= now)) {
                self.run(key, slot);
            }
        }
        if self.idle_due.get().is_some_and(|due| due <= now) {
            self.expire_idle(now);
        }
    }

    /// More of the request's body. Returns how much was taken: less than offered when the
    /// application does not take it; `writable` says when to go on. `None`: the body or the exchange
    /// has ended.
    pub fn send(&self, key: Key, bytes: &[u8], end: bool) -> Option<usize> {
        let control = self.control(key).filter(|control| !control.body_ended.get())?;
        let Some((key, mut slot)) = self.take(key) else {
            // Called from within a callback of this exchange, which looks at it afterwards.
            return Some(Self::offer(&control, bytes, end));
        };
        if !slot.begun {
            let settings = self.engine.settings(slot.route);
            let spooled = start::spool(&mut slot.lease, settings, bytes)
                .inspect_err(|error| {
                    report_start(&self.engine, slot.route, &slot.request, error, &self.log(&*slot.events))
                })
                .and_then(|()| {
                    control.body_ended.set(end);
                    if end { self.begin(&mut slot, true) } else { Ok(()) }
                });
            if let Err(error) = spooled {
                let events = Rc::clone(&slot.events);
                self.forget(key, slot);
                if !control.freed.get() {
                    events.refused(&error);
                }
                return Some(bytes.len());
            }
            if slot.begun {
                self.run(key, slot);
            } else {
                self.put_back(key, slot);
            }
            return Some(bytes.len());
        }
        if !control.pending.borrow().is_empty() {
            let taken = Self::offer(&control, bytes, end);
            Self::feed_body(&mut slot, &mut Lent::default(), clock::now());
            self.run(key, slot);
            return Some(taken);
        }
        let mut lent = Lent::new(bytes, end);
        Self::feed_body(&mut slot, &mut lent, clock::now());
        self.run_with(key, slot, &mut lent);
        let rest = lent.rest();
        Some(bytes.len() - rest.len() + Self::offer(&control, rest, end))
    }

    fn offer(control: &Control, bytes: &[u8], end: bool) -> usize {
        let mut pending = control.pending.borrow_mut();
        let taken = bytes.len().min(BODY_PENDING_MAX.saturating_sub(pending.len()));
        pending.extend(&bytes[..taken]);
        control.body_ended.set(end && taken == bytes.len());
        taken
    }

    /// Pauses or resumes the response.
    pub fn pause(&self, key: Key, paused: bool) {
        self.with_control(key, |control| control.paused.set(paused));
    }

    /// Gives an exchange up; its `end` still comes.
    pub fn abort(&self, key: Key) {
        self.with_control(key, |control| control.aborted.set(true));
    }

    /// The client is gone: the exchange is given up, unless its application may finish.
    pub fn client_gone(&self, key: Key) {
        self.with_control(key, |control| {
            control.client_gone.set(true);
            control.paused.set(false);
        });
    }

    /// Ends an exchange without another call to its host.
    pub fn free(&self, key: Key) {
        self.with_control(key, |control| control.freed.set(true));
    }

    /// Looks into an exchange that waits.
    pub fn inspect<T>(&self, key: Key, look: impl FnOnce(&Exchange, &Address) -> T) -> Option<T> {
        let (key, slot) = self.take(key)?;
        let address = self.address(&slot);
        let answer = look(&slot.lease.exchange, address);
        self.put_back(key, slot);
        Some(answer)
    }

    fn address(&self, slot: &Slot) -> &Address {
        self.engine.pool(slot.attempt.balancer, slot.lease.exchange.pool()).address()
    }

    /// Where the lines about an exchange go.
    fn log<'a>(&'a self, events: &'a dyn Events) -> ExchangeLog<'a> {
        ExchangeLog { events, log: &self.engine.log }
    }

    fn control(&self, key: Key) -> Option<Rc<Control>> {
        let places = self.places.borrow();
        places.slots.get(key.index).filter(|place| place.generation == key.generation)?.control.clone()
    }

    /// Notes a wish; acts on it now unless the exchange is running, which then does so itself.
    fn with_control(&self, key: Key, note: impl FnOnce(&Control)) {
        let Some(control) = self.control(key) else { return };
        note(&control);
        if let Some((key, slot)) = self.take(key) {
            if slot.begun || control.is_given_up() {
                self.run(key, slot);
            } else {
                self.put_back(key, slot);
            }
        }
    }

    /// Ends every exchange without a call to its host, and all watching.
    pub fn close(&self) {
        let slots: Vec<Box<Slot>> = {
            let mut places = self.places.borrow_mut();
            if std::mem::replace(&mut places.closed, true) {
                return;
            }
            places.slots.iter_mut().filter_map(|place| place.slot.take()).collect()
        };
        for mut slot in slots {
            self.release(&mut slot, clock::now());
        }
        self.each_idle(Duration::MAX, |handle, idle| self.close_idle(handle, idle));
        self.hooks.watch(WAKER, self.signal.waker.fd(), 0);
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.close();
    }
}
