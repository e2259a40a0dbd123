//! How the methods of a balancer spread requests: by chance where chance is due (chi-square, with seeds
//! that are fixed), by weight, and with few keys moved when pools come and go.

use fcgate::balancer::key::number_of;
use fcgate::balancer::{Balancer, Choice, HashKey, Method, Tried};
use fcgate::pool::{Health, PoolSettings};
use std::time::Duration;

const NOW: u64 = 1_000_000;

/// Pools behind a balancer, as an engine has them.
struct World {
    balancer: Balancer,
    health: Vec<Health>,
    tried: Tried,
}

fn address(pool: usize) -> String {
    format!("10.1.{}.{}:9000", pool / 250, pool % 250)
}

impl World {
    fn new(method: &Method, weights: &[u32]) -> Self {
        let pools: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(at, weight)| (address(at), PoolSettings { weight: *weight, ..PoolSettings::default() }))
            .collect();
        Self::of(method, &pools)
    }

    fn of(method: &Method, pools: &[(String, PoolSettings)]) -> Self {
        let members = pools.iter().map(|(address, settings)| (address.as_str(), settings));
        let health = |(_, settings): &(String, PoolSettings)| {
            let health = Health::new(5_000, 4_000, 1)
                .with_times(settings.slow_start.as_millis() as u64, settings.disable_time.as_millis() as u64);
            health.set_draining(settings.drain);
            health
        };
        Self {
            balancer: Balancer::new(method, members, 20_261_121).unwrap(),
            health: pools.iter().map(health).collect(),
            tried: Tried::default(),
        }
    }

    fn choose(&self, key: Option<u64>, now: u64) -> Choice {
        self.balancer.choose(&self.tried, key, now, |pool| &self.health[pool as usize])
    }

    fn pool(&self, key: Option<u64>) -> usize {
        match self.choose(key, NOW) {
            Choice::Pool(pool) => pool as usize,
            other => panic!("{other:?}"),
        }
    }

    /// How many of so many requests each pool gets, each with a key of its own.
    fn counts(&self, requests: u64) -> Vec<u64> {
        let mut counts = vec![0; self.health.len()];
        for request in 0..requests {
            counts[self.pool(Some(key(request)))] += 1;
        }
        counts
    }
}

fn key(request: u64) -> u64 {
    number_of(format!("/page/{request}").as_bytes())
}

fn hash() -> Method {
    Method::Hash(HashKey::Param("REQUEST_URI".into()))
}

fn sticky() -> Method {
    Method::Sticky("fcgate".into())
}

/// Whether counts can come from these weights by chance: chi-square below its value for one in a
/// thousand (Wilson and Hilferty's approximation).
fn assert_fits(counts: &[u64], weights: &[u32], what: &str) {
    let (total, sum) = (counts.iter().sum::<u64>() as f64, f64::from(weights.iter().sum::<u32>()));
    let chi_square: f64 = counts
        .iter()
        .zip(weights)
        .map(|(count, weight)| {
            let due = total * f64::from(*weight) / sum;
            (*count as f64 - due).powi(2) / due
        })
        .sum();
    let free = counts.len() as f64 - 1.0;
    let part = 2.0 / (9.0 * free);
    let most = free * (1.0 - part + 3.09 * part.sqrt()).powi(3);
    assert!(
        chi_square < most,
        "{what}: chi-square {chi_square:.1}, at most {most:.1}: {counts:?} by {weights:?}"
    );
}

/// P12: every method that shares spreads requests by weight, as far as chance can tell.
#[test]
fn every_method_spreads_by_weight() {
    for weights in [&[1, 1][..], &[1; 5], &[5, 1, 1], &[10, 20, 30, 40], &[1; 16]] {
        let keyless = [Method::RoundRobin, Method::LeastConnections, Method::LeastTime, sticky()];
        for method in keyless.iter().chain(&[hash(), Method::IpHash, Method::RandomTwo]) {
            // With nothing under way the less busy of two is the first that was drawn.
            let world = World::new(method, weights);
            assert_fits(&world.counts(10_000), weights, &format!("{method:?}"));
        }
    }
    // A thousand pools.
    for method in [hash(), Method::RandomTwo, Method::RoundRobin, Method::LeastConnections] {
        let world = World::new(&method, &[1; 1000]);
        assert_fits(&world.counts(10_000), &[1; 1000], &format!("{method:?}"));
    }
}

