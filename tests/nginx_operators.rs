//! What operators see of ngx_http_fcgate_module: the status page, and lines of the log that tell whose they are.

use fcgate_kit::{Application, Gate, Nginx, Recorded, Reply, Request};

/// One that closes its connection for `?fail`, and sends more than it announces for `?long`.
fn application() -> Application {
    let answer = |request: &Recorded| match request.param("QUERY_STRING") {
        Some("fail") => Reply::new().close().to(request),
        Some("long") => Reply::new().stdout("Content-Length: 3\r\n\r\nhello").end_stdout().end().to(request),
        _ => Reply::page(200, "hello").to(request),
    };
    Application::unix().on_request(answer).start()
}

/// The status page in three forms, where it is configured and nowhere else, and for reading only.
#[test]
fn a_page_shows_the_pools() {
    let application = application();
    let address = application.address();
    let nginx = Nginx::builder()
        .http(format!("fcgate_pool php {address} max_connections=2;"))
        .server("location / { fcgate_preset plain; fcgate_pass php; }")
        .server("location = /fcgate-status { fcgate_status; }")
        .server("location = /closed { deny all; fcgate_status; }")
        .server("location = /page.html { ssi on; }")
        .file("page.html", "<!--#include virtual=\"/fcgate-status?json\" -->!")
        .start();
    let mut client = nginx.client();
    client.get("/x").expect(200);
    client.get("/x?fail").expect(502);

    let page = client.get("/fcgate-status").expect(200);
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("Cache-Control"), Some("no-store"));
    assert!(page.text().contains(&address) && page.text().contains("<td>php</td>"), "{}", page.text());
    let worker = format!("Process {}.", nginx.workers()[0]);
    assert!(page.text().contains(&worker), "{worker} is not in {}", page.text());
    let json = client.get("/fcgate-status?json").expect(200);
    assert_eq!(json.field("Content-Type"), Some("application/json"));
    for part in [
        format!("\"pool\":\"{address}\""),
        "\"max_connections\":2".into(),
        "\"active\":0".into(),
        "\"failures\":1".into(),
        "\"state\":\"up\"".into(),
    ] {
        assert!(json.text().contains(&part), "{part} is not in {}", json.text());
    }
    let metrics = client.get("/fcgate-status?prometheus").expect(200);
    assert_eq!(metrics.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let failures = format!("fcgate_pool_failures_total{{balancer=\"php\",pool=\"{address}\"}} 1\n");
    assert!(metrics.text().contains(&failures), "{}", metrics.text());

    let head = client.send(&Request::head("/fcgate-status")).expect(200);
    assert!(head.body.is_empty() && head.field("Content-Length").is_some());
    client.get("/fcgate-status?other").expect(404);
    client.get("/closed").expect(403);
    let refused = client.send(&Request::post("/fcgate-status", "body")).expect(405);
    assert_eq!(refused.field("Allow"), Some("GET, HEAD"));
    // As a part of a page, where it is not the end of the response.
    let part = client.get("/page.html").expect(200).text();
    assert!(part.starts_with("{\"version\":") && part.ends_with("]}\n!"), "{part}");
    assert_eq!(client.connects(), 1);
    application.assert_no_violations();
}

/// Each worker speaks for itself: what all of them say together is what was asked.
#[test]
fn a_page_speaks_for_the_worker_that_answers() {
    let application = application();
    let nginx = Nginx::builder()
        .workers(2)
        .server(format!("location / {{ fcgate_preset plain; fcgate_pass {}; }}", application.address()))
        .server("location = /fcgate-status { fcgate_status; }")
        .start();
    let mut asked = std::collections::BTreeMap::<u32, u64>::new();
    let number = |text: &str, name: &str| -> u64 {
        let rest = text.split(&format!("\"{name}\":")).nth(1).unwrap_or_else(|| panic!("{name}: {text}"));
        rest[..rest.find(|byte: char| !byte.is_ascii_digit()).unwrap()].parse().unwrap()
    };
    for _ in 0..20 {
        // One connection is one worker's.
        let mut client = nginx.client();
        let before = client.get("/fcgate-status?json").expect(200).text();
        client.get("/x").expect(200);
        let after = client.get("/fcgate-status?json").expect(200).text();
        let process = number(&after, "process") as u32;
        assert_eq!(process as u64, number(&before, "process"));
        assert!(nginx.workers().contains(&process));
        assert_eq!(number(&after, "requests"), number(&before, "requests") + 1);
        asked.insert(process, number(&after, "requests"));
    }
    assert_eq!(asked.values().sum::<u64>(), 20, "{asked:?}");
}

/// Where nothing is forwarded the page says nothing, and the log says why.
#[test]
fn a_page_without_balancers_is_told() {
    let nginx = Nginx::builder().server("location = /fcgate-status { fcgate_status; }").start();
    nginx.client().get("/fcgate-status").expect(503);
    nginx.wait_for_log(&["[error]", "fcgate_status", "is there a fcgate_balancer"]);
}

/// A line about a request has nginx's number of its connection, its client and what was asked, whether it
/// failed or something was amiss; one about a request whose client is gone is there as well.
#[test]
fn lines_about_a_request_tell_which() {
    let gate = Gate::new();
    let late = gate.clone();
    let usual = application();
    let leaving =
        Application::unix().on_request(move |request| Reply::new().stall(&late).close().to(request)).start();
    let nginx = Nginx::builder()
        .http("error_log {directory}/error.log info;")
        .server("fcgate_preset plain;")
        .server(format!("location / {{ fcgate_pass {}; }}", usual.address()))
        .server(format!(
            "location /late {{ fcgate_ignore_client_abort on; fcgate_pass {}; }}",
            leaving.address()
        ))
        .start();
    let mut client = nginx.client();
    client.get("/x?long").expect(200);
    client.get("/y?fail").expect(502);
    let amiss = nginx.wait_for_log(&["[warn]", "fcgate: ", "longer"]);
    let failed = nginx.wait_for_log(&["[error]", "fcgate: ", "closed the connection"]);
    for (line, target) in [(&amiss, "/x?long"), (&failed, "/y?fail")] {
        assert!(line.contains("client: 127.0.0.1, server: "), "{line}");
        assert!(line.contains(&format!("request: \"GET {target} HTTP/1.1\"")), "{line}");
    }
    // Both came by one connection, which has a number.
    let number = |line: &str| line.split_whitespace().find(|word| word.starts_with('*')).map(str::to_owned);
    assert!(number(&amiss).is_some() && number(&amiss) == number(&failed), "{amiss}\n{failed}");
    assert_eq!(nginx.log().matches("closed the connection").count(), 1, "said once");

    let mut client = nginx.client();
    client.send_part(&Request::get("/late"), 0).unwrap();
    leaving.wait_for_requests(1);
    client.close();
    nginx.wait_for_log(&["[info]", "prematurely closed connection", "/late"]);
    gate.open();
    nginx.wait_for_log(&["fcgate: ", &leaving.address(), "closed the connection without an answer"]);
}
