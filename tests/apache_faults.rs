//! Twelve faults that an administrator meets: each gives the right status, and one line in the log that
//! names cause, pool and what to look at.

use fcgate_kit::{Apache, Application, Gate, Mpm, PhpFpm, Reply, Request};
use std::os::unix::fs::PermissionsExt;

/// A balancer that gives up at once, answering for one path.
fn balancer(name: &str, address: &str, settings: &str) -> String {
    format!(
        "<FcgateBalancer {name}>\nFcgatePool {address} {settings}\nFcgateRestartWindow 0\n</FcgateBalancer>\n\
         <Location /{name}>\nSetHandler fcgate:{name}\n</Location>\n"
    )
}

/// One process, so that what holds for each process holds for all.
const ONE_PROCESS: &str =
    "ServerLimit 1\nStartServers 1\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n";

fn serve(config: impl AsRef<str>, path: &str) -> Apache {
    Apache::with(Mpm::Event).config(ONE_PROCESS).config(config).file(path, "").start()
}

/// Sends a request, expects this status, and one line of fcgate's about it that has all these words.
fn one_line(apache: &Apache, request: &Request, status: u16, words: &[&str]) {
    let answer = apache.client().send(request);
    assert_eq!(answer.status, status, "{}", apache.log());
    apache.wait_for_log(words);
    let log = apache.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("[fcgate:error]")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("[client 127.0.0.1"), "{}", lines[0]);
}

/// F1: there is no socket.
#[test]
fn socket_missing() {
    let apache = serve(balancer("app", "unix:/run/no/such.sock", ""), "app");
    let words =
        ["app (unix:/run/no/such.sock)", "error connect", "No such file", "is the application running"];
    one_line(&apache, &Request::get("/app"), 502, &words);
}

/// F1: there is one that Apache's user may not open.
#[test]
fn wrong_permissions() {
    let application = Application::unix().start();
    std::fs::set_permissions(application.path(), PermissionsExt::from_mode(0o000)).unwrap();
    let apache = serve(balancer("app", &application.address(), ""), "app");
    let words = ["app (unix:", "error connect", "Permission denied", "may this process open it"];
    one_line(&apache, &Request::get("/app"), 502, &words);
}

/// X9: the document root is another than PHP's: PHP itself finds no script there.
#[test]
fn wrong_root() {
    let php = PhpFpm::unix().start();
    let config = format!(
        "FcgateBalancer php {}\nFcgateMap .php php\nFcgateMapRoot {{root}} /srv/nowhere",
        php.address()
    );
    let apache = serve(config, "x.php");
    // PHP says so itself, on its standard error and by its status.
    one_line(&apache, &Request::get("/x.php"), 404, &["application: Primary script unknown"]);
}

/// X9: there is no such script, and PHP is not asked.
#[test]
fn no_such_script() {
    let application = Application::unix().start();
    let apache = serve(format!("FcgateBalancer php {}\nFcgateMap .php php", application.address()), "x.php");
    let words = ["php: the script ", "none.php is not a regular file", "document root", "script_exists=off"];
    one_line(&apache, &Request::get("/none.php"), 404, &words);
    assert!(application.requests().is_empty());
}

/// F10: all children of the application are busy.
#[test]
fn children_exhausted() {
    let gate = Gate::new();
    let application = Application::unix().reply(Reply::new().stall(&gate).close()).start();
    let settings = "max_connections=1 queue_timeout=100ms";
    let apache = serve(balancer("app", &application.address(), settings), "app");
    let mut first = apache.client();
    first.send_part(&Request::get("/app"), 0).unwrap();
    application.wait_for_requests(1);
    let words = ["app (unix:", "error queue_timeout", "no connection came free", "raise max_connections"];
    one_line(&apache, &Request::get("/app"), 503, &words);
    gate.open();
}

/// H1: the response head is larger than allowed.
#[test]
fn head_too_big() {
    let head = format!("X-Small: 1\r\nX-Large: {}\r\n\r\n", "x".repeat(2000));
    let application = Application::unix().reply(Reply::new().stdout(head).end_stdout().end()).start();
    let config = balancer("app", &application.address(), "") + "FcgateMaxHeadBytes 1k";
    let apache = serve(config, "app");
    let words = ["app (unix:", "error bad_head", "max_head_bytes", "X-Large"];
    one_line(&apache, &Request::get("/app"), 502, &words);
}

/// F5: the worker of PHP that serves the request is killed.
#[test]
fn php_killed() {
    let php = PhpFpm::unix().start();
    let apache = Apache::with(Mpm::Event)
        .config(format!("FcgateBalancer php {}\nFcgateMap .php php", php.address()))
        .file("kill.php", "<?php posix_kill(getmypid(), 9); sleep(5);")
        .start();
    let words =
        ["php (unix:", "error closed", "closed the connection without an answer", "application's error log"];
    one_line(&apache, &Request::post("/kill.php", "once"), 502, &words);
}

/// F6: nothing comes in time.
#[test]
fn timeout() {
    let gate = Gate::new();
    let application = Application::unix().reply(Reply::new().stall(&gate).close()).start();
    let apache = serve(balancer("app", &application.address(), "") + "FcgateHeadTimeout 200ms", "app");
    let words = ["app (unix:", "error head_timeout", "head_timeout 200 ms", "slow log"];
    one_line(&apache, &Request::get("/app"), 504, &words);
    gate.open();
}

/// F1: nobody listens on the port.
#[test]
fn refused_tcp() {
    let port = fcgate_kit::free_port();
    let address = format!("127.0.0.1:{port}");
    let apache = serve(balancer("app", &address, ""), "app");
    let words = ["app (127.0.0.1:", "error connect", "Connection refused", "is the application running"];
    one_line(&apache, &Request::get("/app"), 502, &words);
}

/// F13: a name that nobody knows.
#[test]
fn bad_name() {
    let apache = serve(balancer("app", "no-such-host.invalid:9000", ""), "app");
    let words = ["app (no-such-host.invalid:9000)", "has no address", "error no_pool"];
    one_line(&apache, &Request::get("/app"), 502, &words);
    apache.wait_for_log(&[
        "pool no-such-host.invalid:9000: the name can't be looked up",
        "no address is known",
    ]);
}

/// A6: what listens there speaks another protocol.
#[test]
fn protocol_garbage() {
    let application =
        Application::unix().reply(Reply::new().raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).start();
    let apache = serve(balancer("app", &application.address(), ""), "app");
    let words = ["app (unix:", "error protocol", "is it a FastCGI application"];
    one_line(&apache, &Request::get("/app"), 502, &words);
}

/// F14: there is no more room where a body is laid aside; a smaller one has it.
#[test]
fn disk_full_on_spool() {
    let application = Application::unix().start();
    let apache = Apache::with(Mpm::Event)
        // No file may be larger than 64 KiB: what a full disk is, without one.
        .wrapped(["sh", "-c", "ulimit -f 128 && exec \"$@\"", "sh"])
        .config(ONE_PROCESS)
        .config(balancer("app", &application.address(), ""))
        .config("FcgateRequestMemory 16k")
        .file("app", "")
        .start();
    let words = ["app: the request body can't be laid aside", "File too large", "spool_directory"];
    one_line(&apache, &Request::post("/app", vec![b'x'; 300_000]), 507, &words);
    assert!(application.requests().is_empty());
    apache.client().send(&Request::post("/app", vec![b'x'; 40_000])).expect(200);
    assert_eq!(application.request(0).stdin.len(), 40_000);
}
