//! What is known of how busy a pool is: the exchanges under way in it, and how long it takes to
//! answer. Counted by each process for itself.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// Milliseconds after which what was heard of a pool says nothing of what it does now.
pub const STALE: u32 = 10_000;
/// Microseconds that a pool is taken to need of which nothing was heard yet.
const UNHEARD: f32 = 1_000_000.0;
/// A new answer's part of the average: one of so many.
const PART: f32 = 4.0;

/// How busy one pool is. Small, so that those of a balancer stand side by side.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicU32,
    /// Microseconds to a response head, on average (upper half, as the bits of an f32; 0: never heard),
    /// and the millisecond in which the last one was heard (lower half).
    heard: AtomicU64,
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

fn pack(time: f32, at: u32) -> u64 {
    u64::from(time.to_bits()) << 32 | u64::from(at)
}

impl Load {
    /// An exchange goes to the pool.
    pub fn begin(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    /// It left the pool.
    pub fn end(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// Exchanges under way.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// A response head came after this time.
    pub fn answered(&self, took: Duration, now: u64) {
        self.note(now, |time| {
            let sample = micros(took);
            match time {
                None => sample,
                Some(time) => time + (sample - time) / PART,
            }
        });
    }

    /// None came, for so long: the pool is no faster than that. That it was given up sooner than it
    /// answers otherwise says nothing.
    pub fn unanswered(&self, took: Duration, now: u64) {
        let (time, _) = unpack(self.heard.load(Relaxed));
        if micros(took) > time {
            self.answered(took, now);
        }
    }

    /// Nothing is known of it.
    pub fn forget(&self) {
        self.heard.store(0, Relaxed);
    }

    fn note(&self, now: u64, average: impl Fn(Option<f32>) -> f32) {
        let now = now as u32;
        let update = |word| {
            let (time, at) = unpack(word);
            let known = (time > 0.0 && now.wrapping_sub(at) < STALE).then_some(time);
            Some(pack(average(known).max(1.0), now))
        };
        let _ = self.heard.fetch_update(Relaxed, Relaxed, update);
    }

    /// How long one more exchange is likely to take, for comparison. Nothing at all for a pool that has
    /// nothing to do and of which nothing was heard for a while: it gets one exchange as a look.
    #[inline]
    pub fn expected(&self, now: u64) -> f32 {
        let active = self.active();
        let (time, at) = unpack(self.heard.load(Relaxed));
        if active == 0 && (time == 0.0 || (now as u32).wrapping_sub(at) >= STALE) {
            return 0.0;
        }
        let time = if time == 0.0 { UNHEARD } else { time };
        time * (active as f32 + 1.0)
    }
}

fn micros(took: Duration) -> f32 {
    took.as_micros() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The average follows what is heard, forgets what is old, and an unanswered attempt only raises it.
    #[test]
    fn average_follows_the_answers() {
        let load = Load::default();
        assert_eq!(load.expected(5), 0.0);
        load.begin();
        assert_eq!(load.expected(5), 2_000_000.0);
        load.answered(8 * MS, 10);
        assert_eq!(load.expected(10), 16_000.0);
        load.end();
        load.answered(4 * MS, 11);
        assert_eq!(load.expected(11), 7_000.0);
        load.unanswered(MS, 12);
        assert_eq!(load.expected(12), 7_000.0);
        load.unanswered(27 * MS, 12);
        assert_eq!(load.expected(12), 12_000.0);
        assert_eq!(load.expected(12 + u64::from(STALE)), 0.0);
        load.begin();
        assert_eq!(load.expected(12 + u64::from(STALE)), 24_000.0);
        load.answered(2 * MS, 12 + u64::from(STALE));
        assert_eq!(load.expected(13 + u64::from(STALE)), 4_000.0);
    }

    /// The clock's lower half may turn over between two answers.
    #[test]
    fn clock_may_turn_over() {
        let load = Load::default();
        let turn = 1 << 32;
        load.answered(8 * MS, turn - 1);
        load.answered(4 * MS, turn + 1);
        assert_eq!(load.expected(turn + 2), 7_000.0);
    }
}
