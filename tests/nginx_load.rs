//! nginx with ngx_http_fcgate_module under load: several workers, reloads, its end, few descriptors, and
//! many clients that go away.

use fcgate_kit::load::Over;
use fcgate_kit::nginx::Builder;
use fcgate_kit::valgrind::Valgrind;
use fcgate_kit::{Application, Client, Gate, Nginx, PhpFpm, Reply, Request, Response, Step};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// What it was sent, with the body's digest. Some answers take longer than a reload does.
const ECHO: &str =
    "<?php if ($_GET['n'] % 10 == 0) usleep(300000); echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['n'], ' ',
    strlen(file_get_contents('php://input')), \"\\n\", str_repeat('.', 10000), 'end';";

/// A GET or a POST on a connection of its own; why it failed.
fn echo(client: &mut Client, n: usize) -> Result<(), String> {
    let target = format!("/echo.php?n={n}");
    // Some bodies are too large for memory and go to a file of nginx's.
    let body = format!("post {n} ").repeat(if n % 4 == 3 { 10_000 } else { 1 }).into_bytes();
    let (request, method, length) = match n % 2 {
        0 => (Request::get(&target), "GET", 0),
        _ => (Request::post(&target, body.clone()), "POST", body.len()),
    };
    let right = format!("{method} {n} {length}\n{}end", ".".repeat(10_000));
    let answer = client.try_send(&request.field("Connection", "close"));
    client.close();
    match answer {
        Ok(answer) if answer.status == 200 && answer.is_complete() && answer.text() == right => Ok(()),
        Ok(Response { status, ending, body, .. }) => {
            Err(format!("{method} {n}: {status}, {ending:?}, {} bytes", body.len()))
        }
        Err(error) => Err(format!("{method} {n}: {error}")),
    }
}

/// S9: reloads under load, of several workers: what is in flight ends on the old settings, no request
/// fails, and every old worker ends.
#[test]
fn reloads_fail_no_request() {
    const WORKERS: usize = 2;
    const RELOADS: usize = 8;
    let php = PhpFpm::unix().children(8).start();
    let nginx = Nginx::builder()
        .workers(WORKERS)
        .http(format!("fcgate_pool php {} max_connections=4;", php.address()))
        .server("include {directory}/generation.conf;\nlocation ~ \\.php$ { fcgate_pass php; }")
        .file("echo.php", ECHO);
    let generation = |n: usize| {
        format!("add_header X-Generation {n} always;\nadd_header X-Fcgate-Test {{port}} always;\n")
    };
    let port = nginx.port().to_string();
    nginx.directory().write("generation.conf", generation(0).replace("{port}", &port));
    let nginx = nginx.start();
    let over = Over::default();
    let done = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let _end = over.at_end();
        for first in 0..8 {
            let mut client = nginx.client();
            let (over, done, failures) = (&over, &done, &failures);
            scope.spawn(move || {
                let _end = over.at_end();
                for n in (first..).step_by(8).take_while(|_| !over.is_near()) {
                    if let Err(failure) = echo(&mut client, n) {
                        failures.lock().unwrap().push(failure);
                    }
                    done.fetch_add(1, Relaxed);
                }
            });
        }
        for n in 1..=RELOADS {
            nginx.directory().write("generation.conf", generation(n).replace("{port}", &port));
            nginx.reload();
            let before = done.load(Relaxed);
            while done.load(Relaxed) < before + 20 && !over.is_near() {
                thread::yield_now();
            }
        }
    });
    assert_eq!(failures.into_inner().unwrap(), Vec::<String>::new());
    assert_eq!(nginx.client().get("/echo.php?n=1").field("X-Generation"), Some(RELOADS.to_string().as_str()));
    nginx.wait_for_ended_workers(WORKERS * RELOADS);
    for bad in ["[alert]", "[emerg]", "[crit]", "[error]"] {
        assert!(!nginx.log().contains(bad), "{}", nginx.log());
    }
}

/// E2, S9: `nginx -s quit` waits for what is in flight, and for nothing else: kept connections are closed at
/// once, none is kept any more, and timers of requests that have ended hold up nobody.
#[test]
fn quitting_waits_for_what_is_in_flight() {
    let gate = Gate::new();
    let late = gate.clone();
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some("slow") => {
                Reply::new().stall(&late).stdout("X: y\r\n\r\nwhole").end_stdout().end().to(request)
            }
            _ => Reply::page(200, "quick").to(request),
        })
        .start();
    let mut nginx = Nginx::builder()
        .http(format!(
            "fcgate_pool php {} max_connections=4 keep_conn=on idle_timeout=1h;",
            application.address()
        ))
        .server("fcgate_preset plain;\nfcgate_head_timeout 1h;\nlocation / { fcgate_pass php; }")
        .start();
    let mut client = nginx.client();
    client.send_part(&Request::get("/?slow"), 0).unwrap();
    application.wait_for_requests(1);
    assert_eq!(nginx.client().get("/").expect(200).text(), "quick");
    assert_eq!(application.open_connections(), 2);
    nginx.quit();
    nginx.wait_for_log(&["gracefully shutting down"]);
    application.wait_for_open_connections(1);
    gate.open();
    assert_eq!(client.read_response("GET").unwrap().expect(200).text(), "whole");
    assert!(nginx.process().wait().success());
    application.wait_for_open_connections(0);
    assert!(!nginx.log().contains("[alert]") && !nginx.log().contains("[error]"), "{}", nginx.log());
    application.assert_no_violations();
}

