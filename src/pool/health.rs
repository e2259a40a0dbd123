//! The health of a pool, judged by what its exchanges meet (passive marking).
//!
//! ```text
//! up --failure--> suspect --restart_window, still failing--> down --one trial per backoff--> …
//!  ^----------------- a success, from anywhere ---------------------------------------------'
//! ```
//!
//! *Suspect* is the time of a restart: other pools come first, but where there is none, every exchange
//! may try again at its own short backoff. *Down* means that a whole window brought no success: only
//! one exchange at a time may try, after 1, 2, 4 … seconds. A suspicion that nobody confirmed in the
//! second half of its window (a single failure, then no traffic) does not make a pool down: one lapsed
//! like this admits everybody, and is forgotten with the next success or begun anew with the next
//! failure.
//!
//! An exchange that finds other pools up also asks [`Health::admit_trial`], so that a pool which came
//! back is found although nothing depends on it.
//!
//! Times are milliseconds of one monotonic clock. Orderings are relaxed: a thread that sees a state a
//! moment late judges by what was true a moment ago, which is all that a mark can say anyway.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::os::random::mix;

/// The first backoff of a pool that is down.
const BACKOFF_FIRST: u64 = 1_000;
/// The longest backoff before its jitter, which is up to a quarter: 30 s together.
const BACKOFF_LAST: u64 = 24_000;

/// The part that a pool takes when its slow start begins: one of so many.
const FIRST_PART: u64 = 20;

/// No failure since the last success.
const UP: u64 = 0;

/// Whether an exchange may try this pool now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may.
    Yes,
    /// It may, and nobody else until its outcome is told.
    Trial,
    /// Not before this time.
    NotBefore(u64),
}

/// The trials of a pool that is down, in one word: not before (54 bits), steps of backoff (8 bits),
/// whether one is out (1 bit).
#[derive(Clone, Copy)]
struct Trials {
    not_before: u64,
    step: u32,
    out: bool,
}

impl Trials {
    const NONE: u64 = 0;

    fn unpack(word: u64) -> Self {
        Self { not_before: word >> 9, step: (word >> 1 & 0xff) as u32, out: word & 1 != 0 }
    }

    fn pack(self) -> u64 {
        self.not_before << 9 | u64::from(self.step.min(0xff)) << 1 | u64::from(self.out)
    }
}

/// The health of one pool.
#[derive(Debug)]
pub struct Health {
    /// When the first failure after the last success was, plus one; or `UP`.
    suspect_since: AtomicU64,
    last_failure: AtomicU64,
    trials: AtomicU64,
    /// When it was up again after a failure, plus one; 0 if its slow start is over.
    up_since: AtomicU64,
    draining: AtomicBool,
    absent: AtomicBool,
    slow_start: u64,
    disable_time: u64,
    restart_window: u64,
    /// After this time a trial without an outcome no longer keeps others out.
    trial_lease: u64,
    seed: u64,
}

impl Health {
    /// A pool that is up. A trial of which nothing is heard is over after `trial_lease`.
    pub fn new(restart_window: u64, trial_lease: u64, seed: u64) -> Self {
        Self {
            suspect_since: AtomicU64::new(UP),
            last_failure: AtomicU64::new(0),
            trials: AtomicU64::new(Trials::NONE),
            up_since: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            absent: AtomicBool::new(false),
            slow_start: 0,
            disable_time: 0,
            restart_window,
            trial_lease,
            seed,
        }
    }

    /// One that takes its full part only so long after it came back, and that is not tried for so long
    /// after a failure while others are up.
    pub fn with_times(self, slow_start: u64, disable_time: u64) -> Self {
        Self { slow_start, disable_time, ..self }
    }

