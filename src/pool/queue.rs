//! The queue before a pool: who waits for a connection, first come, first served.
//!
//! Its lock is taken only where somebody has to wait, and waiting costs a wake-up, which is a
//! thousand times dearer. What everybody pays is one load of the number of waiters.
//!
//! **No wake-up is lost.** Whoever frees something (1) makes it available, then (2) looks for waiters;
//! whoever waits (1) counts itself, then (2) looks for something available. All four are
//! sequentially consistent, so at least one of the two sees the other, and both then do the same
//! under the lock: give what is available to the oldest waiter. **Nothing overtakes:** a newcomer that
//! sees a waiter queues behind it. **No grant is lost:** granting and cancelling exclude each other by
//! the lock, and whoever cancels too late is handed its grant.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use crossbeam_utils::sync::Unparker;

/// How a waiter is told that it was granted something.
enum Wake {
    Thread(Unparker),
    Notify(Box<dyn Fn() + Send + Sync>),
}

#[derive(Debug)]
enum State<G> {
    Out,
    Waiting,
    Granted(G),
}

/// One who waits. Made once for a thread or an exchange and used again and again.
///
/// A waiter that is queued must be cancelled before it is let go, or a grant can go with it.
pub struct Waiter<G> {
    state: Mutex<State<G>>,
    wake: Wake,
}

impl<G> Waiter<G> {
    /// A thread that parks while it waits.
    pub fn thread(unparker: Unparker) -> Arc<Self> {
        Self::new(Wake::Thread(unparker))
    }

    /// An event loop, told by a call from any thread, perhaps out of `enqueue` itself: it may only
    /// make a note and wake the loop.
    pub fn notify(notify: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Self::new(Wake::Notify(notify))
    }

    fn new(wake: Wake) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Out), wake })
    }

    /// What was granted, if it was. To be looked at after `enqueue` and after every wake-up.
    pub fn take(&self) -> Option<G> {
        let mut state = locked(&self.state);
        match std::mem::replace(&mut *state, State::Out) {
            State::Granted(grant) => Some(grant),
            other => {
                *state = other;
                None
            }
        }
    }

    fn wake(&self) {
        match &self.wake {
            Wake::Thread(unparker) => unparker.unpark(),
            Wake::Notify(notify) => notify(),
        }
    }
}

impl<G> fmt::Debug for Waiter<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

/// The queue is as long as it may be (or the waiter stands in it already).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// A bounded first-in, first-out queue of waiters; `G` is what they are granted.
pub struct Queue<G> {
    waiters: Mutex<VecDeque<Arc<Waiter<G>>>>,
    /// How many there are: all that anybody looks at while nobody waits.
    count: CachePadded<AtomicUsize>,
    limit: usize,
}

impl<G> Queue<G> {
    /// A queue for at most `limit` waiters.
    pub fn new(limit: usize) -> Self {
        Self { waiters: Mutex::default(), count: CachePadded::new(AtomicUsize::new(0)), limit }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Puts a waiter at the end, and gives out whatever `supply` has meanwhile: the waiter may have
    /// its grant when this returns.
    pub fn enqueue(
        &self,
        waiter: &Arc<Waiter<G>>,
        supply: impl FnMut() -> Option<G>,
    ) -> Result<(), QueueFull> {
        {
            let mut waiters = locked(&self.waiters);
            let mut state = locked(&waiter.state);
            if waiters.len() >= self.limit || !matches!(*state, State::Out) {
                return Err(QueueFull);
            }
            *state = State::Waiting;
            waiters.push_back(Arc::clone(waiter));
            self.count.store(waiters.len(), SeqCst);
        }
        self.serve(supply);
        Ok(())
    }

    /// Gives out what `supply` has, oldest waiter first, until one of the two is exhausted. To be
    /// called by whoever has made something available, when somebody waits.
    pub fn serve(&self, mut supply: impl FnMut() -> Option<G>) {
        loop {
            let mut waiters = locked(&self.waiters);
            let Some(oldest) = waiters.pop_front() else { return };
            let Some(grant) = supply() else {
                waiters.push_front(oldest);
                return;
            };
            self.grant(waiters, &oldest, grant);
        }
    }

    /// Hands a grant over to the oldest waiter, or gives it back when nobody waits.
    pub fn hand_over(&self, grant: G) -> Result<(), G> {
        if self.is_empty() {
            return Err(grant);
        }
        let mut waiters = locked(&self.waiters);
        let Some(oldest) = waiters.pop_front() else { return Err(grant) };
        self.grant(waiters, &oldest, grant);
        Ok(())
    }

    /// Grants to a waiter that has just left the queue, and wakes it without holding the lock.
    fn grant(&self, waiters: MutexGuard<'_, VecDeque<Arc<Waiter<G>>>>, oldest: &Waiter<G>, grant: G) {
        self.count.store(waiters.len(), SeqCst);
        *locked(&oldest.state) = State::Granted(grant);
        drop(waiters);
        oldest.wake();
    }

    /// Ends a wait. A grant that came before it is returned: it is the caller's to use or give back.
    pub fn cancel(&self, waiter: &Arc<Waiter<G>>) -> Option<G> {
        let mut waiters = locked(&self.waiters);
        let mut state = locked(&waiter.state);
        match std::mem::replace(&mut *state, State::Out) {
            State::Out => None,
            State::Granted(grant) => Some(grant),
            State::Waiting => {
                // Who gives up is most often the oldest.
                if let Some(index) = waiters.iter().position(|other| Arc::ptr_eq(other, waiter)) {
                    waiters.remove(index);
                }
                self.count.store(waiters.len(), SeqCst);
                None
            }
        }
    }
}

impl<G> fmt::Debug for Queue<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).field("limit", &self.limit).finish()
    }
}

