//! The host's side of the loop drive: what it does for the loop, what happens to it, what it wants.

use crate::cgi::ResponseHead;
use crate::drive::log::{Level, Lines, Log};
use crate::drive::start::StartError;
use crate::exchange::Exchange;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Display;
use std::os::fd::RawFd;
use std::time::Duration;

/// What the host does for the loop. Called from within calls of the host into the loop.
pub trait Hooks {
    /// Watch a descriptor for this interest from now on; 0: not any more.
    fn watch(&self, socket: u64, fd: RawFd, interest: u32);
    /// Whether the host tells of readiness only when it comes about, and not as long as it lasts. Such a
    /// host is not asked to take back an interest, and says when a peer has closed ([`HANGUP`](super::HANGUP)).
    fn is_edge_triggered(&self) -> bool {
        false
    }
    /// Call [`EventLoop::expire`](super::EventLoop::expire) after this time; `None`: not needed any more.
    fn timer(&self, after: Option<Duration>);
}

/// What happens in an exchange. Called with nothing borrowed.
pub trait Events {
    /// The response head; `false` gives the exchange up.
    fn head(&self, head: &ResponseHead) -> bool;
    /// Bytes of the response body; `false` gives the exchange up.
    fn data(&self, bytes: &[u8]) -> bool;
    /// Whether the host may have room for pieces of the response body.
    fn has_room(&self) -> bool {
        false
    }
    /// A large piece of the response body is about to be received: calls `fill` with where the host wants
    /// it, at most so many bytes, which [`data`](Self::data) then tells. `fill` returns how many came.
    /// `false`: the host has no room, and nothing was called.
    fn room(&self, most: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let _ = (most, fill);
        false
    }
    /// A line of STDERR; `false` if it should go to the log.
    fn stderr_line(&self, line: &str) -> bool;
    /// A line of the log about this exchange; `false` if it should go to the log of all.
    fn log(&self, level: Level, line: &str) -> bool;
    /// More of the request's body is wanted.
    fn writable(&self);
    /// The response is whole.
    fn complete(&self);
    /// The request was not sent, because of its body: the last call.
    fn refused(&self, error: &StartError);
    /// The exchange is over: the last call.
    fn end(&self, exchange: &Exchange, address: &dyn Display, script: &dyn Fn() -> String);
}

/// Where the lines about one exchange go.
pub struct ExchangeLog<'a> {
    pub events: &'a dyn Events,
    pub log: &'a Log,
}

impl Lines for ExchangeLog<'_> {
    fn write(&self, level: Level, line: &str) {
        if !self.events.log(level, line) {
            self.log.write(level, line);
        }
    }
}

/// What the host asked for, perhaps from within a callback.
#[derive(Debug, Default)]
pub struct Control {
    pub freed: Cell<bool>,
    pub aborted: Cell<bool>,
    pub client_gone: Cell<bool>,
    pub paused: Cell<bool>,
    /// Body bytes from the host that the exchange has not asked for yet.
    pub pending: RefCell<VecDeque<u8>>,
    pub body_ended: Cell<bool>,
}

impl Control {
    /// Whether an exchange that has not begun never will.
    pub fn is_given_up(&self) -> bool {
        self.freed.get() || self.aborted.get() || self.client_gone.get()
    }
}
