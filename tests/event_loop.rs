//! Connections of an event loop: what the host is asked to do for them, and who may use them.

use fcgate::config::Config;
use fcgate::drive::{Body, Fact, Request};
use fcgate::exchange::Cause;
use fcgate::gateway::Gateway;
use fcgate_kit::{Application, Moment, Outcome, PollLoop, Reply, Step};
use std::cell::Cell;
use std::net::{Shutdown, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

fn gateway(line: &str) -> Gateway {
    let config = Config::from_line(&format!("{line} script_exists=off")).unwrap();
    Gateway::new(Arc::new(config.freeze().unwrap()), None).unwrap()
}

fn request(method: &str) -> Request {
    let mut request = Request::default();
    request.fact(Fact::Method, method.as_bytes());
    request.fact(Fact::Target, b"/index.php");
    request.fact(Fact::File, b"/srv/index.php");
    request
}

/// Either kind of host.
const LOOPS: [fn(&Gateway) -> PollLoop; 2] = [PollLoop::new, PollLoop::edge_triggered];

/// P7: an exchange on a kept connection asks nothing of the host.
#[test]
fn a_kept_connection_stays_watched() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=4", application.address()));
        let own = make(&gateway);
        let first = own.finish(request("GET"));
        assert_eq!(first.body.borrow().as_slice(), b"hello");
        let calls = own.watch_calls();
        for _ in 0..20 {
            assert_eq!(own.finish(request("GET")).cause.get(), None);
        }
        assert_eq!(own.watch_calls(), calls);
        assert_eq!((own.watched(), application.connections()), (1, 1));
        assert_eq!(gateway.engine().pools()[0].idle(), 1);
        application.assert_no_violations();
    }
}

/// E12: an idle connection that its application closes is closed here at once, and not tried.
#[test]
fn an_idle_connection_that_ends_is_not_tried() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=4", application.address()));
        let own = make(&gateway);
        own.finish(request("GET"));
        application.drop_connections();
        own.run_until("the end of the idle connection", || own.watched() == 0);
        let pool = &gateway.engine().pools()[0];
        assert_eq!((pool.idle(), pool.permits_used()), (0, 0));
        let again = own.finish(request("POST"));
        assert_eq!((again.cause.get(), again.retries.get()), (None, 0));
    }
}

/// E11: an idle connection is closed after its time, by the loop's own timer.
#[test]
fn idle_connections_are_closed_after_their_time() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=4 idle_timeout=50ms", application.address()));
        let own = make(&gateway);
        own.finish(request("GET"));
        own.run_until("the end of the idle connection", || own.watched() == 0);
        application.wait_for_open_connections(0);
        assert_eq!(gateway.engine().pools()[0].permits_used(), 0);
    }
}

/// F10: what one loop has idle is given up when another waits for it, and by the same loop where a
/// fresh connection is needed.
#[test]
fn idle_connections_are_given_up_for_those_who_wait() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=1", application.address()));
        let (one, other) = (make(&gateway), make(&gateway));
        one.finish(request("GET"));
        assert_eq!(one.watched(), 1);
        let (_, outcome) = other.start(request("GET"));
        one.run_until("the connection is given up", || one.watched() == 0);
        other.run_until("the end of the other's exchange", || outcome.ended.get());
        assert_eq!((outcome.cause.get(), application.connections()), (None, 1));
        assert_eq!(other.watched(), 1);

        let fresh = other.finish(request("POST"));
        assert_eq!((fresh.cause.get(), application.connections()), (None, 2));
        assert_eq!(gateway.engine().pools()[0].permits_used(), 1);
        application.assert_no_violations();
    }
}

/// A loop that ends leaves nothing behind: no watch, no connection, no permit.
#[test]
fn a_loop_ends_with_its_idle_connections() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=4", application.address()));
        let own = make(&gateway);
        own.finish(request("GET"));
        drop(own);
        application.wait_for_open_connections(0);
        let pool = &gateway.engine().pools()[0];
        assert_eq!((pool.idle(), pool.permits_used()), (0, 0));
    }
}

/// More than sockets and memory hold.
fn large() -> Vec<u8> {
    (0..8 << 20).map(|at: u32| (at ^ at >> 9) as u8).collect()
}

/// A12, F9: with `response_body=spool` a client that takes nothing holds no worker, and gets it all.
#[test]
fn a_spooled_response_frees_the_application() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, large())).start();
        let line = "max_connections=1 response_body=spool response_memory=64k";
        let gateway = gateway(&format!("{} {line}", application.address()));
        let own = make(&gateway);
        let (slow, outcome) = own.start(request("GET"));
        own.own().pause(slow, true);
        own.run_until("the application is free", || gateway.engine().pools()[0].idle() == 1);
        assert_eq!(own.finish(request("GET")).body.borrow().len(), large().len());
        assert!(outcome.body.borrow().is_empty() && !outcome.ended.get());
        own.own().pause(slow, false);
        own.run_until("the end of the slow one", || outcome.ended.get());
        assert_eq!(outcome.cause.get(), None);
        assert!(*outcome.body.borrow() == large());
        application.assert_no_violations();
    }
}

