//! Several exchanges on one connection, in an event loop.

use fcgate::config::Config;
use fcgate::drive::{Body, Fact, Request};
use fcgate::exchange::Cause;
use fcgate::gateway::Gateway;
use fcgate::protocol::{Part, RecordReader, RecordType};
use fcgate_kit::{Application, Directory, PollLoop, Recorded, Reply, Step, interleave};
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// Either kind of host.
const LOOPS: [fn(&Gateway) -> PollLoop; 2] = [PollLoop::new, PollLoop::edge_triggered];

fn gateway(application: &Application, more: &str) -> Gateway {
    let line = format!("{} multiplex=on max_connections=1 script_exists=off {more}", application.address());
    let config = Config::from_line(&line).unwrap();
    Gateway::new(Arc::new(config.freeze().unwrap()), None).unwrap()
}

fn get(number: usize) -> Request {
    let mut request = Request::default();
    request.fact(Fact::Method, b"GET");
    request.fact(Fact::Target, format!("/index.php?{number}").as_bytes());
    request.fact(Fact::File, b"/srv/index.php");
    request
}

fn post(number: usize, body: Vec<u8>) -> Request {
    let mut request = get(number);
    request.fact(Fact::Method, b"POST");
    request.body = Body::Bytes(body);
    request
}

fn query(request: &Recorded) -> String {
    request.param("QUERY_STRING").unwrap_or_default().to_owned()
}

/// An answer that tells whose it is, in many records.
fn answer(request: &Recorded) -> Vec<Step> {
    let mut steps = Reply::new().stdout("Content-Type: text/plain\r\n\r\n").to(request);
    for _ in 0..5 {
        steps.extend(Reply::new().stdout(format!("{};", query(request))).to(request));
    }
    steps.extend(Reply::new().end_stdout().end().to(request));
    steps
}

fn expected(number: usize) -> Vec<u8> {
    format!("{number};").repeat(5).into_bytes()
}

/// E10, E8: a hundred exchanges at once, answered record by record by turns and from the last: each gets
/// its own, on one connection.
#[test]
fn a_hundred_exchanges_share_a_connection() {
    let both = |make| [(make, Application::unix()), (make, Application::tcp())];
    for (make, builder) in LOOPS.into_iter().flat_map(both) {
        let application = builder
            .on_requests(100, |requests| interleave(requests.iter().rev().map(answer).collect()))
            .start();
        let gateway = gateway(&application, "");
        let own = make(&gateway);
        for _ in 0..3 {
            let outcomes: Vec<_> = (0..100).map(|number| own.start(get(number)).1).collect();
            own.run_until("the end of all", || outcomes.iter().all(|outcome| outcome.ended.get()));
            for (number, outcome) in outcomes.iter().enumerate() {
                assert_eq!(outcome.cause.get(), None);
                assert_eq!(*outcome.body.borrow(), expected(number));
            }
            assert_eq!(gateway.engine().pools()[0].idle(), 1);
        }
        assert_eq!(application.connections(), 1);
        application.assert_no_violations();
    }
}

/// E4, E9: bodies that share a connection, larger than its socket takes at once, arrive as they were.
#[test]
fn bodies_do_not_mix() {
    for make in LOOPS {
        let application = Application::unix()
            .on_requests(8, |requests| interleave(requests.iter().map(answer).collect()))
            .start();
        let gateway = gateway(&application, "");
        let own = make(&gateway);
        let body =
            |number: usize| -> Vec<u8> { (0..300_000).map(|at| (at * (number + 1) % 251) as u8).collect() };
        let outcomes: Vec<_> = (0..8)
            .map(|number: usize| {
                own.start(if number.is_multiple_of(2) { post(number, body(number)) } else { get(number) }).1
            })
            .collect();
        own.run_until("the end of all", || outcomes.iter().all(|outcome| outcome.ended.get()));
        for (number, outcome) in outcomes.iter().enumerate() {
            assert_eq!((outcome.cause.get(), outcome.body.borrow().clone()), (None, expected(number)));
        }
        for request in application.requests() {
            let number: usize = query(&request).parse().unwrap();
            assert!(
                request.stdin == if number.is_multiple_of(2) { body(number) } else { Vec::new() },
                "{number}"
            );
        }
        assert_eq!(application.connections(), 1);
        application.assert_no_violations();
    }
}

