//! Smooth weighted round robin: in turn, by weight, evenly spread ({5,1,1}: a a b a c a a).
//!
//! The order of one cycle is computed when the configuration is read; a choice is then one step of a
//! counter, whatever the number of pools. A pool that cannot be had gives its turns to nobody in
//! particular: its places in the cycle are passed over, each as a step of the counter, so that the
//! others keep their shares among themselves.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_utils::CachePadded;

/// The longest cycle: the sum of the weights, divided by what they have in common.
pub const MAX_CYCLE: u64 = 16_384;

/// The weights cannot be used; `Display` says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightError {
    /// A weight of 0.
    Zero,
    /// A cycle of so many turns is too long.
    TooLong(u64),
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("a weight is at least 1"),
            Self::TooLong(sum) => write!(
                f,
                "the weights add up to {sum}, at most {MAX_CYCLE} is possible; \
                 choose smaller weights of about the same proportions"
            ),
        }
    }
}

impl std::error::Error for WeightError {}

/// A cycle of members and the place in it.
#[derive(Debug)]
pub struct RoundRobin {
    cycle: Box<[u32]>,
    turn: CachePadded<AtomicUsize>,
}

impl RoundRobin {
    /// A cycle of these members with their weights.
    pub fn new(members: &[(u32, u32)]) -> Result<Self, WeightError> {
        if members.iter().any(|(_, weight)| *weight == 0) {
            return Err(WeightError::Zero);
        }
        let common = members.iter().fold(0, |common, (_, weight)| gcd(common, *weight)).max(1);
        let sum: u64 = members.iter().map(|(_, weight)| u64::from(weight / common)).sum();
        if sum > MAX_CYCLE {
            return Err(WeightError::TooLong(sum));
        }
        let turn = CachePadded::new(AtomicUsize::new(0));
        Ok(Self { cycle: cycle(members, common, sum as usize), turn })
    }

    /// The next member in turn that is eligible.
    pub fn choose(&self, mut eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        let first = self.next()?;
        if eligible(first) {
            return Some(first);
        }
        // One cycle passes everybody, unless other threads take some of the steps: then what the
        // counter does not give is looked for in the cycle itself.
        for _ in 1..self.cycle.len() {
            let member = self.next()?;
            if member != first && eligible(member) {
                return Some(member);
            }
        }
        self.cycle.iter().copied().find(|member| eligible(*member))
    }

    /// The member whose turn it is.
    fn next(&self) -> Option<u32> {
        let turn = self.turn.fetch_add(1, Relaxed);
        // A cycle of no turns has no remainder, and no member.
        self.cycle.get(turn.checked_rem(self.cycle.len())?).copied()
    }

    /// The member whose place in the cycle a random number hits: each as often as its weight says.
    pub fn at(&self, random: u64) -> Option<u32> {
        let place = (u128::from(random) * self.cycle.len() as u128) >> 64;
        self.cycle.get(place as usize).copied()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Each turn everybody gains its weight; who has most, takes the turn and pays the sum of all.
fn cycle(members: &[(u32, u32)], common: u32, sum: usize) -> Box<[u32]> {
    let mut credits = vec![0i64; members.len()];
    let mut cycle = Vec::with_capacity(sum);
    for _ in 0..sum {
        let mut best = 0;
        for (index, (_, weight)) in members.iter().enumerate() {
            credits[index] += i64::from(weight / common);
            if credits[index] > credits[best] {
                best = index;
            }
        }
        credits[best] -= sum as i64;
        cycle.push(members[best].0);
    }
    cycle.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(weights: &[u32]) -> Vec<(u32, u32)> {
        (0..).zip(weights.iter().copied()).collect()
    }

    fn robin(weights: &[u32]) -> RoundRobin {
        RoundRobin::new(&members(weights)).unwrap()
    }

    fn turns(robin: &RoundRobin, count: usize, without: &[u32]) -> String {
        let eligible = |member| !without.contains(&member);
        let letter = |_| robin.choose(eligible).map_or('-', |member| char::from(b'a' + member as u8));
        (0..count).map(letter).collect()
    }

    /// P12: the order is nginx's smooth one, and begins again after a cycle.
    #[test]
    fn smooth_order() {
        assert_eq!(turns(&robin(&[5, 1, 1]), 14, &[]), "aabacaaaabacaa");
        assert_eq!(turns(&robin(&[1, 1, 1]), 6, &[]), "abcabc");
        assert_eq!(turns(&robin(&[1, 2, 3]), 6, &[]), "cbacbc");
        assert_eq!(turns(&robin(&[10, 4]), 7, &[]), turns(&robin(&[5, 2]), 7, &[]));
        assert_eq!(turns(&robin(&[7]), 3, &[]), "aaa");
    }

    /// P12: who is left keeps its share when another cannot be had.
    #[test]
    fn shares_are_exact_without_the_ineligible() {
        assert_eq!(turns(&robin(&[1, 1, 1]), 6, &[1]), "acacac");
        assert_eq!(turns(&robin(&[1, 1, 1]), 2, &[0, 1, 2]), "--");
        assert_eq!(turns(&robin(&[]), 2, &[]), "--");
    }

    /// P12: weights of 0 and cycles that are too long are refused, with the numbers.
    #[test]
    fn unusable_weights_are_refused() {
        assert_eq!(RoundRobin::new(&members(&[1, 0])).unwrap_err(), WeightError::Zero);
        let error = RoundRobin::new(&members(&[16_384, 1])).unwrap_err();
        assert_eq!(error, WeightError::TooLong(16_385));
        assert!(error.to_string().contains("16385") && error.to_string().contains("16384"));
        assert!(RoundRobin::new(&members(&[u32::MAX, u32::MAX])).is_ok());
        assert!(RoundRobin::new(&members(&[16_383, 1])).is_ok());
    }

    proptest! {
        /// P12: over a cycle everybody eligible is chosen exactly as often as its weight says.
        #[test]
        fn distribution_is_exact_over_a_cycle(
            weights in prop::collection::vec((1u32..20, any::<bool>()), 1..8),
        ) {
            let robin = robin(&weights.iter().map(|(weight, _)| *weight).collect::<Vec<_>>());
            let common = weights.iter().fold(0, |common, (weight, _)| gcd(common, *weight));
            let expected: Vec<_> =
                weights.iter().map(|(weight, up)| if *up { weight / common } else { 0 }).collect();
            for _ in 0..2 {
                let mut got = vec![0; weights.len()];
                for _ in 0..expected.iter().sum() {
                    let chosen = robin.choose(|member| weights[member as usize].1).unwrap();
                    got[chosen as usize] += 1;
                }
                prop_assert_eq!(&got, &expected);
            }
        }
    }
}
