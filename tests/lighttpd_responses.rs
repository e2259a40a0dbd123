//! mod_fcgate in lighttpd: what lighttpd's own lines do to bodies and responses; the rest is in servers/.

use fcgate_kit::{Application, Client, Gate, Lighttpd, Reply, Request, lighttpd};
use std::process::{Command, Output};

fn configured(application: &Application) -> lighttpd::Builder {
    Lighttpd::builder()
        .config(format!("fcgate.balancers = ( \"php\" => \"{}\" )", application.address()))
        .config("fcgate.map = ( \".php\" => \"php\" )")
        .file("x.php", "")
}

fn answering(reply: Reply) -> Application {
    Application::unix().reply(reply).start()
}

fn head(fields: &str) -> Reply {
    Reply::new().stdout(format!("{fields}\r\n\r\n"))
}

fn whole(fields: &str, body: &str) -> Reply {
    head(fields).stdout(body).end_stdout().end()
}

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl").args(["--silent", "--max-time", "20"]).args(arguments).output().expect("curl runs")
}

/// H6: a valid Date is kept, and lighttpd names itself once, whatever else goes.
#[test]
fn a_date_is_kept() {
    let date = "Sat, 21 Nov 2026 01:00:00 GMT";
    let application = answering(whole(&format!("Date: {date}\r\nServer: mine"), "body"));
    let page = configured(&application).start().client().get("/x.php").expect(200);
    assert_eq!(page.fields("Date").collect::<Vec<_>>(), [date]);
    assert_eq!(page.fields("Server").count(), 1);
}

/// H9: where server.stream-response-body has lighttpd wait, a stream is passed on as it comes all the same, and
/// so is what fcgate.flush says; any other response where that line says so.
#[test]
fn a_stream_is_passed_on_when_the_application_pauses() {
    for (value, fields) in [
        (0, "Content-Type: text/event-stream"),
        (0, "X-Accel-Buffering: no"),
        (0, "X-Flush: by a line"),
        (1, "Content-Type: text/plain"),
        (2, "Content-Type: text/plain"),
    ] {
        let (first, second) = (Gate::new(), Gate::new());
        let reply = head(fields).stdout("one\n").stall(&first).stdout("two\n");
        let application = answering(reply.end_stdout().stall(&second).end());
        let flush = if fields.starts_with("X-Flush") { "fcgate.flush = \"on\"" } else { "" };
        let lighttpd = configured(&application)
            .config(format!("server.stream-response-body = {value}\n{flush}"))
            .start();
        let mut client = lighttpd.client();
        client.send_part(&Request::get("/x.php").http_1_0(), 0).unwrap();
        client.wait_for(b"one\n");
        first.open();
        // Whole as soon as its end is known, though the request itself has not ended.
        client.wait_for(b"two\n");
        assert_eq!(client.read_response("GET").unwrap().text(), "one\ntwo\n");
        second.open();
    }
}

/// E9, X11: server.stream-request-body goes before fcgate.request_body: what it says streams, over HTTP/1.1 and
/// HTTP/2, with a length and without; lighttpd's own limit refuses a body before it is asked for.
#[test]
fn bodies_are_streamed_by_lighttpds_own_words() {
    let application = answering(whole("X: y", "done"));
    let lighttpd = configured(&application)
        .config("$HTTP[\"url\"] =^ \"/one/\" { server.stream-request-body = 1 }")
        .config("$HTTP[\"url\"] =^ \"/two/\" { server.stream-request-body = 2 }")
        .config("$HTTP[\"url\"] =^ \"/limit/\" { server.max-request-size = 1 }")
        .file("one/x.php", "")
        .file("two/x.php", "")
        .file("limit/x.php", "")
        .start();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let big = lighttpd.directory().write("big", &body).display().to_string();
    let data = format!("@{big}");
    for path in ["/one/x.php", "/two/x.php"] {
        let mut client = lighttpd.client();
        let before = application.requests().len();
        client.send_part(&Request::post(path, body.clone()), 100_000).unwrap();
        application.wait_for("the first part of a streamed body", |requests| {
            requests.get(before).is_some_and(|request| request.stdin_length > 50_000)
        });
        let begun = &application.requests()[before];
        assert_eq!(
            (begun.param("SCRIPT_NAME"), begun.param("CONTENT_LENGTH")),
            (Some(path), Some("3000000"))
        );
        client.write(&body[100_000..]).unwrap();
        assert_eq!(client.read_response("POST").unwrap().expect(200).text(), "done");
        assert!(application.request(before).stdin == body, "{path}");
        // lighttpd itself refuses a POST over HTTP/2 that does not tell its length.
        for arguments in [
            ["--http1.1", "--data-binary", &data, "-HTransfer-Encoding: chunked"],
            ["--http2-prior-knowledge", "--data-binary", &data, "-HA: b"],
            ["--http2-prior-knowledge", "--upload-file", &big, "-HContent-Length:"],
        ] {
            let out = curl(&[&arguments[..], &[&format!("http://{}{path}", lighttpd.address())]].concat());
            assert!(out.stdout == b"done", "{path} {arguments:?}: {out:?}");
            let request = application.requests().pop().unwrap();
            assert_eq!(request.param("CONTENT_LENGTH"), Some("3000000"));
            assert!(request.stdin == body, "{path} {arguments:?}");
        }
    }
    let count = application.requests().len();
    // lighttpd's own 413 is without the marker.
    let mut client = Client::new(lighttpd.address());
    let expecting = Request::post("/limit/x.php", "x".repeat(2000)).field("Expect", "100-continue");
    client.send_part(&expecting, 0).unwrap();
    assert!(client.read_response("POST").unwrap().expect(413).interim.is_empty());
    let chunked = Request::post("/limit/x.php", "").chunked(["y".repeat(1500), "z".repeat(1500)]);
    Client::new(lighttpd.address()).send(&chunked).expect(413);
    assert_eq!(application.requests().len(), count);
    application.assert_no_violations();
}

