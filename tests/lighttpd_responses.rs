//! mod_fcgate in lighttpd: bodies, responses, faults and clients that go away.

use fcgate_kit::{Application, Client, Gate, Lighttpd, Reply, Request, Step, lighttpd};
use std::process::{Command, Output};

/// The values of server.stream-response-body: lighttpd waits for the whole response, or passes it on.
const STREAMING: [u32; 3] = [0, 1, 2];

fn configured(application: &Application) -> lighttpd::Builder {
    Lighttpd::builder()
        .config(format!("fcgate.balancers = ( \"php\" => \"{}\" )", application.address()))
        .config("fcgate.map = ( \".php\" => \"php\" )")
        .file("x.php", "")
}

fn streaming(application: &Application, value: u32) -> Lighttpd {
    configured(application).config(format!("server.stream-response-body = {value}")).start()
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

/// H3, H6: the status, repeated cookies in their order, and every field once.
#[test]
fn a_head_is_passed_on_as_it_came() {
    let application = answering(whole(
        "Status: 201 Made With Care\r\nSet-Cookie: a=1\r\nX-Own: yes\r\nSet-Cookie: b=2\r\nETag: \"e\"\r\n\
         Date: Sat, 21 Nov 2026 01:00:00 GMT\r\nConnection: close",
        "body",
    ));
    for value in STREAMING {
        let lighttpd = streaming(&application, value);
        let mut client = lighttpd.client();
        for _ in 0..2 {
            let page = client.get("/x.php").expect(201);
            assert_eq!(page.text(), "body");
            assert_eq!(page.fields("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
            assert_eq!((page.field("X-Own"), page.field("ETag")), (Some("yes"), Some("\"e\"")));
            assert_eq!(page.field("Content-Type"), None);
            assert_eq!(page.fields("Date").collect::<Vec<_>>(), ["Sat, 21 Nov 2026 01:00:00 GMT"]);
            assert_eq!(page.fields("Server").count(), 1);
        }
        assert_eq!(client.connects(), 1, "the client's connection is kept");
    }
    application.assert_no_violations();
}

/// H4, H7: a redirect, HEAD with its Content-Length, 204 and 304 without a body; the connections of the
/// client and of the application stay usable.
#[test]
fn responses_without_a_body_are_framed() {
    for value in STREAMING {
        let application = Application::unix()
            .on_request(|request| {
                let fields = match request.param("QUERY_STRING") {
                    Some("location") => "Location: /else",
                    Some("204") => "Status: 204",
                    Some("304") => "Status: 304\r\nETag: \"x\"",
                    _ => "Content-Type: text/x\r\nContent-Length: 5",
                };
                whole(fields, "hello").to(request)
            })
            .start();
        let lighttpd = Lighttpd::builder()
            .config(format!(
                "fcgate.balancers = ( \"php\" => \"{} max_connections=1 keep_conn=on\" )",
                application.address()
            ))
            .config("fcgate.map = ( \".php\" => \"php\" )")
            .config(format!("server.stream-response-body = {value}"))
            .file("x.php", "")
            .start();
        let mut client = lighttpd.client();
        let page = client.get("/x.php?location").expect(302);
        assert_eq!(page.field("Location"), Some("/else"));
        let page = client.send(&Request::head("/x.php")).expect(200);
        assert_eq!((page.field("Content-Length"), page.body.len()), (Some("5"), 0));
        assert!(client.get("/x.php?204").expect(204).body.is_empty());
        let page = client.get("/x.php?304").expect(304);
        assert_eq!((page.field("ETag"), page.body.len()), (Some("\"x\""), 0));
        assert_eq!(client.get("/x.php").expect(200).text(), "hello");
        assert_eq!((client.connects(), client.leftover()), (1, &b""[..]), "streaming {value}");
        let connections: std::collections::BTreeSet<_> =
            application.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections.len(), 1, "streaming {value}");
        application.assert_no_violations();
    }
}

/// A2, F5, H5: a response that is cut never looks whole: without its length, with it, over HTTP/1.0 and
/// HTTP/2; one of which nothing was passed on is a 502.
#[test]
fn a_cut_response_never_looks_whole() {
    for value in STREAMING {
        for fields in ["X: y", "Content-Length: 30000"] {
            let gate = Gate::new();
            let application = answering(head(fields).stdout("some bytes".repeat(2000)).stall(&gate).close());
            let lighttpd = streaming(&application, value);
            for request in [Request::get("/x.php"), Request::get("/x.php").http_1_0()] {
                let mut client = lighttpd.client();
                client.send_part(&request, 0).unwrap();
                application.wait_for_requests(1);
                if value > 0 {
                    client.wait_for(b"some bytes");
                }
                gate.open();
                match client.read_response("GET") {
                    Ok(page) if value == 0 => drop(page.expect(502)),
                    Ok(page) => assert!(!page.is_complete(), "{value} {fields} {:?}", page.ending),
                    Err(_) => assert!(value > 0),
                }
            }
            lighttpd.wait_for_log(&[
                "php (unix:",
                "the application closed the connection before the response was whole",
            ]);
            let url = format!("http://{}/x.php", lighttpd.address());
            let out = curl(&["--http2-prior-knowledge", "--fail", &url]);
            assert!(!out.status.success(), "{value} {fields}: {out:?}");
        }
    }
    let application = answering(Reply::new().close());
    let lighttpd = configured(&application).start();
    lighttpd.client().get("/x.php").expect(502);
    lighttpd.wait_for_log(&["php (unix:", "closed the connection without an answer", "phase"]);
}

/// F1, F6, F10, H1, A6: what is the matter is told by status and log line, with Retry-After where trying
/// again helps; the administrator's own error page is used.
#[test]
fn faults_have_their_status_and_line() {
    let gate = Gate::new();
    let silent = answering(Reply::new().stall(&gate).close());
    let busy = answering(Reply::new().stall(&gate).close());
    let garbage = answering(Reply::new().raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let bad_head = answering(whole("no colon here", ""));
    let entry = |name: &str, address: &str, more: &str| {
        format!("\"{name}\" => ( \"pools\" => ( \"{address}\" => ( {more} ) ), \"restart_window\" => 0 )")
    };
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( {} )",
            [
                entry("missing", "unix:/no/such.sock", ""),
                entry("silent", &silent.address(), ""),
                entry("busy", &busy.address(), "\"max_connections\" => 1, \"queue_length\" => 0"),
                entry("garbage", &garbage.address(), ""),
                entry("head", &bad_head.address(), ""),
            ]
            .join(", ")
        ))
        .config("fcgate.map = ( \"/missing\" => \"missing\", \"/silent\" => \"silent\", \"/busy\" => \"busy\", \"/garbage\" => \"garbage\", \"/head\" => \"head\" )")
        .config("fcgate.preset = \"plain\"\n$HTTP[\"url\"] == \"/silent\" { fcgate.head_timeout = \"200ms\" }")
        .config("server.errorfile-prefix = \"{root}/error-\"")
        .file("error-502.html", "a page of ours")
        .start();
    for (path, status, words) in [
        ("/missing", 502, ["can't be reached", "No such file", "is the application running"]),
        ("/silent", 504, ["no response head came", "head_timeout", "slow log"]),
        ("/garbage", 502, ["FastCGI protocol", "phase head", "is it a FastCGI application"]),
        ("/head", 502, ["the response head is malformed", "no colon", "phase head"]),
    ] {
        let page = lighttpd.client().get(path).expect(status);
        assert_eq!(page.text() == "a page of ours", status == 502, "{path}: {}", page.text());
        assert_eq!(page.field("Retry-After"), None);
        assert!(lighttpd.wait_for_log(&words).contains(&path[1..]));
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(|| lighttpd.client().get("/busy").status);
        busy.wait_for_requests(1);
        let page = lighttpd.client().get("/busy").expect(503);
        assert_eq!(page.field("Retry-After"), Some("5"));
        lighttpd.wait_for_log(&["busy (unix:", "the queue is full", "max_connections"]);
        gate.open();
        first.join().unwrap();
    });
}

