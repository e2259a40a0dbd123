//! An event loop of poll(2), or an edge-triggered one of epoll, as a host of fcgate's: it watches what it is asked
//! to, and counts.
#![allow(unsafe_code)]

use fcgate::cgi::ResponseHead;
use fcgate::drive::event_loop::{EventLoop, Events, HANGUP, Hooks, Key, READABLE, WRITABLE};
use fcgate::drive::{Level, Request, StartError};
use fcgate::exchange::{Cause, Exchange};
use fcgate::gateway::Gateway;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Watch {
    sockets: RefCell<BTreeMap<u64, (RawFd, u32)>>,
    calls: Cell<usize>,
    timer: Cell<Option<Instant>>,
    /// For a loop that is edge-triggered.
    epoll: Option<OwnedFd>,
}

impl Watch {
    /// Has the kernel watch a socket, told once of each readiness that comes about.
    fn control(&self, socket: u64, fd: RawFd, before: u32, interest: u32) {
        let Some(epoll) = &self.epoll else { return };
        assert_eq!(
            before & !interest & if interest == 0 { 0 } else { u32::MAX },
            0,
            "an interest was taken back"
        );
        let operation = match (before, interest) {
            (_, 0) => libc::EPOLL_CTL_DEL,
            (0, _) => libc::EPOLL_CTL_ADD,
            _ => libc::EPOLL_CTL_MOD,
        };
        let kinds = [(READABLE, libc::EPOLLIN), (WRITABLE, libc::EPOLLOUT)];
        let wanted =
            kinds.iter().filter(|(kind, _)| interest & kind != 0).fold(0, |all, (_, event)| all | event);
        let mut event =
            libc::epoll_event { events: (wanted | libc::EPOLLET | libc::EPOLLRDHUP) as u32, u64: socket };
        // SAFETY: both descriptors are open and the event lives as long as the call.
        let result = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &mut event) };
        assert_eq!(result, 0, "epoll_ctl: {}", std::io::Error::last_os_error());
    }
}

struct Host(Rc<Watch>);

impl Hooks for Host {
    fn watch(&self, socket: u64, fd: RawFd, interest: u32) {
        self.0.calls.set(self.0.calls.get() + 1);
        let mut sockets = self.0.sockets.borrow_mut();
        let before = sockets.get(&socket).map_or(0, |(_, interest)| *interest);
        self.0.control(socket, fd, before, interest);
        if interest != 0 {
            sockets.insert(socket, (fd, interest));
            return;
        }
        // SAFETY: it looks at a descriptor.
        assert_ne!(
            unsafe { libc::fcntl(fd, libc::F_GETFD) },
            -1,
            "a socket was closed before its watch ended"
        );
        assert!(sockets.remove(&socket).is_some(), "a socket that is not watched is not watched any more");
    }

    fn is_edge_triggered(&self) -> bool {
        self.0.epoll.is_some()
    }

    fn timer(&self, after: Option<Duration>) {
        self.0.timer.set(after.map(|after| Instant::now() + after));
    }
}

/// What came of an exchange.
#[derive(Debug, Default)]
pub struct Outcome {
    /// It is over.
    pub ended: Cell<bool>,
    /// When it was.
    pub end: Cell<Option<Instant>>,
    /// Why it failed, if it did.
    pub cause: Cell<Option<Cause>>,
    /// How often it was tried again.
    pub retries: Cell<u32>,
    /// The response's body.
    pub body: RefCell<Vec<u8>>,
    /// How often it was asked for room.
    pub rooms: Cell<usize>,
    /// Whether its body is kept.
    keeps: bool,
    /// The room that it has for a piece of the body, each time it is asked.
    room: usize,
    /// Where the piece is that comes next.
    there: Cell<Option<*const u8>>,
}

struct Shared(Rc<Outcome>);

impl Events for Shared {
    fn head(&self, _: &ResponseHead) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.0.room > 0
    }

    fn room(&self, most: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.0.rooms.set(self.0.rooms.get() + 1);
        let mut room = vec![0; self.0.room.min(most)];
        self.0.there.set(Some(room.as_ptr()));
        if fill(&mut room) == 0 {
            self.0.there.set(None);
        }
        assert!(self.0.there.get().is_none(), "what came into the host's buffer was not told");
        true
    }

    fn data(&self, bytes: &[u8]) -> bool {
        if let Some(there) = self.0.there.take() {
            assert_eq!(bytes.as_ptr(), there, "other bytes than those in the host's buffer");
        }
        if self.0.keeps {
            self.0.body.borrow_mut().extend_from_slice(bytes);
        }
        true
    }

    fn stderr_line(&self, _: &str) -> bool {
        false
    }

    fn log(&self, _: Level, _: &str) -> bool {
        false
    }

    fn writable(&self) {}

    fn complete(&self) {}

    fn refused(&self, error: &StartError) {
        panic!("a request of ours is refused: {error}");
    }

    fn end(&self, exchange: &Exchange, _: &dyn Display, _: &dyn Fn() -> String) {
        self.0.cause.set(exchange.failure().map(|failure| failure.cause));
        self.0.retries.set(exchange.retries());
        self.0.end.set(Some(Instant::now()));
        self.0.ended.set(true);
    }
}

/// An event loop and the exchanges in it.
pub struct PollLoop {
    own: EventLoop,
    watch: Rc<Watch>,
}

