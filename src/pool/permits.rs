//! The permits of a pool: the right to hold one connection each.
//!
//! Without a limit nothing is counted, so that the common pool pays nothing for it. A permit is a
//! token of no size that cannot be copied: whoever drops a connection is told by the compiler that
//! there is a permit to give back.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crossbeam_utils::CachePadded;

/// The right to hold one connection to the pool that granted it. It must go back to that pool, by
/// itself or with its connection.
#[must_use = "a permit must go back to its pool"]
#[derive(Debug, PartialEq, Eq)]
pub struct Permit(());

impl Permit {
    /// The permit of a connection that was laid aside with it.
    pub(super) fn of_idle() -> Self {
        Self(())
    }

    /// The permit stays with a connection that is laid aside.
    pub(super) fn rest(self) {}
}

/// The account of a pool's permits.
#[derive(Debug)]
pub struct Permits {
    limit: u32,
    used: CachePadded<AtomicU32>,
}

impl Permits {
    /// At most `limit` permits at once; 0 is no limit.
    pub fn new(limit: u32) -> Self {
        Self { limit, used: CachePadded::new(AtomicU32::new(0)) }
    }

    /// Whether permits are counted.
    pub fn is_limited(&self) -> bool {
        self.limit > 0
    }

    /// A permit, unless all are in use.
    pub fn take(&self) -> Option<Permit> {
        if !self.is_limited() {
            return Some(Permit(()));
        }
        // Sequentially consistent: that none was left is half of the argument in `queue`.
        let more = |used: u32| (used < self.limit).then(|| used + 1);
        self.used.fetch_update(SeqCst, SeqCst, more).ok().map(|_| Permit(()))
    }

    /// Takes a permit back.
    pub fn give_back(&self, permit: Permit) {
        let Permit(()) = permit;
        if self.is_limited() {
            self.used.fetch_sub(1, SeqCst);
        }
    }

    /// How many are in use, those of idle connections included; 0 where nothing is counted.
    pub fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F10: no more permits than the limit, and one given back can be taken again.
    #[test]
    fn never_more_than_the_limit() {
        for limit in 1..5 {
            let permits = Permits::new(limit);
            let mut held: Vec<_> = (0..limit).map(|_| permits.take().unwrap()).collect();
            for _ in 0..3 {
                assert_eq!(permits.take(), None);
                assert_eq!(permits.used(), limit);
                permits.give_back(held.pop().unwrap());
                held.push(permits.take().unwrap());
            }
            held.into_iter().for_each(|permit| permits.give_back(permit));
            assert_eq!(permits.used(), 0);
        }
    }

    /// F10: without a limit every request gets a permit and nothing is counted.
    #[test]
    fn no_limit_counts_nothing() {
        let permits = Permits::new(0);
        for _ in 0..100 {
            permits.take().unwrap().rest();
        }
        assert_eq!(permits.used(), 0);
        permits.give_back(permits.take().unwrap());
        assert_eq!(permits.used(), 0);
    }
}
