//! What operators see of mod_fcgate in lighttpd: the status page, and what logs have of each request.

use fcgate::protocol::ProtocolStatus;
use fcgate_kit::{Application, Lighttpd, Recorded, Reply, Request, Step};

/// Every variable for the access log.
const FORMAT: &str = "accesslog.format := \"%U?%q %s pool=%{FCGATE_POOL}e queue=%{FCGATE_QUEUE_TIME}e \
    connect=%{FCGATE_CONNECT_TIME}e head=%{FCGATE_HEAD_TIME}e time=%{FCGATE_TIME}e retries=%{FCGATE_RETRIES}e \
    error=%{FCGATE_ERROR}e app=%{FCGATE_APP_STATUS}e\"";

/// Lines that make it the balancer of all scripts.
fn lines(address: &str) -> String {
    format!("fcgate.balancers = ( \"php\" => \"{address}\" )\nfcgate.map = ( \".php\" => \"php\" )")
}

/// One that closes its connection for `?fail`, and answers everything else with a status of its own.
fn application() -> Application {
    let answer = |request: &Recorded| match request.param("QUERY_STRING") {
        Some("fail") => Reply::new().close().to(request),
        _ => Reply::new()
            .stdout("X: y\r\n\r\nhello")
            .end_stdout()
            .end_with(3, ProtocolStatus::RequestComplete)
            .to(request),
    };
    Application::unix().on_request(answer).start()
}

/// The access log, which lighttpd writes out when it restarts.
fn access_log(lighttpd: &mut Lighttpd) -> String {
    lighttpd.restart_gracefully();
    std::fs::read_to_string(lighttpd.directory().join("own/access.log")).unwrap()
}

fn line<'a>(log: &'a str, start: &str) -> &'a str {
    log.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {log}"))
}

/// The status page in three forms, where its line holds and nowhere else, and for reading only.
#[test]
fn a_page_shows_the_pools() {
    let application = application();
    let address = application.address();
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( \"php\" => \"{address} max_connections=2\" )\nfcgate.map = ( \".php\" => \"php\" )"
        ))
        .config("fcgate.status_url = \"/fcgate-status\"")
        .config("$REQUEST_HEADER[\"X-Far\"] == \"1\" { fcgate.status_url = \"\" }")
        .file("x.php", "")
        .start();
    let mut client = lighttpd.client();
    client.get("/x.php").expect(200);
    client.get("/x.php?fail").expect(502);

    let page = client.get("/fcgate-status").expect(200);
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("Cache-Control"), Some("no-store"));
    assert!(page.text().contains(&address) && page.text().contains("<td>php</td>"), "{}", page.text());
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
    let metrics = client.get("/fcgate-status?prometheus").expect(200).text();
    let failures = format!("fcgate_pool_failures_total{{balancer=\"php\",pool=\"{address}\"}} 1\n");
    assert!(metrics.contains(&failures), "{metrics}");

    assert_eq!(client.send(&Request::head("/fcgate-status")).expect(200).text(), "");
    client.get("/fcgate-status?other").expect(404);
    client.get("/fcgate-status/x").expect(404);
    let refused = client.send(&Request::post("/fcgate-status", "body")).expect(405);
    assert_eq!(refused.field("Allow"), Some("GET, HEAD"));
    lighttpd.client().send(&Request::get("/fcgate-status").field("X-Far", "1")).expect(404);
    application.assert_no_violations();
}

/// Where no balancer is declared the page says nothing, and the log says why.
#[test]
fn a_page_without_balancers_is_told() {
    let lighttpd = Lighttpd::builder().config("fcgate.status_url = \"/fcgate-status\"").start();
    lighttpd.client().get("/fcgate-status").expect(503);
    lighttpd.wait_for_log(&["fcgate.status_url", "is there a fcgate.balancers?"]);
}

/// The access log tells of each request what became of it.
#[test]
fn the_access_log_has_variables() {
    let application = application();
    let address = application.address();
    let mut lighttpd = Lighttpd::builder().config(lines(&address)).config(FORMAT).file("x.php", "").start();
    let mut client = lighttpd.client();
    client.get("/x.php").expect(200);
    client.send(&Request::head("/x.php?head")).expect(200);
    client.get("/x.php?fail").expect(502);
    client.get("/robots.txt").expect(200);
    let log = access_log(&mut lighttpd);
    for start in ["/x.php? 200", "/x.php?head 200"] {
        let good = line(&log, start);
        assert!(good.contains(&format!("pool={address} queue=0.000 connect=0.")), "{good}");
        assert!(good.contains(" head=0.") && good.contains(" time=0."), "{good}");
        assert!(good.contains("retries=0 error=- app=3"), "{good}");
    }
    let bad = line(&log, "/x.php?fail 502");
    assert!(bad.contains("error=closed app=-") && bad.contains(&format!("pool={address}")), "{bad}");
    assert!(line(&log, "/robots.txt? 200").contains("pool=- queue=-"), "{log}");
}