    /// Whether it takes no new clients.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Has it take no new clients, or take them again.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Relaxed);
    }

    /// Whether there is nothing to be reached here at all: a place for an address that its name does not
    /// have.
    pub fn is_absent(&self) -> bool {
        self.absent.load(Relaxed)
    }

    /// There is nothing here any more.
    pub fn leave(&self) {
        self.absent.store(true, Relaxed);
    }

    /// Something new is here, of which nothing is known yet. It starts slowly beside `others`.
    pub fn enter(&self, now: u64, others: bool) {
        self.trials.store(Trials::NONE, Relaxed);
        self.suspect_since.store(UP, Relaxed);
        self.up_since.store(if others && self.slow_start > 0 { now + 1 } else { 0 }, Relaxed);
        self.absent.store(false, Relaxed);
    }

    /// Whether it takes part in a choice with this random draw: after it came back ever more often,
    /// until its slow start is over.
    pub fn takes_part(&self, now: u64, draw: u32) -> bool {
        let Some(since) = self.up_since.load(Relaxed).checked_sub(1) else { return true };
        let up = now.saturating_sub(since);
        if up >= self.slow_start {
            self.up_since.store(0, Relaxed);
            return true;
        }
        let up = up.max(self.slow_start / FIRST_PART);
        u64::from(draw) < up.saturating_mul(1 << 32) / self.slow_start
    }

    /// Whether nothing speaks against the pool.
    pub fn is_up(&self) -> bool {
        self.suspect_since.load(Relaxed) == UP
    }

    /// Whether the pool is down: a whole restart window brought no success.
    pub fn is_down(&self, now: u64) -> bool {
        let since = self.suspect_since.load(Relaxed);
        since != UP && self.window_is_over(since, now) && self.is_confirmed(since)
    }

    fn window_is_over(&self, since: u64, now: u64) -> bool {
        now >= (since - 1).saturating_add(self.restart_window)
    }

    /// Whether there were failures in the second half of the window, or failed trials.
    fn is_confirmed(&self, since: u64) -> bool {
        self.last_failure.load(Relaxed) >= (since - 1).saturating_add(self.restart_window / 2)
            || Trials::unpack(self.trials.load(Relaxed)).step > 0
    }

    /// The pool was reached.
    pub fn on_success(&self, now: u64) {
        if !self.is_up() {
            if self.slow_start > 0 {
                self.up_since.store(now + 1, Relaxed);
            }
            self.trials.store(Trials::NONE, Relaxed);
            self.suspect_since.store(UP, Relaxed);
        }
    }

    /// The pool could not be reached.
    pub fn on_failure(&self, now: u64) {
        let since = self.suspect_since.load(Relaxed);
        let confirmed = since != UP && self.is_confirmed(since);
        self.last_failure.store(now, Relaxed);
        if since == UP {
            // Of several first failures the earliest counts.
            let _ = self.suspect_since.compare_exchange(UP, now + 1, Relaxed, Relaxed);
        } else if self.end_trial(|trials| {
            let (not_before, step) = (now + self.backoff(trials.step, now), trials.step + 1);
            Trials { not_before, step, out: false }
        }) {
            // A failed trial confirms the suspicion.
        } else if self.window_is_over(since, now) && !confirmed {
            let _ = self.suspect_since.compare_exchange(since, now + 1, Relaxed, Relaxed);
        }
    }

    /// A trial came to nothing that says anything about the pool (its client went away): the next
    /// one may follow at once.
    pub fn on_abandoned_trial(&self, now: u64) {
        self.end_trial(|trials| Trials { not_before: now, out: false, ..trials });
    }

    /// Ends the trial that is out, if one is.
    fn end_trial(&self, end: impl Fn(Trials) -> Trials) -> bool {
        let update = |word| {
            let trials = Trials::unpack(word);
            trials.out.then(|| end(trials).pack())
        };
        self.trials.fetch_update(Relaxed, Relaxed, update).is_ok()
    }

    /// Whether an exchange that has no better pool may try this one. After `Trial` the caller must
    /// tell the outcome: success, failure or abandoned.
    pub fn admit(&self, now: u64) -> Admit {
        if !self.is_down(now) {
            return Admit::Yes;
        }
        match self.begin_trial(now) {
            Ok(()) => Admit::Trial,
            Err(not_before) => Admit::NotBefore(not_before),
        }
    }

    /// Whether an exchange that has better pools should try this one first, as its trial: one that is
    /// not up and whose window or backoff is over. The duty is that of [`Admit::Trial`].
    pub fn admit_trial(&self, now: u64) -> bool {
        self.may_be_tried(now) && self.begin_trial(now).is_ok()
    }

    /// Whether `admit_trial` would grant one.
    pub fn is_trial_due(&self, now: u64) -> bool {
        self.may_be_tried(now) && Trials::unpack(self.trials.load(Relaxed)).not_before <= now
    }

    fn may_be_tried(&self, now: u64) -> bool {
        let since = self.suspect_since.load(Relaxed);
        since != UP
            && self.window_is_over(since, now)
            && now >= self.last_failure.load(Relaxed).saturating_add(self.disable_time)
    }

    /// When `admit` will not refuse, as far as can be told now.
    pub fn admits_from(&self, now: u64) -> u64 {
        if !self.is_down(now) {
            return now;
        }
        Trials::unpack(self.trials.load(Relaxed)).not_before.max(now)
    }

    fn begin_trial(&self, now: u64) -> Result<(), u64> {
        let update = |word| {
            let trials = Trials::unpack(word);
            let not_before = now + self.trial_lease;
            (trials.not_before <= now).then(|| Trials { not_before, out: true, ..trials }.pack())
        };
        match self.trials.fetch_update(Relaxed, Relaxed, update) {
            Ok(_) => Ok(()),
            Err(word) => Err(Trials::unpack(word).not_before),
        }
    }

    /// 1, 2, 4 … 24 s and up to a quarter more.
    fn backoff(&self, step: u32, now: u64) -> u64 {
        let base = BACKOFF_FIRST.checked_shl(step.min(16)).unwrap_or(BACKOFF_LAST).min(BACKOFF_LAST);
        base + mix(self.seed ^ now) % (base / 4 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 5_000;
    const LEASE: u64 = 4_000;
    const T0: u64 = 1_000_000;

    fn health() -> Health {
        Health::new(WINDOW, LEASE, 42)
    }

    /// A pool that fails every 100 ms from `T0` to the end of its window.
    fn down() -> Health {
        let health = health();
        for now in (T0..T0 + WINDOW).step_by(100) {
            assert_eq!(health.admit(now), Admit::Yes);
            health.on_failure(now);
        }
        health
    }

    /// F1: inside the restart window everybody may try again, and one success ends the suspicion.
    #[test]
    fn suspect_admits_everybody_within_the_window() {
        let health = health();
        assert!(health.is_up());
        health.on_failure(T0);
        assert!(!health.is_up());
        for now in T0..T0 + WINDOW {
            assert_eq!(health.admit(now), Admit::Yes);
            assert!(!health.admit_trial(now));
            assert!(!health.is_down(now));
            assert_eq!(health.admits_from(now), now);
        }
        health.on_failure(T0 + WINDOW - 1);
        health.on_success(T0);
        assert!(health.is_up());
        assert_eq!(health.admit(T0 + 2 * WINDOW), Admit::Yes);
    }

    /// F1: after a window of failures one exchange at a time may try, the first of them at once.
    #[test]
    fn down_after_the_window_admits_one_trial() {
        let health = down();
        let now = T0 + WINDOW;
        assert!(health.is_down(now));
        assert_eq!(health.admit(now), Admit::Trial);
        assert_eq!(health.admit(now), Admit::NotBefore(now + LEASE));
        assert!(!health.admit_trial(now));
        assert_eq!(health.admits_from(now), now + LEASE);
        health.on_success(T0);
        assert!(health.is_up());
        assert_eq!(health.admit(now), Admit::Yes);
    }

    /// F1: trials that fail come after 1, 2, 4 … s, never more than 30 s apart, and with jitter.
    #[test]
    fn backoff_doubles_to_30_s_with_jitter() {
        let mut waits = Vec::new();
        for seed in 0..50 {
            let health = Health { seed, ..down() };
            let mut now = T0 + WINDOW;
            for step in 0..300u32 {
                assert_eq!(health.admit(now), Admit::Trial, "step {step}");
                health.on_failure(now);
                let Admit::NotBefore(next) = health.admit(now) else { panic!("step {step}") };
                let base = (1_000 << step.min(20)).min(24_000);
                assert!((base..=base + base / 4).contains(&(next - now)), "step {step}: {}", next - now);
                assert_eq!(health.admit(next - 1), Admit::NotBefore(next));
                if step == 10 {
                    waits.push(next - now);
                }
                now = next;
            }
        }
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 40, "{waits:?}");
    }

    /// F1: after a success the next trouble begins anew, with its window and the first backoff.
    #[test]
    fn success_forgets_the_backoff() {
        let health = down();
        let mut now = T0 + WINDOW;
        for _ in 0..6 {
            let Admit::Trial = health.admit(now) else { panic!() };
            health.on_failure(now);
            now = health.admits_from(now);
        }
        assert_eq!(health.admit(now), Admit::Trial);
        health.on_success(T0);
        health.on_failure(now);
        assert_eq!(health.admit(now + WINDOW - 1), Admit::Yes);
    }

    /// F1: one failure an hour ago does not make a burst of today's exchanges wait for one trial.
    #[test]
    fn unconfirmed_suspicion_lapses() {
        let health = health();
        health.on_failure(T0);
        let later = T0 + 3_600_000;
        assert!(!health.is_down(later));
        assert_eq!(health.admit(later), Admit::Yes);
        assert_eq!(health.admit(later), Admit::Yes);
        // A failure then has its own window.
        health.on_failure(later);
        assert_eq!(health.admit(later + WINDOW - 1), Admit::Yes);
        health.on_failure(later + WINDOW - 1);
        assert_eq!(health.admit(later + WINDOW), Admit::Trial);
    }

    /// F1: beside pools that are up, a suspect one is tried again after its window, by one exchange,
    /// and then at the backoffs.
    #[test]
    fn trials_find_a_pool_that_nobody_needs() {
        let health = health();
        health.on_failure(T0);
        let now = T0 + WINDOW;
        assert!(health.admit_trial(now));
        assert!(!health.admit_trial(now));
        health.on_failure(now);
        assert!(health.is_down(now));
        let next = health.admits_from(now);
        assert!((now + 1_000..=now + 1_250).contains(&next));
        assert!(!health.admit_trial(next - 1));
        assert!(health.admit_trial(next));
        health.on_success(T0);
        assert!(health.is_up() && !health.admit_trial(next));
    }

    /// F7: a trial whose client went away is nobody's fault: the next exchange is the trial.
    #[test]
    fn abandoned_trial_frees_its_place() {
        let health = down();
        let now = T0 + WINDOW;
        assert_eq!(health.admit(now), Admit::Trial);
        health.on_abandoned_trial(now + 1);
        assert_eq!(health.admit(now + 1), Admit::Trial);
        assert_eq!(health.admit(now + 1), Admit::NotBefore(now + 1 + LEASE));
        // One that is never heard of keeps others out for its lease only.
        assert_eq!(health.admit(now + 1 + LEASE), Admit::Trial);
    }

    /// F1: failures of exchanges that began before the pool was down do not lengthen its backoff.
    #[test]
    fn stragglers_do_not_lengthen_the_backoff() {
        let health = down();
        let now = T0 + WINDOW;
        assert_eq!(health.admit(now), Admit::Trial);
        health.on_failure(now);
        let next = health.admits_from(now);
        for straggler in now..now + 500 {
            health.on_failure(straggler);
        }
        assert_eq!(health.admits_from(now + 500), next);
    }

    /// F1: without a restart window the first failure makes the pool down.
    #[test]
    fn no_window_is_down_at_once() {
        let health = Health::new(0, LEASE, 1);
        health.on_failure(T0);
        assert_eq!(health.admit(T0), Admit::Trial);
        assert_eq!(health.admit(T0), Admit::NotBefore(T0 + LEASE));
    }

    /// F11: a pool that came back takes part ever more often, and fully after its slow start.
    #[test]
    fn slow_start_grows_to_the_full_part() {
        let health = health().with_times(10_000, 0);
        assert!(health.takes_part(T0, u32::MAX));
        health.on_failure(T0);
        health.on_success(T0);
        let part = |now| (0..1000u32).filter(|step| health.takes_part(now, step * (u32::MAX / 1000))).count();
        assert_eq!([part(T0), part(T0 + 500), part(T0 + 2_500), part(T0 + 9_000)], [51, 51, 251, 901]);
        assert_eq!(part(T0 + 10_000), 1000);
        // It is over for good, whatever the clock of another thread says.
        assert_eq!(part(T0 + 9_000), 1000);
    }

    /// F1: with disable_time no trial is made beside pools that are up until it is over, each time anew.
    #[test]
    fn disabled_for_a_time() {
        let health = health().with_times(0, 300_000);
        health.on_failure(T0);
        assert!(!health.admit_trial(T0 + WINDOW) && !health.is_trial_due(T0 + 299_999));
        assert!(health.is_trial_due(T0 + 300_000) && health.admit_trial(T0 + 300_000));
        health.on_failure(T0 + 300_000);
        assert!(!health.admit_trial(T0 + 599_999));
        assert!(health.admit_trial(T0 + 600_000));
        // Who has no other pool does not wait for it.
        health.on_failure(T0 + 600_000);
        assert_eq!(health.admit(T0 + 630_000), Admit::Trial);
    }
}
