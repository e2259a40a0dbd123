//! Clients that leave at a random moment: while they wait in the queue, for a connection, while they send, before
//! the head, in the body. Nothing of theirs stays, and their application is told.

use crate::on_every_server;
use crate::reader::{Reader, body};
use crate::server::{Kind, Server};
use fcgate_kit::application::PATIENCE;
use fcgate_kit::script::poll;
use fcgate_kit::valgrind::Valgrind;
use fcgate_kit::{Application, Moment, Recorded, Reply, Request, Step};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Three times as many as there are connections, so that most wait in the queue for a while.
const CLIENTS: usize = 24;
const CONNECTIONS: usize = 8;
/// Of requests whose body is taken whole first, of those whose body goes on as it comes.
const ROUTES: [&str; 2] = ["whole", "stream"];
const LARGE: usize = 300_000;
/// Until when the client stays, at the most, in microseconds.
const LONGEST: u64 = 3_000;

on_every_server! {
    /// F7, F15, E13: five hundred clients that leave at a random moment: the application sees it of each request
    /// that it has begun, every descriptor and permit is given back, and the same processes serve on.
    clients_leave;
    /// The same with ten thousand, and the application sees it within a second.
    #[ignore = "measures: make proofs"]
    ten_thousand_clients_leave;
    /// The same under valgrind: no invalid access of ours, nothing of ours lost.
    #[ignore = "takes minutes: make proofs"]
    clients_leave_under_valgrind;
}

fn clients_leave(kind: Kind) {
    leave(&before(kind, Vec::new()), kind, 500);
}

fn ten_thousand_clients_leave(kind: Kind) {
    let longest = leave(&before(kind, Vec::new()), kind, 10_000);
    assert!(longest < Duration::from_secs(1), "{kind:?}: the application saw it after {longest:?}");
}

fn clients_leave_under_valgrind(kind: Kind) {
    let valgrind = Valgrind::default();
    let setting = before(kind, valgrind.words());
    leave(&setting, kind, 1_000);
    let log = setting.server.stop();
    assert!(valgrind.assert_clean() >= 1, "{log}");
}

/// The same numbers each time: splitmix64. `FCGATE_SEED` has it take others.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// When something was so, by the number of the client.
type Times = Arc<Mutex<BTreeMap<usize, Instant>>>;

fn note(times: &Times, number: usize) {
    times.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
}

