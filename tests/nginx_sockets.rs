//! nginx's words about connections to applications: where they come from, how often they are tried.

use fcgate_kit::{Application, Nginx, Reply, Request};
use std::time::{Duration, Instant};

/// One that answers, over TCP.
fn application() -> Application {
    Application::tcp().reply(Reply::page(200, "hello")).start()
}

/// Where the last request came from.
fn source(application: &Application) -> String {
    application.requests().pop().unwrap().peer.unwrap().ip().to_string()
}

/// Whether this process, and so nginx, has the privilege CAP_NET_RAW.
fn has_net_raw() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & 1 << 13 != 0
}

/// fcgate_bind as nginx's own: an address for the locations of its level, off within; a pool's line in a
/// balancer has it by its setting's name.
#[test]
fn connections_come_from_the_address_that_is_set() {
    let application = application();
    let address = application.address();
    let pass = format!("fcgate_pass {address};");
    let nginx = Nginx::builder()
        .http(format!("fcgate_balancer php {{ pool {address} bind=127.0.0.4; }}"))
        .server("fcgate_preset plain;\nfcgate_bind 127.0.0.2;")
        .server(format!("location / {{ {pass} }}"))
        .server(format!("location /own {{ fcgate_bind 127.0.0.3; {pass} }}"))
        .server(format!("location /off {{ fcgate_bind off; {pass} }}"))
        .server("location /balancer { fcgate_pass php; }")
        .start();
    let mut client = nginx.client();
    for (path, expected) in
        [("/", "127.0.0.2"), ("/own", "127.0.0.3"), ("/off", "127.0.0.1"), ("/balancer", "127.0.0.4")]
    {
        client.get(path).expect(200);
        assert_eq!(source(&application), expected, "{path}");
    }
    application.assert_no_violations();
    let other = "location / { fcgate_bind [::1]; fcgate_pass 127.0.0.1:9000; }";
    let (right, said) = Nginx::builder().server(other).check();
    assert!(!right && said.contains("one is IPv4, the other IPv6"), "{said}");
}

/// fcgate_bind with a variable: each request has a connection of its own from there, though others are kept
/// in between; no address leaves it to the pool, and what is none is said.
#[test]
fn an_address_may_differ_from_request_to_request() {
    let application = application();
    let pass = format!("fcgate_pass {};", application.address());
    let nginx = Nginx::builder()
        .http("map $arg_from $from { two 127.0.0.2; three 127.0.0.3:0; none \"\"; wrong localhost; default $arg_from; }")
        .server("fcgate_preset plain;\nfcgate_max_connections 1;")
        .server("fcgate_bind $from;")
        .server(format!("location / {{ {pass} }}"))
        .server(format!("location /own {{ fcgate_bind 127.0.0.9; {pass} location /own/off {{ fcgate_bind off; {pass} }} }}"))
        .server("location /balancer { fcgate_pass php; }")
        .http(format!("fcgate_pool php {} bind=127.0.0.8;", application.address()))
        .start();
    let mut client = nginx.client();
    for (target, expected) in [
        ("/?from=none", "127.0.0.1"),
        ("/?from=two", "127.0.0.2"),
        ("/?from=three", "127.0.0.3"),
        ("/?from=127.0.0.4", "127.0.0.4"),
        ("/?from=none", "127.0.0.1"),
        ("/?from=wrong", "127.0.0.1"),
        ("/own?from=two", "127.0.0.9"),
        ("/own/off?from=two", "127.0.0.1"),
        ("/balancer?from=two", "127.0.0.2"),
        ("/balancer?from=none", "127.0.0.8"),
    ] {
        client.get(target).expect(200);
        assert_eq!(source(&application), expected, "{target}");
        let own = !target.ends_with("none") && !target.ends_with("wrong") && !target.starts_with("/own");
        assert_eq!(
            application.requests().pop().unwrap().keep_conn,
            !own && !target.starts_with("/balancer"),
            "{target}"
        );
    }
    nginx.wait_for_log(&["[error]", "fcgate_bind: \"localhost\" is no address", "client: "]);
    application.assert_no_violations();
}

/// `transparent`: a worker that is not root comes from another machine's address, because nginx leaves it
/// the privilege. Without the word it can't, and the line of the log says so.
#[test]
fn a_transparent_address_may_be_foreign() {
    let application = application();
    let pass = format!("fcgate_pass {};", application.address());
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\nfcgate_next_upstream off;")
        .server(format!("location /foreign {{ fcgate_bind 192.0.2.77; {pass} }}"))
        .server(format!("location / {{ fcgate_bind 127.0.0.5 transparent; {pass} }}"))
        .start();
    let mut client = nginx.client();
    client.get("/foreign").expect(502);
    nginx.wait_for_log(&["[error]", "can't be reached", "Cannot assign requested address"]);
    if has_net_raw() {
        client.get("/").expect(200);
        assert_eq!(source(&application), "127.0.0.5");
    }
}

/// fcgate_socket_keepalive has the kernel's timer run on kept connections.
#[test]
fn silent_connections_are_probed() {
    let application = application();
    let pass = format!("fcgate_max_connections 2; fcgate_pass {};", application.address());
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\nfcgate_socket_keepalive on;")
        .server(format!("location / {{ {pass} }}"))
        .start();
    nginx.client().get("/").expect(200);
    let port = application.address().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // The kept connection, seen from nginx: its timer is that of probes.
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(2).is_some_and(|to| to.ends_with(&format!(":{port:04X}"))));
    assert!(line.unwrap().split_whitespace().nth(5).unwrap().starts_with("02:"), "{line:?}");
}

/// F1: fcgate_next_upstream, its tries and its timeout bound what is tried again, and are inherited; other
/// pools come first.
#[test]
fn attempts_are_bounded_in_nginx_words() {
    let application = application();
    let missing = |name: &str| format!("pool unix:/no/such/{name}.sock;");
    let pools: String = ["a", "b", "c"].map(missing).concat();
    let nginx = Nginx::builder()
        .http(format!("fcgate_balancer all {{ {pools} restart_window 1h; }}"))
        .http(format!("fcgate_balancer some {{ {pools} pool {}; restart_window 1h; }}", application.address()))
        .http("log_format told '$uri $fcgate_retries $fcgate_error';")
        .server("access_log {directory}/told.log told;\nfcgate_preset plain;\nfcgate_next_upstream error timeout;")
        .server("fcgate_next_upstream_tries 3;")
        .server("location /three { fcgate_pass all; }")
        .server("location /off { fcgate_next_upstream off; fcgate_pass all; location /off/on { fcgate_next_upstream error; fcgate_pass all; } }")
        .server("location /time { fcgate_next_upstream_tries 0; fcgate_next_upstream_timeout 300ms; fcgate_pass all; }")
        .server("location /some { fcgate_next_upstream_tries 4; fcgate_pass some; }")
        .start();
    let start = Instant::now();
    for path in ["/three", "/off", "/off/on", "/time"] {
        nginx.client().get(path).expect(502);
    }
    nginx.client().send(&Request::post("/some", "body")).expect(200);
    assert!(start.elapsed() < Duration::from_secs(60), "nothing was waited out");
    let read = || std::fs::read_to_string(nginx.directory().join("told.log")).unwrap();
    nginx.wait_until("all are logged", |_| read().lines().count() >= 5);
    let log = read();
    for line in ["/three 2 connect", "/off 0 connect", "/off/on 2 connect"] {
        assert!(log.lines().any(|logged| logged == line), "{line} is not in\n{log}");
    }
    application.assert_no_violations();
}
