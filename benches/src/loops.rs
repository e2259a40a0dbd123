//! The library in an event loop of epoll: many exchanges at once, on connections of their own and shared.
#![allow(unsafe_code)]

use crate::Effort;
use crate::apache::calls_of;
use crate::library;
use crate::load::responder;
use crate::report::Result;
use fcgate::cgi::ResponseHead;
use fcgate::config::Config;
use fcgate::drive::event_loop::{EventLoop, Events, Hooks, READABLE, WRITABLE};
use fcgate::drive::{Level, StartError};
use fcgate::exchange::Exchange;
use fcgate::gateway::Gateway;
use fcgate_kit::Directory;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events taken at once.
const EVENTS: usize = 256;

/// An epoll instance, and how often it has woken.
struct Epoll {
    fd: RawFd,
    wakes: Cell<u64>,
}

impl Epoll {
    fn new() -> Self {
        // SAFETY: it makes a descriptor.
        Self { fd: unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, wakes: Cell::new(0) }
    }

    fn control(&self, operation: i32, fd: RawFd, events: i32, data: u64) -> bool {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the event lives as long as the call.
        unsafe { libc::epoll_ctl(self.fd, operation, fd, &raw mut event) == 0 }
    }

    /// What is ready, within this time.
    fn wait(&self, milliseconds: i32) -> Vec<(u64, u32)> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: as many events as are told.
        let count = unsafe { libc::epoll_wait(self.fd, events.as_mut_ptr(), EVENTS as i32, milliseconds) };
        self.wakes.set(self.wakes.get() + u64::from(count > 0));
        events[..usize::try_from(count).unwrap_or(0)].iter().map(|event| (event.u64, event.events)).collect()
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: it is its own descriptor.
        unsafe { libc::close(self.fd) };
    }
}

/// The host of a loop.
struct Host {
    epoll: Epoll,
    timer: Cell<Option<Instant>>,
}

struct Shared(Rc<Host>);

impl Hooks for Shared {
    fn watch(&self, socket: u64, fd: RawFd, interest: u32) {
        let events = (if interest & READABLE != 0 { libc::EPOLLIN } else { 0 })
            | (if interest & WRITABLE != 0 { libc::EPOLLOUT } else { 0 });
        let epoll = &self.0.epoll;
        match interest {
            0 => drop(epoll.control(libc::EPOLL_CTL_DEL, fd, 0, 0)),
            _ if epoll.control(libc::EPOLL_CTL_ADD, fd, events, socket) => {}
            _ => drop(epoll.control(libc::EPOLL_CTL_MOD, fd, events, socket)),
        }
    }

    fn timer(&self, after: Option<Duration>) {
        self.0.timer.set(after.map(|after| Instant::now() + after));
    }
}

/// A loop that keeps so many exchanges in flight, each followed by another.
struct Load {
    own: EventLoop,
    host: Rc<Host>,
    left: Cell<usize>,
    in_flight: Cell<usize>,
}

struct One(Rc<Load>);

impl Events for One {
    fn head(&self, _: &ResponseHead) -> bool {
        true
    }

    fn data(&self, _: &[u8]) -> bool {
        true
    }

    fn stderr_line(&self, _: &str) -> bool {
        true
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
        assert!(exchange.failure().is_none(), "{:?}", exchange.failure());
        let load = &self.0;
        load.in_flight.set(load.in_flight.get() - 1);
        load.start();
    }
}

impl Load {
    fn new(gateway: &Gateway) -> Rc<Self> {
        let host = Rc::new(Host { epoll: Epoll::new(), timer: Cell::new(None) });
        let own =
            EventLoop::new(gateway.engine().clone(), Box::new(Shared(Rc::clone(&host)))).expect("a loop");
        Rc::new(Self { own, host, left: Cell::new(0), in_flight: Cell::new(0) })
    }

    fn start(self: &Rc<Self>) {
        let Some(left) = self.left.get().checked_sub(1) else { return };
        self.left.set(left);
        self.in_flight.set(self.in_flight.get() + 1);
        let mut request = self.own.spare_request();
        library::describe(&mut request);
        let route = self.own.engine().route(0).expect("the line's route");
        self.own.start(route, request, Rc::new(One(Rc::clone(self)))).expect("a request of ours is right");
    }

    /// Runs `count` exchanges, `at_once` of them in flight.
    fn run(self: &Rc<Self>, count: usize, at_once: usize) {
        self.left.set(count);
        (0..at_once.min(count)).for_each(|_| self.start());
        while self.in_flight.get() > 0 {
            self.turn(1000);
        }
    }

    fn turn(&self, most: i32) {
        let timer = self.host.timer.get();
        let until = timer.map_or(most, |at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis();
            i32::try_from(left).unwrap_or(most).min(most)
        });
        for (socket, events) in self.host.epoll.wait(until) {
            let readable = if events & !(libc::EPOLLOUT as u32) != 0 { READABLE } else { 0 };
            let writable = if events & !(libc::EPOLLIN as u32) != 0 { WRITABLE } else { 0 };
            self.own.ready(socket, readable | writable);
        }
        if timer.is_some_and(|at| at <= Instant::now()) && self.host.timer.get() == timer {
            self.host.timer.set(None);
            self.own.expire();
        }
    }

    /// Nanoseconds of CPU for each of `count` exchanges.
    fn cost(self: &Rc<Self>, count: usize, at_once: usize) -> f64 {
        let before = library::own_time();
        self.run(count, at_once);
        (library::own_time() - before) as f64 / count as f64
    }
}

