//! Connections that several exchanges share, where the pool multiplexes (behaviour E10, A4, A13).
//!
//! What exchanges have to send is collected and leaves at the end of a turn of the loop, as much as
//! possible at once. What comes is handed to its exchange, or held for it: nobody waits for another's
//! client. An exchange that is given up leaves its id behind until its END_REQUEST has come.

use super::sockets::Owner;
use super::{BUDGET, EventLoop, HANGUP, Key, READABLE, Slot, WRITABLE};
use crate::connection::Event;
use crate::drive::attempt::Join;
use crate::drive::engine::Link;
use crate::drive::log::Level;
use crate::drive::scratch::RECEIVE;
use crate::exchange::{Closed, Exchange, SLICES};
use crate::os::clock;
use crate::pool::Permit;
use crate::protocol::{Header, ProtocolStatus, RecordType};
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

/// The most exchanges on one connection; ids go to twice as many, for those that were set aside.
const MOST: usize = 1 << 15;
/// A connection with several exchanges.
pub(super) struct SharedLink {
    /// The pool, by its place among all.
    place: usize,
    pub(super) link: Box<Link>,
    permit: Permit,
    pub(super) socket: u64,
    /// By id, the place of the exchange.
    exchanges: BTreeMap<u16, usize>,
    /// Places of exchanges with something to send.
    pub(super) queue: VecDeque<usize>,
    /// The exchange at the front of the queue, if one of its records has been sent in part.
    pub(super) partial: Option<u16>,
    /// What is still to be sent for exchanges that are over.
    pub(super) outbox: Vec<u8>,
    /// It takes no more exchanges.
    pub(super) closing: bool,
    /// A record was cut short: nothing more can be sent.
    pub(super) broken: bool,
    /// It is being received from: it must stay where it is.
    busy: bool,
    pub(super) due: bool,
}

/// Connections of a pool in the making, and who waits to share one.
#[derive(Default)]
struct Making {
    count: usize,
    waiting: Vec<Key>,
}

/// The shared connections of a loop.
#[derive(Default)]
pub(super) struct Shared {
    links: Vec<Option<Box<SharedLink>>>,
    making: BTreeMap<usize, Making>,
    /// Connections with something to send.
    pub(super) due: Vec<usize>,
    /// Exchanges whose wait for a connection is over.
    pub(super) woken: Vec<Key>,
    /// Sockets that had more than was received in a turn, and what was told of them.
    pub(super) unread: Vec<(u64, u32)>,
}

impl Shared {
    pub(super) fn link(&mut self, at: usize) -> Option<&mut SharedLink> {
        self.links.get_mut(at)?.as_deref_mut()
    }

    /// Whether something is to be done at the end of the turn.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty() || !self.woken.is_empty() || !self.unread.is_empty()
    }

    fn set_due(&mut self, at: usize) {
        if let Some(link) = self.link(at)
            && !std::mem::replace(&mut link.due, true)
        {
            self.due.push(at);
        }
    }
}

/// Where an exchange stands on a shared connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    at: usize,
    id: u16,
}

fn id_of(event: &Event<'_>) -> u16 {
    match event {
        Event::Stdout { id, .. }
        | Event::Stderr { id, .. }
        | Event::StdoutEnd { id }
        | Event::End { id, .. } => *id,
    }
}

impl EventLoop {
    // Getting a place on a connection.

    /// Gives an exchange a place on a connection of the pool.
    pub(super) fn join(
        &self,
        place: usize,
        member: u32,
        index: usize,
        exchange: &mut Exchange,
        now: Duration,
    ) -> (Join, Option<Seat>) {
        let shared = &mut *self.shared.borrow_mut();
        let pool = &self.engine.pools()[place];
        for (at, link) in shared.links.iter_mut().enumerate() {
            let Some(link) = link.as_deref_mut().filter(|link| link.place == place && !link.closing) else {
                continue;
            };
            // What may not be repeated must not meet a connection that was closed meanwhile.
            let open = exchange.is_idempotent() || link.link.stream.is_open();
            if !open || link.link.is_worn(pool, now) || link.link.connection.active() >= MOST {
                link.closing = true;
                continue;
            }
            exchange.handle_kept(now, member, &mut link.link.connection, true);
            let id = exchange.id();
            link.exchanges.insert(id, index);
            return (Join::Joined, Some(Seat { at, id }));
        }
        let soon = shared.making.get(&place).is_some_and(|making| making.count > 0);
        (if soon { Join::Soon } else { Join::No }, None)
    }

    /// The exchange makes a connection that others wait for.
    pub(super) fn note_making(&self, place: usize) {
        self.shared.borrow_mut().making.entry(place).or_default().count += 1;
    }

    /// The exchange waits: for a connection that another makes, or in the queue of the pool.
    pub(super) fn wait_to_share(&self, place: usize, key: Key) {
        self.shared.borrow_mut().making.entry(place).or_default().waiting.push(key);
    }

