//! ngx_http_fcgate_module in nginx: what nginx itself does to responses; the rest is in servers/.

use fcgate_kit::{Application, Gate, Nginx, Recorded, Reply, Request, Step};
use std::time::Duration;

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

/// H6: repeated fields that nginx knows stay as they are, and so does the application's Server.
#[test]
fn fields_that_nginx_knows_are_passed_on_as_they_came() {
    let application = answering(whole("Server: mine\r\nCache-Control: a\r\nCache-Control: b", "body"));
    let page = serve(&application).client().get("/x.php").expect(200);
    assert_eq!(page.fields("Cache-Control").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(page.fields("Server").collect::<Vec<_>>(), ["mine"]);
}

/// Conditions are the application's to act on, as with fastcgi_pass: nginx answers neither 304 nor 412 in place of
/// a response that says what was done. Of a file that X-Accel-Redirect leads to it acts on them itself.
#[test]
fn conditions_are_left_to_the_application() {
    let application = Application::unix()
        .on_request(|request| {
            let fields = match request.param("QUERY_STRING") {
                Some("file") => "X-Accel-Redirect: /file.txt",
                _ => "ETag: \"new\"\r\nLast-Modified: Mon, 02 Jan 2023 00:00:00 GMT",
            };
            whole(fields, "it is done").to(request)
        })
        .start();
    let nginx =
        Nginx::builder().server(three_lines(&application)).file("x.php", "").file("file.txt", "a").start();
    let mut client = nginx.client();
    for (name, value) in [
        ("If-Match", "\"old\""),
        ("If-Unmodified-Since", "Sun, 01 Jan 2023 00:00:00 GMT"),
        ("If-None-Match", "\"new\""),
        ("If-Modified-Since", "Mon, 02 Jan 2023 00:00:00 GMT"),
    ] {
        let page = client.send(&Request::post("/x.php", "a body").field(name, value)).expect(200);
        assert_eq!((page.text().as_str(), page.field("ETag")), ("it is done", Some("\"new\"")), "{name}");
    }
    client.send(&Request::get("/x.php?file").field("If-Match", "\"old\"")).expect(412);
    application.assert_no_violations();
}

/// A fault is logged once, as an error of its client and its request.
#[test]
fn a_fault_is_logged_with_its_request() {
    let application = answering(Reply::new().close());
    let nginx = serve(&application);
    nginx.client().send(&Request::post("/x.php", "a body")).expect(502);
    let line = nginx.wait_for_log(&["closed the connection without an answer", "[error]"]);
    assert!(line.contains("client: 127.0.0.1") && line.contains("while waiting for"), "{line}");
    assert!(line.contains("request: \"POST /x.php HTTP/1.1\""), "{line}");
    assert_eq!(nginx.log().matches("[error]").count(), 1, "said once");
}

/// Where error pages are left to nginx, by either word, is a location's to say.
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
