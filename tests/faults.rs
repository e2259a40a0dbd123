//! Faults over real sockets: what an application, a network or an administrator does to it.

mod host;

use fcgate::config::Config;
use fcgate::drive::{Body, Fact, Request, forward};
use fcgate::exchange::Cause;
use fcgate::gateway::Gateway;
use fcgate::protocol::ProtocolStatus;
use fcgate_kit::{Application, Directory, Gate, Reply, Step};
use host::{Keep, gateway};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn request(method: &str, body: Body) -> Request {
    let mut request = Request::default();
    request.body = body;
    request.fact(Fact::Method, method.as_bytes());
    request.fact(Fact::Target, b"/x.php");
    request
}

/// One request; its body, or the cause of its failure.
fn send(gateway: &Gateway, mut request: Request, host: &mut Keep) -> Result<Vec<u8>, Cause> {
    let engine = gateway.engine();
    let over = forward(engine, engine.route(0).unwrap(), &mut request, host).expect("not started");
    match over.scratch.exchange.failure() {
        Some(failure) => Err(failure.cause),
        None => Ok(std::mem::take(&mut host.body)),
    }
}

fn get(gateway: &Gateway) -> Result<Vec<u8>, Cause> {
    send(gateway, request("GET", Body::None), &mut Keep::default())
}

fn post(gateway: &Gateway, body: &[u8]) -> Result<Vec<u8>, Cause> {
    send(gateway, request("POST", Body::Bytes(body.to_vec())), &mut Keep::default())
}

fn page() -> Reply {
    Reply::page(200, "ok")
}

/// F1, F12: an application that is away is waited for, its socket missing and made anew.
#[test]
fn a_restart_is_waited_out() {
    let directory = Directory::new();
    let path = directory.join("app.sock");
    let gateway = gateway(&format!("unix:{} restart_window=20s", path.display()));
    std::thread::scope(|scope| {
        let answers: Vec<_> = (0..4).map(|_| scope.spawn(|| post(&gateway, b"once"))).collect();
        while gateway.engine().pools()[0].health().is_up() {
            std::thread::yield_now();
        }
        let application = Application::unix_at(&path).reply(page()).start();
        for answer in answers {
            assert_eq!(answer.join().unwrap(), Ok(b"ok".to_vec()));
        }
        assert_eq!(application.count("POST"), 4);
    });
}

/// F1: beyond the window the request fails, and says how.
#[test]
fn an_application_that_stays_away_is_an_error() {
    let gateway = gateway("unix:/nowhere/at/all.sock restart_window=200ms");
    assert_eq!(get(&gateway), Err(Cause::Connect));
}

/// F1, F4: a route may forbid further attempts; a kept connection that was dead is replaced all the same.
#[test]
fn a_route_bounds_attempts() {
    let directory = Directory::new();
    let path = directory.join("app.sock");
    for setting in ["retry=off", "max_tries=1", "max_tries=3", "retry_timeout=50ms"] {
        let gateway = gateway(&format!("unix:{} restart_window=1h {setting}", path.display()));
        assert_eq!(get(&gateway), Err(Cause::Connect), "{setting}");
    }
    let application = Application::unix().reply(page()).start();
    let gateway = gateway(&format!("{} max_connections=1 retry=off", application.address()));
    for _ in 0..3 {
        assert!(get(&gateway).is_ok());
        application.drop_connections();
    }
    assert_eq!(application.connections(), 3);
}

/// F4: kept connections that the application has closed are not seen, by GET nor by POST.
#[test]
fn stale_connections_are_not_seen() {
    for method in ["GET", "POST"] {
        let application = Application::unix().reply(page()).start();
        let gateway =
            gateway(&format!("{} max_connections=4 reuse_non_idempotent=on", application.address()));
        for _ in 0..3 {
            assert!(get(&gateway).is_ok());
            application.drop_connections();
            let body = if method == "POST" { Body::Bytes(b"x".to_vec()) } else { Body::None };
            assert!(send(&gateway, request(method, body), &mut Keep::default()).is_ok(), "{method}");
        }
        assert_eq!(application.requests().len(), 6);
    }
}

/// F4: a POST that was taken and not answered reaches the application once, and fails.
#[test]
fn a_taken_post_is_not_repeated() {
    let application = Application::unix().on_request(|_| vec![Step::Close]).start();
    let gateway = gateway(&format!("{} restart_window=1s", application.address()));
    assert_eq!(post(&gateway, b"x"), Err(Cause::Closed));
    assert_eq!(application.count("POST"), 1);
    assert_eq!(get(&gateway), Err(Cause::Closed));
    assert_eq!(application.count("GET"), 2, "a GET is repeated once");
}

