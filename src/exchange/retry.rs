//! When a request may be tried again, and after how long.
//!
//! An attempt is repeated only if no response byte arrived, the body can be had again and either
//! no byte was taken by a socket, or the application itself refused the request, or the method is
//! idempotent. Everything else reaches an application at most once.

use crate::balancer::Tried;
use std::time::Duration;

/// Repeats of an idempotent request after a fresh connection ended in order without an answer:
/// such a request may be what kills the application.
const FRESH_MAX: u32 = 1;
/// Repeats after the application went away with the request unread. That happens once or twice
/// in a restart; the bound is for an application that does it always.
const UNREAD_MAX: u32 = 6;
/// The first and the longest pause while an application restarts.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How an attempt ended that brought no response byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No socket took a byte: refused, missing, timed out, or gone at the first send.
    Untouched,
    /// A kept connection was dead before it took a byte.
    Stale,
    /// A kept connection was closed after it took bytes.
    Reused,
    /// A fresh connection was reset with the request unread.
    Unread,
    /// A fresh connection was closed after it took the request.
    Fresh,
    /// The application refused to multiplex.
    CantMultiplex,
    /// The application refused for want of resources.
    Overloaded,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try another pool at once.
    Now,
    /// Try again, not before this time.
    At(Duration),
    /// Fail.
    Never,
}

/// What its route allows beyond the rule: the default is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// The most attempts, the first included; 0 is no bound.
    pub tries: u32,
    /// From when on nothing is repeated.
    pub until: Option<Duration>,
}

/// The retries of one exchange.
#[derive(Debug, Default)]
pub struct Retry {
    /// The pools tried since the last pause.
    pub tried: Tried,
    tried_count: usize,
    pools: usize,
    window: Duration,
    idempotent: bool,
    bounds: Bounds,
    tries: u32,
    first_failure: Option<Duration>,
    pause: Duration,
    fresh: u32,
    unread: u32,
    refused_multiplex: bool,
    reused: bool,
    count: u32,
}

impl Retry {
    /// Starts anew.
    pub fn start(&mut self, pools: usize, window: Duration, idempotent: bool, bounds: Bounds) {
        self.forget_tried();
        self.bounds = bounds;
        self.tries = 0;
        self.pools = pools;
        self.window = window;
        self.idempotent = idempotent;
        self.first_failure = None;
        self.pause = PAUSE_MIN;
        self.fresh = 0;
        self.unread = 0;
        self.refused_multiplex = false;
        self.reused = false;
        self.count = 0;
    }

    /// How many times the request was tried again.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the method allows a repeat after bytes were sent.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether a kept connection may serve the next attempt: not after one that was dead.
    pub fn may_reuse(&self) -> bool {
        !self.reused
    }

    /// Until when the exchange waits for a pool to come back.
    pub fn window_end(&mut self, now: Duration) -> Duration {
        let end = *self.first_failure.get_or_insert(now) + self.window;
        self.bounds.until.map_or(end, |until| end.min(until))
    }

    /// Judges an attempt on `pool` that brought no response byte. `replayable` tells whether
    /// the body can be had again from its start.
    pub fn judge(&mut self, now: Duration, pool: u32, ended: Ended, replayable: bool) -> Verdict {
        if !replayable || self.is_spent(now, ended) {
            return Verdict::Never;
        }
        let verdict = match ended {
            Ended::Untouched => self.elsewhere_or_later(now, pool),
            Ended::Stale => {
                self.reused = true;
                Verdict::Now
            }
            Ended::Reused if self.idempotent && !self.reused => {
                self.reused = true;
                Verdict::Now
            }
            Ended::Unread if self.idempotent && self.unread < UNREAD_MAX => {
                self.unread += 1;
                self.elsewhere_or_later(now, pool)
            }
            Ended::Fresh if self.idempotent && self.fresh < FRESH_MAX => {
                self.fresh += 1;
                self.elsewhere_or_later(now, pool)
            }
            Ended::CantMultiplex if !self.refused_multiplex => {
                self.refused_multiplex = true;
                self.reused = true;
                Verdict::Now
            }
            Ended::Overloaded => {
                self.note_tried(pool);
                if self.tried_count < self.pools { Verdict::Now } else { Verdict::Never }
            }
            _ => Verdict::Never,
        };
        self.count += u32::from(verdict != Verdict::Never);
        verdict
    }

    /// Counts the attempt. What a kept connection or a refusal to multiplex did to it is not its own doing.
    fn is_spent(&mut self, now: Duration, ended: Ended) -> bool {
        self.tries += u32::from(!matches!(ended, Ended::Stale | Ended::Reused | Ended::CantMultiplex));
        let Bounds { tries, until } = self.bounds;
        (tries > 0 && self.tries >= tries) || until.is_some_and(|until| now >= until)
    }

    fn note_tried(&mut self, pool: u32) {
        self.tried_count += usize::from(!self.tried.contains(pool));
        self.tried.insert(pool);
    }

    fn forget_tried(&mut self) {
        self.tried.clear();
        self.tried_count = 0;
    }

    fn elsewhere_or_later(&mut self, now: Duration, pool: u32) -> Verdict {
        self.note_tried(pool);
        let end = self.window_end(now);
        if self.tried_count < self.pools {
            return Verdict::Now;
        }
        let at = self.pause(now);
        if at <= end { Verdict::At(at) } else { Verdict::Never }
    }

