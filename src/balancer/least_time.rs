//! Least time: the pool that is likely to answer soonest: what it took to give a response head of late
//! (a moving average), times the exchanges that would then be under way in it, by weight.
//!
//! A pool of which nothing was heard for a while gets an exchange as a look, when it has nothing else to
//! do: so one that was slow is found when it is fast again, at the price of one exchange each time.

use super::load::Load;
use super::round_robin::{RoundRobin, WeightError};

/// The members of one rank, and whose turn it is among equals.
#[derive(Debug)]
pub struct LeastTime {
    /// Each member and one by its weight.
    members: Box<[(u32, f32)]>,
    turns: RoundRobin,
}

impl LeastTime {
    /// These members with their weights, in the order of their numbers.
    pub fn new(members: &[(u32, u32)]) -> Result<Self, WeightError> {
        let turns = RoundRobin::new(members)?;
        let members = members.iter().map(|(member, weight)| (*member, 1.0 / *weight as f32)).collect();
        Ok(Self { members, turns })
    }

    /// The eligible member that is likely to answer soonest. `loads` are by the members' numbers.
    pub fn choose(&self, loads: &[Load], now: u64, mut eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best = self.turns.choose(&mut eligible)?;
        let place = self.members.partition_point(|(member, _)| *member < best);
        let expected = |(member, by): (u32, f32)| loads[member as usize].expected(now) * by;
        let mut least = expected(self.members[place]);
        for member in &self.members {
            if least == 0.0 {
                break;
            }
            let expected = expected(*member);
            if expected < least && eligible(member.0) {
                (best, least) = (member.0, expected);
            }
        }
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::STALE;
    use super::*;
    use std::collections::BinaryHeap;
    use std::time::Duration;

    /// Runs exchanges in simulated time, one every `every` milliseconds, on pools that take so long
    /// for each. Returns how many each pool got.
    fn simulate(weights: &[u32], takes: impl Fn(usize, u64) -> u64, every: u64, until: u64) -> Vec<u32> {
        let members: Vec<_> = (0..).zip(weights.iter().copied()).collect();
        let method = LeastTime::new(&members).unwrap();
        let loads: Vec<Load> = weights.iter().map(|_| Load::default()).collect();
        let mut got = vec![0; weights.len()];
        let mut under_way = BinaryHeap::new();
        for now in (1..until).step_by(every as usize) {
            while let Some((std::cmp::Reverse(end), began, pool)) = under_way.pop() {
                if end > now {
                    under_way.push((std::cmp::Reverse(end), began, pool));
                    break;
                }
                let load: &Load = &loads[pool];
                load.answered(Duration::from_millis(end - began), end);
                load.end();
            }
            let pool = method.choose(&loads, now, |_| true).unwrap() as usize;
            loads[pool].begin();
            got[pool] += 1;
            under_way.push((std::cmp::Reverse(now + takes(pool, now)), now, pool));
        }
        got
    }

    /// F6: a pool that is ten times slower gets a tenth of the exchanges, or less.
    #[test]
    fn slow_pool_gets_less() {
        let got = simulate(&[1, 1, 1], |pool, _| if pool == 2 { 200 } else { 20 }, 2, 60_000);
        assert!(got[2] * 10 < got[0] && got[2] * 10 < got[1], "{got:?}");
        assert!(got[2] > 0 && got[0].abs_diff(got[1]) < got[0] / 5, "{got:?}");
    }

    /// F6: a pool that was slow is found again once it is fast, and takes its share.
    #[test]
    fn recovered_pool_is_found() {
        let half = 120_000;
        let takes = |pool, now| if pool == 1 && now < half { 900 } else { 30 };
        let before = simulate(&[1, 1], takes, 4, half);
        let whole = simulate(&[1, 1], takes, 4, 2 * half);
        let after = [whole[0] - before[0], whole[1] - before[1]];
        assert!(before[1] * 10 < before[0], "{before:?}");
        assert!(after[0].abs_diff(after[1]) < after[0] / 3, "{after:?}");
    }

    /// P12: pools of the same speed are used by their weights under load.
    #[test]
    fn weights_count_under_load() {
        let got = simulate(&[1, 3], |_, _| 100, 2, 60_000);
        assert!((2.4..3.6).contains(&(f64::from(got[1]) / f64::from(got[0]))), "{got:?}");
    }

    /// F6: an unknown pool gets one look, not everything, until its first answer.
    #[test]
    fn unknown_pool_gets_one_look() {
        let method = LeastTime::new(&[(0, 1), (1, 1)]).unwrap();
        let loads = [Load::default(), Load::default()];
        loads[0].answered(Duration::from_millis(20), 1_000);
        assert_eq!(method.choose(&loads, 1_001, |_| true), Some(1));
        loads[1].begin();
        for _ in 0..20 {
            assert_eq!(method.choose(&loads, 1_001, |_| true), Some(0));
        }
        // Nothing was heard of the first one for a while.
        let later = 1_000 + u64::from(STALE);
        assert_eq!(method.choose(&loads, later, |_| true), Some(0));
        loads[0].begin();
        assert_eq!(method.choose(&loads, later, |pool| pool == 1), Some(1));
        assert_eq!(method.choose(&loads, later, |_| false), None);
    }
}
