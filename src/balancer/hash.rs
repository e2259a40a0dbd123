//! Consistent hash: a key leads to the same pool for as long as that can be had.
//!
//! A key falls into one of the slots of a table that is computed beforehand. Each pool calls for one
//! slot after another as its own dice have it, at the pace of its weight, and a slot belongs to who
//! called for it first. Who calls when depends on nobody else: so a pool that is taken out gives up only its own slots,
//! to those who called next, and one that is added takes only the slots that are its own from then on.
//!
//! While a pool can't be had its keys are spread over the others and come back to it; all other keys stay
//! where they are. Requests without a key take turns.

use super::round_robin::{RoundRobin, WeightError};
use crate::os::random::mix;

/// Slots of a table. It is part of what several machines agree on.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 17;
/// Slots that are tried for a key before one goes through the members: enough unless hardly anyone can be
/// had.
const PROBES: u64 = 64;

/// The members of one rank, and their slots.
#[derive(Debug)]
pub struct Hash {
    turns: RoundRobin,
    members: Box<[u32]>,
    /// Empty where there is no choice.
    slots: Box<[u16]>,
}

impl Hash {
    /// These members with their weights; `ids` are by the members' numbers and differ.
    pub fn new(members: &[(u32, u32)], ids: &[u64]) -> Result<Self, WeightError> {
        let turns = RoundRobin::new(members)?;
        let slots = if members.len() > 1 { slots(members, ids) } else { Box::default() };
        Ok(Self { turns, members: members.iter().map(|(member, _)| *member).collect(), slots })
    }

    /// The eligible member to which the key leads.
    pub fn choose(&self, key: Option<u64>, mut eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        if let Some(key) = key.filter(|_| !self.slots.is_empty()) {
            let mut last = None;
            for probe in 0..PROBES {
                let slot = mix(key.wrapping_add(mix(probe))) >> (64 - SLOT_BITS);
                let member = u32::from(self.slots[slot as usize]);
                if last != Some(member) && eligible(member) {
                    return Some(member);
                }
                last = Some(member);
            }
            let start = (mix(key) % self.members.len() as u64) as usize;
            let (before, from) = self.members.split_at(start);
            return from.iter().chain(before).copied().find(|member| eligible(*member));
        }
        self.turns.choose(eligible)
    }
}

fn slots(members: &[(u32, u32)], ids: &[u64]) -> Box<[u16]> {
    const FREE: u16 = u16::MAX;
    let most = members.iter().map(|(_, weight)| u64::from(*weight)).max().unwrap_or(1);
    let mut calls: Vec<_> = members
        .iter()
        .map(|(member, weight)| {
            let id = ids[*member as usize];
            (*member, u64::from(*weight), id % most, id)
        })
        .collect();
    let mut slots = vec![FREE; SLOTS].into_boxed_slice();
    let mut free = SLOTS;
    while free > 0 {
        for (member, weight, credit, dice) in &mut calls {
            *credit += *weight;
            if *credit < most {
                continue;
            }
            *credit -= most;
            *dice = dice.wrapping_add(1);
            let slot = &mut slots[(mix(*dice) >> (64 - SLOT_BITS)) as usize];
            if *slot == FREE {
                // The longest cycle of turns bounds the members of both ranks far below this.
                *slot = *member as u16;
                free -= 1;
            }
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::super::key::number_of;
    use super::*;

    fn ids(count: u32) -> Vec<u64> {
        (0..count).map(|at| number_of(format!("10.0.0.{at}:9000").as_bytes())).collect()
    }

    fn table(weights: &[u32]) -> Box<[u16]> {
        let members: Vec<_> = (0..).zip(weights.iter().copied()).collect();
        slots(&members, &ids(weights.len() as u32))
    }

    fn shares(weights: &[u32]) -> Vec<f64> {
        let mut counts = vec![0u32; weights.len()];
        table(weights).iter().for_each(|member| counts[*member as usize] += 1);
        counts.iter().map(|count| f64::from(*count) / SLOTS as f64).collect()
    }

    /// P12: the slots are shared by weight.
    #[test]
    fn slots_by_weight() {
        for weights in [&[1u32; 2][..], &[1; 3], &[1; 16], &[5, 1, 1], &[10_000, 1_000, 5_000, 300]] {
            let sum: u32 = weights.iter().sum();
            for (share, weight) in shares(weights).iter().zip(weights) {
                let due = f64::from(*weight) / f64::from(sum);
                assert!((share / due - 1.0).abs() < 0.06, "{weights:?}: {share} of {due}");
            }
        }
    }

    /// P12: who is taken out gives up its slots, and nobody else any.
    #[test]
    fn removal_moves_only_what_it_must() {
        for count in [2u32, 3, 10, 50] {
            let ids = ids(count);
            let members: Vec<_> = (0..count).map(|member| (member, 1)).collect();
            let whole = slots(&members, &ids);
            for gone in [0, count / 2, count - 1] {
                let mut left = members.clone();
                left.remove(gone as usize);
                let after = slots(&left, &ids);
                assert!(
                    whole
                        .iter()
                        .zip(&after)
                        .all(|(before, after)| u32::from(*before) == gone || before == after)
                );
            }
        }
    }

    /// P12: a change of weights moves few slots beyond what it must.
    #[test]
    fn weights_move_few_slots() {
        let (before, after) = (table(&[4, 4, 4]), table(&[2, 4, 4]));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        let must = SLOTS as f64 * (1.0 / 3.0 - 1.0 / 5.0);
        assert!((moved as f64) < must * 1.1, "{moved} of {must}");
    }

    /// F1: while a member can't be had its keys go to all others, and no other key moves.
    #[test]
    fn only_the_keys_of_who_is_down_move() {
        let members: Vec<_> = (0..5).map(|member| (member, 1)).collect();
        let method = Hash::new(&members, &ids(5)).unwrap();
        let mut taken = [0; 5];
        for key in 0..10_000u64 {
            let key = Some(number_of(&key.to_le_bytes()));
            let usual = method.choose(key, |_| true).unwrap();
            let without = method.choose(key, |member| member != 2).unwrap();
            assert!(usual == 2 && without != 2 || usual == without);
            taken[without as usize] += u32::from(usual == 2);
        }
        assert!(
            taken.iter().enumerate().all(|(member, count)| member == 2 || (400..600).contains(count)),
            "{taken:?}"
        );
        // The last one that is left gets every key, and nobody gets one if none is.
        assert!((0..100).all(|key| method.choose(Some(key), |member| member == 4) == Some(4)));
        assert_eq!(method.choose(Some(1), |_| false), None);
    }

    /// Without a key, and where there is no choice, the turns decide.
    #[test]
    fn without_a_key_in_turn() {
        let method = Hash::new(&[(0, 1), (1, 1)], &ids(2)).unwrap();
        assert_ne!(method.choose(None, |_| true), method.choose(None, |_| true));
        let lone = Hash::new(&[(3, 1)], &ids(4)).unwrap();
        assert_eq!(lone.choose(Some(1), |_| true), Some(3));
        assert_eq!(Hash::new(&[], &[]).unwrap().choose(Some(1), |_| true), None);
    }
}
