//! fcgate measured beside its peers, in interleaved rounds.
//!
//! ```text
//! fcgate-bench [MARK...]        all marks, or these: P1 to P13
//! fcgate-bench exchange N       N exchanges with the responder, for a profiler
//! fcgate-bench multiplex N      so many on one connection in an event loop, 64 in flight
//! ```
//!
//! `ROUNDS` (5) and `TIME` (seconds of each round, 2) in the environment. The results go to the screen,
//! to target/bench/results.json and to docs/performance.md.

mod apache;
mod library;
mod lighttpd;
mod load;
mod loops;
mod memory;
mod micro;
mod nginx;
mod report;

use report::Result;
use std::process::ExitCode;

/// What measures one mark.
type Measure = fn(Effort) -> Vec<Result>;

/// How long and how often.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Interleaved rounds of each measurement.
    pub rounds: usize,
    /// Seconds of one.
    pub seconds: f64,
}

impl Effort {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
        Self { rounds: number("ROUNDS").unwrap_or(5.0) as usize, seconds: number("TIME").unwrap_or(2.0) }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, count] = &arguments[..]
        && let Ok(count) = count.parse()
    {
        match command.as_str() {
            "exchange" => library::exchange(count),
            "multiplex" => loops::multiplex(count),
            _ => return ExitCode::FAILURE,
        }
        return ExitCode::SUCCESS;
    }
    let wants = |mark: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == mark);
    let effort = Effort::from_environment();
    let mut results: Vec<Result> = Vec::new();
    let marks: [(&str, Measure); 13] = [
        ("P1", apache::against_proxy),
        ("P2", apache::against_fcgid),
        ("P3", lighttpd::against_fastcgi),
        ("P4", nginx::against_fastcgi),
        ("P5", library::sequential),
        ("P6", loops::many),
        ("P7", library::system_calls),
        ("P8", library::instructions),
        ("P9", micro::protocol),
        ("P10", loops::in_flight),
        ("P11", memory::live),
        ("P12", micro::pools),
        ("P13", loops::idle),
    ];
    for (mark, measure) in marks {
        if wants(mark) {
            eprintln!("{mark} ...");
            results.extend(measure(effort));
        }
    }
    report::print(&results);
    report::write(&results, arguments.is_empty() && effort.rounds >= 3);
    if results.iter().any(|result| result.failed > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
