//! A balancer: a named choice among pools.
//!
//! A method says which pool it is among those that can be had; who can be had is asked of the pools'
//! health. An exchange never comes back to a pool that it has tried while there is another, and
//! backups are asked only while no primary is up.

pub mod failover;
pub mod hash;
pub mod ip_hash;
pub mod key;
pub mod least_connections;
pub mod least_time;
pub mod load;
pub mod random_two;
pub mod round_robin;
pub mod settings;
pub mod sticky;

use crate::os::random;
use crate::pool::{Admit, Health, PoolSettings};
use failover::Failover;
use hash::Hash;
use least_connections::LeastConnections;
use least_time::LeastTime;
use random_two::{Random, RandomTwo};
use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;
use sticky::Sticky;

pub use load::Load;
pub use round_robin::{RoundRobin, WeightError};
pub use settings::{BalancerSettings, HashKey, Method};

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

/// Milliseconds after which a request looks again whether its pool's name has an address by now.
const LOOK_AGAIN: u64 = 20;

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
    method: Method,
    primaries: Rank,
    backups: Rank,
    sticky: Option<Sticky>,
    loads: Box<[Load]>,
    /// What the shares of pools in their slow start are drawn with, where there may be any.
    slow_start: Option<Random>,
}

/// How the pools of one rank are chosen among.
#[derive(Debug)]
enum Rank {
    RoundRobin(RoundRobin),
    LeastConnections(LeastConnections),
    LeastTime(LeastTime),
    RandomTwo(Box<RandomTwo>),
    Hash(Hash),
    Failover(Failover),
}

impl Rank {
    fn new(method: &Method, members: &[(u32, u32)], ids: &[u64], seed: u64) -> Result<Self, WeightError> {
        Ok(match method {
            Method::RoundRobin | Method::Sticky(_) => Self::RoundRobin(RoundRobin::new(members)?),
            Method::LeastConnections => Self::LeastConnections(LeastConnections::new(members)?),
            Method::LeastTime => Self::LeastTime(LeastTime::new(members)?),
            Method::RandomTwo => Self::RandomTwo(Box::new(RandomTwo::new(members, seed)?)),
            Method::IpHash | Method::Hash(_) => Self::Hash(Hash::new(members, ids)?),
            Method::Failover => Self::Failover(Failover::new(members)),
        })
    }

    fn choose(
        &self,
        key: Option<u64>,
        loads: &[Load],
        now: u64,
        eligible: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        match self {
            Self::RoundRobin(method) => method.choose(eligible),
            Self::LeastConnections(method) => method.choose(loads, eligible),
            Self::LeastTime(method) => method.choose(loads, now, eligible),
            Self::RandomTwo(method) => method.choose(loads, eligible),
            Self::Hash(method) => method.choose(key, eligible),
            Self::Failover(method) => method.choose(eligible),
        }
    }
}

/// Numbers for pools, made of their addresses; one that is named twice gets two.
fn ids_of<'a>(addresses: impl Iterator<Item = &'a str>) -> Vec<u64> {
    let mut seen = HashSet::new();
    let unique = |address: &str| {
        let mut id = key::number_of(address.as_bytes());
        while !seen.insert(id) {
            id = random::mix(id);
        }
        id
    };
    addresses.map(unique).collect()
}

