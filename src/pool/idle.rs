//! The idle connections of a pool: the one used last is taken first.
//!
//! Last in, first out keeps few connections warm and lets the rest run into their idle timeout, and
//! so give their workers back to the application. It lies on the path of every exchange, hence no
//! lock and no allocation: two Treiber stacks of slot numbers (the full ones and the free ones), each
//! head one word of slot number and tag, where the tag counts changes so that a head which was taken
//! and put back in between (ABA) is not mistaken for an untouched one.
//!
//! Expiry takes values straight out of their slots and leaves the slot hollow where it is, at the
//! bottom of the full stack; whoever pops it passes over it. Hollow slots are all gone each time the
//! stack runs empty, which is what precedes a new connection, so they take no room from one.
//!
//! Heads are read and changed in sequentially consistent order: that the stack was empty is half of
//! the argument why no waiter misses a connection (see [`super::queue`]).

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;

/// The end of a list; every other link is a slot's index plus one.
const END: u32 = 0;

/// `since` of a slot that holds nothing.
const VACANT: u64 = u64::MAX;

struct Slot<T> {
    value: AtomicCell<Option<Box<T>>>,
    /// When the value came, or `VACANT`: for `take_expired` and `len` to look without taking.
    since: AtomicU64,
    next: AtomicU32,
}

/// The head of a list of slots: tag in the upper half, link in the lower.
struct Head(CachePadded<AtomicU64>);

impl Head {
    fn new(link: u32) -> Self {
        Self(CachePadded::new(AtomicU64::new(u64::from(link))))
    }

    fn successor(head: u64, link: u32) -> u64 {
        let tag = (head >> 32) as u32;
        u64::from(tag.wrapping_add(1)) << 32 | u64::from(link)
    }

    fn push<T>(&self, slots: &[Slot<T>], link: u32) {
        let Some(slot) = slots.get(link.wrapping_sub(1) as usize) else { return };
        let mut head = self.0.load(Relaxed);
        loop {
            slot.next.store(head as u32, Relaxed);
            match self.0.compare_exchange_weak(head, Self::successor(head, link), SeqCst, Relaxed) {
                Ok(_) => return,
                Err(found) => head = found,
            }
        }
    }

    fn pop<T>(&self, slots: &[Slot<T>]) -> Option<u32> {
        let mut head = self.0.load(SeqCst);
        loop {
            let link = head as u32;
            if link == END {
                return None;
            }
            // A stale `next` is read only if the head has changed since, and then the tag differs.
            let next = slots.get(link as usize - 1)?.next.load(Relaxed);
            match self.0.compare_exchange_weak(head, Self::successor(head, next), SeqCst, SeqCst) {
                Ok(_) => return Some(link),
                Err(found) => head = found,
            }
        }
    }
}

/// A bounded stack of idle connections, for any number of threads.
pub struct IdleStack<T> {
    slots: Box<[Slot<T>]>,
    full: Head,
    free: Head,
}

impl<T> IdleStack<T> {
    /// An empty stack for at most `capacity` values.
    pub fn new(capacity: u32) -> Self {
        let last = capacity;
        let slot = |index: u32| Slot {
            value: AtomicCell::new(None),
            since: AtomicU64::new(VACANT),
            // Slot 0 is first in the free list, then 1 (link 2), and so on.
            next: AtomicU32::new(if index + 1 == last { END } else { index + 2 }),
        };
        Self {
            slots: (0..capacity).map(slot).collect(),
            full: Head::new(END),
            free: Head::new(if capacity == 0 { END } else { 1 }),
        }
    }

    /// Puts a value on top, idle since `now`; gives it back when the stack is full.
    pub fn push(&self, value: Box<T>, now: u64) -> Result<(), Box<T>> {
        let Some(link) = self.free.pop(&self.slots) else { return Err(value) };
        let Some(slot) = self.slots.get(link as usize - 1) else { return Err(value) };
        slot.since.store(now.min(VACANT - 1), Relaxed);
        slot.value.store(Some(value));
        self.full.push(&self.slots, link);
        Ok(())
    }

    /// Takes the value that came last, with the time when it came.
    pub fn pop(&self) -> Option<(Box<T>, u64)> {
        loop {
            let link = self.full.pop(&self.slots)?;
            let slot = self.slots.get(link as usize - 1)?;
            let since = slot.since.load(Relaxed);
            let value = slot.value.take();
            slot.since.store(VACANT, Relaxed);
            self.free.push(&self.slots, link);
            if let Some(value) = value {
                return Some((value, since));
            }
        }
    }

    /// Takes every value that has been idle since before `before` and gives it to `sink`.
    ///
    /// A value that comes into a slot in the very moment its old one is looked at can be taken in its
    /// stead: it is then given to `sink` like an old one, since only what is closed for good (and so
    /// frees its permit) can be hidden from waiters for a moment.
    pub fn take_expired(&self, before: u64, sink: &mut impl FnMut(Box<T>)) {
        for slot in &self.slots {
            let since = slot.since.load(Relaxed);
            if since < before
                && let Some(value) = slot.value.take()
            {
                // Hollow now, unless the slot was filled again meanwhile with another time.
                let _ = slot.since.compare_exchange(since, VACANT, Relaxed, Relaxed);
                sink(value);
            }
        }
    }

