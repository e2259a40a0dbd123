//! mod_fcgate in Apache httpd: what Apache's own lines and filters do to bodies and responses; the rest is in
//! servers/.

use fcgate_kit::{Apache, Application, Gate, Mpm, Reply, Request, Step, apache};
use std::process::{Command, Output};

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

/// H6: a Date that is none is replaced, and Apache names itself.
#[test]
fn date_and_server_are_apaches() {
    let application = answering(whole("Date: never\r\nServer: mine", "body"));
    let page = serve(Mpm::Event, &application).client().get("/x.php").expect(200);
    assert_eq!(page.fields("Date").count(), 1);
    assert_ne!(page.field("Date"), Some("never"));
    assert!(page.field("Server").is_some_and(|value| value.starts_with("Apache")));
}

/// Where error pages are left to Apache is a section's to say, and a .htaccess file's.
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

/// A2, F5, F7, H9: where each client has a process: a stream is passed on when the application pauses, a cut one
/// never looks whole, and a client that goes away is noticed.
#[test]
fn prefork_streams_cuts_and_notices() {
    let (pause, cut) = (Gate::new(), Gate::new());
    let (paused, late) = (pause.clone(), cut.clone());
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some("silent") => Reply::new().then(Step::AwaitAbort).close().to(request),
            Some("cut") => head("X: y").stdout("some bytes".repeat(2000)).stall(&late).close().to(request),
            _ => head("X: y").stdout("one\n").stall(&paused).stdout("two\n").end_stdout().end().to(request),
        })
        .start();
    let apache = serve(Mpm::Prefork, &application);
    let mut client = apache.client();
    client.send_part(&Request::get("/x.php"), 0).unwrap();
    client.wait_for(b"one\n");
    pause.open();
    assert_eq!(client.read_response("GET").unwrap().expect(200).text(), "one\ntwo\n");
    client.send_part(&Request::get("/x.php?cut"), 0).unwrap();
    client.wait_for(b"some bytes");
    cut.open();
    assert!(!client.read_response("GET").unwrap().is_complete());
    client.send_part(&Request::get("/x.php?silent"), 0).unwrap();
    application.wait_for_requests(3);
    client.close();
    application.wait_for("an abort", |requests| requests[2].aborted);
}

/// X11: Apache's own limit refuses a body before it is asked for.
#[test]
fn limit_request_body_is_obeyed() {
    let application = answering(whole("X: y", "done"));
    let config = format!("{}\nLimitRequestBody 10", three_lines(&application));
    let apache = Apache::with(Mpm::Event).config(config).file("x.php", "").start();
    let mut client = apache.client();
    let expecting = Request::post("/x.php", "x".repeat(100)).field("Expect", "100-continue");
    client.send_part(&expecting, 0).unwrap();
    assert!(client.read_response("POST").unwrap().expect(413).interim.is_empty());
    assert!(application.requests().is_empty());
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