/// A13: one client that takes nothing holds up nobody: what comes for it is laid aside.
#[test]
fn a_slow_client_holds_up_nobody() {
    for make in LOOPS {
        let large: Vec<u8> = (0..4 << 20).map(|at: u32| (at % 253) as u8).collect();
        let body = large.clone();
        let application = Application::unix()
            .multiplex()
            .on_request(move |request| {
                if query(request) == "0" { Reply::page(200, &body).to(request) } else { answer(request) }
            })
            .start();
        let gateway = gateway(&application, "response_body=spool response_memory=64k");
        let own = make(&gateway);
        let (slow, stalled) = own.start(get(0));
        own.own().pause(slow, true);
        for number in 1..50 {
            assert_eq!(*own.finish(get(number)).body.borrow(), expected(number));
        }
        assert!(stalled.body.borrow().is_empty() && !stalled.ended.get());
        own.own().pause(slow, false);
        own.run_until("the end of the slow one", || stalled.ended.get());
        assert!(*stalled.body.borrow() == large && stalled.cause.get().is_none());
        assert_eq!(application.connections(), 1);
        application.assert_no_violations();
    }
}

/// A13, E13: beyond what may be held, the slow client's exchange is given up, and only that one; its id
/// is not used again before its end.
#[test]
fn a_client_beyond_all_bounds_is_given_up() {
    for make in LOOPS {
        let application = Application::unix()
            .on_requests(2, |requests| {
                let head = "Content-Type: text/plain\r\n\r\n";
                let mut steps = Reply::new().stdout(head).stdout(vec![b'x'; 1 << 20]).to(&requests[0]);
                steps.push(Step::AwaitAbort);
                steps.extend(answer(&requests[1]));
                steps.extend(Reply::new().stdout("late").end_stdout().end().to(&requests[0]));
                steps
            })
            .start();
        let gateway = gateway(&application, "response_memory=64k");
        let own = make(&gateway);
        let (slow, stalled) = own.start(get(0));
        own.own().pause(slow, true);
        let (_, other) = own.start(get(1));
        own.run_until("the end of the other", || other.ended.get());
        assert!(!stalled.ended.get(), "its end is told when it takes what is held");
        own.own().pause(slow, false);
        own.run_until("the end of the slow one", || stalled.ended.get());
        assert_eq!(stalled.cause.get(), Some(Cause::ClientSlow));
        assert_eq!((other.cause.get(), other.body.borrow().clone()), (None, expected(1)));
        application.assert_no_violations();
    }
}

/// A13: a response that just fills what may be held is whole: nothing more has come for its client.
#[test]
fn a_response_that_fills_its_bounds_is_whole() {
    for make in LOOPS {
        let body = vec![b'x'; 64 << 10];
        let sent = body.clone();
        let application = Application::unix()
            .multiplex()
            .on_request(move |request| {
                if query(request) == "0" { Reply::page(200, &sent).to(request) } else { answer(request) }
            })
            .start();
        let gateway = gateway(&application, "response_memory=64k");
        let own = make(&gateway);
        let (slow, stalled) = own.start(get(0));
        own.own().pause(slow, true);
        own.run_until("the application is free", || gateway.engine().pools()[0].idle() == 1);
        assert_eq!(own.finish(get(1)).cause.get(), None);
        own.own().pause(slow, false);
        own.run_until("the end of the slow one", || stalled.ended.get());
        assert_eq!(stalled.cause.get(), None);
        assert!(*stalled.body.borrow() == body);
        application.assert_no_violations();
    }
}

/// A13, F3: when the connection is lost, each exchange is judged for itself: what may be repeated is.
#[test]
fn a_lost_connection_is_judged_for_each() {
    for make in LOOPS {
        let application = Application::unix()
            .on_requests(3, |requests| {
                let mut steps = Vec::new();
                for request in requests {
                    if query(request) == "0" {
                        steps.extend(Reply::new().stdout("Content-Type: text/plain\r\n\r\nhalf").to(request));
                    }
                }
                steps.push(Step::Close);
                steps
            })
            .start();
        let gateway = gateway(&application, "restart_window=0");
        let own = make(&gateway);
        let (_, begun) = own.start(get(0));
        let (_, sent) = own.start(post(1, b"x".to_vec()));
        let (_, fresh) = own.start(get(2));
        own.run_until("the end of those that can't be repeated", || begun.ended.get() && sent.ended.get());
        assert_eq!(begun.cause.get(), Some(Cause::ClosedInBody));
        assert_eq!(sent.cause.get(), Some(Cause::Closed));
        application.wait_for("the GET is repeated", |requests| {
            requests.iter().filter(|request| query(request) == "2").count() == 2
        });
        assert!(!fresh.ended.get());
        application.drop_connections();
        own.run_until("the end of the GET", || fresh.ended.get());
        assert_eq!(application.requests().iter().filter(|request| query(request) == "1").count(), 1);
    }
}

