//! Single steps, measured by Criterion: what the protocol takes of a request, beside tight loops in C, and
//! what a pool does for each.
#![allow(unsafe_code)]

use crate::Effort;
use crate::report::Result;
use criterion::Criterion;
use fcgate::balancer::{Balancer, HashKey, Method, Tried};
use fcgate::cgi::{Environment, EnvironmentSettings, Facts, Files, Onoff};
use fcgate::connection::{Connection, Event};
use fcgate::pool::{Checkout, Health, Pool, PoolSettings};
use fcgate::protocol::record::append_stream;
use fcgate::protocol::{ParamsEncoder, RecordType};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

#[repr(C)]
struct Text {
    bytes: *const u8,
    length: usize,
}

#[repr(C)]
struct Pair {
    name: Text,
    value: Text,
}

unsafe extern "C" {
    fn tight_encode(pairs: *const Pair, count: usize, out: *mut u8) -> usize;
    fn tight_headers(pairs: *const Pair, count: usize, out: *mut u8) -> usize;
    fn tight_parse(bytes: *const u8, length: usize) -> usize;
}

/// Bytes that the loops in C may write.
const ROOM: usize = 16 << 10;

/// Pairs as C has them.
fn to_c(pairs: &[(String, String)]) -> Vec<Pair> {
    let text = |text: &String| Text { bytes: text.as_ptr(), length: text.len() };
    let pairs: Vec<Pair> =
        pairs.iter().map(|(name, value)| Pair { name: text(name), value: text(value) }).collect();
    let bytes: usize = pairs.iter().map(|pair| pair.name.length + pair.value.length + 16).sum();
    assert!(bytes < ROOM);
    pairs
}

/// Measures steps, each by its name.
struct Bench {
    criterion: Criterion,
    directory: PathBuf,
}

impl Bench {
    fn new(effort: Effort) -> Self {
        let directory = crate::report::root().join("target/bench/criterion");
        let criterion = Criterion::default()
            .without_plots()
            .output_directory(&directory)
            .sample_size(20)
            .warm_up_time(Duration::from_secs_f64(effort.seconds / 4.0))
            .measurement_time(Duration::from_secs_f64(effort.seconds));
        Self { criterion, directory }
    }

    /// Nanoseconds of one call.
    fn time(&mut self, name: &str, mut work: impl FnMut()) -> f64 {
        self.criterion.bench_function(name, |bencher| bencher.iter(&mut work));
        let path = self.directory.join(name).join("new/estimates.json");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let estimates: serde_json::Value = serde_json::from_str(&text).expect("Criterion writes JSON");
        estimates["median"]["point_estimate"].as_f64().expect("a number of nanoseconds")
    }
}

/// No file is looked at.
struct NoFiles;

impl Files for NoFiles {
    fn is_regular_file(&self, _: &[u8]) -> bool {
        false
    }

    fn is_directory(&self, _: &[u8]) -> bool {
        false
    }

    fn resolve(&self, _: &[u8], _: &mut Vec<u8>) -> bool {
        false
    }
}

/// P9: params encoded, header fields mapped, records parsed, beside loops that only do that.
pub fn protocol(effort: Effort) -> Vec<Result> {
    let mut bench = Bench::new(effort);
    vec![encode(&mut bench), headers(&mut bench), parse(&mut bench)]
}

fn encode(bench: &mut Bench) -> Result {
    let pairs: Vec<(String, String)> = (0..30)
        .map(|at| (format!("A_PARAM_NAME_{at:02}"), format!("some value of a usual length {at}")))
        .collect();
    let mut out: Vec<u8> = Vec::with_capacity(ROOM);
    let own = bench.time("encode_30_params", || {
        out.clear();
        let mut encoder = ParamsEncoder::new(false);
        for (name, value) in black_box(&pairs) {
            let _ = encoder.pair(&mut out, name.as_bytes(), value.as_bytes());
        }
        encoder.finish(&mut out);
        black_box(&out);
    });
    let (c, mut room) = (to_c(&pairs), vec![0; ROOM]);
    let tight = || {
        // SAFETY: the pairs live as long as `pairs`, and `to_c` saw that they fit the room.
        unsafe { tight_encode(black_box(c.as_ptr()), c.len(), room.as_mut_ptr()) }
    };
    let tight = measured(bench, "encode_30_params_in_c", tight);
    assert_eq!(out, room[..out.len()], "both encode alike");
    Result::compared("P9", "30 params encoded, beside C", "ns", 1.15, &[(own, tight)])
}

fn measured(bench: &mut Bench, name: &str, mut work: impl FnMut() -> usize) -> f64 {
    bench.time(name, || {
        black_box(work());
    })
}

