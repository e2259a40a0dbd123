//! What connections and exchanges take of this process's memory, as its allocator counts it.
#![allow(unsafe_code)]

use crate::Effort;
use crate::apache::responder;
use crate::library;
use crate::report::Result;
use fcgate::cgi::ResponseHead;
use fcgate::drive::Request;
use fcgate::drive::event_loop::{EventLoop, Events, Hooks};
use fcgate::exchange::Exchange;
use fcgate_kit::Directory;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

/// Exchanges at once, each with a connection of its own.
const COUNT: usize = 400;

/// Bytes that are allocated now.
fn allocated() -> f64 {
    // SAFETY: it only counts.
    unsafe { libc::mallinfo2() }.uordblks as f64
}

/// What the loop asked for: by handle, the descriptor and the interest.
type Watched = Rc<RefCell<HashMap<u64, (RawFd, u32)>>>;

struct Poll(Watched);

impl Hooks for Poll {
    fn watch(&self, socket: u64, fd: RawFd, interest: u32) {
        if interest == 0 {
            self.0.borrow_mut().remove(&socket);
        } else {
            self.0.borrow_mut().insert(socket, (fd, interest));
        }
    }

    fn timer(&self, _: Option<Duration>) {}
}

struct Count(Rc<Cell<usize>>);

impl Events for Count {
    fn head(&self, _: &ResponseHead) -> bool {
        true
    }

    fn data(&self, _: &[u8]) -> bool {
        true
    }

    fn stderr_line(&self, _: &str) -> bool {
        true
    }

    fn writable(&self) {}

    fn complete(&self) {}

    fn end(&self, exchange: &Exchange, _: &str, _: &str) {
        assert!(exchange.failure().is_none(), "{:?}", exchange.failure());
        self.0.set(self.0.get() + 1);
    }
}

/// Runs exchanges all at once; returns what was allocated while they were in flight.
fn run(own: &EventLoop, watched: &Watched) -> f64 {
    let route = own.engine().route(0).expect("the line's route");
    let done: Rc<Cell<usize>> = Rc::default();
    for _ in 0..COUNT {
        let mut request = Request::default();
        library::describe(&mut request);
        own.start(route, request, Rc::new(Count(Rc::clone(&done)))).expect("a request of ours is right");
    }
    let in_flight = allocated();
    while done.get() < COUNT {
        own.expire();
        let sockets: Vec<(u64, (RawFd, u32))> =
            watched.borrow().iter().map(|(socket, what)| (*socket, *what)).collect();
        let mut polled: Vec<libc::pollfd> = sockets
            .iter()
            .map(|(_, (fd, interest))| libc::pollfd { fd: *fd, events: poll_events(*interest), revents: 0 })
            .collect();
        // SAFETY: as many entries as are told, which live as long as the call.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 1000) };
        for ((socket, _), polled) in sockets.iter().zip(&polled) {
            let ready = u32::from(polled.revents & !libc::POLLOUT != 0)
                | u32::from(polled.revents & libc::POLLOUT != 0) << 1;
            if ready != 0 {
                own.ready(*socket, ready);
            }
        }
    }
    in_flight
}

/// The interest of a loop in poll's words.
fn poll_events(interest: u32) -> i16 {
    (if interest & 1 != 0 { libc::POLLIN } else { 0 }) | (if interest & 2 != 0 { libc::POLLOUT } else { 0 })
}

/// P11: an idle kept connection; an exchange in flight, beyond the loop's receive buffer.
pub fn live(_: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let gateway = library::gateway(&address, COUNT);
    let watched = Watched::default();
    let own = EventLoop::new(gateway.engine().clone(), Box::new(Poll(Rc::clone(&watched)))).expect("a loop");
    let before = allocated();
    let in_flight = run(&own, &watched);
    let with_idle = allocated();
    let idle = gateway.engine().pools().iter().map(|pool| pool.idle()).sum::<usize>();
    gateway.engine().pools().iter().for_each(|pool| pool.close_idle(u64::MAX));
    let without = allocated();
    vec![
        Result::alone("P11", "An idle kept connection", "bytes", 512.0, (with_idle - without) / idle as f64),
        Result::alone(
            "P11",
            "An exchange in flight in an event loop",
            "bytes",
            2048.0,
            (in_flight - before) / COUNT as f64,
        ),
    ]
}
