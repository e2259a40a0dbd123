//! What applications are told: for the same request the same, whichever server it came through.

use crate::nature::Deed;
use crate::server::{Kind, Server, Site, Way};
use fcgate_kit::{Client, Recorded, Reply, Request, Step};
use std::collections::{BTreeMap, BTreeSet};

through_every_server! {
    /// X6: REQUEST_METHOD is what was sent, by whichever name; a server that does not know it says so.
    methods_are_passed_on;
}

fn methods_are_passed_on(kind: Kind) {
    for way in Way::ALL {
        let application =
            way.application().on_request(|request| Reply::page(200, request.method()).to(request)).start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL", "REPORT"];
        for method in methods.into_iter().chain(["OWN"]) {
            let request = Request::new(method, "/x.php").body("");
            let known = match method {
                "OWN" => kind.does(Deed::AnyMethod),
                "PROPFIND" | "MKCOL" | "REPORT" => kind.does(Deed::WebDav),
                _ => true,
            };
            if known {
                assert_eq!(server.client().send(&request).expect(200).text(), method, "{kind:?}");
            } else {
                // The server's own answer has no marker.
                let page = Client::new(server.address).try_send(&request);
                assert!(page.map_or(true, |page| page.status >= 400), "{kind:?} {method}");
            }
        }
        let unknown = application.requests().iter().filter(|request| request.method() == "OWN").count();
        assert_eq!(unknown, usize::from(kind.does(Deed::AnyMethod)));
        application.assert_no_violations();
    }
}

/// What must differ: the server's name, the ports, and where each test has its files.
fn alike(server: &Server, request: &Recorded) -> BTreeMap<String, String> {
    let (port, root) = (server.address.port().to_string(), server.root.display().to_string());
    let pairs = request.params.iter().map(|(name, value)| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = text(name);
        let value = match name.as_str() {
            "SERVER_SOFTWARE" | "REMOTE_PORT" => "…".to_owned(),
            _ => text(value).replace(&root, "{root}").replace(&port, "{port}"),
        };
        (name, value)
    });
    pairs.collect()
}

/// The lines in which two environments differ.
fn difference(ours: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(other.keys()).collect();
    let differs = names.into_iter().filter(|name| ours.get(*name) != other.get(*name));
    differs.map(|name| format!("{name}: {:?} and {:?}", ours.get(name), other.get(name))).collect()
}

/// The table of requests.
fn requests() -> Vec<(&'static str, Request)> {
    let body: Vec<u8> = (0..200_000).map(|at| (at % 251) as u8).collect();
    vec![
        ("a page", Request::get("/x.php")),
        ("a query", Request::get("/x.php?a=b%20c&d=%2F&e")),
        ("path info", Request::get("/x.php/some/path%20info/?q")),
        ("an encoded name", Request::get("/dir/a%20b.php")),
        ("the index", Request::get("/")),
        ("doubled slashes", Request::get("/dir//a%20b.php")),
        ("dot segments", Request::get("/dir/../x.php")),
        ("HEAD", Request::head("/x.php")),
        ("another method", Request::new("DELETE", "/x.php")),
        (
            "header fields",
            Request::get("/x.php")
                .field("X-One", "1")
                .field("X-Two", "a, b")
                .field("X-Repeated", "first")
                .field("X-Repeated", "second")
                .field("Accept-Language", "de, en;q=0.5")
                .field("User-Agent", "a client")
                .field("Referer", "http://example.net/?a=b")
                .field("Proxy", "http://evil.example")
                .field("Connection", "keep-alive, X-One")
                .field("X.Dotted", "dropped")
                .field("Redirect-Status", "forged"),
        ),
        ("a cookie", Request::get("/x.php").field("Cookie", "a=1; b=2")),
        ("credentials", Request::get("/x.php").field("Authorization", "Bearer token")),
        ("a small body", Request::post("/x.php", "a=b").field("Content-Type", "text/plain")),
        (
            "a large body",
            Request::post("/x.php", body.clone()).field("Content-Type", "application/octet-stream"),
        ),
        ("a body of nothing", Request::post("/x.php", "")),
        ("a chunked body", Request::new("PUT", "/x.php/put").chunked([&b"one"[..], b"two"])),
        ("a large chunked body", Request::new("PUT", "/x.php").chunked([&body[..], &body[..]])),
        ("HTTP/1.0", Request::get("/x.php").http_1_0()),
        ("HTTP/1.0 with a body", Request::post("/x.php", "abc").http_1_0()),
    ]
}

