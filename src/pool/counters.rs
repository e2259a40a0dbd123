//! What a pool has done, counted since its process began.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_utils::CachePadded;

/// A number that only grows. Padded: two threads that count different things do not meet.
#[derive(Debug, Default)]
pub struct Counter(CachePadded<AtomicU64>);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The number by now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one pool.
#[derive(Debug, Default)]
pub struct Counters {
    /// Exchanges that were sent to the pool.
    pub requests: Counter,
    /// Exchanges that left it again; what is more of the former is under way.
    pub ended: Counter,
    /// Connections made.
    pub connects: Counter,
    /// Exchanges that got a kept connection.
    pub reuses: Counter,
    /// Attempts that were repeated, here or elsewhere.
    pub retries: Counter,
    /// Exchanges that failed for good.
    pub failures: Counter,
}
