//! ngx_http_fcgate_module in nginx: responses, faults and clients that go away.

use fcgate_kit::application::PATIENCE;
use fcgate_kit::{Application, Gate, Nginx, Recorded, Reply, Request, Step};
use std::time::{Duration, Instant};

fn pass(application: &Application) -> String {
    format!("fcgate_pass {};", application.address())
}

fn three_lines(application: &Application) -> String {
    format!("location ~ \\.php(/|$) {{ {} }}", pass(application))
}

fn serve(application: &Application) -> Nginx {
    Nginx::builder().server(three_lines(application)).file("x.php", "").start()
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

/// H2, H3, H6: status, reason, repeated cookies in their order, no type where none came; a relative
/// Location stays one.
#[test]
fn a_head_is_passed_on_as_it_came() {
    let application = answering(whole(
        "Status: 201 Made With Care\r\nSet-Cookie: a=1\r\nX-Own: yes\r\nSet-Cookie: b=2\r\nETag: \"e\"\r\n\
         Server: mine\r\nLast-Modified: Sat, 21 Nov 2026 01:00:00 GMT\r\nCache-Control: a\r\nCache-Control: b\r\n\
         Location: /else\r\nConnection: close",
        "body",
    ));
    let nginx = serve(&application);
    let mut client = nginx.client();
    for _ in 0..2 {
        let page = client.get("/x.php").expect(201);
        assert_eq!((page.reason.as_str(), page.text().as_str()), ("Made With Care", "body"));
        assert_eq!(page.fields("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(page.fields("Cache-Control").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((page.field("X-Own"), page.field("ETag")), (Some("yes"), Some("\"e\"")));
        assert_eq!((page.field("Server"), page.field("Location")), (Some("mine"), Some("/else")));
        assert_eq!(page.field("Content-Type"), None);
        assert_eq!(page.field("Last-Modified"), Some("Sat, 21 Nov 2026 01:00:00 GMT"));
        assert_eq!(page.fields("Date").count(), 1);
    }
    assert_eq!(client.connects(), 1, "the client's connection is kept");
    application.assert_no_violations();
}

/// H4, H7: a redirect, HEAD with its Content-Length, 204 and 304 without a body; the connection of the
/// client stays usable.
#[test]
fn responses_without_a_body_are_framed() {
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
    let nginx = serve(&application);
    let mut client = nginx.client();
    let page = client.get("/x.php?location").expect(302);
    assert_eq!(page.field("Location"), Some("/else"));
    let page = client.send(&Request::head("/x.php")).expect(200);
    assert_eq!((page.field("Content-Length"), page.body.len()), (Some("5"), 0));
    assert!(client.get("/x.php?204").expect(204).body.is_empty());
    let page = client.get("/x.php?304").expect(304);
    assert_eq!((page.field("ETag"), page.body.len()), (Some("\"x\""), 0));
    assert_eq!(client.get("/x.php").expect(200).text(), "hello");
    assert_eq!((client.connects(), client.leftover()), (1, &b""[..]));
    application.assert_no_violations();
}

/// A2, F5, H5: a response that is cut never looks whole: without its length, with it, over HTTP/1.0;
/// one of which nothing was sent is a 502.
#[test]
fn a_cut_response_never_looks_whole() {
    for fields in ["X: y", "Content-Length: 30000"] {
        let gate = Gate::new();
        let application = answering(head(fields).stdout("some bytes".repeat(2000)).stall(&gate).close());
        let nginx = serve(&application);
        for request in [Request::get("/x.php"), Request::get("/x.php").http_1_0()] {
            let mut client = nginx.client();
            client.send_part(&request, 0).unwrap();
            std::thread::scope(|scope| {
                let page = scope.spawn(move || client.read_response("GET"));
                application.wait_for_requests(1);
                gate.open();
                let page = page.join().unwrap();
                assert!(page.is_err() || !page.as_ref().unwrap().is_complete(), "{fields}: {page:?}");
            });
        }
        nginx
            .wait_for_log(&["(unix:", "the application closed the connection before the response was whole"]);
    }
    let application = answering(Reply::new().close());
    let nginx = serve(&application);
    nginx.client().get("/x.php").expect(502);
    nginx.wait_for_log(&["[error]", "(unix:", "closed the connection without an answer", "phase"]);
}