impl PollLoop {
    /// A loop with nothing in it.
    pub fn new(gateway: &Gateway) -> Self {
        Self::on(gateway, Watch::default())
    }

    /// The same, edge-triggered: each readiness is told once.
    pub fn edge_triggered(gateway: &Gateway) -> Self {
        // SAFETY: a plain call; the result is checked before it is owned.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            assert!(fd >= 0, "epoll_create1: {}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        Self::on(gateway, Watch { epoll: Some(epoll), ..Watch::default() })
    }

    fn on(gateway: &Gateway, watch: Watch) -> Self {
        let watch = Rc::new(watch);
        let own =
            EventLoop::new(gateway.engine().clone(), Box::new(Host(Rc::clone(&watch)))).expect("a loop");
        Self { own, watch }
    }

    /// The loop itself.
    pub fn own(&self) -> &EventLoop {
        &self.own
    }

    /// How often the host was asked to watch something, or not to any more.
    pub fn watch_calls(&self) -> usize {
        self.watch.calls.get()
    }

    /// How many sockets are watched, the loop's own waker aside.
    pub fn watched(&self) -> usize {
        self.watch.sockets.borrow().len() - 1
    }

    /// Starts an exchange on the first route.
    pub fn start(&self, request: Request) -> (Key, Rc<Outcome>) {
        self.start_as(request, Outcome { keeps: true, ..Outcome::default() })
    }

    /// Starts an exchange with room for pieces of the response body of so many bytes.
    pub fn start_with_room(&self, request: Request, room: usize) -> Rc<Outcome> {
        self.start_as(request, Outcome { keeps: true, room, ..Outcome::default() }).1
    }

    /// Starts an exchange whose body is only counted as come.
    pub fn start_unread(&self, request: Request) -> Rc<Outcome> {
        self.start_as(request, Outcome::default()).1
    }

    fn start_as(&self, request: Request, outcome: Outcome) -> (Key, Rc<Outcome>) {
        let outcome = Rc::new(outcome);
        let route = self.own.engine().route(0).expect("a route");
        let events = Rc::new(Shared(Rc::clone(&outcome)));
        (self.own.start(route, request, events).expect("a request of ours is right"), outcome)
    }

    /// Waits for readiness or the timer, for so long at the most, and tells the loop.
    pub fn turn(&self, most: Duration) {
        let timer = self.watch.timer.get().map_or(most, |at| at.saturating_duration_since(Instant::now()));
        let milliseconds = timer.min(most).as_millis().min(1000) as i32 + 1;
        match &self.watch.epoll {
            Some(epoll) => self.wait_for_edges(epoll.as_raw_fd(), milliseconds),
            None => self.poll(milliseconds),
        }
        if self.watch.timer.get().is_some_and(|at| at <= Instant::now()) {
            self.watch.timer.set(None);
            self.own.expire();
        }
    }

    fn wait_for_edges(&self, epoll: RawFd, milliseconds: i32) {
        let mut told = [libc::epoll_event { events: 0, u64: 0 }; 16];
        // SAFETY: as many entries as are told, which live as long as the call.
        let count = unsafe { libc::epoll_wait(epoll, told.as_mut_ptr(), told.len() as i32, milliseconds) };
        for event in told.iter().take(count.max(0) as usize) {
            let (events, socket) = (event.events as i32, event.u64);
            let is_one_of = |kinds: i32, means: u32| if events & kinds != 0 { means } else { 0 };
            let over = libc::EPOLLHUP | libc::EPOLLERR;
            let told = is_one_of(libc::EPOLLIN | libc::EPOLLRDHUP | over, READABLE)
                | is_one_of(libc::EPOLLOUT | over, WRITABLE)
                | is_one_of(libc::EPOLLRDHUP | over, HANGUP);
            self.own.ready(socket, told);
        }
    }

    fn poll(&self, milliseconds: i32) {
        let sockets: Vec<(u64, (RawFd, u32))> =
            self.watch.sockets.borrow().iter().map(|(socket, what)| (*socket, *what)).collect();
        let events = |interest: u32| {
            (if interest & READABLE != 0 { libc::POLLIN } else { 0 })
                | (if interest & WRITABLE != 0 { libc::POLLOUT } else { 0 })
        };
        let mut polled: Vec<libc::pollfd> = sockets
            .iter()
            .map(|(_, (fd, interest))| libc::pollfd { fd: *fd, events: events(*interest), revents: 0 })
            .collect();
        // SAFETY: as many entries as are told, which live as long as the call.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) };
        for ((socket, _), polled) in sockets.iter().zip(&polled) {
            let readable = if polled.revents & !libc::POLLOUT != 0 { READABLE } else { 0 };
            let writable = if polled.revents & !libc::POLLIN != 0 { WRITABLE } else { 0 };
            if readable | writable != 0 {
                self.own.ready(*socket, readable | writable);
            }
        }
    }

    /// Runs until this holds.
    ///
    /// # Panics
    ///
    /// If it does not in the end.
    pub fn run_until(&self, what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE, "{what} did not happen");
            self.turn(Duration::from_millis(50));
        }
    }

    /// Runs an exchange to its end.
    pub fn finish(&self, request: Request) -> Rc<Outcome> {
        let (_, outcome) = self.start(request);
        self.run_until("the end of an exchange", || outcome.ended.get());
        outcome
    }
}