/// error_override leaves error pages to lighttpd, and only those.
#[test]
fn error_override_leaves_error_pages_to_lighttpd() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("ok") => Reply::page(200, "fine").to(request),
            _ => Reply::page(404, "the application's page").to(request),
        })
        .start();
    let lighttpd = configured(&application)
        .config("server.errorfile-prefix = \"{root}/error-\"")
        .config("$HTTP[\"url\"] =^ \"/over/\" { fcgate.error_override = \"enable\" }")
        .file("error-404.html", "the server's page")
        .file("over/x.php", "")
        .start();
    let mut client = lighttpd.client();
    for _ in 0..2 {
        assert_eq!(client.get("/x.php").expect(404).text(), "the application's page");
        assert_eq!(client.get("/over/x.php").expect(404).text(), "the server's page");
        assert_eq!(client.get("/over/x.php?ok").expect(200).text(), "fine");
    }
    assert_eq!(client.connects(), 1);
    assert!(!lighttpd.log().contains("php ("), "{}", lighttpd.log());
}

/// H10: what an application writes to STDERR is logged line by line, escaped.
#[test]
fn stderr_is_logged() {
    let reply = Reply::new().stderr("PHP Warning:  one\nPHP Warning:  two\u{1b}[0m\n");
    let application = answering(reply.stdout("X: y\r\n\r\n").end_stdout().end());
    let lighttpd = configured(&application).start();
    lighttpd.client().get("/x.php").expect(200);
    lighttpd.wait_for_log(&["application: PHP Warning:  one"]);
    assert!(!lighttpd.wait_for_log(&["application: PHP Warning:  two"]).contains('\u{1b}'));
}