/// F4: where a route lets what is not idempotent be repeated, its body goes again from its first byte, however
/// long it is.
#[test]
fn a_repeated_body_is_whole() {
    for length in [1, 60_000, 300_000] {
        let body: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let first = AtomicBool::new(true);
        let application = Application::unix()
            .on_request(
                move |request| {
                    if first.swap(false, SeqCst) { vec![Step::Close] } else { page().to(request) }
                },
            )
            .start();
        let gateway = gateway(&format!("{} retry_non_idempotent=on", application.address()));
        assert_eq!(post(&gateway, &body), Ok(b"ok".to_vec()), "{length} bytes");
        let requests = application.requests();
        assert!(
            requests.len() == 2 && requests.iter().all(|request| request.stdin == body),
            "{length} bytes"
        );
    }
}

/// F1: a request for which no pool is chosen fails as one of its own balancer, whatever was asked for before.
#[test]
fn a_request_without_a_pool_is_nobody_elses() {
    let applications = [(); 3].map(|()| Application::unix().reply(page()).start());
    let mut config = Config::new();
    let many = config.balancer("many").unwrap();
    for application in &applications {
        config.pool(many, &application.address()).unwrap();
    }
    config.balancer_line("drained", "unix:/nowhere/at/all.sock").unwrap();
    config.route("many", None, Some("many")).unwrap();
    config.route("drained", None, Some("drained")).unwrap();
    let gateway = Gateway::new(Arc::new(config.freeze().unwrap()), None).unwrap();
    let engine = gateway.engine();
    assert!(engine.drain(3, true));
    let ask = |route: usize| {
        let (mut request, mut host) = (request("GET", Body::None), Keep::default());
        let over =
            forward(engine, engine.route(route).unwrap(), &mut request, &mut host).expect("not started");
        over.scratch.exchange.failure().map(|failure| failure.cause)
    };
    for _ in 0..3 {
        assert_eq!(ask(0), None);
        assert_eq!(ask(1), Some(Cause::NoPool));
    }
}

/// A8, A9: what comes behind the end of an exchange that failed with it ends the connection, and nothing waits
/// for it.
#[test]
fn records_behind_an_end_that_failed_are_passed_over() {
    let short = Reply::new().stdout("Content-Length: 9\r\n\r\nshort").end().stdout("more").end();
    let unknown =
        Reply::new().stdout("A: b\r\n\r\nhalf").end_with(0, ProtocolStatus::UnknownRole).stdout("more").end();
    for (reply, cause) in [(short, Cause::ShortBody), (unknown, Cause::UnknownRole)] {
        let application = Application::unix().reply(reply).start();
        let gateway = gateway(&format!("{} max_connections=1", application.address()));
        assert_eq!(get(&gateway), Err(cause));
        assert_eq!(gateway.engine().pools()[0].idle(), 0);
    }
}

/// F6: each timeout where it belongs.
#[test]
fn a_stalled_application_times_out() {
    let silent = Gate::new();
    for (reply, settings, cause) in [
        (Reply::new().stall(&silent), "head_timeout=300ms", Cause::HeadTimeout),
        (Reply::new().stderr("dots").stall(&silent), "head_timeout=300ms", Cause::HeadTimeout),
        (Reply::new().stdout("A: b\n\nhalf").stall(&silent), "read_timeout=300ms", Cause::ReadTimeout),
        (Reply::new().stdout("A: b\n\nhalf").stall(&silent), "total_timeout=300ms", Cause::TotalTimeout),
    ] {
        let application = Application::unix().reply(reply).start();
        let gateway = gateway(&format!("{} {settings}", application.address()));
        assert_eq!(get(&gateway), Err(cause), "{settings}");
    }
    let application =
        Application::unix().reply(Reply::new().stdout("A: b\n\nwhole").end_stdout().stall(&silent)).start();
    let gateway = gateway(&format!("{} max_connections=1 end_timeout=200ms", application.address()));
    assert_eq!(get(&gateway), Ok(b"whole".to_vec()));
    assert_eq!(gateway.engine().pools()[0].idle(), 0, "a connection without its END_REQUEST was kept");
}

