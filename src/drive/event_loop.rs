//! The loop drive: exchanges of one thread's event loop. The host watches the sockets and keeps
//! one timer; this performs what the exchanges decide until they wait.
//!
//! Everything may happen inside a callback: the host may free, pause or abort the exchange it is
//! called for, and start others. So an exchange is taken out of its place while it runs, callbacks
//! are made with nothing borrowed, and what they ask for is noted and acted on when they return.

use super::attempt::{Attempt, Got, OwnIdle};
use super::blocking::is_exhaustion;
use super::engine::{Engine, KeepsIdle, Link};
use super::forward::{log_stderr, log_unspooled, report_end, report_start};
use super::request::Request;
use super::routes::Route;
use super::scratch::Lease;
use super::sockets::{IdleLink, Owner, Sockets};
use super::start::{self, StartError};
use crate::exchange::{Action, Cause, Closed, Exchange, SLICES, Wait};
use crate::os::event::Event;
use crate::os::socket::{Connect, Mode, Stream};
use crate::os::{SocketAddress, clock};
use crate::pool::{Permit, Waiter};
use crate::protocol::{Header, RecordType};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::held::Held;
use super::loop_host::Control;
pub use super::loop_host::{Events, Hooks};

/// Interest in reading, and readiness to.
pub const READABLE: u32 = 1;
/// Interest in writing, and readiness to.
pub const WRITABLE: u32 = 2;
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
    address: usize,
    inbound: Range<usize>,
    /// What the host has not taken yet.
    held: Held,
    /// The exchange is paused, because no more can be held.
    full: bool,
    /// The exchange is over, but the host does not know it yet.
    over: bool,
    drained: bool,
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
    places: RefCell<Places>,
    sockets: RefCell<Sockets>,
    signal: Arc<Signal>,
    /// When the oldest idle connection is next looked at.
    idle_due: Cell<Option<Duration>>,
    /// The receive buffer of whichever exchange runs: one that waits holds none.
    buffer: Cell<Box<[u8]>>,
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
            hooks,
            places: RefCell::default(),
            sockets: RefCell::default(),
            signal,
            idle_due: Cell::default(),
            buffer: Cell::default(),
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Starts an exchange. None of its events comes before this returns.
    pub fn start(&self, route: Route, request: Request, events: Rc<dyn Events>) -> Result<Key, StartError> {
        let mut lease = self.engine.scratches.take();
        start::check(&self.engine, route, &request, &mut lease)
            .inspect_err(|error| report_start(&self.engine, route, &request, error))?;
        let spooled = start::needs_spool(&request, self.engine.settings(route));
        let mut slot = Box::new(Slot {
            control: Rc::default(),
            events,
            lease,
            request,
            request_body: Vec::new(),
            route,
            attempt: Attempt::new(route.balancer),
            connecting: None,
            address: 0,
            inbound: 0..0,
            held: Held::default(),
            full: false,
            over: false,
            drained: false,
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
        start::start(&self.engine, slot.route, &slot.request, &mut slot.lease, spooled, now)
            .inspect_err(|error| report_start(&self.engine, slot.route, &slot.request, error))?;
        slot.request_body = slot.request.lend_body();
        slot.begun = true;
        Ok(())
    }

    /// A descriptor is ready as it is watched for. A handle of the past is passed over.
    pub fn ready(&self, socket: u64, events: u32) {
        if socket == WAKER {
            return self.wake();
        }
        let owner = self.sockets.borrow_mut().owner(socket);
        let index = match owner {
            Some(Owner::Exchange(index)) => index,
            Some(Owner::Idle) => return self.look_at_idle(socket),
            None => return,
        };
        let Some((key, mut slot)) = self.take_if(index, |slot| slot.socket == Some(socket)) else { return };
        slot.drained = false;
        slot.lease.exchange.handle_ready(events & READABLE != 0, events & WRITABLE != 0);
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
            slot.attempt.take_grant(&self.engine, &mut slot.lease.exchange, now);
            self.run(key, slot);
        }
    }

    /// The time of the timer has come.
    pub fn expire(&self) {
        self.places.borrow_mut().timer = None;
        let now = clock::now();
        loop {
            let due = self.places.borrow().deadlines.first().filter(|(at, _)| *at <= now).copied();
            let Some((at, index)) = due else { break };
            match self.take_if(index, |_| true) {
                Some((key, slot)) => self.run(key, slot),
                None => drop(self.places.borrow_mut().deadlines.remove(&(at, index))),
            }
        }
        if self.idle_due.get().is_some_and(|due| due <= now) {
            self.expire_idle(now);
        }
        self.set_timer();
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
                .inspect_err(|error| report_start(&self.engine, slot.route, &slot.request, error))
                .and_then(|()| {
                    control.body_ended.set(end);
                    if end { self.begin(&mut slot, true) } else { Ok(()) }
                });
            if let Err(error) = spooled {
                let events = Rc::clone(&slot.events);
                self.forget(key, slot);
                events.refused(&error);
                return Some(bytes.len());
            }
            if slot.begun {
                self.run(key, slot);
            } else {
                self.put_back(key, slot);
            }
            return Some(bytes.len());
        }
        let taken = Self::offer(&control, bytes, end);
        Self::feed_body(&mut slot, clock::now());
        self.run(key, slot);
        Some(taken)
    }

    fn offer(control: &Control, bytes: &[u8], end: bool) -> usize {
        let mut pending = control.pending.borrow_mut();
        let taken = bytes.len().min(BODY_PENDING_MAX.saturating_sub(pending.len()));
        pending.extend_from_slice(&bytes[..taken]);
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
    pub fn inspect<T>(&self, key: Key, look: impl FnOnce(&Exchange, &str) -> T) -> Option<T> {
        let (key, slot) = self.take(key)?;
        let address = self.address(&slot);
        let answer = look(&slot.lease.exchange, &address);
        self.put_back(key, slot);
        Some(answer)
    }

    fn address(&self, slot: &Slot) -> String {
        self.engine.pool(slot.attempt.balancer, slot.lease.exchange.pool()).address().to_string()
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

    // Places.

    fn place(&self, control: &Rc<Control>) -> Key {
        let mut places = self.places.borrow_mut();
        let index = places.free.pop().unwrap_or_else(|| {
            places.slots.push(Place::default());
            places.slots.len() - 1
        });
        let place = &mut places.slots[index];
        place.generation = place.generation.wrapping_add(1);
        place.control = Some(Rc::clone(control));
        Key { index, generation: place.generation }
    }

    fn take(&self, key: Key) -> Option<(Key, Box<Slot>)> {
        let generation = self.places.borrow().slots.get(key.index)?.generation;
        if generation != key.generation {
            return None;
        }
        self.take_if(key.index, |_| true)
    }

    fn take_if(&self, index: usize, condition: impl FnOnce(&Slot) -> bool) -> Option<(Key, Box<Slot>)> {
        let mut places = self.places.borrow_mut();
        let place = places.slots.get_mut(index)?;
        if !condition(place.slot.as_ref()?) {
            return None;
        }
        let slot = place.slot.take()?;
        let key = Key { index, generation: place.generation };
        if let Some(at) = slot.deadline {
            places.deadlines.remove(&(at, index));
        }
        Some((key, slot))
    }

    fn put_back(&self, key: Key, mut slot: Box<Slot>) {
        self.take_buffer(&mut slot);
        let mut places = self.places.borrow_mut();
        if let Some(at) = slot.deadline {
            places.deadlines.insert((at, key.index));
        }
        places.slots[key.index].slot = Some(slot);
        drop(places);
        self.set_timer();
    }

    /// Takes the receive buffer of an exchange that has nothing in it.
    fn take_buffer(&self, slot: &mut Slot) {
        if slot.inbound.is_empty() && !slot.lease.received.is_empty() {
            self.buffer.set(std::mem::take(&mut slot.lease.received));
        }
    }

    fn forget(&self, key: Key, mut slot: Box<Slot>) {
        self.take_buffer(&mut slot);
        drop(slot);
        let mut places = self.places.borrow_mut();
        let place = &mut places.slots[key.index];
        place.generation = place.generation.wrapping_add(1);
        place.control = None;
        places.free.push(key.index);
        drop(places);
        self.set_timer();
    }

    fn set_timer(&self) {
        let next = {
            let mut places = self.places.borrow_mut();
            let next = places.deadlines.first().map(|(at, _)| *at);
            let next = [next, self.idle_due.get()].into_iter().flatten().min();
            // A timer that comes too early does no harm; one that is moved at each exchange does.
            let keeps = match (places.timer, next) {
                (Some(set), Some(next)) => set <= next,
                (None, None) => true,
                _ => false,
            };
            if keeps || next.is_none() {
                return;
            }
            places.timer = next;
            next
        };
        self.hooks.timer(next.map(|at| at.saturating_sub(clock::now())));
    }

    // The run of one exchange.

    /// Performs actions until the exchange waits or is over.
    fn run(&self, key: Key, mut slot: Box<Slot>) {
        let mut now = clock::now();
        let mut budget = BUDGET;
        if !slot.begun && !slot.control.is_given_up() {
            return self.ask_for_body(key, slot);
        }
        if !slot.begun {
            slot.lease.exchange.start_unsent(now);
        }
        loop {
            if slot.control.freed.get() {
                slot.lease.exchange.handle_abort(now);
                while let Action::Abort = slot.lease.exchange.poll_action(now) {
                    send_abort(&mut slot);
                }
                self.release(&mut slot, now);
                return self.forget(key, slot);
            }
            if slot.control.aborted.take() {
                give_up(&mut slot, now);
            }
            if slot.control.client_gone.take() && !slot.over {
                slot.lease.exchange.handle_client_gone(now);
            }
            if !slot.control.paused.get() && !slot.held.is_empty() {
                if budget == 0 {
                    slot.deadline = Some(now);
                    return self.put_back(key, slot);
                }
                budget -= 1;
                self.give_held(&mut slot, now);
                continue;
            }
            if slot.over {
                if slot.held.is_empty() {
                    return self.tell_end(key, slot);
                }
                slot.deadline = None;
                return self.put_back(key, slot);
            }
            let full = slot.held.is_full(self.engine.settings(slot.route));
            if full != slot.full {
                slot.full = full;
                slot.drained = false;
                slot.lease.exchange.handle_pause(now, full);
            }
            if !full && self.deliver(&mut slot, now) {
                continue;
            }
            match slot.lease.exchange.poll_action(now) {
                Action::Acquire { reuse } => self.acquire(key, &mut slot, now, reuse),
                Action::Connect => self.connect(&mut slot, now),
                Action::Rewind => {
                    let replayable = slot.lease.body.is_replayable();
                    slot.lease.body.rewind();
                    slot.lease.exchange.handle_rewound(now, replayable);
                }
                Action::Body | Action::Finish { .. } if slot.starting => {
                    slot.starting = false;
                    slot.deadline = Some(now);
                    return self.put_back(key, slot);
                }
                Action::Body => self.body(&mut slot, now),
                Action::Transmit => transmit(&mut slot, now),
                // What was just sent is not answered yet, and a short read has drained the socket.
                Action::Receive { may_block } if may_block || slot.drained || budget == 0 => {
                    if budget == 0 && !slot.drained {
                        slot.deadline = Some(now);
                        return self.put_back(key, slot);
                    }
                    slot.lease.exchange.handle_nothing_received();
                }
                Action::Receive { .. } => {
                    budget -= 1;
                    if slot.lease.received.is_empty() {
                        slot.lease.received = self.buffer.take();
                    }
                    receive(&mut slot, now);
                    now = clock::now();
                }
                Action::Wait(wait) => {
                    self.register(&mut slot, key, &wait);
                    slot.starting = false;
                    slot.deadline = wait.until;
                    return self.put_back(key, slot);
                }
                Action::Abort => send_abort(&mut slot),
                Action::Finish { keep } => self.finish(&mut slot, keep, now),
            }
        }
    }

    /// Has the host send a body that is taken whole before the exchange begins.
    fn ask_for_body(&self, key: Key, mut slot: Box<Slot>) {
        slot.deadline = None;
        let asked = std::mem::replace(&mut slot.body_wanted, true);
        let events = Rc::clone(&slot.events);
        self.put_back(key, slot);
        if !asked {
            events.writable();
        }
    }

    /// Hands received bytes on. Returns whether something came of it.
    fn deliver(&self, slot: &mut Slot, now: Duration) -> bool {
        if slot.inbound.is_empty() {
            return false;
        }
        let Some(link) = &mut slot.attempt.link else {
            slot.inbound = 0..0;
            return false;
        };
        let scratch = &mut *slot.lease;
        let mut rest = &scratch.received[slot.inbound.clone()];
        let event = link.connection.next(&mut rest);
        slot.inbound.start = slot.inbound.end - rest.len();
        let given = match event {
            Ok(Some(event)) => scratch.exchange.handle_event(now, event),
            Ok(None) => {
                slot.inbound = 0..0;
                return false;
            }
            Err(violation) => {
                slot.inbound = 0..0;
                scratch.exchange.handle_violation(now, violation);
                return true;
            }
        };
        let events = &slot.events;
        let mut goes_on = true;
        if !given.stderr.is_empty() {
            let (engine, request, balancer) = (&self.engine, &slot.request, slot.attempt.balancer);
            let caught = &engine.settings(slot.route).catch_stderr;
            let mut found = false;
            scratch.stderr.push(given.stderr, |line| {
                found |= !caught.is_empty() && line.contains(caught.as_str());
                if !events.stderr_line(line) {
                    log_stderr(engine, balancer, request, line);
                }
            });
            if found {
                scratch.exchange.handle_caught_stderr(now);
            }
        }
        let (control, held) = (&slot.control, &mut slot.held);
        let holds = || control.paused.get();
        if given.head && holds() {
            held.head = true;
        } else if given.head {
            goes_on &= events.head(&scratch.exchange.response.head);
        }
        if goes_on && !given.body.is_empty() && !control.freed.get() {
            if holds() {
                if let Err(error) = held.push(given.body, self.engine.settings(slot.route)) {
                    log_unspooled(&self.engine, slot.attempt.balancer, &error);
                }
            } else {
                goes_on &= events.data(given.body);
            }
        }
        if goes_on && given.complete && !control.freed.get() {
            if held.is_empty() {
                events.complete();
            } else {
                held.complete = true;
            }
        }
        if !goes_on {
            scratch.exchange.handle_abort(now);
        }
        true
    }

    /// Gives the host the next of what is held for it.
    fn give_held(&self, slot: &mut Slot, now: Duration) {
        let (events, held) = (&slot.events, &mut slot.held);
        let exchange = &mut slot.lease.exchange;
        let goes_on = if std::mem::take(&mut held.head) {
            events.head(&exchange.response.head)
        } else {
            match held.next() {
                Ok(Some(piece)) => events.data(piece),
                Ok(None) => {
                    if std::mem::take(&mut held.complete) {
                        events.complete();
                    }
                    true
                }
                Err(error) => {
                    *held = Held::default();
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    exchange.handle_out_of_resources(now, errno);
                    return exchange.handle_undelivered(now, Cause::Resources, errno);
                }
            }
        };
        if !goes_on {
            give_up(slot, now);
        }
    }

    fn acquire(&self, key: Key, slot: &mut Slot, now: Duration, reuse: bool) {
        self.release(slot, now);
        let make = || {
            let signal = Arc::clone(&self.signal);
            Waiter::notify(Box::new(move || {
                signal.woken.lock().unwrap_or_else(PoisonError::into_inner).push(key);
                signal.waker.notify();
            }))
        };
        let mut idle = Idle { own: self, exchange: key.index, now, socket: None };
        let got = slot.attempt.acquire(&self.engine, &mut slot.lease.exchange, now, reuse, &mut idle, make);
        slot.socket = idle.socket;
        if got == Got::Kept {
            slot.drained = true;
        }
    }

    /// Gives back what the attempt holds. The host stops watching before the socket is closed.
    fn release(&self, slot: &mut Slot, now: Duration) {
        self.unregister(slot);
        slot.inbound = 0..0;
        if slot.connecting.take().is_some() {
            slot.attempt.note_unreachable(&self.engine, now);
        }
        slot.attempt.release(&self.engine, now);
    }

    fn connect(&self, slot: &mut Slot, now: Duration) {
        let pool = self.engine.pool(slot.attempt.balancer, slot.attempt.member);
        let addresses = match self.engine.addresses(pool, now) {
            Ok(addresses) => addresses,
            Err(error) => {
                slot.attempt.note_unreachable(&self.engine, now);
                return slot.lease.exchange.handle_connect_failed(
                    now,
                    error.raw_os_error().unwrap_or(libc::EHOSTUNREACH),
                    false,
                );
            }
        };
        let begun = slot.connecting.is_some();
        if !begun {
            slot.address = 0;
        }
        let mut errno = libc::EHOSTUNREACH;
        while let Some(address) = addresses.get(slot.address) {
            let resumed = slot.connecting.take();
            let finishes = resumed.is_some() && !matches!(address, SocketAddress::Unix(_));
            let stream = match resumed.map_or_else(|| Stream::new(address, Mode::NonBlocking), Ok) {
                Ok(stream) => stream,
                Err(error) => {
                    return slot
                        .lease
                        .exchange
                        .handle_out_of_resources(now, error.raw_os_error().unwrap_or(0));
                }
            };
            match if finishes { stream.finish_connect(address) } else { stream.connect(address) } {
                Ok(Connect::Done) => {
                    return slot.attempt.connected(&self.engine, &mut slot.lease.exchange, now, stream);
                }
                Ok(Connect::InProgress) => {
                    slot.connecting = Some(stream);
                    return slot.lease.exchange.handle_connecting();
                }
                Ok(Connect::Again) => {
                    slot.connecting = Some(stream);
                    return slot.lease.exchange.handle_backlog_full(now);
                }
                Err(error) => {
                    errno = error.raw_os_error().unwrap_or(0);
                    self.unregister(slot);
                    slot.address += 1;
                }
            }
        }
        slot.attempt.note_unreachable(&self.engine, now);
        slot.lease.exchange.handle_connect_failed(now, errno, false);
    }

    fn body(&self, slot: &mut Slot, now: Duration) {
        if slot.lease.body.is_from_host() {
            if Self::feed_body(slot, now) {
                return;
            }
            slot.lease.exchange.handle_body_pending();
            if !std::mem::replace(&mut slot.body_wanted, true) {
                slot.events.writable();
                Self::feed_body(slot, now);
            }
            return;
        }
        let scratch = &mut *slot.lease;
        match scratch.body.next(&slot.request_body) {
            Ok(length) => {
                let taken = scratch.exchange.handle_body(now, length);
                scratch.body.taken(taken);
            }
            Err(_) => scratch.exchange.handle_body_failed(now, false),
        }
    }

    /// Hands the exchange a chunk of what the host sent, if there is one and it is wanted. The end
    /// of a body that is shorter than announced is told as a chunk of nothing.
    fn feed_body(slot: &mut Slot, now: Duration) -> bool {
        let scratch = &mut *slot.lease;
        let mut pending = slot.control.pending.borrow_mut();
        let ended = slot.control.body_ended.get();
        if !scratch.exchange.wants_body() || pending.is_empty() && !ended {
            return false;
        }
        slot.body_wanted = false;
        let buffer = scratch.body.host_buffer(pending.len());
        let length = buffer.len();
        buffer.copy_from_slice(&pending[..length]);
        pending.drain(..length);
        scratch.body.host_filled(length);
        let taken = scratch.exchange.handle_body(now, length);
        scratch.body.taken(taken);
        true
    }

    fn register(&self, slot: &mut Slot, key: Key, wait: &Wait) {
        let fd = match (&slot.attempt.link, &slot.connecting) {
            (Some(link), _) => link.stream.as_raw_fd(),
            (None, Some(stream)) => stream.as_raw_fd(),
            (None, None) => return self.unregister(slot),
        };
        let interest = if wait.readable { READABLE } else { 0 } | if wait.writable { WRITABLE } else { 0 };
        let socket = *slot.socket.get_or_insert_with(|| self.sockets.borrow_mut().add(fd, key.index));
        self.watch(socket, interest);
    }

    fn watch(&self, socket: u64, interest: u32) {
        let changed = self.sockets.borrow_mut().set_interest(socket, interest);
        if let Some(fd) = changed {
            self.hooks.watch(socket, fd, interest);
        }
    }

    fn unwatch(&self, socket: u64) {
        let watched = self.sockets.borrow_mut().remove(socket);
        if let Some(fd) = watched {
            self.hooks.watch(socket, fd, 0);
        }
    }

    fn unregister(&self, slot: &mut Slot) {
        if let Some(socket) = slot.socket.take() {
            self.unwatch(socket);
        }
    }

    // Idle connections.

    /// Keeps a connection for the next exchange, here if nobody waits for it.
    fn keep(&self, slot: &mut Slot, link: Box<Link>, permit: Permit, now: Duration) {
        let place = self.engine.place(slot.attempt.balancer, slot.attempt.member);
        let pool = &self.engine.pools()[place];
        let has_room = self.sockets.borrow().resting(place) < pool.settings().max_idle as usize;
        if link.is_worn(pool.settings(), now) || pool.has_waiters() || !has_room {
            self.unregister(slot);
            return self.engine.check_in(pool, link, permit, now);
        }
        let fd = link.stream.as_raw_fd();
        let mut sockets = self.sockets.borrow_mut();
        let socket = slot.socket.take().unwrap_or_else(|| sockets.add(fd, 0));
        sockets.rest(socket, place, link, permit, now);
        drop(sockets);
        pool.rest_elsewhere();
        self.watch(socket, READABLE);
        if pool.has_waiters() {
            self.surrender(place, now);
        } else if self.idle_due.get().is_none() {
            self.idle_due.set(Some(now.saturating_add(pool.settings().idle_timeout)));
            self.set_timer();
        }
    }

    /// Lays the idle connections of a pool aside in it, where others find them. Whether there were any.
    fn surrender(&self, place: usize, now: Duration) -> bool {
        let pool = &self.engine.pools()[place];
        let mut any = false;
        loop {
            let taken = self.sockets.borrow_mut().take_oldest(place, Duration::MAX);
            let Some((handle, idle)) = taken else { return any };
            any = true;
            pool.wake_elsewhere();
            self.unwatch(handle);
            self.engine.check_in(pool, idle.link, idle.permit, now);
        }
    }

    /// Gives up what others wait for.
    fn hand_over(&self) {
        let now = clock::now();
        for (place, _) in self.engine.pools().iter().enumerate().filter(|(_, pool)| pool.has_waiters()) {
            self.surrender(place, now);
        }
    }

    /// Takes each connection that has been idle for so long.
    fn each_idle(&self, now: Duration, take: impl Fn(u64, IdleLink)) {
        let pools = self.sockets.borrow().pools();
        for place in 0..pools {
            let since = now.saturating_sub(self.engine.pools()[place].settings().idle_timeout);
            loop {
                let taken = self.sockets.borrow_mut().take_oldest(place, since);
                let Some((handle, idle)) = taken else { break };
                take(handle, idle);
            }
        }
    }

    /// Closes what has been idle for too long.
    fn expire_idle(&self, now: Duration) {
        self.each_idle(now, |handle, idle| self.close_idle(handle, idle));
        let mut sockets = self.sockets.borrow_mut();
        let due = (0..sockets.pools()).filter_map(|place| {
            Some(sockets.oldest(place)?.saturating_add(self.engine.pools()[place].settings().idle_timeout))
        });
        let due = due.min();
        self.idle_due.set(due);
    }

    /// Something came on an idle connection: whatever it is ends it.
    fn look_at_idle(&self, handle: u64) {
        let idle = self.sockets.borrow_mut().take_idle(handle, |link| !link.stream.is_quiet());
        if let Some(idle) = idle {
            self.close_idle(handle, idle);
        }
    }

    fn close_idle(&self, handle: u64, idle: IdleLink) {
        let pool = &self.engine.pools()[idle.pool];
        self.unwatch(handle);
        drop(idle.link);
        pool.wake_elsewhere();
        pool.discard(idle.permit);
    }

    /// Gives back what the exchange held of its pool. Its host learns of it when it has taken all.
    fn finish(&self, slot: &mut Slot, keep: bool, now: Duration) {
        if keep
            && slot.inbound.is_empty()
            && let Some((link, permit)) = slot.attempt.take_clean(&self.engine)
        {
            self.keep(slot, link, permit, now);
        }
        self.release(slot, now);
        let (engine, balancer) = (&self.engine, slot.attempt.balancer);
        let events = Rc::clone(&slot.events);
        slot.lease.stderr.finish(|line| {
            if !events.stderr_line(line) {
                log_stderr(engine, balancer, &slot.request, line);
            }
        });
        slot.over = true;
    }

    fn tell_end(&self, key: Key, slot: Box<Slot>) {
        let script = start::script(&slot.lease, start::target(&slot.request));
        report_end(&self.engine, slot.route, &slot.lease.exchange, || script.clone());
        let address = self.address(&slot);
        let events = Rc::clone(&slot.events);
        events.end(&slot.lease.exchange, &address, &script);
        self.forget(key, slot);
    }
}

/// The idle connections of a loop, as an exchange of it looks for one.
struct Idle<'a> {
    own: &'a EventLoop,
    exchange: usize,
    now: Duration,
    /// The handle of the one that was taken.
    socket: Option<u64>,
}