/// A12: with `response_body=stream`, or when the file is full, the application waits for a client that
/// takes nothing, and goes on with it.
#[test]
fn a_response_beyond_its_bounds_holds_the_application() {
    for make in LOOPS {
        for bound in ["response_body=stream", "response_body=spool response_file=256k"] {
            let application = Application::unix().reply(Reply::page(200, large())).start();
            let line = format!("max_connections=1 queue_timeout=200ms response_memory=64k {bound}");
            let gateway = gateway(&format!("{} {line}", application.address()));
            let own = make(&gateway);
            let (slow, outcome) = own.start(request("GET"));
            own.own().pause(slow, true);
            assert_eq!(own.finish(request("GET")).cause.get(), Some(Cause::QueueTimeout), "{bound}");
            own.own().pause(slow, false);
            own.run_until("the end of the slow one", || outcome.ended.get());
            assert_eq!(outcome.cause.get(), None);
            assert!(*outcome.body.borrow() == large());
            application.assert_no_violations();
        }
    }
}

/// F7: a client that leaves while its response is held, or gives it up, leaves nothing behind.
#[test]
fn what_is_held_goes_with_its_exchange() {
    for make in LOOPS {
        let application = Application::unix().reply(Reply::page(200, large())).start();
        let gateway = gateway(&format!("{} max_connections=2 response_body=spool", application.address()));
        let own = make(&gateway);
        let pool = &gateway.engine().pools()[0];
        let (freed, outcome) = own.start(request("GET"));
        own.own().pause(freed, true);
        own.run_until("all of it is held", || pool.idle() == 1);
        own.own().free(freed);
        assert!(!outcome.ended.get());

        let (aborted, outcome) = own.start(request("GET"));
        own.own().pause(aborted, true);
        own.run_until("all of it is held", || pool.idle() == 1);
        own.own().abort(aborted);
        assert_eq!((outcome.ended.get(), outcome.cause.get()), (true, Some(Cause::Aborted)));
        assert_eq!((pool.idle(), pool.permits_used()), (1, 1));
    }
}

/// What is told once is not lost: an application that closes behind bytes that the host has not looked at
/// yet is noticed at once, inside a response and behind a whole one, alone and on a shared connection.
#[test]
fn an_end_that_comes_with_bytes_is_noticed() {
    for make in LOOPS {
        for multiplex in ["off", "on"] {
            let cut = Reply::new().stdout("X: y\r\n\r\nhalf").close();
            for (reply, cause) in
                [(cut, Some(Cause::ClosedInBody)), (Reply::page(200, "hello").close(), None)]
            {
                let application = Application::unix().reply(reply).start();
                let line = format!("max_connections=4 read_timeout=1h head_timeout=1h multiplex={multiplex}");
                let gateway = gateway(&format!("{} {line}", application.address()));
                let own = make(&gateway);
                let (_, outcome) = own.start(request("GET"));
                // The host looks only when all has come.
                while application.requests().is_empty() || application.open_connections() > 0 {
                    if application.requests().is_empty() {
                        own.turn(Duration::from_millis(1));
                    }
                    std::thread::yield_now();
                }
                own.run_until("the end", || outcome.ended.get() && own.watched() == 0);
                assert_eq!(outcome.cause.get(), cause, "multiplex={multiplex}");
                assert_eq!(gateway.engine().pools()[0].permits_used(), 0);
            }
        }
    }
}

/// P7: an edge-triggered host is asked to watch a socket at most twice, however often it fills up, and
/// nothing is taken back before its end.
#[test]
fn an_edge_triggered_host_is_asked_once() {
    let application = Application::unix().reply(Reply::page(200, large())).start();
    let gateway = gateway(&format!("{} max_connections=1 response_memory=64k", application.address()));
    let own = PollLoop::edge_triggered(&gateway);
    let before = own.watch_calls();
    assert_eq!(own.finish(request("GET")).cause.get(), None);
    for _ in 0..2 {
        let mut upload = request("GET");
        upload.body = fcgate::drive::Body::Bytes(large());
        let (key, outcome) = own.start(upload);
        own.run_until("a beginning", || !outcome.body.borrow().is_empty());
        own.own().pause(key, true);
        for _ in 0..20 {
            own.turn(Duration::from_millis(1));
        }
        own.own().pause(key, false);
        own.run_until("the end", || outcome.ended.get());
        assert_eq!(outcome.cause.get(), None);
        assert!(*outcome.body.borrow() == large());
    }
    assert_eq!((own.watch_calls() - before, application.connections()), (2, 1));
    application.assert_no_violations();
}

