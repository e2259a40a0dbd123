//! ngx_http_fcgate_module in nginx: TLS and HTTP/2.

use fcgate_kit::{Application, Nginx, Reply, Step, apache::MARKER};
use std::process::{Command, Output};

fn pass(application: &Application) -> String {
    format!("fcgate_pass {};", application.address())
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

/// A certificate for nobody, with its key.
fn make_certificate(directory: &fcgate_kit::Directory) {
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
        .arg(directory.join("key.pem"))
        .arg("-out")
        .arg(directory.join("cert.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// X6: over TLS HTTPS is on; over HTTP/2, with and without TLS, requests have their params and bodies,
/// spooled and streamed, a cut response is a reset stream, and a client that goes away is noticed.
#[test]
fn tls_and_http_2_requests_are_forwarded() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("silent") => Reply::new().then(Step::AwaitAbort).close().to(request),
            Some("cut") => head("Content-Type: text/plain").stdout("x".repeat(40_000)).close().to(request),
            _ => whole("Content-Type: text/plain", &"y".repeat(100_000)).to(request),
        })
        .start();
    let [tls, h2c] = [fcgate_kit::free_port(), fcgate_kit::free_port()];
    let builder = Nginx::builder()
        .server(format!("listen 127.0.0.1:{tls} ssl http2;\nlisten 127.0.0.1:{h2c} http2;"))
        .server("ssl_certificate {directory}/cert.pem;\nssl_certificate_key {directory}/key.pem;")
        .server("fcgate_preset plain;\nclient_max_body_size 8m;")
        .server(format!("location / {{ {} }}", pass(&application)))
        .server(format!("location /stream {{ fcgate_request_body stream; {} }}", pass(&application)));
    make_certificate(builder.directory());
    let nginx = builder.start();
    let plain = format!("http://127.0.0.1:{h2c}/");
    let secure = format!("https://127.0.0.1:{tls}/");
    let big = nginx.directory().write("big", vec![b'u'; 3 << 20]);
    let big = format!("@{}", big.display());

    for (url, version, https) in [
        (&plain, "--http2-prior-knowledge", None),
        (&secure, "--http2", Some("on")),
        (&secure, "--http1.1", Some("on")),
    ] {
        let out = curl(&["-k", version, "-D", "-", &format!("{url}?a=b")]);
        let text = String::from_utf8_lossy(&out.stdout).to_lowercase();
        assert!(
            text.contains(&format!("{}: {}", MARKER.to_lowercase(), nginx.address().port())),
            "{text:.300}"
        );
        assert!(text.matches('y').count() >= 100_000 && out.status.success(), "{url} {version}");
        let request = application.requests().pop().unwrap();
        assert_eq!((request.param("REQUEST_URI"), request.param("HTTPS")), (Some("/?a=b"), https));
        let protocol = if version == "--http1.1" { "HTTP/1.1" } else { "HTTP/2.0" };
        assert_eq!(request.param("SERVER_PROTOCOL"), Some(protocol));
        assert_eq!(request.param("REQUEST_SCHEME"), Some(if https.is_some() { "https" } else { "http" }));
        assert_eq!(request.param("HTTP_HOST"), url.strip_suffix('/').and_then(|url| url.split("//").nth(1)));

        for path in ["", "stream"] {
            for more in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
                let more = if version == "--http1.1" { more } else { &[] };
                let sent =
                    curl(&[&["-k", version, "--data-binary", &big, &format!("{url}{path}")], more].concat());
                assert!(
                    sent.status.success() && sent.stdout.len() == 100_000,
                    "{url} {version} {path} {sent:?}"
                );
                let request = application.requests().pop().unwrap();
                assert_eq!(
                    (request.param("CONTENT_LENGTH"), request.stdin.len()),
                    (Some("3145728"), 3 << 20)
                );
            }
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