/// F7: a client that goes away while PHP is silent is noticed, and the application is told; with
/// ignore_client_abort it may finish. So over HTTP/2, where only one stream may go away.
#[test]
fn a_client_that_goes_away_ends_its_request() {
    for value in STREAMING {
        let gate = Gate::new();
        let late = gate.clone();
        let application = Application::unix()
            .on_request(move |request| match request.param("SCRIPT_NAME") {
                Some("/x.php") => Reply::new().then(Step::AwaitAbort).close().to(request),
                _ => Reply::new().stall(&late).stdout("X: y\r\n\r\n").end_stdout().end().to(request),
            })
            .start();
        let lighttpd = configured(&application)
            .config(format!("server.stream-response-body = {value}"))
            .config("$HTTP[\"url\"] =^ \"/on/\" { fcgate.ignore_client_abort = \"enable\" }")
            .file("on/x.php", "")
            .start();
        for request in [Request::get("/x.php"), Request::post("/x.php", "a body")] {
            let before = application.requests().len();
            let mut client = lighttpd.client();
            client.send_part(&request, 6).unwrap();
            application.wait_for_requests(before + 1);
            client.close();
            application.wait_for("an abort", |requests| requests[before].aborted);
        }
        let url = format!("http://{}/x.php", lighttpd.address());
        let out = curl(&["--http2-prior-knowledge", "--max-time", "0.5", &url]);
        assert_eq!(out.status.code(), Some(28));
        application.wait_for("an abort", |requests| requests.get(2).is_some_and(|one| one.aborted));

        let mut client = lighttpd.client();
        client.send_part(&Request::get("/on/x.php"), 0).unwrap();
        application.wait_for_requests(4);
        client.close();
        // lighttpd has noticed that one by then: it looks at its connections in their order.
        lighttpd.client().get("/robots.txt").expect(200);
        assert!(!application.request(3).aborted);
        gate.open();
        application.wait_for("the end", |requests| requests[3].ended);
        assert!(!application.request(3).aborted);
    }
}

/// H9: an event stream is passed on as it comes, whatever server.stream-response-body says; any other
/// response where it says so.
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