fn shared_gateway(address: &str) -> Gateway {
    let line = format!("{address} multiplex=on max_connections=1 script_exists=off");
    let config = Config::from_line(&line).expect("a line of ours is right");
    Gateway::new(Arc::new(config.freeze().expect("and a whole configuration")), None).expect("a gateway")
}

/// For a profiler: so many exchanges on one connection, 64 in flight.
pub fn multiplex(count: usize) {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let gateway = shared_gateway(&address);
    Load::new(&gateway).run(count, 64);
}

/// P7: system calls of an exchange among 64 on one connection.
pub fn system_calls() -> Result {
    let calls = library::for_each(|count| {
        let trace = "trace=sendmsg,recvfrom,epoll_wait,epoll_ctl,poll,read,write,futex";
        calls_of(&library::own_program("strace", &["-c", "-e", trace], "multiplex", 10 * count)) / 10.0
    });
    Result::alone(
        "P7",
        "Library, multiplexed, 64 in flight: system calls of an exchange",
        "calls",
        0.15,
        calls,
    )
}

/// The same bytes by hand: as many sockets, each written and read in turn as it becomes ready.
struct Raw {
    epoll: Epoll,
    sockets: HashMap<u64, UnixStream>,
    request: Vec<u8>,
    answer: usize,
}

impl Raw {
    fn new(address: &str, count: u64, request: Vec<u8>, answer: usize) -> Self {
        let epoll = Epoll::new();
        let sockets = (0..count).map(|number| {
            let socket =
                UnixStream::connect(address.trim_start_matches("unix:")).expect("the responder listens");
            epoll.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), libc::EPOLLIN, number);
            (number, socket)
        });
        let sockets = sockets.collect();
        Self { epoll, sockets, request, answer }
    }

    fn cost(&mut self, count: usize) -> f64 {
        let before = library::own_time();
        let mut buffer = vec![0; 65_536];
        let mut left = count;
        let mut in_flight = 0;
        for socket in self.sockets.values_mut() {
            socket.write_all(&self.request).expect("sent");
            left -= 1;
            in_flight += 1;
        }
        while in_flight > 0 {
            for (number, _) in self.epoll.wait(1000) {
                let Some(socket) = self.sockets.get_mut(&number) else { continue };
                let mut wanted = self.answer;
                while wanted > 0 {
                    wanted -= socket.read(&mut buffer).expect("received");
                }
                in_flight -= 1;
                if left > 0 {
                    socket.write_all(&self.request).expect("sent");
                    left -= 1;
                    in_flight += 1;
                }
            }
        }
        (library::own_time() - before) as f64 / count as f64
    }
}

/// P6: 64 connections beside the bare bytes; 64 exchanges in flight on one connection.
pub fn many(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let (request, answer) = library::bytes_of_an_exchange(&directory, &address);
    let gateway = library::gateway(&address, 64);
    let load = Load::new(&gateway);
    let mut raw = Raw::new(&address, 64, request, answer);
    let shared = shared_gateway(&address);
    let multiplexed = Load::new(&shared);
    let batch = (effort.seconds * 50_000.0) as usize;
    load.run(batch / 10, 64);
    raw.cost(batch / 10);
    multiplexed.run(batch / 10, 64);
    let (mut costs, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        costs.push((load.cost(batch, 64), raw.cost(batch)));
        alone.push(multiplexed.cost(batch, 64));
    }
    vec![
        Result::compared("P6", "Library beside bare bytes, 64 connections", "ns of CPU", 1.20, &costs),
        Result::alone(
            "P6",
            "Library, multiplexed, 64 in flight",
            "ns of CPU",
            950.0,
            crate::report::median(&alone),
        ),
    ]
}

/// P10: an exchange among 10,000 beside one among 100, on one connection.
pub fn in_flight(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let gateway = shared_gateway(&address);
    let load = Load::new(&gateway);
    let batch = (effort.seconds * 50_000.0).max(20_000.0) as usize;
    load.run(batch, 10_000);
    let costs: Vec<(f64, f64)> =
        (0..effort.rounds).map(|_| (load.cost(batch, 10_000), load.cost(batch, 100))).collect();
    vec![Result::compared(
        "P10",
        "Library, multiplexed: 10,000 in flight beside 100",
        "ns of CPU",
        1.0,
        &costs,
    )]
}

/// P13: how often a loop wakes while its connections are idle and nothing is due.
pub fn idle(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let count = 400;
    let gateway = library::gateway(&address, count);
    let load = Load::new(&gateway);
    load.run(count, count);
    let idle: usize = gateway.engine().pools().iter().map(|pool| pool.idle()).sum();
    let before = load.host.epoll.wakes.get();
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < effort.seconds.min(2.0) {
        load.turn(100);
    }
    let wakes = (load.host.epoll.wakes.get() - before) as f64 / start.elapsed().as_secs_f64();
    let name = format!("Library, {idle} idle connections: wake-ups a second");
    vec![Result::alone("P13", &name, "wake-ups", 0.0, wakes)]
}