/// Sends the table through these servers and holds what is seen at both ends against the first one's.
fn compare(way: Way, kinds: &[Kind], settle: impl Fn(Site) -> Site) {
    let application = way
        .application()
        .on_request(|request| -> Vec<Step> {
            let path = request.param("SCRIPT_NAME").unwrap_or_default().to_owned();
            Reply::new()
                .stdout(format!("Status: 203 Odd\r\nContent-Type: text/plain\r\nX-Path: {path}\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"))
                .stdout(format!("{} {}", request.method(), request.stdin.len()))
                .end_stdout()
                .end()
                .to(request)
        })
        .start();
    let servers: Vec<Server> = kinds
        .iter()
        .map(|kind| {
            let site = settle(way.site(*kind, &application.address()));
            site.file("index.php", "").file("dir/a b.php", "").file("x.php", "").start()
        })
        .collect();
    let mut differences = Vec::new();
    for (what, request) in requests() {
        let mut first: Option<(BTreeMap<String, String>, Recorded, Vec<String>)> = None;
        for server in &servers {
            let before = application.requests().len();
            let page = server.client().send(&request).expect(203);
            let fields = ["Content-Type", "X-Path"].map(|name| page.field(name).unwrap_or("none").to_owned());
            let cookies: Vec<String> = page.fields("Set-Cookie").map(str::to_owned).collect();
            let reason = if server.kind.does(Deed::Reason) { "Odd" } else { "Non-Authoritative Information" };
            assert_eq!(page.reason, reason, "{what}, {:?}", server.kind);
            let answer = [fields.to_vec(), cookies, vec![page.text()]].concat();
            let recorded = application.requests().swap_remove(before);
            let params = alike(server, &recorded);
            assert_eq!(recorded.keep_conn, way.kept, "{what}, {:?}", server.kind);
            let Some((known, reference, right)) = &first else {
                first = Some((params, recorded, answer));
                continue;
            };
            let named = |line| format!("{what}: {:?} and {:?}: {line}", kinds[0], server.kind);
            differences.extend(difference(known, &params).into_iter().map(named));
            assert_eq!(recorded.role, reference.role, "{what}, {:?}", server.kind);
            assert!(recorded.stdin == reference.stdin, "{what}, {:?}: another body", server.kind);
            if answer != *right {
                differences.push(named(format!("answered {right:?} and {answer:?}")));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    if !way.kept {
        assert_eq!(application.connections(), application.requests().len());
    }
    application.assert_no_violations();
}

/// X1 to X13, E2: for the same request the params, the role and the body are the same in all servers but for
/// what must differ, and so is the answer; over unix sockets and TCP, kept and not kept.
#[test]
fn applications_are_told_the_same() {
    for way in Way::ALL {
        compare(way, &Kind::ALL, |site| site);
    }
}

/// The same words do the same: credentials that are not passed, bodies that stream, responses laid aside.
#[test]
fn the_same_words_do_the_same() {
    for way in Way::ALL {
        compare(way, &Kind::ALL, |site| {
            let site = site.setting("request_body", "stream").setting("response_body", "spool");
            site.setting("pass_authorization", "off")
        });
    }
}

/// X1: so do directives of params, where there are such.
#[test]
fn the_same_params_are_set_and_unset() {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !kind.is_example()).collect();
    let way = Way { tcp: false, kept: true };
    compare(way, &kinds, |site| site.param("APP_ENV", "production").param_unset("HTTP_COOKIE"));
}
