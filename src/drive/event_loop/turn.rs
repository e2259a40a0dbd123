//! The end of a turn of the loop: what has come to be sent on shared connections leaves, that of all
//! exchanges in one send where it fits.

use super::{EventLoop, Key, READABLE, Slot, WRITABLE};
use crate::exchange::{Closed, Phase, SLICES};
use crate::os::clock;
use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

/// The most slices of one send.
const SLICES_AT_ONCE: usize = 1000;

impl EventLoop {
    /// Sends what has come to be sent, and wakes who waited for a connection to share.
    pub(super) fn end_turn(&self) {
        loop {
            let (woken, due) = {
                let shared = &mut *self.shared.borrow_mut();
                (std::mem::take(&mut shared.woken), std::mem::take(&mut shared.due))
            };
            if woken.is_empty() && due.is_empty() {
                return;
            }
            for key in woken {
                let Some((key, mut slot)) = self.take(key) else { continue };
                if slot.lease.exchange.phase() == Phase::Queue {
                    let reuse = slot.reuse;
                    self.acquire(key, &mut slot, clock::now(), reuse);
                }
                self.run(key, slot);
            }
            due.into_iter().for_each(|at| self.flush(at));
        }
    }

    /// Sends what there is to be sent on a connection, as far as its socket takes it.
    fn flush(&self, at: usize) {
        loop {
            let now = clock::now();
            let indices: Vec<usize> = {
                let mut shared = self.shared.borrow_mut();
                let Some(link) = shared.link(at) else { return };
                link.due = false;
                if link.broken {
                    drop(shared);
                    return self.lose(at, |exchange| exchange.handle_closed(now, Closed::Reset, 0));
                }
                if link.queue.is_empty() && link.outbox.is_empty() {
                    let socket = link.socket;
                    drop(shared);
                    return self.watch(socket, READABLE);
                }
                link.queue.iter().copied().take(SLICES_AT_ONCE / 3).collect()
            };
            let count = indices.len();
            let mut batch: Vec<(Key, Box<Slot>)> =
                indices.into_iter().filter_map(|index| self.take_if(index, |slot| slot.queued)).collect();
            let outcome = self.send_batch(at, &mut batch, now);
            let (pending, done): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|(_, slot)| outcome.is_ok() && slot.lease.exchange.outgoing.is_pending());
            let socket = {
                let mut shared = self.shared.borrow_mut();
                let Some(link) = shared.link(at) else { return };
                link.queue.drain(..count.min(link.queue.len()));
                pending.iter().rev().for_each(|(key, _)| link.queue.push_front(key.index));
                link.socket
            };
            // Those that wait first: what the others do may concern them.
            for (key, mut slot) in pending {
                slot.lease.exchange.handle_send_blocked();
                self.put_back(key, slot);
            }
            match outcome {
                Ok(true) => {}
                Ok(false) => self.watch(socket, READABLE | WRITABLE),
                Err(_) => self.watch(socket, READABLE),
            }
            for (key, mut slot) in done {
                slot.queued = false;
                if let Err(errno) = outcome {
                    slot.lease.exchange.handle_send_failed(now, errno);
                }
                self.run(key, slot);
            }
            if !matches!(outcome, Ok(true)) {
                return;
            }
        }
    }

    /// Sends once, of as many exchanges as fit, and tells them. Whether the socket took all of that; an
    /// error is its number.
    fn send_batch(&self, at: usize, batch: &mut [(Key, Box<Slot>)], now: Duration) -> Result<bool, i32> {
        let mut shared = self.shared.borrow_mut();
        let Some(link) = shared.link(at) else { return Ok(true) };
        // A record that was begun is ended first; else what is left of those that are over.
        let first = usize::from(link.partial.is_some());
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(64);
        let mut lengths = Vec::with_capacity(batch.len());
        for (number, (_, slot)) in batch.iter().enumerate() {
            if number == first && !link.outbox.is_empty() {
                slices.push(IoSlice::new(&link.outbox));
            }
            let mut own = [IoSlice::new(&[]); SLICES];
            let count =
                slot.lease.exchange.outgoing.slices(slot.lease.body.chunk(&slot.request_body), &mut own);
            if slices.len() + count > SLICES_AT_ONCE {
                break;
            }
            slices.extend_from_slice(&own[..count]);
            lengths.push(own[..count].iter().map(|slice| slice.len()).sum::<usize>());
        }
        if batch.len() <= first && !link.outbox.is_empty() {
            slices.push(IoSlice::new(&link.outbox));
        }
        let mut left = match link.link.stream.send(&slices) {
            Ok(sent) => sent,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => {
                link.closing = true;
                link.outbox.clear();
                return Err(error.raw_os_error().unwrap_or(0));
            }
        };
        let all = left == slices.iter().map(|slice| slice.len()).sum::<usize>();
        link.partial = None;
        let drain = |outbox: &mut Vec<u8>, left: &mut usize| {
            let count = outbox.len().min(*left);
            outbox.drain(..count);
            *left -= count;
        };
        for (number, ((_, slot), length)) in batch.iter_mut().zip(lengths).enumerate() {
            if number == first {
                drain(&mut link.outbox, &mut left);
            }
            let count = length.min(left);
            left -= count;
            let exchange = &mut slot.lease.exchange;
            if count > 0 {
                exchange.handle_ready(false, true);
                exchange.handle_sent(now, count, &mut link.link.connection);
            }
            let outgoing = &exchange.outgoing;
            if outgoing.is_pending() && outgoing.accepted() > 0 && !outgoing.at_boundary() {
                link.partial = Some(exchange.id());
            }
        }
        drain(&mut link.outbox, &mut left);
        Ok(all)
    }
}
