//! mod_fcgate in Apache httpd: bodies, responses, faults and clients that go away.

use fcgate_kit::{Apache, Application, Gate, Mpm, Reply, Request, Step, apache};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn three_lines(application: &Application) -> String {
    format!("FcgateBalancer php {}\nFcgateMap .php php", application.address())
}

fn serve(mpm: Mpm, application: &Application) -> Apache {
    Apache::with(mpm).config(three_lines(application)).file("x.php", "").start()
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

/// H3, H6: status, reason, repeated cookies in their order, and no field that the application did not
/// send but those that are the server's own.
#[test]
fn a_head_is_passed_on_as_it_came() {
    let application = answering(whole(
        "Status: 201 Made With Care\r\nSet-Cookie: a=1\r\nX-Own: yes\r\nSet-Cookie: b=2\r\nDate: never\r\n\
         Server: mine\r\nETag: \"e\"\r\nLast-Modified: Sat, 21 Nov 2026 01:00:00 GMT\r\nConnection: close",
        "body",
    ));
    let apache = serve(Mpm::Event, &application);
    let mut client = apache.client();
    for _ in 0..2 {
        let page = client.get("/x.php").expect(201);
        assert_eq!((page.reason.as_str(), page.text().as_str()), ("Made With Care", "body"));
        assert_eq!(page.fields("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!((page.field("X-Own"), page.field("ETag")), (Some("yes"), Some("\"e\"")));
        assert_eq!(page.field("Content-Type"), None);
        assert_eq!(page.fields("Date").count(), 1);
        assert!(
            page.fields("Server").all(|value| value.starts_with("Apache")) && page.field("Server").is_some()
        );
        assert_ne!(page.field("Date"), Some("never"));
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
    let apache = serve(Mpm::Worker, &application);
    let mut client = apache.client();
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
    for mpm in Mpm::ALL {
        for (fields, body) in
            [("X: y", "some bytes".repeat(2000)), ("Content-Length: 30000", "some bytes".repeat(2000))]
        {
            let gate = Gate::new();
            let application = answering(head(fields).stdout(&body).stall(&gate).close());
            let apache = serve(mpm, &application);
            for request in [Request::get("/x.php"), Request::get("/x.php").http_1_0()] {
                let mut client = apache.client();
                client.send_part(&request, 0).unwrap();
                std::thread::scope(|scope| {
                    let page = scope.spawn(move || client.read_response("GET"));
                    application.wait_for_requests(1);
                    gate.open();
                    let page = page.join().unwrap();
                    assert!(
                        page.is_err() || !page.as_ref().unwrap().is_complete(),
                        "{mpm:?} {fields}: {page:?}"
                    );
                });
            }
            apache.wait_for_log(&[
                "php (unix:",
                "the application closed the connection before the response was whole",
            ]);
        }
        let application = answering(Reply::new().close());
        let apache = serve(mpm, &application);
        apache.client().get("/x.php").expect(502);
        apache.wait_for_log(&[
            "[fcgate:error]",
            "php (unix:",
            "closed the connection without an answer",
            "phase",
        ]);
    }
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
    let section = |name: &str, address: &str, more: &str| {
        format!(
            "<FcgateBalancer {name}>\nFcgatePool {address} {more}\nFcgateRestartWindow 0\n</FcgateBalancer>\n<Location /{name}>\nSetHandler fcgate:{name}\n</Location>"
        )
    };
    let apache = Apache::with(Mpm::Event)
        .config(section("missing", "unix:/no/such.sock", ""))
        .config(section("silent", &silent.address(), ""))
        .config(section("busy", &busy.address(), "max_connections=1 queue_length=0"))
        .config(section("garbage", &garbage.address(), ""))
        .config(section("head", &bad_head.address(), ""))
        .config(
            "<Location /silent>\nFcgateHeadTimeout 200ms\n</Location>\nErrorDocument 502 \"a page of ours\"",
        )
        // Limits hold for each process.
        .config("ServerLimit 1\nStartServers 1\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32");
    let apache = ["missing", "silent", "busy", "garbage", "head"]
        .into_iter()
        .fold(apache, |apache, name| apache.file(name, ""));
    let apache = apache.start();
    for (path, status, words) in [
        ("/missing", 502, ["can't be reached", "No such file", "is the application running"]),
        ("/silent", 504, ["no response head came", "head_timeout", "slow log"]),
        ("/garbage", 502, ["FastCGI protocol", "phase head", "is it a FastCGI application"]),
        ("/head", 502, ["the response head is malformed", "no colon", "phase head"]),
    ] {
        let page = apache.client().get(path).expect(status);
        assert_eq!(page.text() == "a page of ours", status == 502, "{path}: {}", page.text());
        assert_eq!(page.field("Retry-After"), None);
        let line = apache.wait_for_log(&words);
        assert!(
            line.contains(&path[1..])
                && line.contains("[fcgate:error]")
                && line.contains("[client 127.0.0.1"),
            "{line}"
        );
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(|| apache.client().get("/busy").status);
        busy.wait_for_requests(1);
        let page = apache.client().get("/busy").expect(503);
        assert!(page.field("Retry-After").is_some());
        apache.wait_for_log(&["busy (unix:", "the queue is full", "max_connections"]);
        gate.open();
        first.join().unwrap();
    });
}

