//! The monotonic clock.
//!
//! Deadlines, idle times and backoffs are all counted on it: a step of the wall clock must never
//! end an exchange (rule S7).
#![allow(unsafe_code)]

use std::time::Duration;

/// The time since an arbitrary point, the same for all threads and processes of this boot.
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to be written; the call keeps no pointer.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    debug_assert_eq!(status, 0, "every supported system has a monotonic clock");
    // The kernel's values are never negative and tv_nsec is always below 10^9.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A time as whole milliseconds: the unit of the pool's accounts.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S7: time never runs backwards.
    #[test]
    fn time_never_runs_backwards() {
        let mut last = now();
        for _ in 0..1000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        assert!(last > Duration::ZERO);
    }

    /// S7: a duration of any length has a number of milliseconds.
    #[test]
    fn milliseconds_never_overflow() {
        assert_eq!(milliseconds(Duration::from_micros(1999)), 1);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