/// X6: over TLS HTTPS is on and the TLS module's variables pass; many requests at once, on one connection
/// of HTTP/2 and on several of HTTP/1.1, each get their own answer.
#[test]
fn many_requests_at_once_over_tls_get_their_own_answers() {
    let application = Application::unix()
        .on_request(|request| {
            let query = request.param("QUERY_STRING").unwrap_or_default();
            whole("Content-Type: text/plain", &format!("{query} ").repeat(5000)).to(request)
        })
        .start();
    let tls = fcgate_kit::free_port();
    let builder = configured(&application).workers(2).module("mod_openssl").config(format!(
        "$SERVER[\"socket\"] == \"127.0.0.1:{tls}\" {{ ssl.engine = \"enable\"\n ssl.pemfile = \"{{directory}}/cert.pem\" }}"
    ));
    let directory = builder.directory().path().display().to_string();
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out only.pem"
                .split(' '),
        )
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read_to_string(format!("{directory}/{name}")).unwrap();
    builder.directory().write("cert.pem", read("only.pem") + &read("key.pem"));
    let _lighttpd = builder.start();
    for version in ["--http2", "--http1.1"] {
        let url = format!("https://127.0.0.1:{tls}/x.php?[1-60]");
        let file = format!("{directory}/out-#1");
        let out = curl(&["-k", version, "--parallel", "--parallel-max", "30", "-o", &file, &url]);
        assert!(out.status.success(), "{out:?}");
        for n in 1..=60 {
            let body = read(&format!("out-{n}"));
            assert!(body == format!("{n} ").repeat(5000), "{version} {n}: {body:.100}");
        }
        let request = application.requests().pop().unwrap();
        assert_eq!((request.param("HTTPS"), request.param("REQUEST_SCHEME")), (Some("on"), Some("https")));
        assert!(request.param("SSL_PROTOCOL").is_some_and(|protocol| protocol.starts_with("TLS")));
    }
    application.assert_no_violations();
}

/// A12, F9: responses that nobody takes hold no worker of the application where lighttpd lays them aside: its
/// only one serves all, and each client gets its own in the end.
#[test]
fn responses_that_lighttpd_lays_aside_free_the_application() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let parts = body.chunks(60_000).fold(head("X: y"), |reply, part| reply.stdout(part));
    let application = answering(parts.end_stdout().end());
    for value in [0, 1] {
        let lighttpd = Lighttpd::builder()
            .config(format!(
                "fcgate.balancers = ( \"php\" => \"{} max_connections=1\" )",
                application.address()
            ))
            .config(format!("fcgate.map = ( \".php\" => \"php\" )\nserver.stream-response-body = {value}"))
            .file("x.php", "")
            .start();
        let before = application.requests().len();
        let mut clients: Vec<Client> = (0..20).map(|_| lighttpd.client()).collect();
        for client in &mut clients {
            client.send_part(&Request::get("/x.php"), 0).unwrap();
        }
        application.wait_for("all requests end", |requests| {
            requests.iter().filter(|request| request.ended).count() == before + 20
        });
        for client in &mut clients {
            let page = client.read_response("GET").unwrap().expect(200);
            assert!(page.body == body, "{value}: {} bytes came", page.body.len());
        }
    }
    application.assert_no_violations();
}

/// E9: server.error-handler-404 asks an application with the request's own method, but the body went to the one
/// that has answered 404: none is announced.
#[test]
fn an_error_handler_is_not_promised_a_body_that_is_gone() {
    let application = Application::unix()
        .on_request(|request| match request.param("SCRIPT_NAME") {
            Some("/error.php") => Reply::page(200, "the handler's page").to(request),
            _ => Reply::page(404, "not here").to(request),
        })
        .start();
    let lighttpd = configured(&application)
        .config("fcgate.error_override = \"enable\"")
        .config("server.error-handler-404 = \"/error.php\"")
        .file("x.php", "")
        .file("error.php", "")
        .start();
    for length in [6, 300_000] {
        let page = lighttpd.client().send(&Request::post("/x.php", "a body".repeat(length / 6)));
        assert_eq!((page.status, page.text().as_str()), (200, "the handler's page"));
        let [.., first, second] = &application.requests()[..] else { panic!("two requests") };
        assert_eq!((first.stdin.len(), second.stdin.len()), (length, 0));
        assert_eq!(second.param("CONTENT_LENGTH"), None);
        assert_eq!(second.param("REQUEST_METHOD"), Some("POST"));
    }
    application.assert_no_violations();
}
