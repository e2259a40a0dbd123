//! The library alone: one exchange after the other on one kept connection.

use crate::Effort;
use crate::apache;
use crate::load::responder;
use crate::loops;
use crate::report::Result;
use fcgate::cgi::ResponseHead;
use fcgate::config::Config;
use fcgate::drive::{Client, Fact, GiveUp, Host, Request, forward};
use fcgate::gateway::Gateway;
use fcgate_kit::Directory;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// A host that only counts.
#[derive(Default)]
struct Count(usize);

impl Client for Count {
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn is_gone(&mut self) -> bool {
        false
    }
}

impl Host for Count {
    fn body(&mut self, _: &mut [u8]) -> std::result::Result<usize, GiveUp> {
        Ok(0)
    }

    fn head(&mut self, _: &ResponseHead) -> std::result::Result<(), GiveUp> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> std::result::Result<(), GiveUp> {
        self.0 += bytes.len();
        Ok(())
    }

    fn wants_flush(&self) -> bool {
        false
    }

    fn flush(&mut self) -> std::result::Result<(), GiveUp> {
        Ok(())
    }

    fn complete(&mut self) -> std::result::Result<(), GiveUp> {
        Ok(())
    }

    fn stderr_line(&mut self, _: &str) -> bool {
        true
    }
}

/// A gateway for one pool.
pub fn gateway(address: &str, connections: usize) -> Gateway {
    let line = format!("{address} max_connections={connections} max_idle={connections} script_exists=off");
    let config = Config::from_line(&line).expect("a line of ours is right");
    Gateway::new(Arc::new(config.freeze().expect("and a whole configuration")), None).expect("a gateway")
}

/// What makes 20 params.
pub fn describe(request: &mut Request) {
    request.clear();
    for (fact, value) in [
        (Fact::Method, "GET"),
        (Fact::Target, "/index.php?bytes=100"),
        (Fact::Path, "/index.php"),
        (Fact::Query, "bytes=100"),
        (Fact::Protocol, "HTTP/1.1"),
        (Fact::Scheme, "http"),
        (Fact::ServerSoftware, "bench"),
        (Fact::ServerName, "www.example.net"),
        (Fact::ServerAddr, "192.0.2.1"),
        (Fact::ServerPort, "80"),
        (Fact::RemoteAddr, "192.0.2.77"),
        (Fact::RemotePort, "45678"),
        (Fact::DocumentRoot, "/srv/www"),
        (Fact::File, "/srv/www/index.php"),
        (Fact::PathInfo, ""),
    ] {
        request.fact(fact, value.as_bytes());
    }
    for (name, value) in [("Host", "www.example.net"), ("User-Agent", "wrk/4.1.0"), ("Accept", "*/*")] {
        request.header(name.as_bytes(), value.as_bytes());
    }
}

fn run(gateway: &Gateway, count: usize) {
    let engine = gateway.engine();
    let route = engine.route(0).expect("the line's route");
    let mut request = Request::default();
    let mut host = Count::default();
    for _ in 0..count {
        describe(&mut request);
        let over = forward(engine, route, &mut request, &mut host).expect("a request of ours is right");
        assert!(over.scratch.exchange.failure().is_none());
    }
    assert_eq!(host.0, count * 100);
}

/// For a profiler: so many exchanges with a responder of its own.
pub fn exchange(count: usize) {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    run(&gateway(&address, 1), count);
}

/// Nanoseconds that this thread has run.
pub fn own_time() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The bytes of a request of ours, and how many an answer has, seen from a peer of the library.
pub fn bytes_of_an_exchange(directory: &Directory, address: &str) -> (Vec<u8>, usize) {
    let socket = directory.join("peer.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let path = address.trim_start_matches("unix:").to_owned();
    let peer = std::thread::spawn(move || {
        let (mut from, _) = listener.accept().expect("the library connects");
        let mut to = UnixStream::connect(path).expect("the responder listens");
        let mut buffer = vec![0; 65_536];
        let count = from.read(&mut buffer).expect("a request");
        let request = buffer[..count].to_vec();
        to.write_all(&request).expect("it is passed on");
        let count = to.read(&mut buffer).expect("an answer");
        from.write_all(&buffer[..count]).expect("it is passed back");
        (request, count)
    });
    run(&gateway(&format!("unix:{}", socket.display()), 1), 1);
    peer.join().expect("it saw an exchange")
}

/// P5: requests in a row beside the bare bytes, written and read.
pub fn sequential(effort: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let (request, answer) = bytes_of_an_exchange(&directory, &address);
    let gateway = gateway(&address, 1);
    let mut raw = UnixStream::connect(address.trim_start_matches("unix:")).expect("the responder listens");
    let mut buffer = vec![0; 65_536];
    let mut ping_pong = |count: usize| {
        for _ in 0..count {
            raw.write_all(&request).expect("sent");
            let mut left = answer;
            while left > 0 {
                left -= raw.read(&mut buffer).expect("received");
            }
        }
    };
    let batch = (effort.seconds * 20_000.0) as usize;
    run(&gateway, batch / 10);
    ping_pong(batch / 10);
    let (mut speeds, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let measured = |work: &mut dyn FnMut(usize)| {
            let (start, before) = (Instant::now(), own_time());
            work(batch);
            (start.elapsed().as_nanos() as f64 / batch as f64, (own_time() - before) as f64 / batch as f64)
        };
        let own = measured(&mut |count| run(&gateway, count));
        let bare = measured(&mut ping_pong);
        speeds.push((own.0, bare.0));
        costs.push((own.1, bare.1));
    }
    vec![
        Result::compared(
            "P5",
            "Library beside bare bytes, in a row: time of an exchange",
            "ns",
            1.0 / 0.92,
            &speeds,
        ),
        Result::compared("P5", "Library beside bare bytes, in a row: CPU", "ns of CPU", 1.08, &costs),
    ]
}

/// How much more `exchange` takes of something for another thousand exchanges, each.
pub fn for_each(measure: impl Fn(usize) -> f64) -> f64 {
    (measure(1500) - measure(500)) / 1000.0
}

pub fn own_program(tool: &str, arguments: &[&str], command: &str, count: usize) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .arg(std::env::current_exe().expect("a program knows where it is"))
        .args([command, &count.to_string()])
        .stdout(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}"));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// P7: system calls of an exchange.
pub fn system_calls(effort: Effort) -> Vec<Result> {
    let calls = for_each(|count| {
        let text = own_program(
            "strace",
            &["-c", "-e", "trace=sendmsg,recvfrom,poll,read,write,futex"],
            "exchange",
            count,
        );
        apache::calls_of(&text)
    });
    let mut results = vec![Result::alone("P7", "Library: system calls of an exchange", "calls", 2.1, calls)];
    results.push(loops::system_calls());
    results.extend(apache::system_calls(effort));
    results
}

/// P8: instructions of an exchange with 20 params, in user space.
pub fn instructions(_: Effort) -> Vec<Result> {
    let instructions = for_each(|count| {
        let out = "--callgrind-out-file=/dev/null";
        let text = own_program("valgrind", &["--tool=callgrind", out], "exchange", count);
        let line = text.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number);
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(f64::NAN)
    });
    vec![Result::alone(
        "P8",
        "Library: instructions of an exchange, 20 params",
        "instructions",
        2500.0,
        instructions,
    )]
}