fn times(times: &Times) -> BTreeMap<usize, Instant> {
    times.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Notes when it is dropped.
struct Over {
    gone: Times,
    number: usize,
}

impl Drop for Over {
    fn drop(&mut self) {
        note(&self.gone, self.number);
    }
}

struct Setting {
    server: Server,
    application: Application,
    /// One that accepts nobody before all is over, with a backlog that is full.
    full: Application,
    /// Requests that wait for their client to leave, and when the application saw that it has.
    begun: Times,
    gone: Times,
}

fn before(kind: Kind, wrapper: Vec<String>) -> Setting {
    let (begun, gone) = (Times::default(), Times::default());
    let (of_begun, of_gone) = (Arc::clone(&begun), Arc::clone(&gone));
    let answer = move |request: &Recorded| {
        let (what, number) = request.param("QUERY_STRING").unwrap().split_once('&').unwrap();
        let number: usize = number.parse().unwrap();
        let complete = || Reply::new().then(Step::Await(Moment::Complete));
        let until_gone = |reply: Reply| {
            let gone = Arc::clone(&of_gone);
            note(&of_begun, number);
            let over = Over { gone, number };
            // It is dropped with the steps, however they end: with an abort, or with the connection.
            reply
                .then(Step::AwaitAbort)
                .then(Step::Run(Arc::new(move || {
                    let _ = &over;
                })))
                .close()
                .to(request)
        };
        match what {
            "silent" => until_gone(Reply::new()),
            "half" => until_gone(Reply::new().stdout("X: y\r\n\r\nsome")),
            _ => complete().stdout("X: y\r\n\r\n").stdout(body(LARGE)).end_stdout().end().to(request),
        }
    };
    let script = || Application::unix().at(Moment::Params).discard_bodies().on_request(answer.clone());
    let application = script().start();
    let full = script().never_accept().backlog(1).start();
    full.fill_backlog();
    let pool =
        |address: String| format!("{address} max_connections={CONNECTIONS} idle_timeout=1h queue_timeout=1m");
    let plain = ("preset", "plain");
    let server = Server::of(kind)
        .route("whole", pool(application.address()), &[plain])
        .route("stream", pool(application.address()), &[plain, ("request_body", "stream")])
        .route("full", pool(full.address()), &[plain])
        .wrapped(wrapper)
        .start();
    Setting { server, application, full, begun, gone }
}

impl Setting {
    /// Has every permit of these routes in use at once; then its connections are closed.
    fn use_all(&self, routes: &[&str], number: usize) {
        let count = routes.len() * CONNECTIONS;
        let ask = |(number, route): (usize, &&str)| {
            let mut client = self.server.client();
            client.send_part(&Request::get(&format!("/{route}?silent&{number}")), 0).unwrap();
            client
        };
        let clients: Vec<_> = (number..number + count).zip(routes.iter().cycle()).map(ask).collect();
        let begun = || times(&self.begun).range(number..).count();
        poll(PATIENCE, || (begun() == count).then_some(())).unwrap_or_else(|| {
            panic!("{} of {count} permits are free:\n{}", begun(), self.server.last_lines())
        });
        drop(clients);
        self.application.wait_for_open_connections(0);
    }

    /// What every client does: a request, some of its body or of its response, and away.
    fn ask(&self, number: usize, random: &mut Random) {
        let mut client = self.server.client();
        let route = ROUTES[random.below(2) as usize];
        let target = |what: &str| format!("/{route}?{what}&{number}");
        let post = |what: &str| Request::post(&target(what), vec![b'x'; LARGE]);
        let some = random.below(LARGE as u64) as usize;
        let stays = Duration::from_micros(random.below(LONGEST));
        let _ = match random.below(8) {
            0 => client.send_part(&Request::get(&format!("/full?silent&{number}")), 0),
            1 => client.send_part(&post("silent"), some),
            2 => client.send_part(&post("large"), some),
            3 => client.send_part(&post("silent"), LARGE),
            4 | 5 => client.send_part(&Request::get(&target("silent")), 0),
            6 => client.send_part(&Request::get(&target("half")), 0),
            _ => {
                // In the middle of the response.
                let mut reader = Reader::get(self.server.address(), &target("large"));
                reader.wait_for(some);
                return;
            }
        };
        thread::sleep(stays);
    }
}

/// So many clients; how long the application took to see that one had left.
fn leave(setting: &Setting, kind: Kind, count: usize) -> Duration {
    let seed = std::env::var("FCGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let Setting { server, application, full, begun, gone } = setting;
    setting.use_all(&ROUTES, count);
    let processes = server.processes();
    let before = server.descriptors();

    let (next, left) = (AtomicUsize::new(0), Times::default());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        return;
                    }
                    setting.ask(number, &mut Random(seed ^ (number as u64) << 20));
                    note(&left, number);
                }
            });
        }
    });
    full.accept();
    setting.use_all(&[&ROUTES[..], &["full"]].concat(), 2 * count);
    let seen = poll(PATIENCE, || (times(gone).len() == times(begun).len()).then(|| times(gone)));
    let seen = seen.unwrap_or_else(|| {
        panic!(
            "the application was told of {} of {}:\n{}",
            times(gone).len(),
            times(begun).len(),
            server.last_lines()
        )
    });
    assert!(seen.range(..count).count() > count / 8, "{kind:?}: only {} were begun", seen.len());
    poll(PATIENCE, || (server.descriptors() <= before).then_some(())).unwrap_or_else(|| {
        panic!("{} descriptors, {before} before:\n{}", server.descriptors(), server.last_lines())
    });
    assert_eq!(server.processes(), processes, "{kind:?}: {}", server.last_lines());
    application.assert_no_violations();
    full.assert_no_violations();

    let (begun, left) = (times(begun), times(&left));
    let took = |(number, at): (&usize, &Instant)| {
        let since = begun[number].max(*left.get(number)?);
        Some(at.saturating_duration_since(since))
    };
    let longest = seen.iter().filter_map(took).max().unwrap();
    println!(
        "{kind:?}: {count} clients left, seed {seed}; {} requests were begun and not over, the application saw that within {:.1} ms",
        seen.range(..count).count(),
        longest.as_secs_f64() * 1000.0
    );
    longest
}