/// A4: an application that refuses to multiplex is not asked to again; whose request was not whole is
/// not believed.
#[test]
fn a_refusal_ends_multiplexing() {
    for make in LOOPS {
        let refused = std::sync::atomic::AtomicBool::new(false);
        let application = Application::unix()
            .on_requests(1, move |requests| {
                if !refused.swap(true, std::sync::atomic::Ordering::SeqCst) {
                    return Reply::new().cant_multiplex().to(&requests[0]);
                }
                answer(&requests[0])
            })
            .start();
        let gateway = gateway(&application, "");
        let own = make(&gateway);
        let outcomes: Vec<_> = (0..10).map(|number| own.start(get(number)).1).collect();
        own.run_until("the end of all", || outcomes.iter().all(|outcome| outcome.ended.get()));
        for (number, outcome) in outcomes.iter().enumerate() {
            assert_eq!((outcome.cause.get(), outcome.body.borrow().clone()), (None, expected(number)));
        }
        assert!(!gateway.engine().pools()[0].multiplexes());
        let connections = application.connections();
        for number in 0..3 {
            assert_eq!(own.finish(get(number)).cause.get(), None);
        }
        assert!(application.connections() <= connections + 1);
        application.assert_no_violations();
    }
}

/// F7, E13: exchanges that are given up at any moment leave the others alone, and leave nothing behind.
#[test]
fn exchanges_that_are_given_up_leave_the_others_alone() {
    for make in LOOPS {
        let application = Application::unix().multiplex().on_request(answer).start();
        let gateway = gateway(&application, "");
        let own = make(&gateway);
        for round in 0..30 {
            let exchanges: Vec<_> = (0..20)
                .map(|number| {
                    let body = vec![b'x'; 3000 * number];
                    own.start(if number % 3 == 0 { post(number, body) } else { get(number) })
                })
                .collect();
            for _ in 0..round % 5 {
                own.turn(std::time::Duration::ZERO);
            }
            for (number, (key, _)) in exchanges.iter().enumerate() {
                match (number + round) % 4 {
                    0 => own.own().free(*key),
                    1 => own.own().abort(*key),
                    _ => {}
                }
            }
            let kept = |number: usize| (number + round) % 4 >= 2;
            own.run_until("the end of the others", || {
                exchanges
                    .iter()
                    .enumerate()
                    .all(|(number, (_, outcome))| !kept(number) || outcome.ended.get())
            });
            for (number, (_, outcome)) in exchanges.iter().enumerate().filter(|(number, _)| kept(*number)) {
                assert_eq!((outcome.cause.get(), outcome.body.borrow().clone()), (None, expected(number)));
            }
        }
        let pool = &gateway.engine().pools()[0];
        assert_eq!(pool.permits_used() as usize, pool.idle());
        application.assert_no_violations();
    }
}

/// E4, E13: a body that is given up in the middle of a record, behind others that were given up before, is ended
/// before anything else is sent: no byte of it is read as a record.
#[test]
fn a_record_that_was_begun_is_ended_first() {
    for make in LOOPS {
        let directory = Directory::new();
        let path = directory.join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let line = format!("unix:{} multiplex=on max_connections=1 script_exists=off", path.display());
        let config = Config::from_line(&line).unwrap();
        let gateway = Gateway::new(Arc::new(config.freeze().unwrap()), None).unwrap();
        let own = make(&gateway);
        let (sent, _) = own.start(get(0));
        let turns = |count: usize| (0..count).for_each(|_| own.turn(std::time::Duration::from_millis(1)));
        turns(10);
        let (partial, _) = own.start(post(1, vec![b'x'; 2 << 20]));
        turns(10);
        let (_, last) = own.start(get(2));
        turns(10);
        own.own().free(sent);
        own.own().free(partial);
        let mut application = listener.accept().unwrap().0;
        application.set_nonblocking(true).unwrap();
        let (mut reader, mut buffer) = (RecordReader::default(), vec![0; 1 << 16]);
        let (mut records, mut ended) = (Vec::new(), false);
        while !ended {
            turns(1);
            let Ok(count) = application.read(&mut buffer) else { continue };
            let mut bytes = &buffer[..count];
            while let Some(part) = reader.next(&mut bytes).expect("a record") {
                let Part::Header(header) = part else { continue };
                records.push((header.record_type, header.request_id));
                ended = header.record_type == RecordType::STDIN && header.request_id == 3;
            }
        }
        let aborted: Vec<_> = records
            .iter()
            .filter(|(kind, _)| *kind == RecordType::ABORT_REQUEST)
            .map(|(_, id)| *id)
            .collect();
        assert_eq!(aborted, [1, 2]);
        let known =
            [RecordType::BEGIN_REQUEST, RecordType::PARAMS, RecordType::STDIN, RecordType::ABORT_REQUEST];
        assert!(records.iter().all(|(kind, id)| known.contains(kind) && (1..=3).contains(id)), "{records:?}");
        assert!(!last.ended.get());
    }
}