impl OwnIdle for Idle<'_> {
    fn take(&mut self, pool: usize, quiet: bool) -> Option<(Box<Link>, Permit)> {
        let engine = &self.own.engine;
        let oldest = self.now.checked_sub(engine.pools()[pool].settings().idle_timeout);
        loop {
            let taken = self.own.sockets.borrow_mut().reuse(pool, self.exchange, oldest.unwrap_or_default());
            let (handle, idle) = taken?;
            if quiet && !idle.link.stream.is_quiet() {
                self.own.close_idle(handle, idle);
                continue;
            }
            engine.pools()[pool].wake_elsewhere();
            self.socket = Some(handle);
            return Some((idle.link, idle.permit));
        }
    }

    fn surrender(&mut self, pool: usize) -> bool {
        self.own.surrender(pool, self.now)
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.close();
    }
}

/// The host wants no more of the exchange.
fn give_up(slot: &mut Slot, now: Duration) {
    let exchange = &mut slot.lease.exchange;
    exchange.handle_abort(now);
    if !std::mem::take(&mut slot.held).is_empty() {
        exchange.handle_undelivered(now, Cause::Aborted, 0);
    }
}

fn transmit(slot: &mut Slot, now: Duration) {
    let Some(link) = &mut slot.attempt.link else { return };
    let scratch = &mut *slot.lease;
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = scratch.exchange.outgoing.slices(scratch.body.chunk(&slot.request_body), &mut slices);
    match link.stream.send(&slices[..count]) {
        Ok(sent) => scratch.exchange.handle_sent(now, sent, &mut link.connection),
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            scratch.exchange.handle_sent(now, 0, &mut link.connection);
        }
        Err(error) if is_exhaustion(&error) => {
            scratch.exchange.handle_out_of_resources(now, error.raw_os_error().unwrap_or(0));
        }
        Err(error) => scratch.exchange.handle_send_failed(now, error.raw_os_error().unwrap_or(0)),
    }
}

fn receive(slot: &mut Slot, now: Duration) {
    let Some(link) = &mut slot.attempt.link else { return };
    let scratch = &mut *slot.lease;
    match link.stream.receive(scratch.receive_room(), true) {
        Ok(0) => scratch.exchange.handle_closed(now, Closed::End, 0),
        Ok(count) => {
            slot.inbound = 0..count;
            slot.drained = count < scratch.received.len();
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => scratch.exchange.handle_nothing_received(),
        Err(error) => scratch.exchange.handle_closed(now, Closed::Reset, error.raw_os_error().unwrap_or(0)),
    }
}

fn send_abort(slot: &mut Slot) {
    let Some(link) = &mut slot.attempt.link else { return };
    let id = slot.lease.exchange.id();
    let record = Header::new(RecordType::ABORT_REQUEST, id, 0).encode();
    let _ = link.stream.send(&[IoSlice::new(&record)]);
    link.connection.abort(id);
}