/// F1, F6, F10: what is the matter is told by status and log line, with Retry-After where trying again
/// helps; the administrator's own error page is used.
#[test]
fn faults_have_their_status_and_line() {
    let gate = Gate::new();
    let silent = answering(Reply::new().stall(&gate).close());
    let busy = answering(Reply::new().stall(&gate).close());
    let garbage = answering(Reply::new().raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let bad_head = answering(whole("no colon here", ""));
    let balancer = |name: &str, address: &str, more: &str| {
        format!("fcgate_balancer {name} {{ pool {address} {more}; restart_window 0; }}")
    };
    let location = |name: &str| format!("location /{name} {{ fcgate_pass {name}; }}");
    let names = ["missing", "silent", "busy", "garbage", "head"];
    let nginx = Nginx::builder()
        .http(balancer("missing", "unix:/no/such.sock", ""))
        .http(balancer("silent", &silent.address(), ""))
        .http(balancer("busy", &busy.address(), "max_connections=1 queue_length=0"))
        .http(balancer("garbage", &garbage.address(), ""))
        .http(balancer("head", &bad_head.address(), ""))
        .server("error_page 502 /ours;\nlocation /ours { return 502 'a page of ours'; }")
        .server("fcgate_preset plain;")
        .server(
            names.map(location).join("\n").replace("pass silent;", "pass silent; fcgate_head_timeout 200ms;"),
        )
        .start();
    for (path, status, words) in [
        ("/missing", 502, ["can't be reached", "No such file", "is the application running"]),
        ("/silent", 504, ["no response head came", "head_timeout", "slow log"]),
        ("/garbage", 502, ["FastCGI protocol", "phase head", "is it a FastCGI application"]),
        ("/head", 502, ["the response head is malformed", "no colon", "phase head"]),
    ] {
        let page = nginx.client().get(path).expect(status);
        assert_eq!(page.text() == "a page of ours", status == 502, "{path}: {}", page.text());
        assert_eq!(page.field("Retry-After"), None);
        let line = nginx.wait_for_log(&words);
        assert!(line.contains(&path[1..]) && line.contains("[error]"), "{line}");
        assert!(line.contains("client: 127.0.0.1") && line.contains("while waiting for"), "{line}");
        assert_eq!(nginx.log().matches(words[0]).count(), 1, "said once");
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(|| nginx.client().get("/busy").status);
        busy.wait_for_requests(1);
        let page = nginx.client().get("/busy").expect(503);
        assert!(page.field("Retry-After").is_some());
        nginx.wait_for_log(&["busy (unix:", "the queue is full", "max_connections"]);
        gate.open();
        first.join().unwrap();
    });
}

/// error_override, or nginx's word for it, leaves error pages to nginx, and only those.
#[test]
fn error_override_leaves_error_pages_to_nginx() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("ok") => Reply::page(200, "fine").to(request),
            _ => Reply::page(404, "the application's page").to(request),
        })
        .start();
    let over = |word: &str| format!("location /{word} {{ fcgate_{word} on; {} }}", pass(&application));
    let nginx = Nginx::builder()
        .server("fcgate_script_exists off;\nerror_page 404 /ours;\nlocation /ours { return 404 \"the server's page\"; }")
        .server(three_lines(&application))
        .server(over("error_override"))
        .server(over("intercept_errors"))
        .start();
    let mut client = nginx.client();
    for _ in 0..2 {
        assert_eq!(client.get("/x.php").expect(404).text(), "the application's page");
        for word in ["error_override", "intercept_errors"] {
            assert_eq!(client.get(&format!("/{word}")).expect(404).text(), "the server's page");
            assert_eq!(client.get(&format!("/{word}?ok")).expect(200).text(), "fine");
        }
    }
    assert_eq!(client.connects(), 1);
    assert!(!nginx.log().contains("[error]"), "{}", nginx.log());
}

