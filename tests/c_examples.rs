//! The C examples: short, and run under valgrind against a scripted application, for what they print.

use fcgate_kit::http::{Client, Ending, Request};
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Application, Directory, Gate, PhpFpm, Reply, free_port};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("build").join(name);
    assert!(path.exists(), "{} is not there: run `make` first", path.display());
    path
}

/// Runs an example under valgrind, which must find nothing.
fn run(name: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("valgrind")
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,possible"])
        .arg(built(name))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind is not installed (Debian: apt-get install valgrind)");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn echo() -> Application {
    Application::unix()
        .on_request(|request| {
            let body = String::from_utf8_lossy(&request.stdin).into_owned();
            Reply::page(200, format!("got <{body}>")).to(request)
        })
        .start()
}

/// Every example stays under 150 lines and says how to build it.
#[test]
fn examples_are_short_and_say_what_they_are() {
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("c_examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "c") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.lines().count() <= 150, "{} is too long", path.display());
            assert!(text.starts_with("/*") && text.contains(" *     cc "), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 7);
}

#[test]
fn forward_prints_head_and_body() {
    let application = echo();
    let output = run("forward", &[&application.address().to_string(), "/x.php", "a=b"], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("Status: 200\n") && text.ends_with("\n\ngot <>"), "{text}");
    let query = (b"QUERY_STRING".to_vec(), b"a=b".to_vec());
    assert!(application.request(0).params.contains(&query));
}

#[test]
fn pull_sends_its_input() {
    let application = echo();
    let output = run("pull", &[&application.address().to_string(), "/x.php"], &[b'x'; 100_000]);
    assert_eq!(output.stdout.len(), 100_000 + "got <>".len());
    assert!(String::from_utf8_lossy(&output.stderr).contains("status 200"));
}

#[test]
fn dlopen_loads_and_calls() {
    let application = echo();
    let library = built("libfcgate.so.0");
    let output =
        run("dlopen", &[library.to_str().unwrap(), &application.address().to_string(), "/x.php"], b"");
    assert_eq!(output.stdout, b"got <>");
}

#[test]
fn epoll_makes_many_requests() {
    let application = echo();
    let pool = format!("{} max_connections=3", application.address());
    let output = run("epoll", &[&pool, "/x.php", "200", "20", "hello"], b"");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("200 whole, 0 failed, 2200 bytes"), "{told}");
    assert!(application.requests().iter().all(|request| request.stdin == b"hello"));
    application.assert_no_violations();
}

/// A thousand exchanges, a hundred of them in flight: multiplexed on one connection, else on as many as
/// the pool may have.
#[test]
fn epoll_many_makes_a_thousand_requests() {
    for (settings, multiplexes) in [("multiplex=on max_connections=1", true), ("max_connections=20", false)] {
        let builder = if multiplexes { Application::unix().multiplex() } else { Application::unix() };
        let application = builder.on_request(|request| Reply::page(200, "a page").to(request)).start();
        let pool = format!("{} {settings}", application.address());
        let output = run("epoll_many", &[&pool, "/x.php", "1000", "100"], b"");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            told.starts_with("1000 whole, 0 failed, ") && told.ends_with(" requests per second\n"),
            "{told}"
        );
        let numbers = application.count_by("QUERY_STRING");
        assert!((0..1000).all(|number| numbers.get(&number.to_string()) == Some(&1)), "{numbers:?}");
        let connections = application.connections();
        assert!(
            if multiplexes { connections == 1 } else { (2..=20).contains(&connections) },
            "{connections}"
        );
        application.assert_no_violations();
    }
}

/// A5, F5, H7: the web server: a page, HEAD, bodies of known and unknown length, an error page, a cut
/// response.
#[test]
fn civetweb_server_serves_scripts() {
    let directory = Directory::new();
    directory.write("index.php", "");
    directory.write("plain.txt", "a file");
    let application = Application::unix()
        .on_request(|request| {
            let uri = request.params.iter().find(|(name, _)| name == b"QUERY_STRING").unwrap().1.clone();
            match &uri[..] {
                b"cut" => Reply::new().stdout("Content-Type: text/plain\r\n\r\nhalf").close().to(request),
                b"sized" => Reply::new().stdout("Content-Length: 9\r\n\r\nhalf").close().to(request),
                b"bad" => Reply::new().stdout("no head\n\n").end().to(request),
                _ => Reply::page(200, format!("got {} bytes", request.stdin.len())).to(request),
            }
        })
        .start();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = Process::command(built("civetweb_server"))
        .args(["--listen", &address.to_string(), "--root", directory.path().to_str().unwrap()])
        .args(["--pool", &format!("{} max_connections=4", application.address())])
        .ready(Ready::Tcp(address))
        .start();
    let mut client = Client::new(address).expect_field("X-Fcgate-Example", "civetweb");
    assert_eq!(client.get("/").expect(200).text(), "got 0 bytes");
    assert!(client.send(&Request::head("/index.php")).expect(200).body.is_empty());
    assert_eq!(
        client.send(&Request::post("/index.php", vec![7; 200_000])).expect(200).text(),
        "got 200000 bytes"
    );
    let chunked = Request::new("POST", "/index.php").chunked([vec![1; 1000], vec![2; 70_000]]);
    assert_eq!(client.send(&chunked).expect(200).text(), "got 71000 bytes");
    for target in ["/index.php?cut", "/index.php?sized"] {
        let cut = Client::new(address).get(target);
        assert!(matches!(cut.ending, Ending::Cut(_)), "{target} looked whole");
    }
    assert_eq!(Client::new(address).get("/index.php?bad").status, 502);
    assert_eq!(Client::new(address).get("/none.php").status, 404);
    assert_eq!(Client::new(address).get("/plain.txt").text(), "a file");
    drop(server);
    application.assert_no_violations();
}