/// F7: a client that goes while the application is silent: the request is aborted soon.
#[test]
fn a_client_that_goes_is_noticed() {
    let silent = Gate::new();
    let application = Application::unix().reply(Reply::new().stall(&silent)).start();
    let gateway = gateway(&format!("{} max_connections=1", application.address()));
    let (client, server) = UnixStream::pair().unwrap();
    let started = Instant::now();
    let mut host = Keep { client: Some(server), ..Keep::default() };
    drop(client);
    assert_eq!(send(&gateway, request("GET", Body::None), &mut host), Err(Cause::ClientGone));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(gateway.engine().pools()[0].permits_used(), 0);
}

/// F8, E9: a body that ends early is never ended falsely, and every permit comes back.
#[test]
fn a_body_that_ends_early_is_refused() {
    let application = Application::unix().reply(page()).start();
    let gateway = gateway(&format!("{} max_connections=2 request_body=stream", application.address()));
    for _ in 0..500 {
        let mut host = Keep { pieces: Some(vec![b"some".to_vec()]), ..Keep::default() };
        let result = send(&gateway, request("POST", Body::Pieces(Some(100))), &mut host);
        assert_eq!(result, Err(Cause::RequestBodyShort));
    }
    assert_eq!(gateway.engine().pools()[0].permits_used(), 0);
    assert_eq!(get(&gateway), Ok(b"ok".to_vec()));
}

/// F10: beyond the connections there is a queue, in order; beyond the queue an error.
#[test]
fn a_queue_stands_before_the_pool() {
    let busy = Gate::new();
    let application = Application::unix().reply(Reply::new().stall(&busy).stdout("A: b\n\nok").end()).start();
    let full =
        gateway(&format!("{} max_connections=1 queue_length=1 queue_timeout=20s", application.address()));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get(&full));
        application.wait_for_requests(1);
        let second = scope.spawn(|| get(&full));
        while full.engine().pools()[0].waiting() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(get(&full), Err(Cause::QueueFull));
        busy.open();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(b"ok".to_vec()), Ok(b"ok".to_vec())));
    });
    let silent = Gate::new();
    let application =
        Application::unix().reply(Reply::new().stall(&silent).stdout("A: b\n\nok").end()).start();
    let slow = gateway(&format!("{} max_connections=1 queue_timeout=200ms", application.address()));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get(&slow));
        application.wait_for_requests(1);
        assert_eq!(get(&slow), Err(Cause::QueueTimeout));
        silent.open();
        assert!(first.join().unwrap().is_ok());
    });
}

/// E2: KEEP_CONN is set if and only if the connection may be kept; `max_requests` is obeyed.
#[test]
fn connections_are_kept_as_set() {
    for (settings, kept, connections) in [
        ("", false, 6),
        ("max_connections=2", true, 1),
        ("keep_conn=on", true, 1),
        ("max_connections=2 keep_conn=off", false, 6),
    ] {
        let application = Application::unix().reply(page()).start();
        let gateway = gateway(&format!("{} {settings}", application.address()));
        for n in 0..6 {
            assert!(get(&gateway).is_ok());
            assert_eq!(application.request(n).keep_conn, kept, "{settings}");
        }
        assert_eq!(gateway.engine().pools()[0].counters().connects.get(), connections, "{settings}");
        application.assert_no_violations();
    }
    let application = Application::unix().reply(page()).start();
    let gateway = gateway(&format!("{} max_connections=2 max_requests=3", application.address()));
    let flags: Vec<bool> = (0..6)
        .map(|n| {
            assert!(get(&gateway).is_ok());
            application.request(n).keep_conn
        })
        .collect();
    assert_eq!(flags, [true, true, false, true, true, false]);
}

/// F14: bodies of any size arrive byte for byte, over every kind of address.
#[test]
fn large_bodies_arrive_whole_over_every_address() {
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    for builder in
        [Application::unix(), Application::abstract_unix(), Application::tcp(), Application::tcp6()]
    {
        let application = builder.reply(page()).start();
        for settings in ["", "request_body=stream", "max_connections=1"] {
            let gateway = gateway(&format!("{} {settings}", application.address()));
            let mut host =
                Keep { pieces: Some(body.chunks(50_000).map(<[u8]>::to_vec).collect()), ..Keep::default() };
            let length = Some(body.len() as u64).filter(|_| settings != "max_connections=1");
            assert_eq!(send(&gateway, request("POST", Body::Pieces(length)), &mut host), Ok(b"ok".to_vec()));
        }
        for n in 0..3 {
            let request = application.request(n);
            assert!(request.stdin == body);
            let length = request.params.iter().find(|(name, _)| name == b"CONTENT_LENGTH").unwrap();
            assert_eq!(length.1, b"3000000");
        }
        application.assert_no_violations();
    }
}