/// A12, F9: large responses, to clients that take them slowly too, are passed on whole.
#[test]
fn large_responses_are_passed_on_whole() {
    let body: String = (0..500_000).map(|n| format!("{n:07} ")).collect();
    for value in STREAMING {
        for fields in ["X: y".to_owned(), format!("Content-Length: {}", body.len())] {
            let reply = body.as_bytes().chunks(60_000).fold(head(&fields), |reply, part| reply.stdout(part));
            let application = answering(reply.end_stdout().end());
            let lighttpd = streaming(&application, value);
            let mut client = lighttpd.client();
            for _ in 0..2 {
                assert!(client.get("/x.php").expect(200).text() == body, "{value} {fields}");
            }
            let url = format!("http://{}/x.php", lighttpd.address());
            for arguments in [
                &["--http2-prior-knowledge"][..],
                &["--limit-rate", "20M"],
                &["--http2-prior-knowledge", "--limit-rate", "20M"],
            ] {
                let out = curl(&[arguments, &[&url]].concat());
                assert!(
                    out.status.success() && out.stdout == body.as_bytes(),
                    "{value} {fields} {arguments:?}"
                );
            }
            application.assert_no_violations();
        }
    }
}

/// E9, X11: a streamed body reaches the application while it is still being sent; a spooled one only
/// when it is whole; server.stream-request-body goes before fcgate.request_body. 100 Continue is asked for
/// when the body is wanted, and not for one that is too large.
#[test]
fn bodies_are_spooled_or_streamed() {
    let application = answering(whole("X: y", "done"));
    let lighttpd = configured(&application)
        .config("$HTTP[\"url\"] =^ \"/stream/\" { fcgate.request_body = \"stream\" }")
        .config("$HTTP[\"url\"] =^ \"/one/\" { server.stream-request-body = 1 }")
        .config("$HTTP[\"url\"] =^ \"/two/\" { server.stream-request-body = 2 }")
        .config("$HTTP[\"url\"] =^ \"/small/\" { fcgate.max_body_bytes = 10 }")
        .config("$HTTP[\"url\"] =^ \"/limit/\" { server.max-request-size = 1 }")
        .file("stream/x.php", "")
        .file("one/x.php", "")
        .file("two/x.php", "")
        .file("small/x.php", "")
        .file("limit/x.php", "")
        .start();
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let mut spooled = lighttpd.client();
    spooled.send_part(&Request::post("/x.php", body.clone()), 100_000).unwrap();
    for (n, path) in ["/stream/x.php", "/one/x.php", "/two/x.php"].into_iter().enumerate() {
        let mut client = lighttpd.client();
        client.send_part(&Request::post(path, body.clone()), 100_000).unwrap();
        application.wait_for("the first part of a streamed body", |requests| {
            requests.get(n).is_some_and(|request| request.stdin_length > 50_000)
        });
        let begun = &application.requests()[n];
        assert_eq!((begun.param("SCRIPT_NAME"), begun.param("CONTENT_LENGTH")), (Some(path), Some("300000")));
        client.write(&body[100_000..]).unwrap();
        assert_eq!(client.read_response("POST").unwrap().expect(200).text(), "done");
        assert!(application.request(n).stdin == body, "{path}");
    }
    spooled.write(&body[100_000..]).unwrap();
    spooled.read_response("POST").unwrap().expect(200);
    assert!(application.request(3).stdin == body);

    let url = |path: &str| format!("http://{}{path}", lighttpd.address());
    let big = lighttpd.directory().write("big", body.repeat(10)).display().to_string();
    let data = format!("@{big}");
    for path in ["/x.php", "/stream/x.php", "/one/x.php", "/two/x.php"] {
        // lighttpd itself refuses a POST over HTTP/2 that does not tell its length.
        for arguments in [
            ["--http1.1", "--data-binary", &data, "-HA: b"],
            ["--http1.1", "--data-binary", &data, "-HTransfer-Encoding: chunked"],
            ["--http2-prior-knowledge", "--data-binary", &data, "-HA: b"],
            ["--http2-prior-knowledge", "--upload-file", &big, "-HContent-Length:"],
        ] {
            let out = curl(&[&arguments[..], &[&url(path)]].concat());
            assert!(out.stdout == b"done", "{path} {arguments:?}: {out:?}");
            let request = application.requests().pop().unwrap();
            assert_eq!(request.param("CONTENT_LENGTH"), Some("3000000"));
            assert!(request.stdin == body.repeat(10), "{path} {arguments:?}");
        }
    }
    let count = application.requests().len();
    let expecting = |path: &str| Request::post(path, "x".repeat(2000)).field("Expect", "100-continue");
    let mut client = lighttpd.client();
    client.send_part(&expecting("/x.php"), 0).unwrap();
    client.wait_for(b"100 Continue\r\n\r\n");
    client.write("x".repeat(2000).as_bytes()).unwrap();
    assert_eq!(client.read_response("POST").unwrap().expect(200).interim.len(), 1);
    for path in ["/small/x.php", "/limit/x.php"] {
        // lighttpd's own 413 is without the marker.
        let mut client = Client::new(lighttpd.address());
        client.send_part(&expecting(path), 0).unwrap();
        assert!(client.read_response("POST").unwrap().expect(413).interim.is_empty(), "{path}");
        let chunked = Request::post(path, "").chunked(["y".repeat(1500), "z".repeat(1500)]);
        Client::new(lighttpd.address()).send(&chunked).expect(413);
    }
    assert_eq!(application.requests().len(), count + 1);
    application.assert_no_violations();
}