/// S9: each of four workers ends what is in flight in it, on a reload and when nginx quits.
#[test]
fn every_worker_ends_what_is_in_flight() {
    const WORKERS: usize = 4;
    let gates = [Gate::new(), Gate::new()];
    let late = gates.clone();
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some(round @ ("0" | "1")) => {
                let reply = Reply::new().stdout("X: y\r\n\r\nhalf, ").stall(&late[(round == "1") as usize]);
                reply.stdout("whole").end_stdout().end().to(request)
            }
            _ => Reply::page(200, "quick").to(request),
        })
        .start();
    let port = fcgate_kit::free_port();
    let mut nginx = Nginx::builder()
        .workers(WORKERS)
        .http(format!("fcgate_pool php {} max_connections=40;", application.address()))
        // Each worker has a socket of its own, so that connections spread.
        .server(format!("listen 127.0.0.1:{port} reuseport;\nadd_header X-Worker $pid;\nadd_header X-Fcgate-Test {{port}};"))
        .server("fcgate_preset plain;\nfcgate_read_timeout 1h;\nlocation / { fcgate_pass php; }")
        .start();
    let marker = nginx.address().port().to_string();
    for (round, gate) in gates.iter().enumerate() {
        let mut clients = std::collections::BTreeMap::new();
        while clients.len() < WORKERS {
            let mut client = Client::new(("127.0.0.1", port)).expect_field("X-Fcgate-Test", &marker);
            let worker = client.get("/").expect(200).field("X-Worker").unwrap().to_owned();
            clients.entry(worker).or_insert(client);
        }
        for client in clients.values_mut() {
            client.send_part(&Request::get(&format!("/?{round}")), 0).unwrap();
            client.wait_for(b"half, ");
        }
        if round == 0 {
            nginx.reload();
        } else {
            nginx.quit();
        }
        nginx.wait_until("all old workers are told", |nginx| {
            nginx.log().matches("gracefully shutting down").count() >= WORKERS * (round + 1)
        });
        gate.open();
        for client in clients.values_mut() {
            assert_eq!(client.read_response("GET").unwrap().expect(200).text(), "half, whole");
        }
        nginx.wait_for_ended_workers(WORKERS * (round + 1));
    }
    assert!(nginx.process().wait().success());
    application.wait_for_open_connections(0);
    for bad in ["[alert]", "[emerg]", "[crit]", "[error]"] {
        assert!(!nginx.log().contains(bad), "{}", nginx.log());
    }
    application.assert_no_violations();
}

/// S6, S8: where all of worker_connections are in use, a request waits for one, and goes on when there is
/// one.
#[test]
fn a_request_waits_for_a_connection_of_nginx() {
    const FULL: &str = "worker_connections are not enough";
    let application = Application::unix().start();
    let nginx = Nginx::builder()
        .connections(16)
        .server("fcgate_preset plain;")
        .server(format!("location / {{ fcgate_pass {}; }}", application.address()))
        .start();
    let half = || Request::post("/", "x".repeat(100));
    let is_refusal = |line: &str| line.contains("[alert]") && line.contains(FULL);
    let is_full = |nginx: &Nginx| nginx.log().lines().any(is_refusal);
    // With its second answer nginx has seen all that was before it.
    let mut first = nginx.client();
    first.get("/robots.txt").expect(200);
    first.get("/robots.txt").expect(200);
    first.send_part(&half(), 50).unwrap();
    let sockets = nginx.sockets();
    // Clients in the middle of their bodies, until there is no connection for one more.
    let mut clients = Vec::new();
    while !is_full(&nginx) {
        let mut client = nginx.client();
        client.send_part(&half(), 50).unwrap();
        clients.push(client);
        let is_seen = |nginx: &Nginx| is_full(nginx) || nginx.sockets() >= sockets + clients.len();
        nginx.wait_until("a client is accepted, or refused", is_seen);
    }
    first.write("x".repeat(50).as_bytes()).unwrap();
    let is_own = |line: &str| is_refusal(line) && !line.contains("while accepting");
    nginx.wait_until("a request finds no connection", |nginx| nginx.log().lines().any(is_own));
    clients.truncate(3);
    first.read_response("POST").unwrap().expect(200);
    nginx.client().get("/").expect(200);
    application.assert_no_violations();
}

/// What clients ask for that leave at any moment.
fn answering_leavers() -> Application {
    Application::unix()
        .on_request(|request| match request.param("QUERY_STRING").unwrap() {
            "silent" => Reply::new().then(Step::AwaitAbort).close().to(request),
            "half" => Reply::new().stdout("X: y\r\n\r\nsome").then(Step::AwaitAbort).close().to(request),
            "redirect" => {
                Reply::new().stdout("X-Accel-Redirect: /robots.txt\r\n\r\n").end_stdout().end().to(request)
            }
            _ => {
                Reply::new().stdout("X: y\r\n\r\n").stdout("z".repeat(300_000)).end_stdout().end().to(request)
            }
        })
        .start()
}

