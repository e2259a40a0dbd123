//! Single steps, timed in loops: encoding, and what a pool does for each request.

use crate::Effort;
use crate::report::Result;
use fcgate::balancer::{Balancer, Method, Tried};
use fcgate::drive::Link;
use fcgate::pool::{Checkout, Health, Pool, PoolSettings};
use fcgate::protocol::ParamsEncoder;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Nanoseconds of one call.
fn time(effort: Effort, mut work: impl FnMut()) -> f64 {
    let calls = 200_000;
    (0..calls / 10).for_each(|_| work());
    let best = (0..effort.rounds.max(3)).map(|_| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    });
    best.fold(f64::INFINITY, f64::min)
}

/// P9: 30 params encoded, beside a loop that only copies them.
pub fn protocol(effort: Effort) -> Vec<Result> {
    let pairs: Vec<(String, String)> = (0..30)
        .map(|at| (format!("A_PARAM_NAME_{at:02}"), format!("some value of a usual length {at}")))
        .collect();
    let mut out: Vec<u8> = Vec::with_capacity(4096);
    let own = time(effort, || {
        out.clear();
        let mut encoder = ParamsEncoder::new(false);
        for (name, value) in black_box(&pairs) {
            let _ = encoder.pair(&mut out, name.as_bytes(), value.as_bytes());
        }
        encoder.finish(&mut out);
        black_box(&out);
    });
    let mut plain: Vec<u8> = Vec::with_capacity(4096);
    let tight = time(effort, || {
        plain.clear();
        plain.extend_from_slice(&[1, 4, 0, 0, 0, 0, 0, 0]);
        for (name, value) in black_box(&pairs) {
            plain.extend_from_slice(&[name.len() as u8, value.len() as u8]);
            plain.extend_from_slice(name.as_bytes());
            plain.extend_from_slice(value.as_bytes());
        }
        plain.extend_from_slice(&[1, 4, 0, 0, 0, 0, 0, 0]);
        black_box(&plain);
    });
    vec![Result::compared("P9", "30 params encoded, beside a tight loop", "ns", 1.15, &[(own, tight)])]
}

/// P11: what an idle kept connection takes of this process's memory, beside its socket.
pub fn memory(_: Effort) -> Vec<Result> {
    // A slot of the idle stack is a pointer, a time and its place.
    let bytes = size_of::<Link>() + 3 * size_of::<u64>();
    vec![Result::alone("P11", "An idle kept connection", "bytes", 512.0, bytes as f64)]
}

/// P12: a kept connection taken and given back; the choice of a pool.
pub fn pools(effort: Effort) -> Vec<Result> {
    let settings = PoolSettings { max_connections: 4, ..PoolSettings::default() };
    let address = "unix:/run/none.sock".parse().expect("an address of ours is right");
    let pool: Pool<u64> = Pool::new(address, settings, Duration::ZERO);
    if let Checkout::Connect(permit) = pool.checkout(0, true) {
        pool.checkin(Box::new(7), permit, 0);
    }
    let taken = time(effort, || {
        if let Checkout::Kept(connection, permit) = black_box(pool.checkout(1, true)) {
            pool.checkin(connection, permit, 1);
        }
    });
    let mut results = vec![Result::alone("P12", "A kept connection taken and given back", "ns", 60.0, taken)];
    for (count, goal) in [(16, 40.0), (1000, 80.0)] {
        let members: Vec<PoolSettings> = (0..count).map(|_| PoolSettings::default()).collect();
        let balancer = Balancer::new(Method::RoundRobin, members.iter()).expect("equal weights are right");
        let health: Vec<Health> = (0..count).map(|_| Health::new(5000, 4000, 1)).collect();
        let tried = Tried::default();
        let choice = time(effort, || {
            black_box(balancer.choose(&tried, 1, |pool| &health[pool as usize]));
        });
        results.push(Result::alone("P12", &format!("A pool of {count} chosen by turns"), "ns", goal, choice));
    }
    results
}
