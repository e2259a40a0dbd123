//! lighttpd with mod_fcgate started, restarted and stopped: no request fails by it, and nothing is lost.

use fcgate_kit::{Application, Client, Gate, Lighttpd, PhpFpm, Reply, Request, Step};
use std::process::Command;
use std::thread;

const ECHO: &str =
    "<?php if ($_GET['n'] % 10 == 0) usleep(100000); echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['n'], ' ',
    strlen(file_get_contents('php://input')), ' ', str_repeat('.', 10000), 'end';";

fn lines(address: &str) -> String {
    format!("fcgate.balancers = ( \"php\" => \"{address}\" )\nfcgate.map = ( \".php\" => \"php\" )")
}

/// A GET or a POST on a connection of its own.
fn echo(client: &mut Client, n: usize) {
    let target = format!("/echo.php?n={n}");
    let length = if n % 4 == 3 { 100_000 } else { 10 };
    let (request, right) = match n % 2 {
        0 => (Request::get(&target), format!("GET {n} 0 ")),
        _ => (Request::post(&target, vec![b'b'; length]), format!("POST {n} {length} ")),
    };
    let page = client.send(&request.field("Connection", "close")).expect(200);
    client.close();
    assert!(page.is_complete() && page.text() == format!("{right}{}end", ".".repeat(10_000)), "{n}");
}

/// Graceful restarts under load: every request is answered, by one process and by several workers.
#[test]
fn graceful_restarts_fail_no_request() {
    let php = PhpFpm::unix().children(8).start();
    for workers in [0, 2] {
        let mut lighttpd =
            Lighttpd::builder().workers(workers).config(lines(php.address())).file("echo.php", ECHO).start();
        for _ in 0..5 {
            thread::scope(|scope| {
                let clients: Vec<_> = (0..4usize)
                    .map(|first| {
                        let mut client = lighttpd.client();
                        scope.spawn(move || (first..40).step_by(4).for_each(|n| echo(&mut client, n)))
                    })
                    .collect();
                lighttpd.restart_gracefully();
                for client in clients {
                    client.join().unwrap();
                }
            });
        }
        let log = lighttpd.log();
        assert!(!log.contains("mod_fcgate"), "{log}");
    }
}

/// S9: what is under way when lighttpd restarts ends as it began.
#[test]
fn a_request_under_way_outlives_a_restart() {
    let gate = Gate::new();
    let reply = Reply::new().stdout("X: y\r\n\r\nbegun ").stall(&gate).stdout("done");
    let application = Application::unix().reply(reply.end_stdout().end()).start();
    let mut lighttpd =
        Lighttpd::builder().workers(2).config(lines(&application.address())).file("x.php", "").start();
    let mut client = lighttpd.client();
    client.send_part(&Request::get("/x.php"), 0).unwrap();
    application.wait_for_requests(1);
    lighttpd.wait_for_log(&["server started"]);
    lighttpd.process().signal(libc::SIGUSR1);
    lighttpd.wait_for_log(&["graceful shutdown started"]);
    gate.open();
    assert_eq!(client.read_response("GET").unwrap().expect(200).text(), "begun done");
    lighttpd.wait_for_log(&["server started"]);
}

/// F12: PHP restarted below lighttpd: every request waits for it and is answered.
#[test]
fn php_is_restarted_unseen() {
    let mut php = PhpFpm::unix().children(4).start();
    let lighttpd = Lighttpd::builder()
        .config(lines(&format!("{} max_connections=4 keep_conn=on", php.address())))
        .file("echo.php", ECHO)
        .start();
    let mut client = lighttpd.client();
    for n in 0..12 {
        if n % 3 == 0 {
            php.restart();
        }
        echo(&mut client, n);
    }
}

/// A worker that ends by force is replaced, and the others go on.
#[test]
fn a_killed_worker_is_replaced() {
    let application = Application::unix().reply(Reply::page(200, "fine")).start();
    let lighttpd =
        Lighttpd::builder().workers(2).config(lines(&application.address())).file("x.php", "").start();
    let worker = lighttpd.workers(2)[0].to_string();
    assert!(Command::new("kill").args(["-KILL", &worker]).status().unwrap().success());
    for _ in 0..20 {
        assert_eq!(lighttpd.client().get("/x.php").expect(200).text(), "fine");
    }
    assert!(!lighttpd.workers(2).iter().any(|pid| pid.to_string() == worker));
}

/// No memory is lost or misused, in requests of all kinds, those that fail or are given up, and in a
/// restart.
#[test]
fn valgrind_finds_nothing() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("fail") => Reply::new().close().to(request),
            Some("late") => Reply::new().then(Step::AwaitAbort).close().to(request),
            Some("cut") => Reply::new().stdout("X: y\r\n\r\nsome").close().to(request),
            _ => Reply::page(200, "page ".repeat(20_000)).to(request),
        })
        .start();
    let builder = Lighttpd::builder()
        .config(lines(&format!("{} max_connections=4 keep_conn=on", application.address())))
        .config("server.stream-response-body = 2\nfcgate.param = ( \"A\" => \"b\" )")
        .config("$HTTP[\"url\"] =^ \"/s/\" { fcgate.request_body = \"stream\" }")
        .config(
            "accesslog.format := \"%U %{FCGATE_POOL}e %{FCGATE_ERROR}e\"\nfcgate.status_url = \"/status\"",
        )
        .file("x.php", "")
        .file("s/x.php", "");
    let report = builder.directory().join("own/valgrind");
    let arguments = [
        "valgrind",
        "--quiet",
        "--vgdb=no",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
        &format!("--log-file={}", report.display()),
    ];
    let mut lighttpd = builder.wrapped(arguments).start();
    for round in 0..2 {
        for target in ["/x.php", "/s/x.php"] {
            let mut client = lighttpd.client();
            client.get(target).expect(200);
            client.send(&Request::post(target, vec![b'x'; 200_000])).expect(200);
            client.send(&Request::post(target, "").chunked(["a", "b"])).expect(200);
            client.send(&Request::head(target)).expect(200);
            client.get(&format!("{target}?fail")).expect(502);
            client.get("/status").expect(200);
            assert!(!lighttpd.client().get(&format!("{target}?cut")).is_complete());
            let url = format!("http://{}{target}", lighttpd.address());
            let out =
                Command::new("curl").args(["-s", "--http2-prior-knowledge", "-d", "a=b", &url]).output();
            assert_eq!(out.unwrap().stdout.len(), 100_000);
        }
        let before = application.requests().len();
        let mut client = lighttpd.client();
        client.send_part(&Request::get("/x.php?late"), 0).unwrap();
        application.wait_for_requests(before + 1);
        client.close();
        application.wait_for("an abort", |requests| requests[before].aborted);
        if round == 0 {
            lighttpd.restart_gracefully();
        }
    }
    lighttpd.process().stop();
    let found = std::fs::read_to_string(report).unwrap();
    assert!(found.is_empty(), "{found}");
}
