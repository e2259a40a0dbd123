//! The same requests through Apache, lighttpd and nginx, with the same words of configuration: the
//! application is told the same, and the client gets the same.

use fcgate_kit::{Apache, Application, Client, Gate, Lighttpd, Mpm, Nginx, Recorded, Reply, Request, Step};
use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A server that runs, and where.
struct Server {
    name: &'static str,
    client: Client,
    port: u16,
    root: PathBuf,
    _running: Box<dyn Any>,
}

/// The three of them before one application. `lines` in the words of Apache, lighttpd and nginx.
fn servers(address: &str, lines: [&str; 3]) -> [Server; 3] {
    let files = ["index.php", "dir/a b.php", "x.php"];
    let [apache, lighttpd, nginx] = lines;
    let builder = Apache::with(Mpm::Event).config(format!(
        "FcgateBalancer php {address}\nFcgateMap .php php\nDirectoryIndex index.php\n{apache}"
    ));
    let apache = files.iter().fold(builder, |builder, file| builder.file(file, "")).start();
    let builder = Lighttpd::builder().config(format!(
        "fcgate.balancers = ( \"php\" => \"{address}\" )\nfcgate.map = ( \".php\" => \"php\" )\n{lighttpd}"
    ));
    let lighttpd = files.iter().fold(builder, |builder, file| builder.file(file, "")).start();
    let builder = Nginx::builder()
        .server(format!("index index.php;\nlocation ~ \\.php(/|$) {{ fcgate_pass {address}; }}\n{nginx}"));
    let nginx = files.iter().fold(builder, |builder, file| builder.file(file, "")).start();
    [
        Server {
            name: "Apache",
            client: apache.client(),
            port: apache.address().port(),
            root: apache.directory().path().to_owned(),
            _running: Box::new(apache),
        },
        Server {
            name: "lighttpd",
            client: lighttpd.client(),
            port: lighttpd.address().port(),
            root: lighttpd.directory().path().to_owned(),
            _running: Box::new(lighttpd),
        },
        Server {
            name: "nginx",
            client: nginx.client(),
            port: nginx.address().port(),
            root: nginx.directory().path().to_owned(),
            _running: Box::new(nginx),
        },
    ]
}

/// What must differ: the server's name, the ports, and where each test has its files.
fn alike(server: &Server, request: &Recorded) -> BTreeMap<String, String> {
    let (port, root) = (server.port.to_string(), server.root.display().to_string());
    let pairs = request.params.iter().map(|(name, value)| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = text(name);
        let value = match name.as_str() {
            "SERVER_SOFTWARE" | "REMOTE_PORT" => "…".to_owned(),
            _ => text(value).replace(&root, "{directory}").replace(&port, "{port}"),
        };
        let value = value
            .replace("{directory}/html", "{directory}/root")
            .replace("{directory}/htdocs", "{directory}/root");
        (name, value)
    });
    pairs.collect()
}

/// The lines in which two environments differ.
fn difference(ours: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(other.keys()).collect();
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

fn compare(lines: [&str; 3]) {
    let application = Application::unix()
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
    let mut servers = servers(&application.address(), lines);
    let mut differences = Vec::new();
    for (what, request) in requests() {
        let mut seen: Vec<(BTreeMap<String, String>, Recorded, Vec<String>)> = Vec::new();
        for server in &mut servers {
            let before = application.requests().len();
            let page = server.client.send(&request).expect(203);
            let fields = ["Content-Type", "X-Path"].map(|name| page.field(name).unwrap_or("none").to_owned());
            let cookies: Vec<String> = page.fields("Set-Cookie").map(str::to_owned).collect();
            let answer = [fields.to_vec(), cookies, vec![page.text()]].concat();
            let recorded = application.requests().swap_remove(before);
            seen.push((alike(server, &recorded), recorded, answer));
        }
        for (other, server) in seen[1..].iter().zip(&servers[1..]) {
            let (params, recorded, answer) = &seen[0];
            let lines = difference(params, &other.0);
            differences
                .extend(lines.iter().map(|line| format!("{what}: Apache and {}: {line}", server.name)));
            assert_eq!(recorded.role, other.1.role, "{what}, {}", server.name);
            assert!(recorded.stdin == other.1.stdin, "{what}, {}: another body", server.name);
            assert_eq!(*answer, other.2, "{what}, {}", server.name);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    application.assert_no_violations();
}

/// X1 to X13: for the same request the params, the role and the body are the same in all servers but for
/// what must differ, and so is the answer.
#[test]
fn applications_are_told_the_same() {
    compare(["", "", ""]);
}

/// The same words do the same: params, kept connections, a preset, bodies that stream.
#[test]
fn the_same_words_do_the_same() {
    compare([
        "FcgateParam APP_ENV production\nFcgateParamUnset HTTP_COOKIE\nFcgateRequestBody stream\n\
         FcgatePassAuthorization off\nFcgateResponseBody spool",
        "fcgate.param = ( \"APP_ENV\" => \"production\" )\nfcgate.param_unset = ( \"HTTP_COOKIE\" )\n\
         fcgate.request_body = \"stream\"\nfcgate.pass_authorization = \"off\"\nfcgate.response_body = \"spool\"",
        "fcgate_param APP_ENV production;\nfcgate_param_unset HTTP_COOKIE;\nfcgate_request_body stream;\n\
         fcgate_pass_authorization off;\nfcgate_response_body spool;",
    ]);
}

/// F1 to F6, H5, A4: what goes wrong, and what has no body, gets the same status from all servers.
#[test]
fn failures_look_the_same() {
    let stall = Gate::new();
    let gate = stall.clone();
    let application = Application::unix()
        .on_request(move |request| {
            let reply = Reply::new();
            let reply = match request.param("QUERY_STRING").unwrap_or_default() {
                "close" => reply.close(),
                "garbage" => reply.raw("HTTP/1.1 200 OK\r\n\r\n"),
                "no-head" => reply.end_stdout().end(),
                "bad-head" => reply.stdout("no colon\r\n\r\n").end(),
                "overloaded" => reply.overloaded(),
                "stall" => reply.stall(&gate),
                "empty" => reply.stdout("Status: 204\r\n\r\n").end_stdout().end(),
                "unchanged" => reply.stdout("Status: 304\r\nETag: \"a\"\r\n\r\n").end_stdout().end(),
                "moved" => reply.stdout("Location: http://example.net/x\r\n\r\n").end_stdout().end(),
                "own" => reply.stdout("Status: 418 Teapot\r\n\r\ntea").end_stdout().end(),
                other => panic!("{other}"),
            };
            reply.to(request)
        })
        .start();
    let mut servers = servers(
        &application.address(),
        ["FcgateHeadTimeout 300ms", "fcgate.head_timeout = \"300ms\"", "fcgate_head_timeout 300ms;"],
    );
    for (query, status) in [
        ("close", 502),
        ("garbage", 502),
        ("no-head", 502),
        ("bad-head", 502),
        ("overloaded", 503),
        ("stall", 504),
        ("empty", 204),
        ("unchanged", 304),
        ("moved", 302),
        ("own", 418),
    ] {
        for server in &mut servers {
            let page = server.client.send(&Request::post(&format!("/x.php?{query}"), ""));
            assert_eq!(page.status, status, "{query}, {}", server.name);
        }
    }
    for server in &mut servers {
        let page = server.client.get("/none.php");
        assert_eq!(page.status, 404, "{}", server.name);
    }
    stall.open();
}
