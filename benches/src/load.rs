//! Loads on a web server, and what they cost it: CPU time of the gateway for each request.

use crate::Effort;
use crate::report::Result;
use fcgate_kit::Directory;
use fcgate_kit::process::{Process, Ready};
use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Clients at once.
pub const CLIENTS: usize = 64;
/// And for large answers and bodies.
const FEW: usize = 16;

/// A program that was built beside this one.
pub fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows where it is");
    own.parent().expect("it is in a directory").join(name)
}

/// The responder on a socket of its own.
pub fn responder(directory: &Directory) -> (Process, String) {
    let socket = directory.join("responder.sock");
    let address = format!("unix:{}", socket.display());
    let process =
        Process::command(beside("fcgate-responder")).arg(&address).ready(Ready::Unix(socket)).start();
    pin(process.pid(), LOAD_CORE);
    (process, address)
}

/// Where the gateway runs, and where all else does.
pub const GATEWAY_CORE: &str = "0";
pub const LOAD_CORE: &str = "1";

/// Gives a process, with all its threads, one core; on a machine of one core nothing changes.
pub fn pin(pid: u32, core: &str) {
    let _ = Command::new("taskset").args(["-a", "-c", "-p", core, &pid.to_string()]).output();
}

/// Nanoseconds that all threads of these processes have run.
pub fn run_time(processes: &[u32]) -> u64 {
    let of_thread = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    let of =
        |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(of_thread);
    processes.iter().flat_map(of).sum()
}

/// One way to load a server.
pub struct Load {
    /// Clients at once.
    pub clients: usize,
    /// What stands before the file in its path.
    pub prefix: &'static str,
    pub name: &'static str,
    pub query: &'static str,
    pub script: &'static str,
    pub goal: f64,
}

pub const SMALL: Load =
    Load { clients: CLIENTS, prefix: "", name: "100 bytes", query: "bytes=100", script: "", goal: 0.58 };
/// The same with 40 more header fields.
pub const MANY_HEADERS: Load = Load { name: "40 request headers", script: HEADERS, ..SMALL };
/// A large answer.
pub const DOWN: Load = Load { name: "1 MiB down", query: "bytes=1048576", clients: FEW, ..SMALL };
/// A large body.
pub const UP: Load = Load { name: "1 MiB up", script: UPLOAD, clients: FEW, ..SMALL };
const HEADERS: &str =
    "for i = 1, 40 do wrk.headers['X-Header-Number-' .. i] = 'a value of some length ' .. i end\n";
const UPLOAD: &str = "wrk.method = 'POST'\nwrk.body = string.rep('x', 1048576)\n";

/// What a run of wrk saw.
pub struct Run {
    pub requests: u64,
    pub failed: u64,
    /// Within which 99 of 100 were answered, in microseconds.
    pub latency: f64,
}

/// A time as wrk prints it, in microseconds.
fn microseconds(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let scale = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    let scale = scale.iter().find(|(name, _)| *name == unit).map_or(f64::NAN, |(_, scale)| *scale);
    number.parse::<f64>().map_or(f64::NAN, |number| number * scale)
}

pub fn wrk(directory: &Directory, url: &str, load: &Load, seconds: f64) -> Run {
    let script = directory.write("load.lua", load.script);
    let output = Command::new("taskset")
        .args([
            "-c",
            LOAD_CORE,
            "wrk",
            "-t1",
            &format!("-c{}", load.clients),
            &format!("-d{}s", seconds.ceil() as u64),
        ])
        .args(["--latency", "--timeout", "20s", "-s"])
        .arg(script)
        .arg(format!("{url}?{}", load.query))
        .output()
        .expect("wrk runs (Debian: apt-get install wrk)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |line: Option<&str>| {
        let words = line.unwrap_or_default().split(|c: char| !c.is_ascii_digit());
        words.filter_map(|word| word.parse::<u64>().ok()).collect::<Vec<_>>()
    };
    let requests =
        number(text.lines().find(|line| line.contains("requests in"))).first().copied().unwrap_or(0);
    let failed = number(text.lines().find(|line| line.contains("Non-2xx"))).last().copied().unwrap_or(0);
    assert!(requests > 0, "wrk made no requests: {text}{}", String::from_utf8_lossy(&output.stderr));
    let latency = text.lines().find_map(|line| line.trim().strip_prefix("99%")).unwrap_or_default();
    Run { requests, failed, latency: microseconds(latency.trim()) }
}

/// A web server with a mod_fcgate and its peer in it.
pub struct Server {
    /// What it is.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The processes that serve.
    pub workers: Vec<u32>,
    scratch: Directory,
    _running: Box<dyn Any>,
}

impl Server {
    /// A server that runs as long as this does, its workers on a core of their own.
    pub fn new(name: &'static str, address: SocketAddr, workers: Vec<u32>, running: Box<dyn Any>) -> Self {
        workers.iter().for_each(|pid| pin(*pid, GATEWAY_CORE));
        Self { name, address, workers, scratch: Directory::new(), _running: running }
    }

    /// Nanoseconds of CPU for each request, and what wrk saw.
    pub fn cost(&self, path: &str, load: &Load, seconds: f64) -> (f64, Run) {
        let url = format!("http://{}/{path}", self.address);
        let before = run_time(&self.workers);
        let run = wrk(&self.scratch, &url, load, seconds);
        ((run_time(&self.workers) - before) as f64 / run.requests as f64, run)
    }

    /// The most memory that the workers have had under a load, in KiB.
    pub fn peak_memory(&self, path: &str, load: &Load, seconds: f64) -> f64 {
        self.cost(path, load, seconds);
        let peak = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN)
        };
        self.workers.iter().map(peak).sum()
    }

    /// Both by turns, after each has had some of the load.
    pub fn compare(
        &self,
        mark: &'static str,
        peer: &str,
        path: &str,
        load: &Load,
        effort: Effort,
    ) -> [Result; 2] {
        let name = format!("{} beside {peer}: {}", self.name, load.name);
        let own = format!("{}x.fcgate", load.prefix);
        let path = format!("{}{path}", load.prefix);
        let (own, path) = (own.as_str(), path.as_str());
        self.cost(own, load, effort.seconds / 4.0);
        self.cost(path, load, effort.seconds / 4.0);
        let (mut failures, mut costs, mut latencies) = (0, Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let (cost, run) = self.cost(own, load, effort.seconds);
            let (other, peers) = self.cost(path, load, effort.seconds);
            failures += run.failed;
            costs.push((cost, other));
            latencies.push((run.latency, peers.latency));
        }
        let mut cost = Result::compared(mark, &name, "ns of CPU", load.goal, &costs);
        cost.failed = failures;
        let name = format!("{name}: 99 of 100 answered within");
        [cost, Result::compared(mark, &name, "µs", 1.0, &latencies)]
    }

    /// The most memory that a server of each kind has had under a load. `start` makes one; what memory it has
    /// taken it keeps.
    pub fn memory(
        start: impl Fn() -> Self,
        mark: &'static str,
        peer: &str,
        path: &str,
        load: &Load,
        effort: Effort,
    ) -> Result {
        let peak = |path: &str| {
            let server = start();
            (server.peak_memory(path, load, effort.seconds), server.name)
        };
        let mut name = "";
        let mut peaks = Vec::new();
        for _ in 0..effort.rounds.min(3) {
            let (own, of) = peak("x.fcgate");
            peaks.push((own, peak(path).0));
            name = of;
        }
        let name = format!("{name} beside {peer}: {}: memory at its peak", load.name);
        Result::compared(mark, &name, "KiB", 1.0, &peaks)
    }
}
