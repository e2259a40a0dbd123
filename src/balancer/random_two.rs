//! Random two: two pools are drawn, by weight, and the less busy one is taken (the power of two
//! choices). As good as least connections where many processes choose without knowing of each other,
//! and without the herd that all at once takes to whoever has least.

use super::load::Load;
use super::round_robin::{RoundRobin, WeightError};
use crate::os::random::mix;
use crossbeam_utils::CachePadded;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Draws before the turns decide: enough unless hardly anyone is eligible.
const DRAWS: u32 = 16;

/// Random numbers for whoever shares them, without a lock.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    count: CachePadded<AtomicU64>,
}

impl Random {
    /// The numbers that follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: CachePadded::default() }
    }

    /// The next one.
    pub fn next(&self) -> u64 {
        mix(self.seed ^ mix(self.count.fetch_add(1, Relaxed)))
    }
}

/// The members of one rank.
#[derive(Debug)]
pub struct RandomTwo {
    turns: RoundRobin,
    weights: Box<[(u32, u32)]>,
    random: Random,
}

impl RandomTwo {
    /// These members with their weights, in the order of their numbers.
    pub fn new(members: &[(u32, u32)], seed: u64) -> Result<Self, WeightError> {
        Ok(Self { turns: RoundRobin::new(members)?, weights: members.into(), random: Random::new(seed) })
    }

    /// The less busy of two eligible members. `loads` are by the members' numbers.
    pub fn choose(&self, loads: &[Load], mut eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.weights.len() < 2 {
            return self.turns.choose(eligible);
        }
        let mut first = None;
        for _ in 0..DRAWS {
            let member = self.turns.at(self.random.next())?;
            if first == Some(member) || !eligible(member) {
                continue;
            }
            match first {
                None => first = Some(member),
                Some(first) => return Some(self.less_busy(loads, first, member)),
            }
        }
        let Some(first) = first else { return self.turns.choose(eligible) };
        let other = self.turns.choose(|member| member != first && eligible(member));
        Some(other.map_or(first, |other| self.less_busy(loads, first, other)))
    }

    fn less_busy(&self, loads: &[Load], first: u32, second: u32) -> u32 {
        let active = |member: u32| u64::from(loads[member as usize].active());
        let weight = |member: u32| {
            let place = self.weights.partition_point(|(other, _)| *other < member);
            self.weights.get(place).map_or(1, |(_, weight)| u64::from(*weight))
        };
        if active(second) * weight(first) < active(first) * weight(second) { second } else { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(count: usize) -> Vec<Load> {
        (0..count).map(|_| Load::default()).collect()
    }

    /// P12: of two the less busy one is taken, by weight; a lone eligible one always.
    #[test]
    fn less_busy_of_two() {
        let method = RandomTwo::new(&[(0, 1), (1, 3)], 7).unwrap();
        let loads = loads(2);
        (0..2).for_each(|_| loads[0].begin());
        (0..5).for_each(|_| loads[1].begin());
        for _ in 0..100 {
            assert_eq!(method.choose(&loads, |_| true), Some(1));
            assert_eq!(method.choose(&loads, |pool| pool == 0), Some(0));
            assert_eq!(method.choose(&loads, |_| false), None);
        }
        loads[1].begin();
        loads[1].begin();
        assert!((0..100).all(|_| method.choose(&loads, |_| true) == Some(0)));
        assert_eq!(RandomTwo::new(&[], 7).unwrap().choose(&[], |_| true), None);
        assert_eq!(RandomTwo::new(&[(4, 1)], 7).unwrap().choose(&[], |_| true), Some(4));
    }

    /// P12: the busiest of many stays far below what drawing one would make of it.
    #[test]
    fn two_choices_stay_level() {
        let members: Vec<_> = (0..100).map(|member| (member, 1)).collect();
        let method = RandomTwo::new(&members, 7).unwrap();
        let loads = loads(100);
        for _ in 0..10_000 {
            loads[method.choose(&loads, |_| true).unwrap() as usize].begin();
        }
        let most = loads.iter().map(Load::active).max().unwrap();
        assert!(most < 108, "{most}");
    }
}
