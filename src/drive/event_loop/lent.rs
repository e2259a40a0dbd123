//! Body bytes that a host lends for one call: they go to the socket from where the host has them,
//! and only what it does not take at once is copied.

use super::Slot;
use crate::drive::body::PIECE;
use std::time::Duration;

/// What is left of the bytes of one call.
#[derive(Debug, Default)]
pub struct Lent<'a> {
    rest: &'a [u8],
    /// The chunk that the exchange has taken and that is not laid aside.
    chunk: Option<&'a [u8]>,
    /// Nothing of the body comes after them.
    end: bool,
}

impl<'a> Lent<'a> {
    pub fn new(bytes: &'a [u8], end: bool) -> Self {
        Self { rest: bytes, chunk: None, end }
    }

    /// What the exchange has not taken.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether they were the last of the body and are all taken.
    pub fn is_end(&self) -> bool {
        self.end && self.rest.is_empty()
    }

    /// The bytes to send from, if they are still the host's.
    pub fn chunk(&self) -> Option<&'a [u8]> {
        self.chunk
    }

    /// Has the exchange take the next of them. Whether there was one that it wants.
    pub fn offer(&mut self, slot: &mut Slot, now: Duration) -> bool {
        let exchange = &mut slot.lease.exchange;
        if self.rest.is_empty() || !exchange.wants_body() {
            return false;
        }
        slot.body_wanted = false;
        let taken = exchange.handle_body(now, self.rest.len().min(PIECE));
        let (chunk, rest) = self.rest.split_at(taken);
        (self.chunk, self.rest) = (Some(chunk), rest);
        true
    }

    /// Copies what the exchange has taken and not sent: the host's bytes are lent no longer than its call.
    pub fn lay_aside(&mut self, slot: &mut Slot) {
        let Some(chunk) = self.chunk.take() else { return };
        if slot.lease.exchange.outgoing.chunk() == 0 {
            return;
        }
        let body = &mut slot.lease.body;
        body.host_buffer(chunk.len()).copy_from_slice(chunk);
        body.host_filled(chunk.len());
    }
}
