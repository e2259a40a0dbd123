//! A balancer: a named choice among pools.
//!
//! A method says whose turn it is among those that can be had; who can be had is asked of the pools'
//! health. An exchange never comes back to a pool that it has tried while there is another, and
//! backups are asked only while no primary is up.

pub mod round_robin;
pub mod settings;

use crate::pool::{Admit, Health, PoolSettings};

pub use round_robin::{RoundRobin, WeightError};
pub use settings::{BalancerSettings, Method};

/// The pools that one exchange has tried. No allocation for the first 64 pools of a balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    first: u64,
    more: Vec<u64>,
}

impl Tried {
    /// Notes a pool.
    pub fn insert(&mut self, pool: u32) {
        let (word, bit) = (pool as usize / 64, 1 << (pool % 64));
        match word.checked_sub(1) {
            None => self.first |= bit,
            Some(word) => {
                if self.more.len() <= word {
                    self.more.resize(word + 1, 0);
                }
                self.more[word] |= bit;
            }
        }
    }

    /// Whether the pool was tried.
    pub fn contains(&self, pool: u32) -> bool {
        let (word, bit) = (pool as usize / 64, 1 << (pool % 64));
        let bits = match word.checked_sub(1) {
            None => self.first,
            Some(word) => self.more.get(word).copied().unwrap_or(0),
        };
        bits & bit != 0
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.first = 0;
        self.more.clear();
    }

    /// Whether no pool was tried.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.more.iter().all(|bits| *bits == 0)
    }
}

/// The pool that an exchange should try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Pool(u32),
    /// This one, which is not up, as its trial: the outcome must be told to its health.
    Trial(u32),
    /// None now. The earliest time at which one that was not tried may admit an exchange, or, where
    /// all were tried, any of them.
    NotBefore(u64),
}

/// A choice among pools, which are numbered as configured.
#[derive(Debug)]
pub struct Balancer {
    primaries: Turns,
    backups: Turns,
}

/// Whose turn it is within one rank.
#[derive(Debug)]
enum Turns {
    RoundRobin(RoundRobin),
}

impl Turns {
    fn new(method: Method, members: &[(u32, u32)]) -> Result<Self, WeightError> {
        match method {
            Method::RoundRobin => RoundRobin::new(members).map(Self::RoundRobin),
        }
    }

    fn choose(&self, eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        match self {
            Self::RoundRobin(turns) => turns.choose(eligible),
        }
    }
}

impl Balancer {
    /// A balancer over pools with these settings.
    pub fn new<'a>(
        method: Method,
        pools: impl IntoIterator<Item = &'a PoolSettings>,
    ) -> Result<Self, WeightError> {
        let (mut primaries, mut backups) = (Vec::new(), Vec::new());
        for (index, pool) in (0..).zip(pools) {
            let rank = if pool.backup { &mut backups } else { &mut primaries };
            rank.push((index, pool.weight));
        }
        Ok(Self { primaries: Turns::new(method, &primaries)?, backups: Turns::new(method, &backups)? })
    }

    /// The pool to try next: whose turn it is among the untried that are up (or due for a trial),
    /// primaries before backups; else any untried one that admits an exchange.
    pub fn choose<'a>(&self, tried: &Tried, now: u64, health: impl Fn(u32) -> &'a Health) -> Choice {
        let ranks = [&self.primaries, &self.backups];
        let mut trial = false;
        for rank in ranks {
            let chosen = rank.choose(|pool| {
                !tried.contains(pool) && {
                    let health = health(pool);
                    health.is_up() || {
                        trial = health.admit_trial(now);
                        trial
                    }
                }
            });
            match chosen {
                Some(pool) if trial => return Choice::Trial(pool),
                Some(pool) => return Choice::Pool(pool),
                None => {}
            }
        }
        let (mut untried, mut any) = (None, None);
        for rank in ranks {
            let chosen = rank.choose(|pool| {
                let health = health(pool);
                let from = health.admits_from(now);
                earlier(&mut any, from);
                if tried.contains(pool) {
                    return false;
                }
                earlier(&mut untried, from);
                match health.admit(now) {
                    Admit::Yes => true,
                    Admit::Trial => {
                        trial = true;
                        true
                    }
                    Admit::NotBefore(_) => false,
                }
            });
            match chosen {
                Some(pool) if trial => return Choice::Trial(pool),
                Some(pool) => return Choice::Pool(pool),
                None => {}
            }
        }
        Choice::NotBefore(untried.or(any).unwrap_or(u64::MAX))
    }
}

