//! Apache with mod_fcgate beside Apache's own: CPU time of the gateway for each request.

use crate::Effort;
use crate::report::Result;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Apache, Client, Directory, Mpm};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Clients at once.
const CLIENTS: usize = 64;

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
const GATEWAY_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// Gives a process, with all its threads, one core; on a machine of one core nothing changes.
pub fn pin(pid: u32, core: &str) {
    let _ = Command::new("taskset").args(["-a", "-c", "-p", core, &pid.to_string()]).output();
}

/// Nanoseconds that all threads of these processes have run.
fn run_time(processes: &[u32]) -> u64 {
    let of_thread = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    let of =
        |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(of_thread);
    processes.iter().flat_map(of).sum()
}

/// One way to load a server.
struct Load {
    name: &'static str,
    query: &'static str,
    script: &'static str,
    goal: f64,
}

const SMALL: Load = Load { name: "100 bytes", query: "bytes=100", script: "", goal: 0.58 };
const HEADERS: &str =
    "for i = 1, 40 do wrk.headers['X-Header-Number-' .. i] = 'a value of some length ' .. i end\n";
const UPLOAD: &str = "wrk.method = 'POST'\nwrk.body = string.rep('x', 1048576)\n";

/// What a run of wrk saw.
struct Run {
    requests: u64,
    failed: u64,
    /// Within which 99 of 100 were answered, in microseconds.
    latency: f64,
}

/// A time as wrk prints it, in microseconds.
fn microseconds(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let scale = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    let scale = scale.iter().find(|(name, _)| *name == unit).map_or(f64::NAN, |(_, scale)| *scale);
    number.parse::<f64>().map_or(f64::NAN, |number| number * scale)
}