/// No code that can panic runs under these locks; and if it did, their state would still be whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    fn waiter() -> (Arc<Waiter<u32>>, Arc<AtomicU32>) {
        let woken = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&woken);
        let notify = move || {
            count.fetch_add(1, Relaxed);
        };
        (Waiter::notify(Box::new(notify)), woken)
    }

    fn waiters(count: usize) -> Vec<Arc<Waiter<u32>>> {
        (0..count).map(|_| waiter().0).collect()
    }

    /// F10: grants go out in the order of arrival, and each wakes its waiter once.
    #[test]
    fn first_come_first_served() {
        let queue = Queue::new(8);
        let all: Vec<_> = (0..5).map(|_| waiter()).collect();
        for (waiter, _) in &all {
            queue.enqueue(waiter, || None).unwrap();
        }
        for grant in 0..5 {
            queue.hand_over(grant).unwrap();
            for (index, (waiter, woken)) in all.iter().enumerate() {
                assert_eq!(woken.load(Relaxed), u32::from(index as u32 <= grant));
                assert_eq!(waiter.take(), (index as u32 == grant).then_some(grant));
            }
        }
        assert_eq!(queue.hand_over(9), Err(9));
    }

    /// F10: the queue is bounded, refuses at its bound, and has room again when one leaves.
    #[test]
    fn bounded_and_refuses_when_full() {
        for limit in 0..4 {
            let queue = Queue::new(limit);
            let all = waiters(limit + 1);
            for waiter in &all[..limit] {
                queue.enqueue(waiter, || None).unwrap();
            }
            assert_eq!(queue.enqueue(&all[limit], || None), Err(QueueFull));
            assert_eq!(queue.len(), limit);
            if limit > 0 {
                assert_eq!(queue.cancel(&all[limit / 2]), None);
                queue.enqueue(&all[limit], || None).unwrap();
            }
        }
    }

    /// F10: what came free between the refusal and the enqueueing is found by the enqueueing itself.
    #[test]
    fn supply_is_looked_at_again_after_enqueueing() {
        let queue = Queue::new(8);
        let all = waiters(2);
        let mut supply = vec![7];
        queue.enqueue(&all[0], || supply.pop()).unwrap();
        assert_eq!(all[0].take(), Some(7));
        assert!(queue.is_empty());
        queue.enqueue(&all[0], || None).unwrap();
        // What comes free now is for the one that waited before.
        let mut supply = vec![8];
        queue.enqueue(&all[1], || supply.pop()).unwrap();
        assert_eq!((all[0].take(), all[1].take()), (Some(8), None));
        assert_eq!(queue.len(), 1);
    }

    /// F7: of every order of enqueueing, cancelling and granting, none loses or doubles a grant.
    #[test]
    fn every_order_of_cancel_and_grant_keeps_the_count() {
        // Each program: a sequence of 6 steps on 3 waiters and a source of grants.
        const STEPS: u32 = 7;
        for program in 0..STEPS.pow(6) {
            let queue = Queue::new(2);
            let all = waiters(3);
            let (mut made, mut got, mut refused) = (0u32, 0u32, 0u32);
            let mut code = program;
            for _ in 0..6 {
                let step = code % STEPS;
                code /= STEPS;
                match step {
                    0..=2 => {
                        let _ = queue.enqueue(&all[step as usize], || None);
                    }
                    3..=5 => got += queue.cancel(&all[step as usize - 3]).iter().count() as u32,
                    _ => {
                        made += 1;
                        refused += u32::from(queue.hand_over(made).is_err());
                    }
                }
            }
            got += all.iter().filter_map(|waiter| queue.cancel(waiter)).count() as u32;
            assert_eq!(made, got + refused, "program {program}");
            assert!(queue.is_empty());
        }
    }

    /// F10: a waiter in the queue cannot be queued twice, one with a grant not before it is taken.
    #[test]
    fn one_wait_at_a_time() {
        let queue = Queue::new(8);
        let all = waiters(1);
        queue.enqueue(&all[0], || None).unwrap();
        assert_eq!(queue.enqueue(&all[0], || None), Err(QueueFull));
        queue.hand_over(1).unwrap();
        assert_eq!(queue.enqueue(&all[0], || None), Err(QueueFull));
        assert_eq!(all[0].take(), Some(1));
        queue.enqueue(&all[0], || None).unwrap();
        assert_eq!(queue.len(), 1);
    }
}
