//! What an exchange works with and gives back: its state machine, its buffers. Reused, so that an
//! exchange allocates nothing in steady state, and kept apart from connections, so that an idle
//! connection holds no buffer.

use super::body::BodyReader;
use crate::cgi::{Environment, StderrLines};
use crate::exchange::Exchange;
use crossbeam_queue::ArrayQueue;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Bytes of the receive buffer: larger ones gain nothing, smaller ones cost system calls.
pub const RECEIVE: usize = 64 << 10;
/// Spare ones that are kept.
const SPARE: usize = 128;

/// The working state of one exchange.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The state machine.
    pub exchange: Exchange,
    /// The params.
    pub environment: Environment,
    /// The request body.
    pub body: BodyReader,
    /// The application's error messages.
    pub stderr: StderrLines,
    /// What was received last; empty until [`receive_room`](Self::receive_room) is asked for.
    pub received: Box<[u8]>,
    /// Room for a piece of a body on its way to the spool.
    pub spare: Vec<u8>,
}

impl Scratch {
    /// Where bytes are received.
    pub fn receive_room(&mut self) -> &mut [u8] {
        if self.received.is_empty() {
            self.received = vec![0; RECEIVE].into_boxed_slice();
        }
        &mut self.received
    }
}

/// Spare working states, shared by all threads without a lock.
#[derive(Clone, Debug)]
pub struct Scratches(Arc<ArrayQueue<Box<Scratch>>>);

impl Default for Scratches {
    fn default() -> Self {
        Self(Arc::new(ArrayQueue::new(SPARE)))
    }
}

impl Scratches {
    /// A spare one, or a new one.
    pub fn take(&self) -> Lease {
        Lease { scratch: Some(self.0.pop().unwrap_or_default()), spare: Arc::clone(&self.0) }
    }
}

/// A working state in use; it goes back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    /// Always there, until the drop.
    scratch: Option<Box<Scratch>>,
    spare: Arc<ArrayQueue<Box<Scratch>>>,
}

impl Deref for Lease {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        match &self.scratch {
            Some(scratch) => scratch,
            None => unreachable!("a lease is used after its drop"),
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Scratch {
        match &mut self.scratch {
            Some(scratch) => scratch,
            None => unreachable!("a lease is used after its drop"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut scratch) = self.scratch.take() {
            scratch.body.spool.clear();
            let _ = self.spare.push(scratch);
        }
    }
}