/// error_override leaves error pages to Apache, and only those; a .htaccess file can say so.
#[test]
fn error_override_leaves_error_pages_to_apache() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("ok") => Reply::page(200, "fine").to(request),
            _ => Reply::page(404, "the application's page").to(request),
        })
        .start();
    let apache = Apache::with(Mpm::Event)
        .config(three_lines(&application))
        .config("ErrorDocument 404 \"the server's page\"")
        .config("<Location /over>\nFcgateErrorOverride on\n</Location>\n<Directory {root}/hta>\nAllowOverride FileInfo\n</Directory>")
        .file("x.php", "")
        .file("over/x.php", "")
        .file("hta/.htaccess", "FcgateErrorOverride on\n")
        .file("hta/x.php", "")
        .start();
    let mut client = apache.client();
    for _ in 0..2 {
        assert_eq!(client.get("/x.php").expect(404).text(), "the application's page");
        assert_eq!(client.get("/over/x.php").expect(404).text(), "the server's page");
        assert_eq!(client.get("/over/x.php?ok").expect(200).text(), "fine");
        assert_eq!(client.get("/hta/x.php").expect(404).text(), "the server's page");
    }
    assert_eq!(client.connects(), 1);
    assert!(!apache.log().contains("[fcgate:error]"), "{}", apache.log());
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
    let apache = Apache::with(Mpm::Event)
        .config(three_lines(&application))
        .config("<Location /quiet>\nFcgateLogStderr off\n</Location>\n<Location /low>\nFcgateLogStderr warn\n</Location>")
        .file("x.php", "")
        .file("quiet/x.php", "")
        .file("low/x.php", "")
        .start();
    for path in ["/x.php", "/quiet/x.php", "/low/x.php"] {
        apache.client().get(path).expect(200);
    }
    let line = apache.wait_for_log(&["[fcgate:error]", "two"]);
    assert!(line.contains("application: PHP Warning:  two") && !line.contains('\u{1b}'), "{line}");
    apache.wait_for_log(&["[fcgate:warn]", "two"]);
    assert_eq!(apache.log().matches("PHP Warning:  one").count(), 2);
}

/// F7: a client that goes away while PHP is silent is noticed within a second, and the application is
/// told; with ignore_client_abort it may finish.
#[test]
fn a_client_that_goes_away_ends_its_request() {
    for mpm in Mpm::ALL {
        let gate = Gate::new();
        let late = gate.clone();
        let application = Application::unix()
            .on_request(move |request| match request.param("SCRIPT_NAME") {
                Some("/x.php") => Reply::new().then(Step::AwaitAbort).close().to(request),
                _ => Reply::new().stall(&late).stdout("X: y\r\n\r\n").end_stdout().end().to(request),
            })
            .start();
        let apache = Apache::with(mpm)
            .config(three_lines(&application))
            .config("<Location /on>\nFcgateIgnoreClientAbort on\n</Location>")
            .file("x.php", "")
            .file("on/x.php", "")
            .start();
        let mut client = apache.client();
        client.send_part(&Request::get("/x.php"), 0).unwrap();
        application.wait_for_requests(1);
        let gone = Instant::now();
        client.close();
        application.wait_for("an abort", |requests| requests[0].aborted);
        assert!(gone.elapsed() < Duration::from_secs(1), "{:?} {mpm:?}", gone.elapsed());

        let mut client = apache.client();
        client.send_part(&Request::get("/on/x.php"), 0).unwrap();
        application.wait_for_requests(2);
        client.close();
        std::thread::sleep(Duration::from_millis(600));
        assert!(!application.request(1).aborted);
        gate.open();
        application.wait_for("the end", |requests| requests[1].ended);
        assert!(!apache.log().contains("[fcgate:error]"), "{}", apache.log());
    }
}