/// P12: while requests last, the busy pools get fewer.
#[test]
fn busy_pools_get_fewer() {
    for method in [Method::LeastConnections, Method::RandomTwo, Method::LeastTime] {
        let world = World::new(&method, &[1; 4]);
        for pool in 0..4 {
            world.balancer.note_answer(pool, Duration::from_millis(10), NOW);
        }
        (0..50).for_each(|_| world.balancer.note_begin(0));
        let mut counts = [0; 4];
        for _ in 0..120 {
            let pool = world.pool(None);
            world.balancer.note_begin(pool as u32);
            counts[pool] += 1;
        }
        assert!(
            counts[0] < 2 && counts[1..].iter().all(|count| (36..=44).contains(count)),
            "{method:?}: {counts:?}"
        );
        // They left; what is under way counts, not what was.
        for (pool, count) in counts.iter().enumerate() {
            (0..*count).for_each(|_| world.balancer.note_end(pool as u32));
        }
        (0..50).for_each(|_| world.balancer.note_end(0));
        assert_fits(&world.counts(1_000), &[1; 4], &format!("{method:?}, idle again"));
    }
}

/// P12: one pool more or less moves less than 1/N + 5 % of the keys, and a pool that is only down moves
/// no key but its own.
#[test]
fn few_keys_move_when_pools_come_and_go() {
    const KEYS: u64 = 20_000;
    for method in [hash(), Method::IpHash] {
        for count in [2, 3, 5, 10, 50, 200] {
            let pools: Vec<_> = (0..count).map(|pool| (address(pool), PoolSettings::default())).collect();
            let whole = World::of(&method, &pools);
            for gone in [0, count / 2, count - 1] {
                let mut left = pools.clone();
                left.remove(gone);
                let smaller = World::of(&method, &left);
                let moved = (0..KEYS).filter(|request| {
                    let (before, after) =
                        (whole.pool(Some(key(*request))), smaller.pool(Some(key(*request))));
                    pools[before].0 != left[after].0
                });
                let part = moved.count() as f64 / KEYS as f64;
                assert!(part < 1.0 / count as f64 + 0.05, "{method:?}: {part} of {count}, without {gone}");
            }
            let down = World::of(&method, &pools);
            down.health[0].on_failure(NOW);
            let moved = (0..KEYS).filter(|request| {
                let before = whole.pool(Some(key(*request)));
                before != 0 && before != down.pool(Some(key(*request)))
            });
            assert_eq!(moved.count(), 0, "{method:?}: {count}");
        }
        // The order of the configuration has no say.
        let pools: Vec<_> = (0..5).map(|pool| (address(pool), PoolSettings::default())).collect();
        let other: Vec<_> = pools.iter().rev().cloned().collect();
        let (one, other_world) = (World::of(&method, &pools), World::of(&method, &other));
        let same = (0..KEYS)
            .filter(|request| {
                pools[one.pool(Some(key(*request)))].0 == other[other_world.pool(Some(key(*request)))].0
            })
            .count() as f64;
        assert!(same > 0.999 * KEYS as f64, "{same}");
    }
}

/// F1: under each method another pool is taken while one is down, backups come last, and one that drains
/// gets nobody.
#[test]
fn every_method_keeps_to_those_who_are_up() {
    let pool = |weight, backup, drain| PoolSettings { weight, backup, drain, ..PoolSettings::default() };
    let settings = [pool(1, false, false), pool(2, false, false), pool(9, false, true), pool(1, true, false)];
    let pools: Vec<_> = settings.iter().enumerate().map(|(at, pool)| (address(at), pool.clone())).collect();
    for method in [
        Method::RoundRobin,
        Method::LeastConnections,
        Method::LeastTime,
        Method::RandomTwo,
        Method::IpHash,
        hash(),
        sticky(),
        Method::Failover,
    ] {
        let mut world = World::of(&method, &pools);
        let counts = world.counts(300);
        assert!(counts[2] == 0 && counts[3] == 0, "{method:?}: {counts:?}");
        assert!(counts[0] > 50 && (counts[1] > 100 || method == Method::Failover), "{method:?}: {counts:?}");
        world.health[0].on_failure(NOW);
        assert_eq!(world.counts(100), [0, 100, 0, 0], "{method:?}");
        world.tried.insert(1);
        assert_eq!(world.counts(100), [0, 0, 0, 100], "{method:?}");
        world.tried.insert(3);
        // Who is suspect is better than nobody; who drains is not.
        assert_eq!(world.counts(100), [100, 0, 0, 0], "{method:?}");
        world.tried.insert(0);
        assert_eq!(world.choose(Some(key(1)), NOW), Choice::NotBefore(NOW), "{method:?}");
        // Its trial is found by each method, once.
        world.tried.clear();
        world.health[0].on_failure(NOW + 2_600);
        let later = NOW + 5_000;
        let trials = (0..200).filter(|request| world.choose(Some(key(*request)), later) == Choice::Trial(0));
        assert_eq!(trials.count(), 1, "{method:?}");
    }
}