fn upload(own: &PollLoop, announced: u64, pieces: &[&[u8]]) -> Rc<Outcome> {
    let mut request = request("POST");
    request.body = Body::Pieces(Some(announced));
    let (key, outcome) = own.start(request);
    for (index, piece) in pieces.iter().enumerate() {
        let rest = Cell::new(*piece);
        let is_last = index + 1 == pieces.len();
        own.run_until("all of a piece taken", || {
            let taken = own.own().send(key, rest.get(), is_last);
            rest.set(&rest.get()[taken.unwrap_or(rest.get().len())..]);
            rest.get().is_empty()
        });
    }
    own.run_until("the end of an exchange", || outcome.ended.get());
    outcome
}

/// X11: a body that is pushed comes as it is, however it is cut and whether the application keeps up.
#[test]
fn a_pushed_body_comes_whole() {
    let application = Application::unix().reply(Reply::page(200, "ok")).start();
    let gateway = gateway(&format!("{} request_body=stream reuse_non_idempotent=on", application.address()));
    let own = PollLoop::new(&gateway);
    let body: Vec<u8> = (0..1_500_000u32).map(|at| (at * 7 % 251) as u8).collect();
    for size in [1 << 20, 300_000, 65_537, 65_536, 65_535, 8_000] {
        let pieces: Vec<&[u8]> = body.chunks(size).collect();
        let outcome = upload(&own, body.len() as u64, &pieces);
        assert_eq!((outcome.cause.get(), outcome.body.borrow().as_slice()), (None, &b"ok"[..]));
    }
    let singly: Vec<&[u8]> = body[..300].chunks(1).collect();
    assert_eq!(upload(&own, 300, &singly).cause.get(), None);
    let requests = application.requests();
    assert!(requests[..6].iter().all(|request| request.stdin == body));
    assert_eq!(requests[6].stdin, &body[..300]);
    application.assert_no_violations();
}

/// X9: an application never gets fewer bytes than were announced and waits, nor more.
#[test]
fn a_pushed_body_is_as_long_as_announced() {
    let application = Application::unix().reply(Reply::page(200, "ok")).start();
    let gateway = gateway(&format!("{} request_body=stream", application.address()));
    let own = PollLoop::new(&gateway);
    let short = upload(&own, 100, &[b"ten bytes ", b"and no more"]);
    assert_eq!(short.cause.get(), Some(Cause::RequestBodyShort));
    let long = upload(&own, 10, &[b"ten bytes ", b"and ten more"]);
    // Which of the two the application notes first is up to its threads.
    let whole = application.requests().into_iter().find(|request| request.stdin_ended);
    assert_eq!((long.cause.get(), whole.unwrap().stdin.len()), (None, 10));
    application.assert_no_violations();
}

/// X11: large pieces of a response are received where the host wants them, and the client gets the
/// same bytes, whatever room there is and however the application cuts them.
#[test]
fn a_large_response_is_received_where_the_host_wants_it() {
    let body: Vec<u8> = (0..700_000u32).map(|at| (at * 11 % 253) as u8).collect();
    let head = b"Content-Type: text/plain\r\n\r\n";
    let cut_in = |size: usize, padding: u8| {
        let reply = Reply::new().padding(padding).stdout(head);
        let pieces = body.chunks(size).enumerate();
        let reply = pieces.fold(reply, |reply, (at, piece)| {
            let reply = if at % 5 == 4 { reply.stderr("a word\n") } else { reply };
            reply.stdout(piece)
        });
        reply.end_stdout().end()
    };
    for (size, padding, rooms) in
        [(65_535, 1, true), (65_528, 0, true), (40_000, 255, true), (8_000, 3, false)]
    {
        let application = Application::unix().reply(cut_in(size, padding)).start();
        let gateway = gateway(&format!("{} max_connections=1", application.address()));
        let own = PollLoop::new(&gateway);
        for room in [1, 100, 8_192, 65_535, 1 << 20] {
            let outcome = own.start_with_room(request("GET"), room);
            own.run_until("the end of an exchange", || outcome.ended.get());
            assert_eq!(outcome.cause.get(), None);
            assert!(*outcome.body.borrow() == body, "{} bytes", outcome.body.borrow().len());
            assert_eq!(outcome.rooms.get() > 0, rooms, "records of {size} bytes, room for {room}");
        }
        assert_eq!(application.connections(), 1);
    }
}