fn serving_leavers(application: &Application) -> Builder {
    Nginx::builder()
        .http(format!("fcgate_pool php {} max_connections=2;", application.address()))
        .server("fcgate_preset plain;\nlocation / { fcgate_pass php; }\nlocation = /robots.txt { }")
        .server("location /stream { fcgate_request_body stream; fcgate_pass php; }")
        .server("location /page { ssi on; }")
        .file("page.html", "<!--#include virtual=\"/?whole\" --><!--#include virtual=\"/?half\" -->")
}

/// Clients that leave: queued, while they send, before the head, in the body, in a part of a page, after a
/// redirect.
fn leave_at_any_moment(nginx: &Nginx, clients: usize, rounds: usize) {
    let post = |target: &str| Request::post(target, "x".repeat(100_000));
    thread::scope(|scope| {
        for number in 0..clients {
            scope.spawn(move || {
                for n in 0..rounds {
                    let (request, bytes) = match (number + n) % 8 {
                        0 => (Request::get("/?silent"), 0),
                        1 => (Request::get("/?half"), 0),
                        2 => (Request::get("/?whole"), 0),
                        3 => (post("/?whole"), 100 * n),
                        4 => (post("/stream?whole"), 100 * n),
                        5 => (post("/stream?silent"), 100_000),
                        6 => (Request::get("/page.html"), 0),
                        _ => (post("/stream?redirect"), 50_000),
                    };
                    let mut client = nginx.client();
                    client.send_part(&request, bytes).unwrap();
                    if (number + n) % 8 == 1 && n % 2 == 0 {
                        client.wait_for(b"some");
                    }
                    client.close();
                }
            });
        }
    });
}

/// F7, F15: clients that leave at any moment: every connection of nginx and of the pool is given back, and
/// the worker serves on.
#[test]
fn clients_that_leave_at_any_moment_leak_nothing() {
    let application = answering_leavers();
    let nginx = serving_leavers(&application).start();
    nginx.client().get("/?whole").expect(200);
    let before = nginx.sockets();
    leave_at_any_moment(&nginx, 4, 80);
    nginx.client().get("/?whole").expect(200);
    nginx.client().get("/?whole").expect(200);
    nginx.wait_until("every socket is given back", |nginx| nginx.sockets() <= before + 1);
    for bad in ["[alert]", "[emerg]", "[crit]"] {
        assert!(!nginx.log().contains(bad), "{}", nginx.log());
    }
}

/// What is said of a wrong line when nginx is told to reload is said then, too; it goes on as before.
#[test]
fn a_wrong_line_ends_a_reload_and_nothing_else() {
    let application = Application::unix().start();
    let builder = Nginx::builder().server("include {directory}/more.conf;");
    let pass = format!("fcgate_preset plain; location / {{ fcgate_pass {}; }}\n", application.address());
    builder.directory().write("more.conf", &pass);
    let nginx = builder.start();
    nginx.client().get("/").expect(200);
    nginx.directory().write("more.conf", pass.clone() + "fcgate_head_timeut 5s;\n");
    nginx.tell_to_reload();
    nginx.wait_for_log(&[
        "[emerg]",
        "fcgate_head_timeut",
        "did you mean \"fcgate_head_timeout\"?",
        "more.conf:2",
    ]);
    nginx.client().get("/").expect(200);
    nginx.directory().write("more.conf", pass + "fcgate_head_timeout 5s;\n");
    nginx.reload();
    nginx.client().get("/").expect(200);
    assert_eq!(nginx.log().matches("did you mean").count(), 1, "{}", nginx.log());
}

/// Under valgrind: requests that end well and at any moment, a reload, the end: no invalid access of ours,
/// nothing of ours lost.
#[test]
fn a_worker_is_clean_under_valgrind() {
    let valgrind = Valgrind::default();
    let application = answering_leavers();
    let mut nginx = serving_leavers(&application).wrapped(valgrind.words()).start();
    for round in 0..2 {
        let mut client = nginx.client();
        for target in ["/?whole", "/?redirect", "/stream?whole", "/robots.txt"] {
            client.get(target).expect(200);
            client.send(&Request::post(target, "x".repeat(100_000))).expect(if target == "/robots.txt" {
                405
            } else {
                200
            });
        }
        leave_at_any_moment(&nginx, 2, 24);
        nginx.client().get("/?whole").expect(200);
        if round == 0 {
            // The one before takes no request of the next client's, whose connection it would close.
            nginx.reload();
            nginx.wait_for_ended_workers(1);
        }
    }
    nginx.quit();
    nginx.process().wait();
    // The master, and a worker of each generation.
    assert!(valgrind.assert_clean() >= 3, "{}", nginx.log());
    assert!(!nginx.log().contains("[alert]"), "{}", nginx.log());
}