/// E9, F8: a client that stops in the middle of its body: 400, and the application never takes what
/// came for the whole; every slot is given back.
#[test]
fn a_client_that_stops_in_its_body_is_refused() {
    let application = answering(whole("X: y", "done"));
    let lighttpd = Lighttpd::builder()
        .config(format!("fcgate.balancers = ( \"php\" => \"{} max_connections=1\" )", application.address()))
        .config("fcgate.map = ( \".php\" => \"php\" )")
        .config("$HTTP[\"url\"] =^ \"/stream/\" { fcgate.request_body = \"stream\" }")
        .file("x.php", "")
        .file("stream/x.php", "")
        .start();
    for path in ["/x.php", "/stream/x.php"] {
        for _ in 0..20 {
            let mut client = lighttpd.client();
            client.send_part(&Request::post(path, vec![b'b'; 50_000]), 20_000).unwrap();
            client.half_close();
            let answer = client.read_response("POST");
            assert!(answer.is_err() || answer.as_ref().unwrap().status == 400, "{answer:?}");
        }
    }
    lighttpd.client().get("/x.php").expect(200);
    for request in application.requests() {
        assert!(request.is_complete() || request.aborted || !request.stdin_ended);
    }
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

/// A12, F9: responses that nobody takes hold no worker of the application where they are laid aside, by
/// lighttpd or by fcgate: its only one serves all, and each client gets its own in the end.
#[test]
fn responses_laid_aside_free_the_application() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for (value, more) in
        [(0, ""), (1, ""), (2, "fcgate.response_body = \"spool\"\nfcgate.response_memory = \"128k\"")]
    {
        let parts = body.chunks(60_000).fold(head("X: y"), |reply, part| reply.stdout(part));
        let application = answering(parts.end_stdout().end());
        let lighttpd = Lighttpd::builder()
            .config(format!(
                "fcgate.balancers = ( \"php\" => \"{} max_connections=1\" )",
                application.address()
            ))
            .config("fcgate.map = ( \".php\" => \"php\" )")
            .config(format!("server.stream-response-body = {value}\n{more}"))
            .file("x.php", "")
            .start();
        let mut clients: Vec<Client> = (0..20).map(|_| lighttpd.client()).collect();
        for client in &mut clients {
            client.send_part(&Request::get("/x.php"), 0).unwrap();
        }
        application.wait_for("all requests end", |requests| {
            requests.iter().filter(|request| request.ended).count() == 20
        });
        for client in &mut clients {
            let page = client.read_response("GET").unwrap().expect(200);
            assert!(page.body == body, "{value}: {} bytes came", page.body.len());
        }
        application.assert_no_violations();
    }
}
