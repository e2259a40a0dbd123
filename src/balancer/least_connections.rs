//! Least connections: the pool with the fewest exchanges under way, each weighed by its pool's weight.
//!
//! Among pools that are equally busy it is their turns that decide, so that a balancer without much to
//! do spreads its exchanges by weight.

use super::load::Load;
use super::round_robin::{RoundRobin, WeightError};

/// The members of one rank, and whose turn it is among equals.
#[derive(Debug)]
pub struct LeastConnections {
    /// Each member and one by its weight.
    members: Box<[(u32, f32)]>,
    turns: RoundRobin,
}

impl LeastConnections {
    /// These members with their weights, in the order of their numbers.
    pub fn new(members: &[(u32, u32)]) -> Result<Self, WeightError> {
        let turns = RoundRobin::new(members)?;
        let members = members.iter().map(|(member, weight)| (*member, 1.0 / *weight as f32)).collect();
        Ok(Self { members, turns })
    }

    /// The least busy eligible member. `loads` are by the members' numbers.
    pub fn choose(&self, loads: &[Load], mut eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best = self.turns.choose(&mut eligible)?;
        let place = self.members.partition_point(|(member, _)| *member < best);
        let busy = |(member, by): (u32, f32)| loads[member as usize].active() as f32 * by;
        let mut least = busy(self.members[place]);
        for member in &self.members {
            if least == 0.0 {
                break;
            }
            let busy = busy(*member);
            if busy < least && eligible(member.0) {
                (best, least) = (member.0, busy);
            }
        }
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(active: &[u32]) -> Vec<Load> {
        let load = |count: &u32| {
            let load = Load::default();
            (0..*count).for_each(|_| load.begin());
            load
        };
        active.iter().map(load).collect()
    }

    /// P12: exchanges under way are weighed, and the ineligible are passed over.
    #[test]
    fn fewest_by_weight() {
        let method = LeastConnections::new(&[(0, 1), (1, 4), (2, 2)]).unwrap();
        assert_eq!(method.choose(&loads(&[1, 3, 2]), |_| true), Some(1));
        assert_eq!(method.choose(&loads(&[1, 4, 1]), |_| true), Some(2));
        assert_eq!(method.choose(&loads(&[1, 4, 3]), |pool| pool != 0), Some(1));
        assert_eq!(method.choose(&loads(&[1, 4, 1]), |_| false), None);
        assert_eq!(LeastConnections::new(&[]).unwrap().choose(&[], |_| true), None);
    }

    /// P12: without anything under way the turns decide, by weight.
    #[test]
    fn idle_members_take_turns() {
        let method = LeastConnections::new(&[(0, 5), (1, 1), (2, 1)]).unwrap();
        let loads = loads(&[0, 0, 0]);
        let turns: Vec<_> = (0..7).map(|_| method.choose(&loads, |_| true).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    /// P12: where every exchange lasts, the numbers under way come to be as the weights.
    #[test]
    fn lasting_exchanges_fill_up_by_weight() {
        let method = LeastConnections::new(&[(0, 1), (1, 2), (2, 5)]).unwrap();
        let loads = loads(&[0, 0, 0]);
        for _ in 0..800 {
            loads[method.choose(&loads, |_| true).unwrap() as usize].begin();
        }
        assert_eq!(loads.iter().map(Load::active).collect::<Vec<_>>(), [100, 200, 500]);
    }
}
