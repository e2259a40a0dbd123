//! Apache with mod_fcgate beside Apache's own.

use crate::Effort;
use crate::load::{CLIENTS, DOWN, Load, MANY_HEADERS, SMALL, Server, UP, beside, responder, wrk};
use crate::report::Result;
use fcgate_kit::process::Process;
use fcgate_kit::{Apache, Client, Directory, Mpm};
use std::fs;
use std::path::Path;

fn server(config: &str, modules: &[&str], files: &[&str]) -> Server {
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
    Server::new("Apache", apache.address(), workers, Box::new(apache))
}

fn loads() -> [Load; 4] {
    [SMALL, Load { goal: 0.65, ..MANY_HEADERS }, Load { goal: 0.36, ..DOWN }, Load { goal: 0.48, ..UP }]
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
    let start = || server(&config, &["proxy", "proxy_fcgi"], &["x.fcgate", "x.peer"]);
    let both = start();
    let mut results: Vec<Result> = loads()
        .iter()
        .flat_map(|load| both.compare("P1", "mod_proxy_fcgi", "x.peer", load, effort))
        .collect();
    drop(both);
    for load in loads().iter().filter(|load| load.script.is_empty()) {
        results.push(Server::memory(start, "P1", "mod_proxy_fcgi", "x.peer", load, effort));
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
    let both = server(
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
    let loads = [Load { goal: 0.40, ..SMALL }, Load { goal: 0.15, ..UP }];
    loads.iter().flat_map(|load| both.compare("P2", "mod_fcgid", "x.peer", load, effort)).collect()
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
    let both = server(&config, &[], &["x.fcgate"]);
    let url = format!("http://{}/x.fcgate", both.address);
    let out = directory.join("strace");
    let pid = both.workers[0].to_string();
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