/// F11: after a failure a pool takes little at first, and its share when its slow start is over; a pool
/// without others of its rank takes everything.
#[test]
fn slow_start_under_each_method() {
    let slow = PoolSettings { slow_start: Duration::from_secs(10), ..PoolSettings::default() };
    let pools: Vec<_> = (0..2).map(|at| (address(at), slow.clone())).collect();
    for method in
        [Method::RoundRobin, Method::LeastConnections, Method::LeastTime, Method::RandomTwo, sticky()]
    {
        let world = World::of(&method, &pools);
        let count = |now| (0..1000).filter(|_| world.choose(None, now) == Choice::Pool(0)).count();
        assert!((400..600).contains(&count(NOW)), "{method:?}: a fresh process has no slow start");
        world.health[0].on_failure(NOW);
        world.health[0].on_success(NOW);
        let counts = [count(NOW), count(NOW + 5_000), count(NOW + 10_000)];
        assert!(counts[0] < 60 && (180..330).contains(&counts[1]), "{method:?}: {counts:?}");
        assert!((400..600).contains(&counts[2]), "{method:?}: {counts:?}");
    }
    let backup = PoolSettings { backup: true, ..PoolSettings::default() };
    let world = World::of(&Method::RoundRobin, &[(address(0), slow), (address(1), backup)]);
    world.health[0].on_failure(NOW);
    world.health[0].on_success(NOW);
    assert_eq!(world.counts(100), [100, 0]);
}

/// A client with a cookie stays with its pool, also while that drains, moves when it is down, and comes
/// back to it when nobody is up.
#[test]
fn sticky_clients_stay() {
    let pools: Vec<_> = (0..3).map(|at| (address(at), PoolSettings::default())).collect();
    let world = World::of(&sticky(), &pools);
    let field = world.balancer.set_cookie(1, None, false).unwrap();
    let value = field.strip_prefix("fcgate=").unwrap().split(';').next().unwrap().to_owned();
    let bound = world
        .balancer
        .key_of(|name| (name == b"HTTP_COOKIE").then(|| format!("a=b; fcgate={value}").into_bytes().into()));
    assert!(world.balancer.is_bound(1, bound) && !world.balancer.is_bound(0, bound));
    assert_eq!(world.balancer.set_cookie(1, bound, false), None);
    assert!((0..10).all(|_| world.pool(bound) == 1));
    world.health[1].set_draining(true);
    assert!((0..10).all(|_| world.pool(bound) == 1 && world.pool(None) != 1));
    world.health[1].set_draining(false);
    world.health[1].on_failure(NOW);
    assert!((0..10).all(|_| world.pool(bound) != 1));
    for pool in [0, 2] {
        world.health[pool].on_failure(NOW);
    }
    assert!((0..10).all(|_| world.pool(bound) == 1));
    // A cookie that is nobody's, or of a pool that is no more, binds to none.
    assert!(!world.balancer.is_bound(1, Some(7)));
    // Another process, and another order of the configuration, mean the same by it.
    let other = World::of(&sticky(), &[pools[1].clone(), pools[0].clone()]);
    assert!(other.balancer.is_bound(0, bound));
}

/// F1: Cherokee's way: the first that is up, one that failed left alone for 300 s, all of them when none is
/// up.
#[test]
fn failover_as_in_cherokee() {
    let settings = PoolSettings { disable_time: Duration::from_secs(300), ..PoolSettings::default() };
    let pools: Vec<_> = (0..3).map(|at| (address(at), settings.clone())).collect();
    let world = World::of(&Method::Failover, &pools);
    assert_eq!(world.choose(None, NOW), Choice::Pool(0));
    world.health[0].on_failure(NOW);
    assert_eq!([world.choose(None, NOW), world.choose(None, NOW + 299_999)], [Choice::Pool(1); 2]);
    assert_eq!(world.choose(None, NOW + 300_000), Choice::Trial(0));
    assert_eq!(world.choose(None, NOW + 300_000), Choice::Pool(1));
    world.health[0].on_success(NOW + 300_001);
    assert_eq!(world.choose(None, NOW + 300_001), Choice::Pool(0));
    world.health.iter().for_each(|health| health.on_failure(NOW + 400_000));
    assert_eq!(world.choose(None, NOW + 400_000), Choice::Pool(0));
}
