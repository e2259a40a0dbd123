//! The table of cases, at every split point, through all that can drive an exchange: simulated time,
//! the blocking drive over a real socket, and an event loop in C.

mod host;

use fcgate::connection::Connection;
use fcgate::drive::{Fact, Request, forward};
use fcgate::exchange::{Action, Closed, Exchange, Limits, Plan, SLICES};
use fcgate::protocol::Role;
use fcgate_kit::cases::{Case, Outcome, table};
use fcgate_kit::{Application, Reply};
use host::{Keep, gateway};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs a case in simulated time, the reply coming in these pieces.
fn simulate(case: &Case, cut: usize, singly: bool) -> Outcome {
    let now = Duration::from_secs(1);
    let (mut exchange, mut connection) = (Exchange::default(), Connection::default());
    let params = [1, 4, 0, 0, 0, 0, 0, 0];
    let plan = Plan {
        role: Role::Responder,
        params: &params,
        body_length: 0,
        body_replayable: true,
        idempotent: true,
        may_reuse: true,
        is_head_request: case.method == "HEAD",
        key: None,
        pools: 1,
        restart_window: Duration::ZERO,
        max_tries: 0,
        retry_timeout: Duration::ZERO,
        ignore_client_abort: false,
        error_override: false,
        limits: Limits::default(),
    };
    exchange.start(now, &plan);
    let mut bytes: Vec<u8> = Vec::new();
    let (mut at, mut body, mut head, mut complete) = (0, Vec::new(), 0, 0);
    loop {
        match exchange.poll_action(now) {
            Action::Acquire { .. } => exchange.handle_permit(now, 0, Duration::from_secs(3)),
            Action::Connect => exchange.handle_connected(now, &mut connection, true),
            Action::Transmit => {
                let mut slices = [std::io::IoSlice::new(&[]); SLICES];
                let count = exchange.outgoing.slices(&[], &mut slices);
                let length = slices[..count].iter().map(|slice| slice.len()).sum();
                exchange.handle_sent(now, length, &mut connection);
                bytes = case.reply.encode(exchange.id());
            }
            Action::Receive { .. } if at == bytes.len() && case.closes => {
                exchange.handle_closed(now, Closed::End, 0)
            }
            Action::Receive { .. } => {
                assert!(at < bytes.len(), "{}: waits for more than the reply", case.name);
                let to = if singly {
                    at + 1
                } else if at < cut {
                    cut
                } else {
                    bytes.len()
                };
                let mut input = &bytes[at..to];
                at = to;
                loop {
                    match connection.next(&mut input) {
                        Ok(Some(event)) => {
                            let given = exchange.handle_event(now, event);
                            head += usize::from(given.head);
                            complete += usize::from(given.complete);
                            body.extend_from_slice(given.body);
                        }
                        Ok(None) => break,
                        Err(violation) => {
                            exchange.handle_violation(now, violation);
                            break;
                        }
                    }
                }
            }
            Action::Finish { keep } => {
                return match exchange.failure() {
                    Some(failure) => {
                        assert_eq!(complete, 0, "{}: a failed response was called whole", case.name);
                        Outcome::Failed(failure.cause.name())
                    }
                    None => {
                        assert_eq!((head, complete), (1, 1), "{}", case.name);
                        let kept = keep && connection.is_clean();
                        Outcome::Whole { status: exchange.response.head.status(), body, kept }
                    }
                };
            }
            action => panic!("{}: {action:?}", case.name),
        }
    }
}

/// A1, A2-A9, H1-H7, F5: the table in simulated time.
#[test]
fn the_table_passes_in_simulated_time() {
    for case in table() {
        for cut in 0..=case.reply.encode(1).len() {
            assert_eq!(simulate(&case, cut, false), case.outcome, "{}, cut at {cut}", case.name);
        }
        assert_eq!(simulate(&case, 0, true), case.outcome, "{}, byte by byte", case.name);
    }
}

/// The reply cut at each of its places, one after another.
fn replies(case: &Case) -> Vec<Reply> {
    (1..case.reply.encode(1).len()).map(|cut| case.reply.clone().split_at(vec![cut])).collect()
}

const SETTINGS: &str = "max_connections=1 restart_window=0 script_exists=off";

/// A1, A2-A9, H1-H7, F5: the table through the blocking drive over real sockets.
#[test]
fn the_table_passes_through_the_blocking_drive() {
    for case in table() {
        let replies = replies(&case);
        let count = replies.len();
        let application = Application::unix().replies(replies).start();
        let gateway = gateway(&format!("{} {SETTINGS}", application.address()));
        let engine = gateway.engine();
        for cut in 1..=count {
            let mut request = Request::default();
            request.fact(Fact::Method, case.method.as_bytes());
            request.fact(Fact::Target, b"/index.php");
            let mut host = Keep::default();
            let over = forward(engine, engine.route(0).unwrap(), &mut request, &mut host).unwrap();
            let idle = engine.pools()[0].idle() == 1;
            let outcome = match over.scratch.exchange.failure() {
                Some(failure) => Outcome::Failed(failure.cause.name()),
                None => {
                    Outcome::Whole { status: host.status, body: std::mem::take(&mut host.body), kept: idle }
                }
            };
            assert_eq!(outcome, case.outcome, "{}, cut at {cut}", case.name);
            assert_eq!(
                host.completes,
                usize::from(matches!(outcome, Outcome::Whole { .. })),
                "{}",
                case.name
            );
        }
        application.assert_no_violations();
    }
}

/// A1, A2-A9, H1-H7, F5: the table through the event loop of `c_examples/epoll.c`.
#[test]
fn the_table_passes_through_an_event_loop_in_c() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/epoll");
    assert!(program.exists(), "{} is not there: run `make` first", program.display());
    for case in table().into_iter().filter(|case| case.method == "GET") {
        let replies = replies(&case);
        let count = replies.len();
        let application = Application::unix().replies(replies).start();
        let output = Command::new("timeout")
            .arg("60")
            .arg(&program)
            .args([&format!("{} {SETTINGS}", application.address()), "/index.php", &count.to_string(), "1"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = told.lines().last().unwrap_or_default();
        match &case.outcome {
            Outcome::Whole { body, .. } => {
                assert_eq!(
                    last,
                    format!("{count} whole, 0 failed, {} bytes", count * body.len()),
                    "{}",
                    case.name
                );
            }
            Outcome::Failed(cause) => {
                assert!(last.starts_with(&format!("0 whole, {count} failed")), "{}: {last}", case.name);
                let causes = told.lines().filter(|line| line.starts_with(&format!("{cause}: "))).count();
                assert_eq!(causes, count, "{}: {told}", case.name);
            }
        }
        application.assert_no_violations();
    }
}