fn wrk(directory: &Directory, url: &str, load: &Load, seconds: f64) -> Run {
    let script = directory.write("load.lua", load.script);
    let connections = if load.script == UPLOAD || load.query.len() > 12 { 16 } else { CLIENTS };
    let output = Command::new("taskset")
        .args([
            "-c",
            LOAD_CORE,
            "wrk",
            "-t1",
            &format!("-c{connections}"),
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

struct Server {
    apache: Apache,
    workers: Vec<u32>,
}

impl Server {
    fn start(config: &str, modules: &[&str], files: &[&str]) -> Self {
        let builder = Apache::with(Mpm::Event)
            .bare()
            .config(
                "StartServers 1\nServerLimit 1\nThreadLimit 128\nThreadsPerChild 128\nMaxRequestWorkers 128\n\
                 MinSpareThreads 1\nMaxSpareThreads 128\nMaxKeepAliveRequests 0\nLimitRequestBody 0\n\
                 <Directory />\nAllowOverride None\n</Directory>",
            )
            .config(config);
        let builder = modules.iter().fold(builder, |builder, name| builder.module(name));
        let apache = files.iter().fold(builder, |builder, name| builder.file(name, "")).start();
        // It accepts before its worker is there; the first answer is the worker's.
        let mut client = Client::new(apache.address());
        client.get("/robots.txt").expect(200);
        let parent = apache.processes()[0];
        let workers: Vec<u32> = apache.processes().into_iter().filter(|pid| *pid != parent).collect();
        workers.iter().for_each(|pid| pin(*pid, GATEWAY_CORE));
        Self { apache, workers }
    }

    /// Nanoseconds of CPU for each request, and what wrk saw.
    fn cost(&self, path: &str, load: &Load, seconds: f64) -> (f64, Run) {
        let url = format!("http://{}/{path}", self.apache.address());
        let before = run_time(&self.workers);
        let run = wrk(self.apache.directory(), &url, load, seconds);
        ((run_time(&self.workers) - before) as f64 / run.requests as f64, run)
    }

    /// The most memory that the workers have had under a load, in KiB.
    fn peak_memory(&self, path: &str, load: &Load, seconds: f64) -> f64 {
        self.cost(path, load, seconds);
        let peak = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN)
        };
        self.workers.iter().map(peak).sum()
    }

    fn compare(
        &self,
        mark: &'static str,
        peer: &str,
        path: &str,
        load: &Load,
        effort: Effort,
    ) -> [Result; 2] {
        let name = format!("Apache beside {peer}: {}", load.name);
        self.cost("x.fcgate", load, effort.seconds / 4.0);
        self.cost(path, load, effort.seconds / 4.0);
        let (mut failures, mut costs, mut latencies) = (0, Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let (own, run) = self.cost("x.fcgate", load, effort.seconds);
            let (other, peers) = self.cost(path, load, effort.seconds);
            failures += run.failed;
            costs.push((own, other));
            latencies.push((run.latency, peers.latency));
        }
        let mut cost = Result::compared(mark, &name, "ns of CPU", load.goal, &costs);
        cost.failed = failures;
        let name = format!("{name}: 99 of 100 answered within");
        [cost, Result::compared(mark, &name, "µs", 1.0, &latencies)]
    }
}

fn loads() -> [Load; 4] {
    [
        SMALL,
        Load { name: "40 request headers", query: "bytes=100", script: HEADERS, goal: 0.65 },
        Load { name: "1 MiB down", query: "bytes=1048576", script: "", goal: 0.36 },
        Load { name: "1 MiB up", query: "bytes=100", script: UPLOAD, goal: 0.48 },
    ]
}

/// P1: beside mod_proxy_fcgi with connections that are kept.
pub fn against_proxy(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let config = format!(
        "FcgateBalancer app {address} max_connections={CLIENTS}\nFcgateMap .fcgate app\n\
         <Proxy \"{address}|fcgi://peer/\" enablereuse=on max={CLIENTS}>\n</Proxy>\n\
         <FilesMatch \"\\.peer$\">\nSetHandler \"proxy:{address}|fcgi://peer/\"\n</FilesMatch>\n\
         FcgateReuseNonIdempotent on\nFcgateRequestBody stream"
    );
    let start = || Server::start(&config, &["proxy", "proxy_fcgi"], &["x.fcgate", "x.peer"]);
    let server = start();
    let mut results: Vec<Result> = loads()
        .iter()
        .flat_map(|load| server.compare("P1", "mod_proxy_fcgi", "x.peer", load, effort))
        .collect();
    drop(server);
    for load in loads().iter().filter(|load| load.query.len() > 12 || load.script.is_empty()) {
        // A server for each: what memory one of them has taken, it keeps.
        let peak = |path: &str| start().peak_memory(path, load, effort.seconds);
        let peaks: Vec<(f64, f64)> =
            (0..effort.rounds.min(3)).map(|_| (peak("x.fcgate"), peak("x.peer"))).collect();
        let name = format!("Apache beside mod_proxy_fcgi: {}: memory at its peak", load.name);
        results.push(Result::compared("P1", &name, "KiB", 1.0, &peaks));
    }
    results
}

/// P2: beside mod_fcgid, which starts its applications itself.
pub fn against_fcgid(effort: Effort) -> Vec<Result> {
    if !Path::new("/usr/lib/apache2/modules/mod_fcgid.so").exists() {
        eprintln!("mod_fcgid is not installed (Debian: libapache2-mod-fcgid): P2 is left out");
        return Vec::new();
    }
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let wrapper = directory.join("responder");
    fs::copy(beside("fcgate-responder"), &wrapper).expect("the responder is copied");
    let server = Server::start(
        &format!(
            "FcgateBalancer app {address} max_connections={CLIENTS}\nFcgateMap .fcgate app\n\
             FcgidIPCDir {{directory}}/fcgid\nFcgidProcessTableFile {{directory}}/fcgid/table\n\
             FcgidMaxProcesses {CLIENTS}\nFcgidMaxProcessesPerClass {CLIENTS}\nFcgidMinProcessesPerClass {CLIENTS}\n\
             FcgidMaxRequestLen 1000000000\nFcgidSpawnScoreUpLimit 1000\nFcgateReuseNonIdempotent on\nFcgateRequestBody stream\n\
             <FilesMatch \"\\.peer$\">\nSetHandler fcgid-script\nFcgidWrapper {}\nOptions +ExecCGI\n</FilesMatch>",
            wrapper.display()
        ),
        &["fcgid"],
        &["x.fcgate", "x.peer"],
    );
    let loads = [
        Load { goal: 0.40, ..SMALL },
        Load { name: "1 MiB up", query: "bytes=100", script: UPLOAD, goal: 0.15 },
    ];
    loads.iter().flat_map(|load| server.compare("P2", "mod_fcgid", "x.peer", load, effort)).collect()
}

/// Calls by which a request goes to the application and its answer comes back; Apache's own client side
/// uses others.
const CALLS: &str =
    "trace=sendmsg,recvfrom,poll,ppoll,socket,connect,close,fcntl,setsockopt,getsockopt,statx";

/// P7: system calls that mod_fcgate makes for a request.
pub fn system_calls(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let config = format!("FcgateBalancer app {address} max_connections={CLIENTS}\nFcgateMap .fcgate app");
    let server = Server::start(&config, &[], &["x.fcgate"]);
    let url = format!("http://{}/x.fcgate", server.apache.address());
    let out = directory.join("strace");
    let pid = server.workers[0].to_string();
    wrk(&directory, &url, &SMALL, 1.0);
    let strace =
        Process::command("strace").args(["-f", "-c", "-e", CALLS, "-o"]).arg(&out).args(["-p", &pid]).start();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let run = wrk(&directory, &url, &SMALL, effort.seconds);
    drop(strace);
    let text = fs::read_to_string(&out).unwrap_or_default();
    let calls = calls_of(&text) / run.requests as f64;
    vec![Result::alone("P7", "Apache: system calls that mod_fcgate makes for a request", "calls", 3.0, calls)]
}

/// The number of calls in what `strace -c` prints.
pub fn calls_of(text: &str) -> f64 {
    let total = text.lines().rfind(|line| line.ends_with(" total")).unwrap_or_default();
    total.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).nth(3).unwrap_or(f64::NAN)
}
