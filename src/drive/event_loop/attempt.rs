//! What an exchange holds of a pool, and what the host watches for it.

use super::idle::Idle;
use super::{EventLoop, Key, READABLE, Slot, WRITABLE};
use crate::drive::attempt::Got;
use crate::drive::dial::prepare;
use crate::drive::engine::Link;
use crate::exchange::Wait;
use crate::os::SocketAddress;
use crate::os::socket::{Connect, Mode, Stream};
use crate::pool::Waiter;
use std::os::fd::AsRawFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl EventLoop {
    pub(super) fn acquire(&self, key: Key, slot: &mut Slot, now: Duration, reuse: bool) {
        self.release(slot, now);
        let make = || {
            let signal = Arc::clone(&self.signal);
            Waiter::notify(Box::new(move || {
                signal.woken.lock().unwrap_or_else(PoisonError::into_inner).push(key);
                signal.waker.notify();
            }))
        };
        slot.reuse = reuse;
        let mut idle = Idle { own: self, exchange: key.index, now, socket: None, seat: None };
        let got = slot.attempt.acquire(&self.engine, &mut slot.lease.exchange, now, reuse, &mut idle, make);
        slot.socket = idle.socket;
        slot.seat = idle.seat;
        if got != Got::Kept {
            // The connection was not taken after all.
            self.unregister(slot);
        }
        self.take_up(key, slot, got);
    }

    /// Something was got of a pool.
    pub(super) fn take_up(&self, key: Key, slot: &mut Slot, got: Got) {
        let place = self.place_of(slot);
        let multiplexes = slot.attempt.may_share(&self.engine.pools()[place]);
        match got {
            Got::Kept if multiplexes => self.share(key, slot),
            Got::Kept => slot.drained = true,
            Got::Permit if multiplexes && !slot.making => {
                slot.making = true;
                self.note_making(place);
            }
            Got::Nothing if multiplexes => self.wait_to_share(place, key),
            _ => {}
        }
    }

    pub(super) fn place_of(&self, slot: &Slot) -> usize {
        self.engine.place(slot.attempt.balancer, slot.attempt.member)
    }

    /// What the exchange made is made, or will not be.
    fn stop_making(&self, slot: &mut Slot) {
        if std::mem::take(&mut slot.making) {
            self.note_made(self.place_of(slot));
        }
    }

    /// Gives back what the attempt holds. The host stops watching before the socket is closed.
    pub(super) fn release(&self, slot: &mut Slot, now: Duration) {
        self.unregister(slot);
        self.leave(slot, now);
        self.stop_making(slot);
        slot.inbound = 0..0;
        slot.hung_up = false;
        if slot.connecting.take().is_some() {
            slot.attempt.note_unreachable(&self.engine, now);
        }
        slot.attempt.release(&self.engine, now);
    }

    pub(super) fn connect(&self, key: Key, slot: &mut Slot, now: Duration) {
        let pool = self.engine.pool(slot.attempt.balancer, slot.attempt.member);
        let Some(address) = pool.target() else {
            return self.connect_failed(slot, now, libc::EHOSTUNREACH);
        };
        let resumed = slot.connecting.take();
        let begun = resumed.is_some();
        let finishes = begun && !matches!(address, SocketAddress::Unix(_));
        let stream = match resumed.map_or_else(|| Stream::new(&address, Mode::NonBlocking), Ok) {
            Ok(stream) => stream,
            Err(error) => {
                return slot.lease.exchange.handle_out_of_resources(now, error.raw_os_error().unwrap_or(0));
            }
        };
        if !begun && let Err(error) = prepare(&stream, &address, pool.settings(), slot.attempt.source) {
            let errno = error.raw_os_error().unwrap_or(libc::EADDRNOTAVAIL);
            if slot.attempt.source.is_some() {
                // Where this request comes from says nothing of the pool.
                return slot.lease.exchange.handle_connect_failed(now, errno, false);
            }
            return self.connect_failed(slot, now, errno);
        }
        match if finishes { stream.finish_connect(&address) } else { stream.connect(&address) } {
            Ok(Connect::Done) => {
                slot.attempt.connected(&self.engine, &mut slot.lease.exchange, now, stream);
                if slot.attempt.may_share(&self.engine.pools()[self.place_of(slot)]) {
                    self.share(key, slot);
                }
                self.stop_making(slot);
            }
            Ok(Connect::InProgress) => {
                slot.connecting = Some(stream);
                slot.lease.exchange.handle_connecting();
            }
            Ok(Connect::Again) => {
                slot.connecting = Some(stream);
                slot.lease.exchange.handle_backlog_full(now);
            }
            Err(error) => {
                self.unregister(slot);
                self.connect_failed(slot, now, error.raw_os_error().unwrap_or(0));
            }
        }
    }

    fn connect_failed(&self, slot: &mut Slot, now: Duration, errno: i32) {
        slot.attempt.note_unreachable(&self.engine, now);
        slot.lease.exchange.handle_connect_failed(now, errno, false);
    }

    pub(super) fn register(&self, slot: &mut Slot, key: Key, wait: &Wait) {
        let fd = match (&slot.attempt.link, &slot.connecting) {
            (Some(link), _) => link.stream.as_raw_fd(),
            (None, Some(stream)) => stream.as_raw_fd(),
            (None, None) => return self.unregister(slot),
        };
        let interest = if wait.readable { READABLE } else { 0 } | if wait.writable { WRITABLE } else { 0 };
        let socket = *slot.socket.get_or_insert_with(|| self.sockets.borrow_mut().add(fd, key.index));
        self.watch(socket, interest);
    }

    /// The socket of a connection, and watched.
    pub(super) fn socket_of(&self, slot: &mut Slot, link: &Link, key: Key) -> u64 {
        let fd = link.stream.as_raw_fd();
        let socket = slot.socket.take().unwrap_or_else(|| self.sockets.borrow_mut().add(fd, key.index));
        self.watch(socket, READABLE);
        socket
    }

    pub(super) fn watch(&self, socket: u64, interest: u32) {
        let mut sockets = self.sockets.borrow_mut();
        let changed = if !self.edge {
            sockets.set_interest(socket, interest).map(|fd| (fd, interest))
        } else if interest & WRITABLE != 0 {
            // Both at once, so that nothing more has to be asked for.
            sockets.add_interest(socket, READABLE | WRITABLE)
        } else {
            sockets.add_interest(socket, interest)
        };
        drop(sockets);
        if let Some((fd, interest)) = changed {
            self.hooks.watch(socket, fd, interest);
        }
    }

    pub(super) fn unwatch(&self, socket: u64) {
        let watched = self.sockets.borrow_mut().remove(socket);
        if let Some(fd) = watched {
            self.hooks.watch(socket, fd, 0);
        }
    }

    pub(super) fn unregister(&self, slot: &mut Slot) {
        if let Some(socket) = slot.socket.take() {
            self.unwatch(socket);
        }
    }
}