/// libevent's server with a pool behind it.
fn libevent_server(root: &Path, pool: &str) -> (Process, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = Process::command(built("libevent_server"))
        .args([&address.port().to_string(), root.to_str().unwrap(), pool])
        .ready(Ready::Tcp(address))
        .start();
    (server, address)
}

/// Longer than evhttp and the sockets hold of a response.
const LARGE: usize = 32 << 20;

/// The evented web server before php-fpm: pages, bodies, HEAD, statuses, a large response to a client that
/// takes it late.
#[test]
fn libevent_server_serves_php() {
    let php = PhpFpm::unix().start();
    php.script("index.php", "<?php echo 'php says ', $_SERVER['REQUEST_METHOD'], ' ', $_GET['a'] ?? '';");
    php.script("body.php", "<?php http_response_code(201); echo file_get_contents('php://input');");
    php.script("gone.php", "<?php http_response_code(410); header('X-Own: yes'); echo 'gone';");
    php.script("none.php", "<?php http_response_code(204);");
    php.script(
        "large.php",
        &format!("<?php for ($i = 0; $i < {LARGE}; $i += 65536) echo str_repeat('x', 65536);"),
    );
    let (server, address) = libevent_server(&php.document_root(), php.address());
    let mut client = Client::new(address).expect_field("X-Fcgate-Example", "libevent");
    assert_eq!(client.get("/?a=b").expect(200).text(), "php says GET b");
    for body in [vec![7; 10], vec![7; 300_000]] {
        assert!(client.send(&Request::post("/body.php", &body[..])).expect(201).body == body);
    }
    assert!(client.send(&Request::head("/index.php")).expect(200).body.is_empty());
    assert_eq!(client.get("/gone.php").expect(410).field("X-Own"), Some("yes"));
    assert!(client.get("/none.php").expect(204).body.is_empty());
    assert_eq!(client.get("/index.php").expect(200).text(), "php says GET ");
    let pipelined =
        b"GET /index.php?a=1 HTTP/1.1\r\nHost: x\r\n\r\nGET /index.php?a=2 HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write(pipelined).unwrap();
    for answer in ["php says GET 1", "php says GET 2"] {
        assert_eq!(client.read_response("GET").unwrap().expect(200).text(), answer);
    }
    assert_eq!(client.connects(), 1, "a connection was not kept");
    assert_eq!(Client::new(address).get("/missing.php").status, 404);
    let old =
        Client::new(address).send(&Request::get("/index.php").http_1_0().field("Connection", "keep-alive"));
    assert_eq!(old.expect(200).text(), "php says GET ");

    let mut slow = Client::new(address);
    slow.send_part(&Request::get("/large.php"), 0).unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/index.php").expect(200).text(), "php says GET ");
    }
    let large = slow.read_response("GET").unwrap();
    assert!(large.is_complete() && large.body.len() == LARGE);
    drop(server);
}

/// F5, F7: clients that leave, before and within the response, and responses that are cut leave nothing behind
/// that is used once more: valgrind finds nothing, whether the application may finish or not.
#[test]
fn libevent_server_uses_nothing_that_is_gone() {
    let directory = Directory::new();
    directory.write("index.php", "");
    for setting in ["", " ignore_client_abort=on"] {
        let gate = Gate::new();
        let late = gate.clone();
        let application = Application::unix()
            .on_request(move |request| match request.param("QUERY_STRING") {
                Some("wait") => Reply::new().stall(&late).stdout("X: y\r\n\r\nlate").end().to(request),
                Some("cut") => {
                    Reply::new().stdout("Content-Type: text/plain\r\n\r\nhalf").close().to(request)
                }
                Some("large") => Reply::page(200, vec![b'x'; LARGE]).to(request),
                _ => Reply::page(200, "a page").to(request),
            })
            .start();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut server = Process::command("valgrind")
            .args(["--quiet", "--error-exitcode=99"])
            .arg(built("libevent_server"))
            .args([&address.port().to_string(), directory.path().to_str().unwrap()])
            .arg(format!("{}{setting}", application.address()))
            .ready(Ready::Tcp(address))
            .start();
        for (count, target) in ["/index.php?wait", "/index.php?large"].into_iter().enumerate() {
            let mut client = Client::new(address);
            client.send_part(&Request::get(target), 0).unwrap();
            application.wait_for_requests(2 * count + 1);
            client.close();
            assert_eq!(Client::new(address).get("/index.php").expect(200).text(), "a page");
        }
        gate.open();
        for request in [Request::get("/index.php?cut"), Request::get("/index.php?cut").http_1_0()] {
            let cut = Client::new(address).try_send(&request);
            assert!(cut.map_or(true, |cut| !cut.is_complete()), "a cut response looked whole");
            assert_eq!(Client::new(address).get("/index.php").expect(200).text(), "a page");
        }
        server.signal(libc::SIGTERM);
        assert!(server.wait().success(), "{}", server.output());
    }
}