/// H9: what has come is passed on when the application pauses.
#[test]
fn a_stream_is_passed_on_when_the_application_pauses() {
    for mpm in Mpm::ALL {
        let (first, second) = (Gate::new(), Gate::new());
        let reply = head("Content-Type: text/event-stream").stdout("one\n").stall(&first).stdout("two\n");
        let application = answering(reply.end_stdout().stall(&second).end());
        let apache = serve(mpm, &application);
        let mut client = apache.client();
        client.send_part(&Request::get("/x.php").http_1_0(), 0).unwrap();
        client.wait_for(b"one\n");
        first.open();
        // Whole as soon as its end is known, though the request itself has not ended.
        client.wait_for(b"two\n");
        let page = client.read_response("GET").unwrap();
        assert_eq!(page.text(), "one\ntwo\n");
        second.open();
    }
}

/// E9, X11: a streamed body reaches the application while it is still being sent; a spooled one only
/// when it is whole; 100 Continue is asked for when the body is wanted, and not for one that is too
/// large.
#[test]
fn bodies_are_spooled_or_streamed() {
    let application = answering(whole("X: y", "done"));
    let apache = Apache::with(Mpm::Event)
        .config(three_lines(&application))
        .config("<Location /stream>\nFcgateRequestBody stream\n</Location>\n<Location /small>\nFcgateMaxBodyBytes 10\n</Location>\n<Location /limit>\nLimitRequestBody 10\n</Location>")
        .file("x.php", "")
        .file("stream/x.php", "")
        .file("small/x.php", "")
        .file("limit/x.php", "")
        .start();
    let body = vec![b'b'; 300_000];
    let mut client = apache.client();
    client.send_part(&Request::post("/x.php", body.clone()), 100_000).unwrap();
    let mut streamed = apache.client();
    streamed.send_part(&Request::post("/stream/x.php", body.clone()), 100_000).unwrap();
    application.wait_for("the first part of a streamed body", |requests| {
        requests.first().is_some_and(|request| request.stdin_length > 50_000)
    });
    let begun = &application.requests()[0];
    assert_eq!(begun.param("SCRIPT_NAME"), Some("/stream/x.php"));
    assert_eq!(begun.param("CONTENT_LENGTH"), Some("300000"));
    streamed.write(&body[100_000..]).unwrap();
    assert_eq!(streamed.read_response("POST").unwrap().expect(200).text(), "done");
    assert_eq!(application.requests().len(), 1);
    client.write(&body[100_000..]).unwrap();
    client.read_response("POST").unwrap().expect(200);
    assert!(application.request(1).stdin == body);

    let expecting = |path: &str| Request::post(path, "x".repeat(100)).field("Expect", "100-continue");
    let mut client = apache.client();
    client.send_part(&expecting("/x.php"), 0).unwrap();
    client.wait_for(b"100 Continue\r\n\r\n");
    client.write("x".repeat(100).as_bytes()).unwrap();
    assert_eq!(client.read_response("POST").unwrap().expect(200).interim.len(), 1);
    for path in ["/small/x.php", "/limit/x.php"] {
        let mut client = apache.client();
        client.send_part(&expecting(path), 0).unwrap();
        assert!(client.read_response("POST").unwrap().expect(413).interim.is_empty(), "{path}");
    }
    assert_eq!(application.requests().len(), 3);
    application.assert_no_violations();
}