impl Balancer {
    /// A balancer over pools with these addresses and settings. Random draws follow from the seed.
    pub fn new<'a>(
        method: &Method,
        pools: impl IntoIterator<Item = (&'a str, &'a PoolSettings)>,
        seed: u64,
    ) -> Result<Self, WeightError> {
        let (addresses, settings): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
        let ids = ids_of(addresses.into_iter());
        let rank = |backup| {
            let members: Vec<_> = (0..)
                .zip(&settings)
                .filter(|(_, pool)| pool.backup == backup)
                .map(|(index, pool)| (index, pool.weight))
                .collect();
            Rank::new(method, &members, &ids, seed)
        };
        let by_key = matches!(method, Method::Hash(_) | Method::IpHash);
        let starts_slowly = !by_key && settings.iter().any(|pool| !pool.slow_start.is_zero());
        Ok(Self {
            primaries: rank(false)?,
            backups: rank(true)?,
            sticky: match method {
                Method::Sticky(cookie) => Some(Sticky::new(cookie, &ids)),
                _ => None,
            },
            loads: settings.iter().map(|_| Load::default()).collect(),
            slow_start: starts_slowly.then(|| Random::new(random::mix(seed))),
            method: method.clone(),
        })
    }

    /// What a request goes by; none where the method asks for nothing, or the request has it not.
    /// `param` finds a param as the application gets it.
    pub fn key_of<'a>(&self, param: impl Fn(&[u8]) -> Option<Cow<'a, [u8]>>) -> Option<u64> {
        key::key_of(&self.method, param)
    }

    /// Whether a request with this key is bound to the pool, and waits for it rather than for another.
    pub fn is_bound(&self, pool: u32, key: Option<u64>) -> bool {
        self.bound(key) == Some(pool)
    }

    /// Whether clients are led back by a cookie.
    pub fn is_sticky(&self) -> bool {
        self.sticky.is_some()
    }

    /// The Set-Cookie for a request with this key that the pool answers, if it needs one.
    pub fn set_cookie(&self, pool: u32, key: Option<u64>, secure: bool) -> Option<String> {
        self.sticky.as_ref()?.set_cookie(pool, key, secure)
    }

    /// An exchange goes to a pool.
    pub fn note_begin(&self, pool: u32) {
        if self.minds_loads() {
            self.loads[pool as usize].begin();
        }
    }

    /// It left the pool.
    pub fn note_end(&self, pool: u32) {
        if self.minds_loads() {
            self.loads[pool as usize].end();
        }
    }

    /// A pool answered an exchange after this time.
    pub fn note_answer(&self, pool: u32, took: Duration, now: u64) {
        if self.method == Method::LeastTime {
            self.loads[pool as usize].answered(took, now);
        }
    }

    /// A pool had not answered an exchange after this time.
    pub fn note_no_answer(&self, pool: u32, took: Duration, now: u64) {
        if self.method == Method::LeastTime {
            self.loads[pool as usize].unanswered(took, now);
        }
    }

    /// Another application is reached under this number from now on.
    pub fn forget(&self, pool: u32) {
        self.loads[pool as usize].forget();
    }

    fn minds_loads(&self) -> bool {
        matches!(self.method, Method::LeastConnections | Method::LeastTime | Method::RandomTwo)
    }

    fn bound(&self, key: Option<u64>) -> Option<u32> {
        self.sticky.as_ref()?.find(key?)
    }

    /// The pool to try next: the one that the request is bound to, or else by the method among the
    /// untried that are up (or due for a trial), primaries before backups; else any untried one that
    /// admits an exchange. A pool that drains is only for those who are bound to it.
    pub fn choose<'a>(
        &self,
        tried: &Tried,
        key: Option<u64>,
        now: u64,
        health: impl Fn(u32) -> &'a Health,
    ) -> Choice {
        let bound = self.bound(key).filter(|pool| !tried.contains(*pool) && !health(*pool).is_absent());
        if let Some(pool) = bound {
            match health(pool) {
                health if health.is_up() => return Choice::Pool(pool),
                health if health.admit_trial(now) => return Choice::Trial(pool),
                _ => {}
            }
        }
        let draw = self.slow_start.as_ref().map(|random| random.next() as u32);
        let may = |pool| {
            !tried.contains(pool) && {
                let health = health(pool);
                !health.is_draining() && !health.is_absent()
            }
        };
        for rank in [&self.primaries, &self.backups] {
            // Who starts slowly is passed over for others of its rank, and for nobody else.
            for draw in [draw, None].into_iter().skip(usize::from(draw.is_none())) {
                let eligible = |pool| {
                    let health = health(pool);
                    may(pool)
                        && (health.is_up() && draw.is_none_or(|draw| health.takes_part(now, draw))
                            || health.is_trial_due(now))
                };
                // Another thread may take a trial between the look and the choice.
                while let Some(pool) = rank.choose(key, &self.loads, now, eligible) {
                    match health(pool) {
                        health if health.is_up() => return Choice::Pool(pool),
                        health if health.admit_trial(now) => return Choice::Trial(pool),
                        _ => {}
                    }
                }
            }
        }
        let admit = |pool| match health(pool).admit(now) {
            Admit::Yes => Some(Choice::Pool(pool)),
            Admit::Trial => Some(Choice::Trial(pool)),
            Admit::NotBefore(_) => None,
        };
        if let Some(choice) = bound.and_then(admit) {
            return choice;
        }
        for rank in [&self.primaries, &self.backups] {
            let eligible = |pool| may(pool) && health(pool).admits_from(now) <= now;
            while let Some(pool) = rank.choose(key, &self.loads, now, eligible) {
                if let Some(choice) = admit(pool) {
                    return choice;
                }
            }
        }
        Choice::NotBefore(self.admits_from(tried, now, health))
    }

    /// When one that was not tried admits an exchange, or, where all were tried, any of them.
    fn admits_from<'a>(&self, tried: &Tried, now: u64, health: impl Fn(u32) -> &'a Health) -> u64 {
        let (mut untried, mut any, mut awaited) = (None, None, None);
        for pool in (0..self.loads.len() as u32).filter(|pool| !health(*pool).is_draining()) {
            let health = health(pool);
            if health.is_absent() {
                awaited = Some(now + LOOK_AGAIN);
                continue;
            }
            let from = health.admits_from(now);
            earlier(&mut any, from);
            if !tried.contains(pool) {
                earlier(&mut untried, from);
            }
        }
        untried.or(any).or(awaited).unwrap_or(u64::MAX)
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
            let pools = settings.iter().map(|settings| ("", settings));
            Self {
                balancer: Balancer::new(&Method::RoundRobin, pools, 1).unwrap(),
                health: (0..weights.len()).map(health).collect(),
                tried: Tried::default(),
            }
        }

        fn choose(&self, now: u64) -> Choice {
            self.balancer.choose(&self.tried, None, now, |pool| &self.health[pool as usize])
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
        world.health[0].on_success(now);
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