fn headers(bench: &mut Bench) -> Result {
    let fields: Vec<(String, String)> =
        (0..40).map(|at| (format!("X-Header-Number-{at}"), format!("a value of some length {at}"))).collect();
    let settings = EnvironmentSettings { script_exists: Onoff::Off, ..EnvironmentSettings::default() };
    let mut environment = Environment::default();
    let mut build = |fields: &Vec<(String, String)>| {
        let facts = Facts { method: Some(b"GET"), headers: fields, without_nul: true, ..Facts::default() };
        environment.build(&settings, &[], &facts, &NoFiles, None).expect("a request of ours is right");
        environment.encoded().len()
    };
    let whole = measured(bench, "map_40_headers", || build(black_box(&fields)));
    let without = measured(bench, "map_no_header", || build(black_box(&Vec::new())));
    let (c, mut room) = (to_c(&fields), vec![0; ROOM]);
    let tight = measured(bench, "map_40_headers_in_c", || {
        // SAFETY: as above.
        unsafe { tight_headers(black_box(c.as_ptr()), c.len(), room.as_mut_ptr()) }
    });
    Result::compared("P9", "40 header fields mapped, beside C", "ns", 1.25, &[(whole - without, tight)])
}

fn parse(bench: &mut Bench) -> Result {
    let mut records = Vec::new();
    (0..100).for_each(|_| append_stream(&mut records, RecordType::STDOUT, 1, &[b'x'; 100]));
    let mut connection = Connection::default();
    let id = connection.open().expect("a fresh connection has an id");
    assert_eq!(id, 1, "the records are for it");
    let own = measured(bench, "parse_100_records", || {
        let (mut input, mut content) = (black_box(&records[..]), 0);
        while let Some(Event::Stdout { bytes, .. }) = connection.next(&mut input).expect("records of ours") {
            content += bytes.len();
        }
        content
    });
    let tight = measured(bench, "parse_100_records_in_c", || {
        // SAFETY: it reads within the length that it is told.
        unsafe { tight_parse(black_box(records.as_ptr()), records.len()) }
    });
    Result::compared("P9", "100 records parsed, beside C", "ns", 2.0, &[(own, tight)])
}

/// P12: a kept connection taken and given back; the choice of a pool.
pub fn pools(effort: Effort) -> Vec<Result> {
    let mut bench = Bench::new(effort);
    let settings = PoolSettings { max_connections: 4, ..PoolSettings::default() };
    let address = "unix:/run/none.sock".parse().expect("an address of ours is right");
    let pool: Pool<u64> = Pool::new(address, settings, Duration::ZERO);
    if let Checkout::Connect(permit) = pool.checkout(0, true) {
        pool.checkin(Box::new(7), permit, 0);
    }
    let taken = bench.time("take_and_give_back", || {
        if let Checkout::Kept(connection, permit) = black_box(pool.checkout(1, true)) {
            pool.checkin(connection, permit, 1);
        }
    });
    let mut results = vec![Result::alone("P12", "A kept connection taken and given back", "ns", 60.0, taken)];
    let by_key = HashKey::Param("REQUEST_URI".into());
    for (method, name, goals) in [
        (Method::RoundRobin, "round_robin", [40.0, 80.0]),
        (Method::RandomTwo, "random_two", [40.0, 80.0]),
        (Method::Hash(by_key), "hash", [40.0, 80.0]),
        (Method::LeastConnections, "least_connections", [60.0, 1500.0]),
        (Method::LeastTime, "least_time", [60.0, 1500.0]),
    ] {
        for (count, goal) in [16, 1000].into_iter().zip(goals) {
            let choice = choose(&mut bench, &method, name, count);
            results.push(Result::alone(
                "P12",
                &format!("A pool of {count} chosen by {name}"),
                "ns",
                goal,
                choice,
            ));
        }
    }
    results
}

/// Chooses among so many pools, each of them busy, so that no method has it easier than in real life.
fn choose(bench: &mut Bench, method: &Method, name: &str, count: u32) -> f64 {
    let settings = PoolSettings::default();
    let addresses: Vec<String> =
        (0..count).map(|at| format!("10.0.{}.{}:9000", at / 256, at % 256)).collect();
    let pools = addresses.iter().map(|address| (address.as_str(), &settings));
    let balancer = Balancer::new(method, pools, 1).expect("equal weights are right");
    let health: Vec<Health> = (0..count).map(|_| Health::new(5000, 4000, 1)).collect();
    for pool in 0..count {
        (0..3 + pool % 5).for_each(|_| balancer.note_begin(pool));
        balancer.note_answer(pool, Duration::from_micros(u64::from(900 + pool % 7)), 1);
    }
    let tried = Tried::default();
    let mut key = 0u64;
    bench.time(&format!("{name}_among_{count}"), || {
        key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        black_box(balancer.choose(&tried, Some(key), 1, |pool| &health[pool as usize]));
    })
}