/// H10: what an application writes to STDERR is logged line by line, at a level that can be set.
#[test]
fn stderr_is_logged_with_its_request() {
    let application = answering(
        Reply::new()
            .stderr("PHP Warning:  one\nPHP Warning:  two\u{1b}[0m\n")
            .stdout("X: y\r\n\r\n")
            .end_stdout()
            .end(),
    );
    let pass = pass(&application);
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;")
        .server(format!("location / {{ {pass} }}"))
        .server(format!("location /quiet {{ fcgate_log_stderr off; {pass} }}"))
        .server(format!("location /low {{ fcgate_log_stderr warn; {pass} }}"))
        .start();
    for path in ["/", "/quiet", "/low"] {
        nginx.client().get(path).expect(200);
    }
    let line = nginx.wait_for_log(&["[error]", "two"]);
    assert!(line.contains("application: PHP Warning:  two") && !line.contains('\u{1b}'), "{line}");
    assert!(line.contains("request: \"GET / HTTP/1.1\""), "{line}");
    nginx.wait_for_log(&["[warn]", "two"]);
    assert_eq!(nginx.log().matches("PHP Warning:  one").count(), 2);
}

/// F7: a client that goes away while PHP is silent is noticed within a second, and the application is
/// told; with ignore_client_abort it may finish.
#[test]
fn a_client_that_goes_away_ends_its_request() {
    let gate = Gate::new();
    let late = gate.clone();
    let application = Application::unix()
        .on_request(move |request| match request.param("REQUEST_URI") {
            Some("/x") => Reply::new().then(Step::AwaitAbort).close().to(request),
            _ => {
                let reply = Reply::new().stall(&late).stdout("X: y\r\n\r\n").stdout("z".repeat(3 << 20));
                reply.end_stdout().end().to(request)
            }
        })
        .start();
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\nlocation = /robots.txt { }")
        .server(format!("location / {{ {} }}", pass(&application)))
        .server(format!("location /on {{ fcgate_ignore_client_abort on; {} }}", pass(&application)))
        .start();
    let mut client = nginx.client();
    client.send_part(&Request::get("/x"), 0).unwrap();
    application.wait_for_requests(1);
    let gone = Instant::now();
    client.close();
    application.wait_for("an abort", |requests| requests[0].aborted);
    assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());

    let mut client = nginx.client();
    client.send_part(&Request::get("/on"), 0).unwrap();
    application.wait_for_requests(2);
    client.close();
    // Another client's whole request shows that nginx has been through its events meanwhile.
    nginx.client().get("/robots.txt").expect(200);
    assert!(!application.request(1).aborted);
    gate.open();
    application.wait_for("the end", |requests| requests[1].ended);
    assert!(!application.request(1).aborted);
    assert!(!nginx.log().contains("[error]"), "{}", nginx.log());
    nginx.client().get("/other").expect(200);
}

/// H9: what has come is passed on when the application pauses, and the response is whole before the
/// request has ended.
#[test]
fn a_stream_is_passed_on_when_the_application_pauses() {
    let (first, second) = (Gate::new(), Gate::new());
    let reply = head("Content-Type: text/event-stream").stdout("one\n").stall(&first).stdout("two\n");
    let application = answering(reply.end_stdout().stall(&second).end());
    let nginx = serve(&application);
    let mut client = nginx.client();
    client.send_part(&Request::get("/x.php").http_1_0(), 0).unwrap();
    client.wait_for(b"one\n");
    first.open();
    client.wait_for(b"two\n");
    let page = client.read_response("GET").unwrap();
    assert_eq!(page.text(), "one\ntwo\n");
    second.open();
    application.wait_for("the end", |requests| requests[0].ended);
    assert!(!application.request(0).aborted);
}