/// A3: bytes beyond the Content-Length, and those of an answer to HEAD, are not the host's.
#[test]
fn the_host_has_room_for_what_is_its_own() {
    let body = vec![b'x'; 100_000];
    let page = |length: usize| {
        let head = format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        Reply::new().stdout(head).stdout(&body[..60_000]).stdout(&body[60_000..]).end_stdout().end()
    };
    let application = Application::unix().replies(vec![page(90_000), page(100_000)]).start();
    let gateway = gateway(&format!("{} keep_conn=off", application.address()));
    let own = PollLoop::new(&gateway);
    let long = own.start_with_room(request("GET"), 1 << 16);
    own.run_until("the end of an exchange", || long.ended.get());
    assert_eq!((long.cause.get(), long.body.borrow().len()), (None, 90_000));
    let head = own.start_with_room(request("HEAD"), 1 << 16);
    own.run_until("the end of an exchange", || head.ended.get());
    assert_eq!((head.cause.get(), head.body.borrow().len(), head.rooms.get()), (None, 0, 0));
}

/// F5: an application that closes within a large record: what came is told, and the exchange fails.
#[test]
fn a_large_response_that_is_cut_fails() {
    let reply = Reply::new().stdout(b"Content-Type: text/plain\r\n\r\n").stdout(vec![b'x'; 60_000]);
    let application = Application::unix().reply(reply.split_at([50, 30_000]).close()).start();
    let gateway = gateway(&application.address());
    let own = PollLoop::new(&gateway);
    let outcome = own.start_with_room(request("GET"), 1 << 16);
    own.run_until("the end of an exchange", || outcome.ended.get());
    assert_eq!(outcome.cause.get(), Some(Cause::ClosedInBody));
    assert_eq!(outcome.body.borrow().len(), 60_000);
}

/// X11: a piece of a body that comes while a client takes what was held for it is sent as it is, and not
/// what was sent before.
#[test]
fn a_piece_that_comes_while_held_bytes_are_given_is_sent() {
    let held = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect::<Vec<_>>();
    let sent = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&sent);
    let reply = Reply::new()
        .stdout("Content-Type: text/plain\r\n\r\n")
        .stdout(&held)
        .then(Step::Run(Arc::new(move || note.store(true, SeqCst))))
        .then(Step::Await(Moment::Complete))
        .end_stdout()
        .end();
    let application = Application::unix().at(Moment::Body(60_000)).reply(reply).start();
    let gateway = gateway(&format!("{} request_body=stream response_memory=8m", application.address()));
    let own = PollLoop::new(&gateway);
    let pieces = [vec![b'a'; 60_000], vec![b'b'; 65_536]];
    let mut request = request("POST");
    request.body = Body::Pieces(Some(125_536));
    let (key, outcome) = own.start(request);
    own.own().pause(key, true);
    assert_eq!(own.own().send(key, &pieces[0], false), Some(60_000));
    own.run_until("the response", || sent.load(SeqCst));
    own.turn(Duration::from_millis(50));
    own.own().pause(key, false);
    assert!(!outcome.body.borrow().is_empty());
    assert_eq!(own.own().send(key, &pieces[1], true), Some(65_536));
    own.run_until("the end of an exchange", || outcome.ended.get());
    assert_eq!(outcome.cause.get(), None);
    assert!(*outcome.body.borrow() == held);
    assert!(application.requests()[0].stdin == pieces.concat());
    application.assert_no_violations();
}

/// F7: an exchange whose body is still being laid aside ends when it is given up or its client goes, at once or
/// later, and its application is untouched.
#[test]
fn an_exchange_that_has_not_begun_may_be_given_up() {
    let application = Application::unix().reply(Reply::page(200, "ok")).start();
    let gateway = gateway(&format!("{} request_body=spool", application.address()));
    for make in LOOPS {
        let own = make(&gateway);
        for (turns, gone) in [(0, false), (0, true), (2, false), (2, true)] {
            let mut request = request("POST");
            request.body = Body::Pieces(Some(100));
            let (key, outcome) = own.start(request);
            (0..turns).for_each(|_| own.turn(Duration::ZERO));
            own.own().send(key, b"some", false);
            if gone {
                own.own().client_gone(key)
            } else {
                own.own().abort(key)
            }
            own.run_until("the end of an exchange", || outcome.ended.get());
            let cause = if gone { Cause::ClientGone } else { Cause::Aborted };
            assert_eq!(outcome.cause.get(), Some(cause));
        }
    }
    assert_eq!(application.connections(), 0);
}

/// F4: an end that is told together with the connection is noticed, also where it is told once.
#[test]
fn an_end_that_comes_with_the_connection_is_noticed() {
    for make in LOOPS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gateway = gateway(&format!("{} retry=off", listener.local_addr().unwrap()));
        let own = make(&gateway);
        let (_, outcome) = own.start(request("GET"));
        let application = listener.accept().unwrap().0;
        application.shutdown(Shutdown::Write).unwrap();
        own.run_until("the end of an exchange", || outcome.ended.get());
        assert_eq!(outcome.cause.get(), Some(Cause::Closed));
    }
}