fn earlier(earliest: &mut Option<u64>, time: u64) {
    *earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 5_000;
    const T0: u64 = 1_000_000;

    /// A balancer of pools by weight; a negative weight is a backup's.
    struct World {
        balancer: Balancer,
        health: Vec<Health>,
        tried: Tried,
    }

    impl World {
        fn new(weights: &[i32]) -> Self {
            let settings: Vec<_> = weights
                .iter()
                .map(|weight| PoolSettings {
                    weight: weight.unsigned_abs(),
                    backup: *weight < 0,
                    ..PoolSettings::default()
                })
                .collect();
            let health = |seed| Health::new(WINDOW, 4_000, seed as u64);
            Self {
                balancer: Balancer::new(Method::RoundRobin, &settings).unwrap(),
                health: (0..weights.len()).map(health).collect(),
                tried: Tried::default(),
            }
        }

        fn choose(&self, now: u64) -> Choice {
            self.balancer.choose(&self.tried, now, |pool| &self.health[pool as usize])
        }

        fn take_down(&self, pool: usize) {
            for now in (T0..T0 + WINDOW).step_by(100) {
                self.health[pool].on_failure(now);
            }
        }
    }

    use Choice::{NotBefore, Pool, Trial};

    /// F1: other pools come first: primaries in turn, then backups, then the one that is suspect.
    #[test]
    fn primaries_then_backups_then_suspects() {
        let mut world = World::new(&[1, 1, -1]);
        assert_eq!([world.choose(T0), world.choose(T0), world.choose(T0)], [Pool(0), Pool(1), Pool(0)]);
        world.health[1].on_failure(T0);
        assert_eq!([world.choose(T0), world.choose(T0)], [Pool(0), Pool(0)]);
        world.tried.insert(0);
        assert_eq!(world.choose(T0), Pool(2));
        world.tried.insert(2);
        assert_eq!(world.choose(T0), Pool(1));
        world.tried.insert(1);
        assert_eq!(world.choose(T0), NotBefore(T0));
        world.tried.clear();
        assert_eq!(world.choose(T0), Pool(0));
    }

    /// F1: a pool that is down gets one exchange each backoff, others go elsewhere meanwhile.
    #[test]
    fn down_pool_gets_one_trial() {
        let world = World::new(&[1, 1]);
        world.take_down(0);
        let now = T0 + WINDOW;
        let choices: Vec<_> = (0..20).map(|_| world.choose(now)).collect();
        assert_eq!(choices.iter().filter(|choice| **choice == Trial(0)).count(), 1);
        assert_eq!(choices.iter().filter(|choice| **choice == Pool(1)).count(), 19);
        world.health[0].on_success();
        let choices: Vec<_> = (0..20).map(|_| world.choose(now)).collect();
        assert_eq!(choices.iter().filter(|choice| **choice == Pool(0)).count(), 10);
    }

    /// F1: when all are down, the earliest next trial is named, and backups are no exception.
    #[test]
    fn all_down_names_the_earliest_trial() {
        let world = World::new(&[1, -1]);
        world.take_down(0);
        world.take_down(1);
        let now = T0 + WINDOW;
        assert_eq!([world.choose(now), world.choose(now)], [Trial(0), Trial(1)]);
        world.health[1].on_failure(now);
        assert_eq!(world.choose(now), NotBefore(world.health[1].admits_from(now)));
        let next = world.health[1].admits_from(now);
        assert_eq!(world.choose(next), Trial(1));
    }

    /// F1: a lone pool is tried by everybody while it restarts.
    #[test]
    fn lone_pool_is_tried_within_its_window() {
        let mut world = World::new(&[1]);
        world.health[0].on_failure(T0);
        assert_eq!([world.choose(T0 + 1), world.choose(T0 + 1)], [Pool(0), Pool(0)]);
        world.tried.insert(0);
        assert_eq!(world.choose(T0 + 1), NotBefore(T0 + 1));
    }

    /// F1: every pool can be noted as tried, whatever its number.
    #[test]
    fn tried_holds_any_pool() {
        let mut tried = Tried::default();
        for pool in 0..300 {
            assert!(!tried.contains(pool));
            tried.insert(pool);
            assert!(tried.contains(pool) && !tried.contains(pool + 1));
        }
        assert!(!tried.is_empty());
        tried.clear();
        assert!(tried.is_empty() && (0..300).all(|pool| !tried.contains(pool)));
    }

    /// P12: an empty balancer, which no configuration can hold, chooses nothing.
    #[test]
    fn no_pools_no_choice() {
        assert_eq!(World::new(&[]).choose(T0), NotBefore(u64::MAX));
    }
}