/// A12, F9: of a response that its client does not take only so much is read ahead; then the application
/// waits, and the client gets all of it once it reads.
#[test]
fn a_slow_client_holds_the_application_back() {
    const LENGTH: usize = 64 << 20;
    let piece = "0123456789abcdef".repeat(4000);
    let pieces = LENGTH / piece.len();
    let reply = (0..pieces).fold(head("Content-Type: text/plain"), |reply, _| reply.stdout(&piece));
    let sent = Gate::new();
    let application = answering(reply.then(Step::Open(sent.clone())).end_stdout().end());
    let nginx = Nginx::builder()
        .server("fcgate_response_memory 256k;")
        .server(three_lines(&application))
        .file("x.php", "")
        .start();
    let mut client = nginx.client();
    client.send_part(&Request::get("/x.php"), 0).unwrap();
    client.wait_for(b"0123456789abcdef");
    for _ in 0..200 {
        nginx.client().get("/robots.txt").expect(200);
    }
    let worker = nginx.workers()[0];
    let text = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 40 << 10, "{peak} KiB");
    assert!(!sent.wait(Duration::ZERO), "the application waits");
    let page = client.read_response("GET").unwrap();
    assert!(page.is_complete());
    assert_eq!(page.body.len(), pieces * piece.len());
    application.assert_no_violations();
}

/// A12: with response_body=spool a slow client holds no worker of the application: the response goes to a
/// file, and the client gets all of it from there.
#[test]
fn a_spooled_response_leaves_the_application_free() {
    let piece = "0123456789abcdef".repeat(4000);
    let sent = Gate::new();
    let reply = (0..400).fold(head("Content-Type: text/plain"), |reply, _| reply.stdout(&piece));
    let application = answering(reply.then(Step::Open(sent.clone())).end_stdout().end());
    let nginx = Nginx::builder()
        .server("fcgate_response_memory 256k;\nfcgate_response_body spool;\nfcgate_response_file 100m;")
        .server(three_lines(&application))
        .file("x.php", "")
        .start();
    let mut client = nginx.client();
    client.send_part(&Request::get("/x.php"), 0).unwrap();
    client.wait_for(b"0123456789abcdef");
    assert!(sent.wait(PATIENCE), "the application is held back");
    let page = client.read_response("GET").unwrap();
    assert!(page.is_complete());
    assert!(page.body == piece.repeat(400).into_bytes());
    application.assert_no_violations();
}