    /// Until when to pause before all pools are tried anew.
    pub fn pause(&mut self, now: Duration) -> Duration {
        self.forget_tried();
        let at = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn retry(pools: usize, idempotent: bool) -> Retry {
        let mut retry = Retry::default();
        retry.start(pools, WINDOW, idempotent, Bounds::default());
        retry
    }

    fn bounded(tries: u32, until: Option<Duration>) -> Retry {
        let mut retry = Retry::default();
        retry.start(3, WINDOW, true, Bounds { tries, until });
        retry
    }

    /// F1: a bound of attempts holds for other pools and for waiting; what a kept connection did is not
    /// counted.
    #[test]
    fn attempts_are_bounded() {
        let now = Duration::ZERO;
        let mut once = bounded(1, None);
        assert_eq!(once.judge(now, 0, Ended::Stale, true), Verdict::Now);
        assert_eq!(once.judge(now, 0, Ended::Untouched, true), Verdict::Never);
        let mut thrice = bounded(3, None);
        assert_eq!(thrice.judge(now, 0, Ended::Untouched, true), Verdict::Now);
        assert_eq!(thrice.judge(now, 0, Ended::Reused, true), Verdict::Now);
        assert_eq!(thrice.judge(now, 1, Ended::Overloaded, true), Verdict::Now);
        assert_eq!(thrice.judge(now, 2, Ended::Untouched, true), Verdict::Never);
    }

    /// F1: a bound of time ends both the next attempt and the wait for a pool, within the window.
    #[test]
    fn the_time_of_attempts_is_bounded() {
        let until = Duration::from_secs(2);
        let mut retry = bounded(0, Some(until));
        let mut now = Duration::from_secs(1);
        for pool in [0, 1] {
            assert_eq!(retry.judge(now, pool, Ended::Untouched, true), Verdict::Now);
        }
        assert_eq!(retry.window_end(now), until);
        for pool in (0..3).cycle().skip(2) {
            match retry.judge(now, pool, Ended::Untouched, true) {
                Verdict::Now => {}
                Verdict::At(at) => now = at,
                Verdict::Never => break,
            }
        }
        assert!(now <= until && until - now <= PAUSE_MAX, "{now:?}");
        assert_eq!(bounded(0, Some(until)).judge(until, 0, Ended::Untouched, true), Verdict::Never);
    }

    /// F1: refused is waited out inside the restart window, whatever the method.
    #[test]
    fn an_untouched_request_is_repeated_until_the_window_ends() {
        for idempotent in [true, false] {
            let mut retry = retry(1, idempotent);
            let mut now = Duration::from_secs(100);
            let end = now + WINDOW;
            let mut attempts = 0;
            while let Verdict::At(at) = retry.judge(now, 0, Ended::Untouched, true) {
                assert!(at > now && at - now <= PAUSE_MAX && at <= end);
                now = at;
                attempts += 1;
            }
            assert!(end - now < PAUSE_MAX && attempts > 10);
        }
    }

    /// F1: other pools first, at once.
    #[test]
    fn other_pools_are_tried_before_waiting() {
        let mut retry = retry(3, false);
        let now = Duration::ZERO;
        assert_eq!(retry.judge(now, 1, Ended::Untouched, true), Verdict::Now);
        assert!(retry.tried.contains(1) && !retry.tried.contains(0));
        assert_eq!(retry.judge(now, 0, Ended::Untouched, true), Verdict::Now);
        assert_eq!(retry.judge(now, 2, Ended::Untouched, true), Verdict::At(PAUSE_MIN));
        assert!(!retry.tried.contains(1));
    }

    /// F4: after a reused connection once without charge, after a fresh one once.
    #[test]
    fn an_idempotent_request_is_repeated_once_after_a_fresh_connection() {
        let mut retry = retry(1, true);
        assert_eq!(retry.judge(Duration::ZERO, 0, Ended::Reused, true), Verdict::Now);
        assert!(!retry.may_reuse());
        assert!(matches!(retry.judge(Duration::ZERO, 0, Ended::Fresh, true), Verdict::At(_)));
        assert_eq!(retry.judge(Duration::ZERO, 0, Ended::Fresh, true), Verdict::Never);
        assert_eq!(retry.count(), 2);
    }

    /// F4: a method that is not idempotent is never repeated once a socket took bytes.
    #[test]
    fn a_post_is_not_repeated_once_bytes_were_taken() {
        for ended in [Ended::Reused, Ended::Unread, Ended::Fresh] {
            assert_eq!(retry(2, false).judge(Duration::ZERO, 0, ended, true), Verdict::Never);
        }
    }

    /// F4: a kept connection that was dead costs nothing, whatever the method; the next is fresh.
    #[test]
    fn a_stale_connection_is_replaced_at_once() {
        let mut retry = retry(1, false);
        assert_eq!(retry.judge(Duration::ZERO, 0, Ended::Stale, true), Verdict::Now);
        assert!(!retry.may_reuse());
    }

    /// A4: what the application refused is repeated for any method: on a fresh connection once,
    /// or on another pool.
    #[test]
    fn a_refused_request_is_repeated_for_any_method() {
        let mut retry = retry(2, false);
        assert_eq!(retry.judge(Duration::ZERO, 0, Ended::CantMultiplex, true), Verdict::Now);
        assert_eq!(retry.judge(Duration::ZERO, 0, Ended::CantMultiplex, true), Verdict::Never);
        assert_eq!(retry.judge(Duration::ZERO, 0, Ended::Overloaded, true), Verdict::Now);
        assert_eq!(retry.judge(Duration::ZERO, 1, Ended::Overloaded, true), Verdict::Never);
    }

    /// F12: nothing is repeated without its body.
    #[test]
    fn a_body_that_is_gone_ends_it() {
        for ended in [Ended::Untouched, Ended::Reused, Ended::Unread, Ended::Fresh, Ended::Overloaded] {
            assert_eq!(retry(3, true).judge(Duration::ZERO, 0, ended, false), Verdict::Never);
        }
    }
}
