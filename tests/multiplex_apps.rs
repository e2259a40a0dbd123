//! Real applications with several requests on one connection: those that do it, and those that do not.

#[path = "applications/packages.rs"]
mod packages;

use fcgate::config::Config;
use fcgate::drive::event_loop::Key;
use fcgate::drive::{Body, Fact, Request};
use fcgate::gateway::Gateway;
use fcgate_kit::poll_loop::Outcome;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Directory, PhpFpm, PollLoop};
use packages::source;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An application, and the loop with its one connection.
struct Served {
    own: PollLoop,
    gateway: Gateway,
    /// A file for which the application waits where it is told to.
    gate: PathBuf,
    _process: Process,
    _directory: Directory,
}

fn gateway(address: &str, more: &str) -> Gateway {
    let line = format!("{address} multiplex=on max_connections=1 script_exists=off {more}");
    Gateway::new(Arc::new(Config::from_line(&line).unwrap().freeze().unwrap()), None).unwrap()
}

fn serve(
    program: impl Into<PathBuf>,
    arguments: &[&Path],
    environment: &[(&str, &Path)],
    more: &str,
) -> Served {
    let directory = Directory::new();
    let socket = directory.join("app.sock");
    let mut launch =
        Process::command(program).args(arguments).arg(&socket).ready(Ready::Unix(socket.clone()));
    for (name, value) in environment {
        launch = launch.env(name, value);
    }
    let process = launch.start();
    let gateway = gateway(&format!("unix:{}", socket.display()), more);
    Served {
        own: PollLoop::new(&gateway),
        gateway,
        gate: directory.join("gate"),
        _process: process,
        _directory: directory,
    }
}

fn go(more: &str) -> Served {
    let directory = Directory::new();
    let program = directory.join("application");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).args([&program, &source("multiplex.go")]).envs(packages::go());
    packages::run(&mut go, "golang-go");
    serve(program, &[], &[], more)
}

fn flup() -> Served {
    serve("python3", &[&source("multiplex.py")], &[("PYTHONPATH", &packages::flup())], "")
}

fn perl() -> Served {
    serve("perl", &[&source("multiplex.pl")], &[], "")
}

fn get(query: &str) -> Request {
    let mut request = Request::default();
    request.fact(Fact::Method, b"GET");
    request.fact(Fact::Target, format!("/app?{query}").as_bytes());
    request.fact(Fact::File, b"/srv/app");
    // Without it Go answers 500.
    request.fact(Fact::Protocol, b"HTTP/1.1");
    request
}