    /// A connection in the making was made, or was not.
    pub(super) fn note_made(&self, place: usize) {
        let shared = &mut *self.shared.borrow_mut();
        let Some(making) = shared.making.get_mut(&place) else { return };
        shared.woken.append(&mut making.waiting);
        making.count = making.count.saturating_sub(1);
        if making.count == 0 {
            shared.making.remove(&place);
        }
    }

    /// Lets others use the connection of this exchange too.
    pub(super) fn share(&self, key: Key, slot: &mut Slot) {
        let place = self.place_of(slot);
        let Some((link, permit)) = slot.attempt.take_link() else { return };
        let id = slot.lease.exchange.id();
        let socket = self.socket_of(slot, &link, key);
        let closing = link.is_worn(&self.engine.pools()[place], clock::now());
        let shared = &mut *self.shared.borrow_mut();
        let at = shared.links.iter().position(Option::is_none).unwrap_or_else(|| {
            shared.links.push(None);
            shared.links.len() - 1
        });
        shared.links[at] = Some(Box::new(SharedLink {
            place,
            link,
            permit,
            socket,
            exchanges: BTreeMap::from([(id, key.index)]),
            queue: VecDeque::new(),
            partial: None,
            outbox: Vec::new(),
            closing,
            broken: false,
            busy: false,
            due: false,
        }));
        slot.seat = Some(Seat { at, id });
        if let Some(making) = shared.making.get_mut(&place) {
            shared.woken.append(&mut making.waiting);
        }
        self.sockets.borrow_mut().set_owner(socket, Owner::Shared(at));
    }

    /// Has what the exchange has to send go out with what others have.
    pub(super) fn enqueue(&self, key: Key, slot: &mut Slot) {
        slot.lease.exchange.handle_send_blocked();
        let Some(seat) = slot.seat else { return };
        let mut shared = self.shared.borrow_mut();
        if let Some(link) = shared.link(seat.at)
            && !std::mem::replace(&mut slot.queued, true)
        {
            link.queue.push_back(key.index);
        }
        shared.set_due(seat.at);
    }

    /// Leaves the shared connection. What the application has of the request is aborted.
    pub(super) fn leave(&self, slot: &mut Slot, now: Duration) {
        let Some(seat) = slot.seat.take() else { return };
        let mut shared = self.shared.borrow_mut();
        let Some(link) = shared.link(seat.at) else { return };
        let index = link.exchanges.remove(&seat.id);
        if std::mem::take(&mut slot.queued) {
            link.queue.retain(|queued| Some(*queued) != index);
        }
        self.engine.note_end(slot.attempt.balancer, slot.attempt.member);
        let scratch = &*slot.lease;
        let outgoing = &scratch.exchange.outgoing;
        // An exchange that begins again has forgotten what it had sent.
        let knows = scratch.exchange.id() == seat.id;
        let partial = link.partial.take_if(|id| *id == seat.id).is_some();
        if partial && knows {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outgoing.slices(scratch.body.chunk(&slot.request_body), &mut slices);
            // Before all that others have left: it ends a record that was begun.
            let rest = slices[..count].iter().flat_map(|slice| slice.iter().copied());
            link.outbox.splice(..0, rest);
        }
        link.broken |= partial && !knows;
        if link.link.connection.is_open(seat.id) {
            if knows && outgoing.accepted() > 0 {
                let abort = Header::new(RecordType::ABORT_REQUEST, seat.id, 0).encode();
                link.outbox.extend_from_slice(&abort);
                link.link.connection.set_aside(seat.id);
            } else {
                link.link.connection.withdraw(seat.id);
            }
        }
        link.closing |= link.broken || link.link.connection.is_tainted();
        if link.exchanges.is_empty() && !link.busy {
            drop(shared);
            return self.retire(seat.at, now);
        }
        shared.set_due(seat.at);
    }

    /// The last exchange has left: the connection becomes idle, or is closed.
    fn retire(&self, at: usize, now: Duration) {
        let Some(link) = self.shared.borrow_mut().links.get_mut(at).and_then(Option::take) else { return };
        let SharedLink { place, link, permit, socket, outbox, closing, .. } = *link;
        if !closing && outbox.is_empty() && link.connection.is_clean() {
            return self.keep(Some(socket), place, link, permit, now);
        }
        // Whatever does not go at once is told by the end of the connection.
        let _ = link.stream.send(&[IoSlice::new(&outbox)]);
        self.drop_link(place, link, permit, socket);
    }

    fn drop_link(&self, place: usize, link: Box<Link>, permit: Permit, socket: u64) {
        self.unwatch(socket);
        drop(link);
        self.engine.pools()[place].discard(permit);
    }

    // Receiving.