/// E9, F8: a client that stops in the middle of its body: 400, and the application never takes what
/// came for the whole; every slot is given back.
#[test]
fn a_client_that_stops_in_its_body_is_refused() {
    let application = answering(whole("X: y", "done"));
    let apache = Apache::with(Mpm::Worker)
        .config(format!("FcgateBalancer php {} max_connections=1\nFcgateMap .php php", application.address()))
        .config("<Location /stream>\nFcgateRequestBody stream\n</Location>")
        .file("x.php", "")
        .file("stream/x.php", "")
        .start();
    for path in ["/x.php", "/stream/x.php"] {
        for _ in 0..20 {
            let mut client = apache.client();
            client.send_part(&Request::post(path, vec![b'b'; 50_000]), 20_000).unwrap();
            client.half_close();
            let answer = client.read_response("POST");
            assert!(answer.is_err() || answer.as_ref().unwrap().status == 400, "{answer:?}");
        }
    }
    apache.client().get("/x.php").expect(200);
    for request in application.requests() {
        assert!(request.is_complete() || request.aborted || !request.stdin_ended);
    }
}

/// What stands before and behind: gzip, a cache, pages put together of parts, bodies that a filter
/// unpacks.
#[test]
fn filters_of_apache_act_on_responses_and_bodies() {
    let application = Application::unix()
        .on_request(|request| match request.param("SCRIPT_NAME") {
            Some("/part.php") => whole("Content-Type: text/plain", "a part").to(request),
            Some("/cached.php") => {
                whole("Content-Type: text/plain\r\nCache-Control: max-age=60", "kept").to(request)
            }
            _ => whole("Content-Type: text/html\r\nContent-Length: 20000", &"0123456789".repeat(2000))
                .to(request),
        })
        .start();
    let apache = Apache::with(Mpm::Event)
        .module("deflate")
        .module("filter")
        .module("cache")
        .module("cache_disk")
        .module("include")
        .config(three_lines(&application))
        .config("AddOutputFilterByType DEFLATE text/html\nCacheQuickHandler off\n<Location /cached.php>\nCacheEnable disk\n</Location>\nCacheRoot {directory}/cache\nCacheIgnoreNoLastMod on")
        .config("<Location /page.html>\nSetOutputFilter INCLUDES\nOptions +Includes\n</Location>\n<Location /inflate.php>\nSetInputFilter DEFLATE\n</Location>")
        .file("page.html", "<p><!--#include virtual=\"/part.php?q\" --></p>")
        .file("x.php", "").file("part.php", "").file("cached.php", "").file("inflate.php", "");
    std::fs::create_dir(apache.directory().join("cache")).unwrap();
    Command::new("chmod").arg("777").arg(apache.directory().join("cache")).status().unwrap();
    let apache = apache.start();
    let mut client = apache.client();
    let page = client.send(&Request::get("/x.php").field("Accept-Encoding", "gzip")).expect(200);
    assert_eq!(page.field("Content-Encoding"), Some("gzip"));
    assert_ne!(page.field("Content-Length"), Some("20000"));
    assert!(page.body.len() < 1000);
    assert_eq!(client.get("/x.php").expect(200).body.len(), 20_000);

    assert_eq!(client.get("/page.html").expect(200).text(), "<p>a part</p>");
    let part = application.requests().pop().unwrap();
    assert_eq!(
        ["SCRIPT_NAME", "QUERY_STRING", "REQUEST_URI"].map(|name| part.param(name)),
        [Some("/part.php"), Some("q"), Some("/page.html")]
    );

    for _ in 0..3 {
        assert_eq!(client.get("/cached.php").expect(200).text(), "kept");
    }
    let asked =
        application.requests().iter().filter(|one| one.param("SCRIPT_NAME") == Some("/cached.php")).count();
    assert_eq!(asked, 1, "the cache stands in front");

    let packed = gzip(&(0..100_000u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect::<Vec<_>>());
    client.send(&Request::post("/inflate.php", packed).field("Content-Encoding", "gzip")).expect(200);
    let request = application.requests().pop().unwrap();
    assert_eq!((request.param("CONTENT_LENGTH"), request.stdin.len()), (Some("100000"), 100_000));
    application.assert_no_violations();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl").args(["--silent", "--max-time", "20"]).args(arguments).output().expect("curl runs")
}

/// X6: over TLS HTTPS is on and mod_ssl's variables pass; over HTTP/2, with and without TLS, requests
/// have their params and bodies, a cut response is a reset stream, and a client that goes away is
/// noticed.
#[test]
fn tls_and_http_2_requests_are_forwarded() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("silent") => Reply::new().then(Step::AwaitAbort).close().to(request),
            Some("cut") => head("Content-Type: text/plain").stdout("x".repeat(40_000)).close().to(request),
            _ => whole("Content-Type: text/plain", &"y".repeat(100_000)).to(request),
        })
        .start();
    let builder = Apache::with(Mpm::Event)
        .module("ssl")
        .module("http2")
        .module("socache_shmcb")
        .config(three_lines(&application))
        .config("Protocols h2 h2c http/1.1\nH2Direct on\n<IfDefine !NO_TLS>\nListen 127.0.0.1:{tls}\n<VirtualHost *:{tls}>\nSSLEngine on\nSSLCertificateFile {directory}/cert.pem\nSSLOptions +StdEnvVars\n</VirtualHost>\n</IfDefine>".replace("{tls}", &fcgate_kit::free_port().to_string()))
        .file("x.php", "");
    let certificate = builder.directory().join("cert.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
        ])
        .arg(&certificate)
        .arg("-out")
        .arg(builder.directory().join("only.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let both = std::fs::read_to_string(builder.directory().join("only.pem")).unwrap()
        + &std::fs::read_to_string(&certificate).unwrap();
    builder.directory().write("cert.pem", both);
    let apache = builder.start();
    let config = std::fs::read_to_string(apache.directory().join("httpd.conf")).unwrap();
    let tls = config.split("Listen 127.0.0.1:").nth(2).unwrap().lines().next().unwrap().to_owned();
    let plain = format!("http://{}/x.php", apache.address());
    let secure = format!("https://127.0.0.1:{tls}/x.php");
    let big = apache.directory().write("big", vec![b'u'; 3 << 20]);
    let big = format!("@{}", big.display());

    for (url, version, https) in [
        (&plain, "--http2-prior-knowledge", None),
        (&secure, "--http2", Some("on")),
        (&secure, "--http1.1", Some("on")),
    ] {
        let out = curl(&["-k", version, "-D", "-", &format!("{url}?a=b")]);
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(
            text.contains(&format!("{}: {}", apache::MARKER.to_lowercase(), apache.address().port()))
                || text.contains(apache::MARKER),
            "{text:.300}"
        );
        assert_eq!(text.matches('y').count() >= 100_000, out.status.success(), "{url} {version}");
        let request = application.requests().pop().unwrap();
        assert_eq!((request.param("REQUEST_URI"), request.param("HTTPS")), (Some("/x.php?a=b"), https));
        assert_eq!(request.param("SSL_PROTOCOL").is_some(), https.is_some());
        let protocol = if version == "--http1.1" { "HTTP/1.1" } else { "HTTP/2.0" };
        assert_eq!(request.param("SERVER_PROTOCOL"), Some(protocol));
        assert_eq!(request.param("REQUEST_SCHEME"), Some(if https.is_some() { "https" } else { "http" }));

        for chunked in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
            let chunked = if version == "--http1.1" { chunked } else { &[] };
            let sent = curl(&[&["-k", version, "--data-binary", &big, url], chunked].concat());
            assert!(sent.status.success() && sent.stdout.len() == 100_000);
            let request = application.requests().pop().unwrap();
            assert_eq!((request.param("CONTENT_LENGTH"), request.stdin.len()), (Some("3145728"), 3 << 20));
        }

        let out = curl(&["-k", version, &format!("{url}?cut")]);
        assert!(!out.status.success(), "{url} {version}: a cut response looks whole");

        let before = application.requests().len();
        let out = curl(&["-k", version, "--max-time", "0.5", &format!("{url}?silent")]);
        assert_eq!(out.status.code(), Some(28));
        application.wait_for("an abort", |requests| requests.get(before).is_some_and(|one| one.aborted));
    }
    application.assert_no_violations();
}