fn post(query: &str, body: Vec<u8>) -> Request {
    let mut request = get(query);
    request.fact(Fact::Method, b"POST");
    request.body = Body::Bytes(body);
    request
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

impl Served {
    fn start(&self, number: usize) -> (Key, Rc<Outcome>) {
        self.own.start(get(&format!("n={number}")))
    }

    fn end(&self, outcomes: &[Rc<Outcome>]) {
        self.own.run_until("the end of all", || outcomes.iter().all(|outcome| outcome.ended.get()));
    }

    /// That this answer is whole and its own.
    fn assert_right(&self, number: usize, outcome: &Outcome) {
        assert_eq!(outcome.cause.get(), None, "{number}");
        assert_eq!(String::from_utf8_lossy(&outcome.body.borrow()), format!("{number};"));
    }

    fn assert_one_connection(&self) {
        assert_eq!(self.gateway.engine().pools()[0].counters().connects.get(), 1);
        assert!(self.gateway.engine().pools()[0].multiplexes());
    }

    /// What every application that multiplexes has to bear.
    fn multiplexes(&self) {
        let outcomes: Vec<_> = (0..200).map(|number| self.start(number).1).collect();
        self.end(&outcomes);
        outcomes.iter().enumerate().for_each(|(number, outcome)| self.assert_right(number, outcome));

        let slow = self.own.start(get(&format!("n=7&wait={}", self.gate.display()))).1;
        let fast: Vec<_> = (0..20).map(|number| self.start(number).1).collect();
        self.end(&fast);
        fast.iter().enumerate().for_each(|(number, outcome)| self.assert_right(number, outcome));
        assert!(!slow.ended.get());
        std::fs::write(&self.gate, "").unwrap();
        self.end(std::slice::from_ref(&slow));
        self.assert_right(7, &slow);
        std::fs::remove_file(&self.gate).unwrap();

        let body = bytes(300_000);
        let before: Vec<_> = (0..20).map(|number| self.start(number).1).collect();
        let posted = self.own.start(post("n=8", body.clone())).1;
        let after: Vec<_> = (0..20).map(|number| self.start(number).1).collect();
        self.end(&[&before[..], &after, std::slice::from_ref(&posted)].concat());
        before.iter().enumerate().for_each(|(number, outcome)| self.assert_right(number, outcome));
        after.iter().enumerate().for_each(|(number, outcome)| self.assert_right(number, outcome));
        assert!(posted.cause.get().is_none() && *posted.body.borrow() == [&b"8;"[..], &body].concat());
        self.assert_one_connection();

        // One that waits for its answer, one that is in the middle of it.
        let waits = self.own.start(get(&format!("n=1&wait={}", self.gate.display()))).0;
        let (within, begun) = self.own.start(get("n=2&large=16000000"));
        let others: Vec<_> = (0..20).map(|number| self.start(number).1).collect();
        self.own.run_until("the begin of the large one", || !begun.body.borrow().is_empty());
        assert!(!begun.ended.get());
        self.own.own().free(waits);
        self.own.own().free(within);
        let more: Vec<_> = (0..20).map(|number| self.start(number).1).collect();
        self.end(&[others.clone(), more.clone()].concat());
        others.iter().enumerate().for_each(|(number, outcome)| self.assert_right(number, outcome));
        more.iter().enumerate().for_each(|(number, outcome)| self.assert_right(number, outcome));
    }
}

/// E10, A13: Go's net/http/fcgi.
#[test]
fn go_multiplexes() {
    go("").multiplexes();
}

/// A13, E13: a thousand exchanges on Go's one connection while a client takes nothing of a large answer; then a
/// hundred thousand in all, as many of them as the time allows.
#[test]
fn go_answers_a_hundred_thousand() {
    const LARGE: usize = 8 << 20;
    let served = go("response_body=spool response_memory=64k");
    let (paused, large) = served.own.start(get(&format!("n=0&large={LARGE}")));
    served.own.own().pause(paused, true);
    let outcomes: Vec<_> = (0..1000).map(|number| served.start(number).1).collect();
    served.end(&outcomes);
    outcomes.iter().enumerate().for_each(|(number, outcome)| served.assert_right(number, outcome));
    assert!(large.body.borrow().is_empty() && !large.ended.get());
    served.own.own().pause(paused, false);
    served.end(std::slice::from_ref(&large));
    assert!(large.cause.get().is_none() && large.body.borrow().len() == LARGE + 2);

    let begin = Instant::now();
    let mut asked = 0;
    while asked < 100_000 && begin.elapsed() < Duration::from_secs(10) {
        let outcomes: Vec<_> = (asked..asked + 1000).map(|number| served.start(number).1).collect();
        served.end(&outcomes);
        outcomes.iter().zip(asked..).for_each(|(outcome, number)| served.assert_right(number, outcome));
        asked += outcomes.len();
    }
    served.assert_one_connection();
}

/// The time within which 99 of 100 ended.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() - 1) * 99 / 100]
}

/// A13, E13: the full form: a thousand exchanges in flight on one connection, one of them with a client that stalls in
/// the middle of a large answer: 99 of 100 others end within less than twice the time that they need by themselves.
/// Then a million, none of which fails.
#[test]
#[ignore = "takes minutes: make proofs"]
fn go_answers_a_million() {
    const LARGE: usize = 8 << 20;
    const ROUNDS: usize = 50;
    let served = go("response_body=spool response_memory=64k");
    let round = |from: usize, count: usize| -> Vec<Duration> {
        let begun: Vec<_> =
            (from..from + count).map(|number| (Instant::now(), served.start(number).1)).collect();
        let outcomes: Vec<_> = begun.iter().map(|(_, outcome)| Rc::clone(outcome)).collect();
        served.end(&outcomes);
        outcomes.iter().zip(from..).for_each(|(outcome, number)| served.assert_right(number, outcome));
        begun.iter().map(|(start, outcome)| outcome.end.get().unwrap() - *start).collect()
    };
    round(0, 1000);
    // By turns, so that whatever else the machine does meets both.
    let (mut undisturbed, mut disturbed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        undisturbed.extend(round(0, 999));
        let (stalled, large) = served.own.start(get(&format!("n=0&large={LARGE}")));
        served.own.run_until("the begin of the large one", || !large.body.borrow().is_empty());
        served.own.own().pause(stalled, true);
        let came = large.body.borrow().len();
        disturbed.extend(round(0, 999));
        assert!(!large.ended.get() && large.body.borrow().len() == came && came < LARGE);
        served.own.own().pause(stalled, false);
        served.end(std::slice::from_ref(&large));
        assert!(large.cause.get().is_none() && large.body.borrow().len() == LARGE + 2);
    }
    let (undisturbed, disturbed) = (p99(undisturbed), p99(disturbed));
    println!(
        "Go: 99 of 100 within {:.2} ms, beside one that stalls within {:.2} ms",
        undisturbed.as_secs_f64() * 1000.0,
        disturbed.as_secs_f64() * 1000.0
    );
    assert!(disturbed < undisturbed * 2);
    let begin = Instant::now();
    (0..1_000_000).step_by(1000).for_each(|from| drop(round(from, 1000)));
    served.assert_one_connection();
    println!("Go: a million in {:.1} s, none failed", begin.elapsed().as_secs_f64());
}