    /// How many values there are; while others push and pop, about so many.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.since.load(Relaxed) != VACANT).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.full.0.load(SeqCst) as u32 == END
    }
}

impl<T> std::fmt::Debug for IdleStack<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (len, capacity) = (self.len(), self.slots.len());
        f.debug_struct("IdleStack").field("len", &len).field("capacity", &capacity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    fn popped(stack: &IdleStack<u32>) -> Option<u32> {
        stack.pop().map(|(value, _)| *value)
    }

    fn expired(stack: &IdleStack<u32>, before: u64) -> Vec<u32> {
        let mut taken = Vec::new();
        stack.take_expired(before, &mut |value| taken.push(*value));
        taken.sort_unstable();
        taken
    }

    /// F12: the connection used last is taken first, with the time when it came.
    #[test]
    fn last_in_first_out() {
        let stack = IdleStack::new(4);
        assert!(stack.is_empty() && stack.pop().is_none());
        for value in 0..4u32 {
            stack.push(Box::new(value), 100 + u64::from(value)).unwrap();
        }
        assert_eq!(stack.len(), 4);
        assert_eq!(*stack.push(Box::new(9), 104).unwrap_err(), 9);
        for value in (0..4u32).rev() {
            let (found, since) = stack.pop().unwrap();
            assert_eq!((*found, since), (value, 100 + u64::from(value)));
        }
        assert!(stack.is_empty());
        assert!(IdleStack::new(0).push(Box::new(1), 0).is_err());
    }

    /// P13: what was idle too long goes, the rest stays in its order, and no room is lost by it.
    #[test]
    fn expiry_takes_the_old_and_leaves_the_rest() {
        let stack = IdleStack::new(4);
        for round in 0..3u64 {
            for value in 0..4 {
                stack.push(Box::new(value), round * 100 + u64::from(value)).unwrap();
            }
            assert_eq!(expired(&stack, round * 100), []);
            assert_eq!(expired(&stack, round * 100 + 2), [0, 1]);
            assert_eq!(expired(&stack, round * 100 + 2), []);
            assert_eq!(stack.len(), 2);
            assert_eq!([popped(&stack), popped(&stack), popped(&stack)], [Some(3), Some(2), None]);
        }
    }

    proptest! {
        /// F12: any sequence of pushes, pops and expiries is that of a plain vector, but for the
        /// room that hollow slots hold until the stack runs empty.
        #[test]
        fn behaves_like_a_vector(steps in prop::collection::vec(0u8..5, 0..60)) {
            let stack = IdleStack::new(5);
            let mut model: Vec<(u32, u64)> = Vec::new();
            for (now, step) in steps.into_iter().enumerate() {
                let now = now as u64;
                match step {
                    0 | 1 => match stack.push(Box::new(now as u32), now) {
                        Ok(()) => model.push((now as u32, now)),
                        Err(value) => prop_assert_eq!(*value, now as u32),
                    },
                    2 | 3 => {
                        let expected = model.pop();
                        prop_assert_eq!(stack.pop().map(|(value, since)| (*value, since)), expected);
                    }
                    _ => {
                        let before = now.saturating_sub(4);
                        let old = model.iter().filter(|(_, since)| *since < before).count();
                        prop_assert_eq!(expired(&stack, before).len(), old);
                        model.retain(|(_, since)| *since >= before);
                    }
                }
                prop_assert_eq!(stack.len(), model.len());
            }
            while stack.pop().is_some() {}
            for value in 0..5 {
                prop_assert!(stack.push(Box::new(value), 0).is_ok());
            }
        }
    }

    /// F12: with many threads no connection is lost, and none is had by two at once.
    #[test]
    fn threads_neither_lose_nor_double() {
        const THREADS: usize = 4;
        const CAPACITY: u32 = 3;
        const ROUNDS: u64 = 50_000;
        let alive = AtomicUsize::new(0);
        let start = Barrier::new(THREADS);
        struct Connection<'a> {
            alive: &'a AtomicUsize,
            in_use: bool,
        }
        impl Drop for Connection<'_> {
            fn drop(&mut self) {
                self.alive.fetch_sub(1, SeqCst);
            }
        }
        let stack = IdleStack::new(CAPACITY);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (stack, alive, start) = (&stack, &alive, &start);
                scope.spawn(move || {
                    start.wait();
                    for now in 0..ROUNDS {
                        let mut connection = stack.pop().map_or_else(
                            || {
                                alive.fetch_add(1, SeqCst);
                                Box::new(Connection { alive, in_use: false })
                            },
                            |(connection, _)| connection,
                        );
                        assert!(!std::mem::replace(&mut connection.in_use, true));
                        connection.in_use = false;
                        let _ = stack.push(connection, now);
                        if thread == 0 && now % 16 == 0 {
                            stack.take_expired(now.saturating_sub(8), &mut drop);
                        }
                    }
                });
            }
        });
        let mut left = 0;
        while stack.pop().is_some() {
            left += 1;
        }
        assert!(left <= CAPACITY);
        assert_eq!(alive.load(SeqCst), 0);
        assert_eq!(stack.len(), 0);
    }
}