/// X1: what is noted of a request that failed is no param of the error page that another pass asks an
/// application for; the log has what became of that pass.
#[test]
fn notes_of_one_pass_are_not_params_of_the_next() {
    let application = application();
    let address = application.address();
    let mut lighttpd = Lighttpd::builder()
        .config(lines(&address))
        .config("server.error-handler = \"/error.php\"")
        .config(FORMAT)
        .file("x.php", "")
        .file("error.php", "")
        .start();
    assert_eq!(lighttpd.client().get("/x.php?fail").expect(502).text(), "hello");
    let page = application.requests().pop().unwrap();
    assert_eq!(page.param("SCRIPT_NAME"), Some("/error.php"));
    for name in ["POOL", "QUEUE_TIME", "CONNECT_TIME", "HEAD_TIME", "TIME", "RETRIES", "ERROR", "APP_STATUS"]
    {
        assert_eq!(page.param(&format!("FCGATE_{name}")), None);
    }
    let log = access_log(&mut lighttpd);
    assert!(log.contains("error=- app=3") && !log.contains("error=closed"), "{log}");
}

/// What an application writes to its standard error is logged as the request's condition says.
#[test]
fn lines_of_standard_error_have_a_level() {
    let answer = |request: &Recorded| {
        let line = format!("from {}\n", request.param("REQUEST_URI").unwrap());
        Reply::new().stderr(line).stdout("X: y\r\n\r\n").end().to(request)
    };
    let application = Application::unix().on_request(answer).start();
    let lighttpd = Lighttpd::builder()
        .config(lines(&application.address()))
        .config("$HTTP[\"url\"] =^ \"/quiet\" { fcgate.log_stderr = \"off\" }")
        .config("$HTTP[\"url\"] =^ \"/low\" { fcgate.log_stderr = \"notice\" }")
        .file("quiet.php", "")
        .file("low.php", "")
        .file("x.php", "")
        .start();
    for path in ["/quiet.php", "/low.php", "/x.php"] {
        lighttpd.client().get(path).expect(200);
    }
    let log = |path: &str| lighttpd.wait_for_log(&["application: from ", path]);
    assert!(log("/x.php").contains(") application: from"), "{}", log("/x.php"));
    assert!(log("/low.php").contains(") notice: application: from"), "{}", log("/low.php"));
    assert!(!lighttpd.log().contains("/quiet.php"), "{}", lighttpd.log());
}

/// F6: what goes wrong with a request, and what its application writes to standard error, goes to the error
/// log of its condition, and to no other.
#[test]
fn each_condition_has_its_error_log() {
    let answer = |request: &Recorded| match request.param("QUERY_STRING") {
        Some("fail") => Reply::new().stderr("last words\n").close().to(request),
        Some("late") => Reply::new().then(Step::AwaitAbort).close().to(request),
        _ => Reply::new().stdout("X: y\r\n\r\n").end().to(request),
    };
    let application = Application::unix().on_request(answer).start();
    let lighttpd = Lighttpd::builder()
        .config(lines(&application.address()))
        .config("$HTTP[\"url\"] =^ \"/own\" { server.errorlog = \"{directory}/own/other.log\" }")
        .config("$HTTP[\"url\"] =^ \"/own/large\" { fcgate.max_params_bytes = 1024 }")
        .file("x.php", "")
        .file("own/x.php", "")
        .file("own/large.php", "")
        .start();
    let mut client = lighttpd.client();
    client.get("/own/x.php?fail").expect(502);
    client.send(&Request::get("/own/large.php").field("X-Large", "x".repeat(2000))).expect(431);
    let before = application.requests().len();
    let mut gone = lighttpd.client();
    gone.send_part(&Request::get("/own/x.php?late"), 0).unwrap();
    application.wait_for_requests(before + 1);
    gone.close();
    application.wait_for("an abort", |requests| requests[before].aborted);
    client.get("/x.php?fail").expect(502);
    lighttpd.wait_for_log(&["error closed", "root/x.php"]);
    let (all, own) = (lighttpd.log(), lighttpd.directory().join("own/other.log"));
    let own = std::fs::read_to_string(own).unwrap();
    for words in [
        ["error closed", "own/x.php"],
        ["application: last words", ""],
        ["request /own/large.php", ""],
        ["error client_gone", "own/x.php"],
    ] {
        assert!(own.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {own}");
    }
    assert!(!all.contains("/own/x.php") && !all.contains("/own/large.php"), "{all}");
    assert!(all.contains("application: last words") && !own.contains("root/x.php"), "{all}\n{own}");
}