/// E10, A13: flup with `multiplexed=True`, a thread for each request.
#[test]
fn flup_multiplexes() {
    flup().multiplexes();
}

/// E10, A13: Net::Async::FastCGI, one thread.
#[test]
fn perl_multiplexes() {
    perl().multiplexes();
}

/// What came of an exchange with an application that was said to multiplex, and does not.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Right,
    /// The error that the client gets.
    Failed,
    /// An answer that looks whole, to a body that the application did not read whole.
    BodyLost,
}

/// Ten exchanges at once, each with a body of this size; panics over an answer with anything of another's.
fn by_mistake(gateway: &Gateway, size: usize) -> Vec<Came> {
    let own = PollLoop::new(gateway);
    let outcomes: Vec<_> = (0..10)
        .map(|number| {
            let body = vec![b'a' + number as u8; size];
            let query = format!("n={number}");
            own.start(if body.is_empty() { get(&query) } else { post(&query, body) }).1
        })
        .collect();
    own.run_until("the end of all", || outcomes.iter().all(|outcome| outcome.ended.get()));
    let judge = |(number, outcome): (usize, &Rc<Outcome>)| {
        let (answer, own) = (outcome.body.borrow(), b'a' + number as u8);
        if outcome.cause.get().is_some() {
            return Came::Failed;
        }
        let rest = answer.strip_prefix(format!("{number};").as_bytes()).expect("an answer of another's");
        assert!(rest.iter().all(|byte| *byte == own), "{number} has another's body");
        if rest.len() == size { Came::Right } else { Came::BodyLost }
    };
    outcomes.iter().enumerate().map(judge).collect()
}

/// E10: php-fpm, said to multiplex: requests without a body are served in turn; of those with one, the first to
/// begin loses it in silence, and the others fail. No answer is another's.
#[test]
fn php_by_mistake() {
    let php = PhpFpm::unix().start();
    let script = php.script("app.php", "<?php echo $_GET['n'], ';', file_get_contents('php://input');");
    let of_script = format!("script={}", script.display());
    assert_eq!(by_mistake(&gateway(php.address(), &of_script), 0), [const { Came::Right }; 10]);
    for size in [10, 300_000] {
        let came = by_mistake(&gateway(php.address(), &of_script), size);
        assert!(came.contains(&Came::BodyLost) && came.contains(&Came::Failed), "{size} bytes: {came:?}");
    }
}

/// A4: libfcgi, said to multiplex: it cuts a body short, and drops what it does not expect, or refuses it; then
/// fcgate multiplexes no more, and all is right.
#[test]
fn libfcgi_by_mistake() {
    let directory = Directory::new();
    let program = directory.join("echo");
    let mut cc = Command::new("cc");
    packages::run(cc.arg("-o").arg(&program).arg(source("echo.c")).arg("-lfcgi"), "libfcgi-dev");
    let served = serve(&program, &[], &[], "head_timeout=1s");
    let came = by_mistake(&served.gateway, 0);
    assert!(!came.contains(&Came::BodyLost), "{came:?}");
    let came = by_mistake(&served.gateway, 10);
    assert!(came.contains(&Came::BodyLost), "{came:?}");
    assert!(!served.gateway.engine().pools()[0].multiplexes());
    for size in [0, 10, 300_000] {
        assert_eq!(by_mistake(&served.gateway, size), [const { Came::Right }; 10], "{size} bytes");
    }
}
