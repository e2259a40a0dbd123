//! The run of one exchange: its actions are performed, and what came of them told, until it waits.

use super::lent::Lent;
use super::{BUDGET, EventLoop, Key, Slot};
use crate::connection::Event;
use crate::drive::blocking::is_exhaustion;
use crate::drive::forward::{log_stderr, log_unspooled, report_end};
use crate::drive::held::Held;
use crate::drive::scratch::RECEIVE;
use crate::drive::start;
use crate::exchange::{Action, Cause, Closed, SLICES};
use crate::os::clock;
use crate::protocol::{Header, RecordType};
use std::io::{ErrorKind, IoSlice, Read};
use std::rc::Rc;
use std::time::Duration;

/// Records of this length are received where the host wants them, as long as so much is ahead.
const LARGE: usize = 32 << 10;
const LEAST: usize = 8 << 10;
/// Bytes received beside what the host wants: the next records' headers, or the end.
const BESIDE: usize = 512;

impl EventLoop {
    /// Performs actions until the exchange waits or is over.
    pub(super) fn run(&self, key: Key, slot: Box<Slot>) {
        self.run_with(key, slot, &mut Lent::default());
    }

    /// The same with more of the request's body at hand.
    pub(super) fn run_with(&self, key: Key, mut slot: Box<Slot>, lent: &mut Lent<'_>) {
        let mut now = clock::now();
        let mut budget = BUDGET;
        if !slot.begun && !slot.control.is_given_up() {
            return self.ask_for_body(key, slot);
        }
        if !std::mem::replace(&mut slot.begun, true) {
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
                    lent.lay_aside(&mut slot);
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
            // On a shared connection none is paused: others must not wait for its client.
            if slot.seat.is_none() && full != slot.full {
                slot.full = full;
                slot.drained = false;
                slot.lease.exchange.handle_pause(now, full);
            }
            if !full && self.deliver(&mut slot, now) {
                continue;
            }
            let action = slot.lease.exchange.poll_action(now);
            if !matches!(action, Action::Transmit) || slot.seat.is_some() {
                lent.lay_aside(&mut slot);
            }
            match action {
                Action::Acquire { reuse } => self.acquire(key, &mut slot, now, reuse),
                Action::Connect => self.connect(key, &mut slot, now),
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
                Action::Body => self.body(&mut slot, lent, now),
                Action::Transmit if slot.seat.is_some() => self.enqueue(key, &mut slot),
                Action::Receive { .. } if slot.seat.is_some() => {
                    slot.lease.exchange.handle_nothing_received();
                }
                Action::Abort if slot.seat.is_some() => {}
                Action::Transmit => {
                    transmit(&mut slot, lent, now);
                    lent.lay_aside(&mut slot);
                }
                // What was just sent is not answered yet, and a short read has drained the socket.
                Action::Receive { may_block }
                    if may_block && !slot.hung_up || slot.drained || budget == 0 =>
                {
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
                    if let Some(most) = self.receive_into_host(&mut slot, now) {
                        receive(&mut slot, most, now);
                    }
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
    pub(super) fn ask_for_body(&self, key: Key, mut slot: Box<Slot>) {
        slot.deadline = None;
        let asked = std::mem::replace(&mut slot.body_wanted, true);
        let events = Rc::clone(&slot.events);
        self.put_back(key, slot);
        if !asked {
            events.writable();
        }
    }

    /// Receives the rest of a large record where the host wants it. `None`: that was done; else how much
    /// the loop itself may receive, which is little where it brings up another large record.
    fn receive_into_host(&self, slot: &mut Slot, now: Duration) -> Option<usize> {
        let record = slot.attempt.link.as_ref().and_then(|link| link.connection.stdout_record());
        let Some((_, ahead)) = record.filter(|(length, _)| *length >= LARGE) else { return Some(RECEIVE) };
        let events = Rc::clone(&slot.events);
        let waits = slot.control.paused.get() || !slot.held.is_empty();
        if waits || !events.has_room() || !slot.lease.exchange.response.passes(ahead) {
            return Some(RECEIVE);
        }
        if ahead < LEAST {
            return Some(ahead + BESIDE);
        }
        let given = events.room(ahead, &mut |room| {
            let most = room.len().min(ahead);
            self.receive_there(slot, &mut room[..most], now)
        });
        (!given).then_some(RECEIVE)
    }

    /// Receives into the host's buffer, and what comes next into the loop's. Returns how many of the
    /// host's bytes are body, which it was told.
    fn receive_there(&self, slot: &mut Slot, room: &mut [u8], now: Duration) -> usize {
        // What the host has asked for as it was asked for room comes first.
        if slot.control.paused.get() || slot.control.freed.get() {
            return 0;
        }
        let Some(link) = &mut slot.attempt.link else { return 0 };
        let scratch = &mut *slot.lease;
        let beside = &mut scratch.receive_room()[..BESIDE];
        match link.stream.receive_in_two(room, beside) {
            Ok(0) => scratch.exchange.handle_closed(now, Closed::End, 0),
            Ok(count) => {
                let there = count.min(room.len());
                slot.inbound = 0..count - there;
                slot.drained = count < room.len() + BESIDE && !slot.hung_up;
                let mut body = &room[..there];
                match link.connection.next(&mut body) {
                    Ok(Some(event)) => self.tell(slot, event, now),
                    Ok(None) => {}
                    Err(violation) => scratch.exchange.handle_violation(now, violation),
                }
                return there;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => scratch.exchange.handle_nothing_received(),
            Err(error) => {
                scratch.exchange.handle_closed(now, Closed::Reset, error.raw_os_error().unwrap_or(0));
            }
        }
        0
    }

    /// Hands received bytes on. Returns whether something came of it.
    pub(super) fn deliver(&self, slot: &mut Slot, now: Duration) -> bool {
        if slot.inbound.is_empty() {
            return false;
        }
        let Some(link) = &mut slot.attempt.link else {
            slot.inbound = 0..0;
            return false;
        };
        let received = std::mem::take(&mut slot.lease.received);
        let mut rest = &received[slot.inbound.clone()];
        let event = link.connection.next(&mut rest);
        slot.inbound.start = slot.inbound.end - rest.len();
        let came = !matches!(event, Ok(None));
        match event {
            Ok(Some(event)) => self.tell(slot, event, now),
            Ok(None) => slot.inbound = 0..0,
            Err(violation) => {
                slot.inbound = 0..0;
                slot.lease.exchange.handle_violation(now, violation);
            }
        }
        slot.lease.received = received;
        came
    }

    /// Tells the exchange what has come for it, and the host what that brings.
    pub(super) fn tell(&self, slot: &mut Slot, event: Event<'_>, now: Duration) {
        let scratch = &mut *slot.lease;
        let given = scratch.exchange.handle_event(now, event);
        if given.head {
            slot.attempt.answered(&self.engine, scratch, now);
        }
        let events = &slot.events;
        let mut goes_on = true;
        if !given.stderr.is_empty() {
            let (engine, request, balancer) = (&self.engine, &slot.request, slot.attempt.balancer);
            let caught = &engine.settings(slot.route).catch_stderr;
            let mut found = false;
            scratch.stderr.push(given.stderr, |line| {
                found |= !caught.is_empty() && line.contains(caught.as_str());
                if !events.stderr_line(line) {
                    log_stderr(engine, balancer, request, line, &self.log(&**events));
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
            let settings = self.engine.settings(slot.route);
            if holds() {
                if slot.seat.is_some() && held.is_full(settings) {
                    return scratch.exchange.handle_client_slow(now);
                }
                if let Err(error) = held.push(given.body, settings) {
                    log_unspooled(&self.engine, slot.attempt.balancer, &error, &self.log(&**events));
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
    }

    /// Gives the host the next of what is held for it.
    pub(super) fn give_held(&self, slot: &mut Slot, now: Duration) {
        let (events, held) = (&slot.events, &mut slot.held);
        let exchange = &mut slot.lease.exchange;
        let goes_on = if std::mem::take(&mut held.head) {
            events.head(&exchange.response.head)
        } else {
            match held.next(usize::MAX) {
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

    pub(super) fn body(&self, slot: &mut Slot, lent: &mut Lent<'_>, now: Duration) {
        if slot.lease.body.is_from_host() {
            if Self::feed_body(slot, lent, now) {
                return;
            }
            slot.lease.exchange.handle_body_pending();
            if !std::mem::replace(&mut slot.body_wanted, true) {
                slot.events.writable();
                Self::feed_body(slot, lent, now);
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
    pub(super) fn feed_body(slot: &mut Slot, lent: &mut Lent<'_>, now: Duration) -> bool {
        if lent.offer(slot, now) {
            return true;
        }
        if lent.is_end() {
            slot.control.body_ended.set(true);
        }
        let scratch = &mut *slot.lease;
        let mut pending = slot.control.pending.borrow_mut();
        let ended = slot.control.body_ended.get();
        if !scratch.exchange.wants_body() || pending.is_empty() && !ended {
            return false;
        }
        slot.body_wanted = false;
        let length = pending.len();
        let length = pending.read(scratch.body.host_buffer(length)).unwrap_or(0);
        scratch.body.host_filled(length);
        let taken = scratch.exchange.handle_body(now, length);
        scratch.body.taken(taken);
        true
    }

    /// Gives back what the exchange held of its pool. Its host learns of it when it has taken all.
    pub(super) fn finish(&self, slot: &mut Slot, keep: bool, now: Duration) {
        // Of what an edge-triggered host has told already it tells nothing more.
        let keep = keep
            && slot.inbound.is_empty()
            && (!self.edge || slot.drained || !slot.hung_up && is_quiet(slot));
        if keep && let Some((link, permit)) = slot.attempt.take_clean(&self.engine) {
            let socket = slot.socket.take();
            self.keep(socket, self.place_of(slot), link, permit, now);
        }
        self.release(slot, now);
        let (engine, balancer) = (&self.engine, slot.attempt.balancer);
        let events = Rc::clone(&slot.events);
        slot.lease.stderr.finish(|line| {
            if !events.stderr_line(line) {
                log_stderr(engine, balancer, &slot.request, line, &self.log(&*events));
            }
        });
        slot.over = true;
    }

    pub(super) fn tell_end(&self, key: Key, slot: Box<Slot>) {
        let script = || start::script(&slot.lease, start::target(&slot.request));
        report_end(&self.engine, slot.route, &slot.lease.exchange, script, &self.log(&*slot.events));
        if !slot.control.freed.get() {
            slot.events.end(&slot.lease.exchange, self.address(&slot), &script);
        }
        self.forget(key, slot);
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

fn is_quiet(slot: &Slot) -> bool {
    slot.attempt.link.as_ref().is_some_and(|link| link.stream.is_quiet())
}

fn transmit(slot: &mut Slot, lent: &Lent<'_>, now: Duration) {
    let Some(link) = &mut slot.attempt.link else { return };
    let scratch = &mut *slot.lease;
    let mut slices = [IoSlice::new(&[]); SLICES];
    let chunk = lent.chunk().unwrap_or_else(|| scratch.body.chunk(&slot.request_body));
    let count = scratch.exchange.outgoing.slices(chunk, &mut slices);
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

fn receive(slot: &mut Slot, most: usize, now: Duration) {
    let Some(link) = &mut slot.attempt.link else { return };
    let scratch = &mut *slot.lease;
    match link.stream.receive(&mut scratch.receive_room()[..most], true) {
        Ok(0) => scratch.exchange.handle_closed(now, Closed::End, 0),
        Ok(count) => {
            slot.inbound = 0..count;
            // An end that was told with the bytes is not told again.
            slot.drained = count < most && !slot.hung_up;
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