    /// The socket of a shared connection is ready.
    pub(super) fn shared_ready(&self, at: usize, events: u32) {
        if events & WRITABLE != 0 {
            self.shared.borrow_mut().set_due(at);
        }
        if events & (READABLE | HANGUP) == 0 {
            return;
        }
        let mut buffer = self.buffer.take();
        if buffer.is_empty() {
            buffer = vec![0; RECEIVE].into_boxed_slice();
        }
        let mut left = BUDGET;
        while left > 0 {
            left -= 1;
            let received = {
                let mut shared = self.shared.borrow_mut();
                let Some(link) = shared.link(at) else { break };
                link.busy = true;
                link.link.stream.receive(&mut buffer, true)
            };
            let now = clock::now();
            match received {
                Ok(0) => {
                    self.lose(at, |exchange| exchange.handle_closed(now, Closed::End, 0));
                    break;
                }
                Ok(count) => {
                    let drained = count < buffer.len() && events & HANGUP == 0;
                    if !self.hand_out(at, &buffer[..count], now) || drained {
                        break;
                    }
                    if left == 0 && self.edge {
                        self.come_back(at, events);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    self.lose(at, |exchange| exchange.handle_closed(now, Closed::Reset, errno));
                    break;
                }
            }
        }
        self.buffer.set(buffer);
        let mut shared = self.shared.borrow_mut();
        let Some(link) = shared.link(at) else { return };
        link.busy = false;
        if link.exchanges.is_empty() {
            drop(shared);
            self.retire(at, clock::now());
        }
    }

    /// Looks at a connection again in the next turn: its host does not tell again that it is ready.
    fn come_back(&self, at: usize, events: u32) {
        let mut shared = self.shared.borrow_mut();
        if let Some(socket) = shared.link(at).map(|link| link.socket) {
            shared.unread.push((socket, events & !WRITABLE));
        }
    }

    /// Hands what came to its exchanges. Whether the connection is still there.
    fn hand_out(&self, at: usize, mut bytes: &[u8], now: Duration) -> bool {
        loop {
            let (event, index) = {
                let mut shared = self.shared.borrow_mut();
                let Some(link) = shared.link(at) else { return false };
                match link.link.connection.next(&mut bytes) {
                    Ok(None) => return true,
                    Ok(Some(event)) => {
                        let index = link.exchanges.get(&id_of(&event)).copied();
                        (event, index)
                    }
                    Err(violation) => {
                        drop(shared);
                        self.lose(at, |exchange| exchange.handle_violation(now, violation));
                        return false;
                    }
                }
            };
            let refused = matches!(
                event,
                Event::End { end, .. } if end.protocol_status == ProtocolStatus::CantMultiplex
            );
            if refused {
                self.refuse(at);
            }
            if let Some((key, mut slot)) = index.and_then(|index| self.take_if(index, |_| true)) {
                self.tell(&mut slot, event, now);
                self.run(key, slot);
            }
            if refused {
                self.abandon_unfinished(at, now);
            }
        }
    }

    /// The connection is of no use any more. Each of its exchanges is told, and judged for itself.
    pub(super) fn lose(&self, at: usize, tell: impl Fn(&mut Exchange)) {
        let Some(link) = self.shared.borrow_mut().links.get_mut(at).and_then(Option::take) else { return };
        let SharedLink { place, link, permit, socket, exchanges, .. } = *link;
        self.drop_link(place, link, permit, socket);
        // All let go before the first is told: what is told may make another connection in this place.
        let taken: Vec<(Key, Box<Slot>)> = exchanges
            .into_iter()
            .filter_map(|(id, index)| self.take_if(index, |slot| slot.seat == Some(Seat { at, id })))
            .map(|(key, mut slot)| {
                self.let_go(&mut slot);
                (key, slot)
            })
            .collect();
        for (key, mut slot) in taken {
            tell(&mut slot.lease.exchange);
            self.run(key, slot);
        }
    }

    /// The exchange has no place on its connection any more.
    fn let_go(&self, slot: &mut Slot) {
        slot.seat = None;
        slot.queued = false;
        self.engine.note_end(slot.attempt.balancer, slot.attempt.member);
    }

    /// The application refuses to multiplex: it is not asked to again.
    fn refuse(&self, at: usize) {
        let mut shared = self.shared.borrow_mut();
        let Some(link) = shared.link(at) else { return };
        link.closing = true;
        let pool = &self.engine.pools()[link.place];
        if pool.refuse_multiplex() {
            let text = format!(
                "pool {}: the application refuses to multiplex, so each request gets a connection of its own; set multiplex=off",
                pool.address()
            );
            self.engine.log.write(Level::Warning, &text);
        }
    }

    /// Of exchanges whose request was not whole yet, real applications make something else: they are not
    /// believed, and begin again if they may.
    fn abandon_unfinished(&self, at: usize, now: Duration) {
        let exchanges = {
            let mut shared = self.shared.borrow_mut();
            let Some(link) = shared.link(at) else { return };
            link.queue.clear();
            link.outbox.clear();
            link.exchanges.clone()
        };
        for (id, index) in exchanges {
            let seat = Some(Seat { at, id });
            let unfinished = |slot: &Slot| slot.seat == seat && !slot.lease.exchange.outgoing.is_complete();
            let Some((key, mut slot)) = self.take_if(index, unfinished) else { continue };
            if let Some(link) = self.shared.borrow_mut().link(at) {
                link.exchanges.remove(&id);
                link.link.connection.set_aside(id);
            }
            self.let_go(&mut slot);
            slot.lease.exchange.handle_closed(now, Closed::Reset, 0);
            self.run(key, slot);
        }
    }
}