/// E12: an application is asked for its limits on a connection of its own, and only then; one that
/// does not answer costs a timeout, no more.
#[test]
fn limits_are_asked_only_on_demand() {
    let application = Application::unix().reply(page()).values(Some(&[("FCGI_MAX_CONNS", "5")])).start();
    let gateway = gateway(&format!("{} max_connections=2", application.address()));
    assert!(get(&gateway).is_ok());
    assert!(application.asked().is_empty());
    let pool = &gateway.engine().pools()[0];
    let values = fcgate::drive::values::ask(pool, Duration::from_millis(500)).unwrap();
    assert_eq!(values.get("FCGI_MAX_CONNS"), Some(5));
    assert_eq!(application.asked().len(), 3);
    assert_eq!(application.connections(), 2);
    assert!(get(&gateway).is_ok());
    application.assert_no_violations();
}

/// X1: params from a file and from a mounted ConfigMap, read again when they change.
#[test]
fn params_from_files_are_read_again() {
    let directory = Directory::new();
    let file = directory.write("params", "FROM_FILE one\nSHARED file\n");
    let mount = directory.join("config");
    for (version, value) in [("..1", "one"), ("..2", "two")] {
        std::fs::create_dir_all(mount.join(version)).unwrap();
        std::fs::write(mount.join(version).join("FROM_MAP"), format!("{value}\n")).unwrap();
    }
    std::os::unix::fs::symlink("..1", mount.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/FROM_MAP", mount.join("FROM_MAP")).unwrap();
    let application = Application::unix().reply(page()).start();
    let gateway = gateway(&format!(
        "{} params_file={} params_directory={}",
        application.address(),
        file.display(),
        mount.display()
    ));
    let seen = |name: &str| {
        assert!(get(&gateway).is_ok());
        let request = application.requests().pop().unwrap();
        let param = request.params.iter().find(|(own, _)| own == name.as_bytes());
        param.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    assert_eq!((seen("FROM_FILE").as_deref(), seen("FROM_MAP").as_deref()), (Some("one"), Some("one")));
    // As Kubernetes does it: a new link, put over the old one.
    std::os::unix::fs::symlink("..2", mount.join("..new")).unwrap();
    std::fs::rename(mount.join("..new"), mount.join("..data")).unwrap();
    directory.write("params", "FROM_FILE another value\n");
    let until = Instant::now() + Duration::from_secs(20);
    while seen("FROM_MAP").as_deref() != Some("two") || seen("FROM_FILE").as_deref() != Some("another value")
    {
        assert!(Instant::now() < until, "the change was not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen("SHARED"), None);
    directory.write("params", "what=is this\n");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(seen("FROM_FILE").as_deref(), Some("another value"), "a bad file replaced a good one");
}

/// A1, A3: records that came together are told together, whatever their padding holds: here what looks like
/// the end of the response, or like another request's.
#[test]
fn records_that_came_together_are_told_together() {
    let body: Vec<u8> = (0..40_000u32).map(|at| (at * 13 % 249) as u8).collect();
    for (record_type, other) in [(6, 0), (3, 0), (6, 1), (7, 0)] {
        let gate = Gate::new();
        let pieces = body.clone();
        let reply = Reply::new().stdout("Content-Type: text/plain\r\n\r\n").stall(&gate).bytes(move |id| {
            let [high, low] = (id + other).to_be_bytes();
            let mut out = Vec::new();
            for piece in pieces.chunks(2_000) {
                let [long, length] = (piece.len() as u16).to_be_bytes();
                out.extend([1, 6, id.to_be_bytes()[0], id.to_be_bytes()[1], long, length, 16, 0]);
                out.extend(piece);
                out.extend([1, record_type, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
            out
        });
        let application = Arc::new(Application::unix().reply(reply.end_stdout().end()).start());
        let gateway = gateway(&application.address());
        let told = Arc::clone(&application);
        let on_head = Box::new(move || {
            gate.open();
            told.wait_for("the end of its answer", |log| log[0].ended);
        });
        let mut host = Keep { on_head: Some(on_head), ..Keep::default() };
        let engine = gateway.engine();
        let mut request = request("GET", Body::None);
        let over = forward(engine, engine.route(0).unwrap(), &mut request, &mut host).unwrap();
        assert_eq!(over.scratch.exchange.failure(), None);
        assert_eq!((host.lengths, host.completes), (vec![body.len()], 1));
        assert!(host.body == body);
    }
}