/// X-Accel- fields are nginx's to act on and the client does not see them: a redirect to a file, to a
/// location by its name, back to the application; a charset; flushing. What is ignored is passed over.
#[test]
fn accel_fields_are_acted_on() {
    let application = Application::unix()
        .on_request(|request| {
            let fields = match request.param("QUERY_STRING").unwrap() {
                "file" => "X-Accel-Redirect: /files/a%20b.txt\r\nContent-Type: text/own\r\nSet-Cookie: a=b\r\nX-Own: lost\r\nStatus: 201",
                "name" => "X-Accel-Redirect: @named",
                "again" => "X-Accel-Redirect: /again.php?second",
                "climb" => "X-Accel-Redirect: /files/../../x",
                "charset" => "Content-Type: text/plain\r\nX-Accel-Charset: koi8-r",
                "rate" => "X-Accel-Limit-Rate: 1000000\r\nX-Accel-Expires: 5\r\nX-Accel-Buffering: no",
                _ => "X-Own: kept",
            };
            whole(fields, "the application's own").to(request)
        })
        .start();
    let pass = pass(&application);
    let nginx = Nginx::builder()
        .http("charset_map koi8-r utf-8 { 80 E282AC; }")
        .server(
            "fcgate_preset plain;\nlocation /files/ { internal; }\nlocation @named { return 200 \"named\"; }",
        )
        .server(format!("location / {{ {pass} }}"))
        .server(format!("location /ignoring {{ fcgate_ignore_headers X-Accel-Redirect Set-Cookie; {pass} }}"))
        .server(format!(
            "location /passing {{ fcgate_pass_header X-Accel-Expires; fcgate_hide_header X-Own; {pass} }}"
        ))
        .file("files/a b.txt", "a file of nginx's")
        .start();
    let mut client = nginx.client();
    client.get("/files/a%20b.txt").expect(404);
    for request in [Request::get("/?file"), Request::post("/?file", "a body")] {
        let page = client.send(&request).expect(200);
        assert_eq!(page.text(), "a file of nginx's");
        assert_eq!((page.field("Content-Type"), page.field("Set-Cookie")), (Some("text/own"), Some("a=b")));
        assert_eq!((page.field("X-Own"), page.field("X-Accel-Redirect")), (None, None));
    }
    assert_eq!(client.send(&Request::head("/?file")).expect(200).field("Content-Length"), Some("17"));
    assert_eq!(client.get("/?name").expect(200).text(), "named");
    let page = client.send(&Request::post("/?again", "a body")).expect(200);
    assert_eq!((page.text().as_str(), page.field("X-Own")), ("the application's own", Some("kept")));
    let second = application.requests().pop().unwrap();
    assert_eq!(
        ["REQUEST_METHOD", "QUERY_STRING", "REQUEST_URI"].map(|name| second.param(name)),
        [Some("GET"), Some("second"), Some("/?again")]
    );
    assert_eq!(second.stdin.len(), 0);
    client.get("/?climb").expect(404);
    assert_eq!(client.get("/?charset").expect(200).field("Content-Type"), Some("text/plain; charset=koi8-r"));
    let page = client.get("/?rate").expect(200);
    assert!(
        ["Limit-Rate", "Expires", "Buffering"]
            .iter()
            .all(|name| page.field(&format!("X-Accel-{name}")).is_none())
    );
    assert_eq!(client.get("/ignoring?file").expect(201).text(), "the application's own");
    let page = client.get("/passing?rate").expect(200);
    assert_eq!((page.field("X-Accel-Expires"), page.field("X-Accel-Buffering")), (Some("5"), None));
    assert_eq!(client.get("/passing?plain").expect(200).field("X-Own"), None);
    assert_eq!(client.connects(), 1);
    application.assert_no_violations();
}

/// What stands behind: gzip, ranges, a rate.
#[test]
fn filters_of_nginx_act_on_responses() {
    let page = |tens: usize| {
        let fields = format!("Content-Type: text/html\r\nContent-Length: {}", 10 * tens);
        whole(&fields, &"0123456789".repeat(tens))
    };
    let answer = move |request: &Recorded| match request.param("QUERY_STRING") {
        Some("long") => page(7000).to(request),
        _ => page(2000).to(request),
    };
    let application = Application::unix().on_request(answer).start();
    let pass = pass(&application);
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\ngzip on;")
        .server(format!("location / {{ {pass} }}"))
        .server(format!("location /ranges {{ fcgate_force_ranges on; gzip off; {pass} }}"))
        .server(format!("location /slow {{ limit_rate 50k; gzip off; {pass} }}"))
        .start();
    let mut client = nginx.client();
    let page = client.send(&Request::get("/").field("Accept-Encoding", "gzip")).expect(200);
    assert_eq!((page.field("Content-Encoding"), page.field("Content-Length")), (Some("gzip"), None));
    assert!(page.body.len() < 1000);
    assert_eq!(client.get("/").expect(200).body.len(), 20_000);
    let page = client.send(&Request::get("/ranges").field("Range", "bytes=5-9")).expect(206);
    assert_eq!((page.text().as_str(), page.field("Content-Range")), ("56789", Some("bytes 5-9/20000")));
    let page = client.send(&Request::get("/").field("Range", "bytes=5-9")).expect(200);
    assert_eq!(page.body.len(), 20_000);
    // More than one second's share, so that it is held back.
    assert_eq!(client.get("/slow?long").expect(200).body, "0123456789".repeat(7000).as_bytes());
    assert_eq!(client.connects(), 1);
    application.assert_no_violations();
}
