//! Real applications, each behind Apache, lighttpd and nginx with the settings that docs/applications.md has for it:
//! one table of requests for all.

#[path = "applications/packages.rs"]
mod packages;
#[path = "applications/page.rs"]
mod page;
#[path = "applications/runtimes.rs"]
mod runtimes;
#[path = "applications/servers.rs"]
mod servers;

use fcgate_kit::unix_sockets::{connections, wait_for_no_connection};
use fcgate_kit::{Client, Request};
use page::Section;
use runtimes::Runtime;
use servers::{Script, Server};
use std::path::Path;
use std::process::Command;

/// What is known of a runtime.
struct Case {
    /// Its heading on the page, and what it calls itself in its answers.
    names: [&'static str; 2],
    start: fn(&Section) -> Runtime,
    /// Where it is, and the file that has to be there.
    url: &'static str,
    script: Option<Script>,
    /// What an empty PATH_INFO is to it.
    no_path: &'static str,
    /// Whether a connection is kept with the settings of the page.
    keeps: bool,
    /// Whether it writes to FastCGI's standard error.
    logs: bool,
}

/// Behind a prefix, without a script.
const PLAIN: Case = Case {
    names: ["", ""],
    start: runtimes::go,
    url: "/app",
    script: None,
    no_path: "",
    keeps: true,
    logs: true,
};

#[test]
fn php_fpm() {
    let script = ("application.php", include_str!("applications/application.php"));
    let names = ["php-fpm", "php-fpm"];
    Case { names, start: runtimes::php_fpm, url: "/application.php", script: Some(script), ..PLAIN }.run();
}

#[test]
fn go() {
    Case { names: ["Go", "go"], start: runtimes::go, logs: false, ..PLAIN }.run();
}

#[test]
fn flup() {
    Case { names: ["flup", "flup"], start: runtimes::flup, keeps: false, ..PLAIN }.run();
}

#[test]
fn plack() {
    Case { names: ["Plack", "plack"], start: runtimes::plack, ..PLAIN }.run();
}

#[test]
fn libfcgi() {
    Case { names: ["libfcgi in C", "libfcgi"], start: runtimes::libfcgi, ..PLAIN }.run();
}

#[test]
fn fcgiwrap() {
    let script = ("application.cgi", include_str!("applications/application.cgi"));
    let names = ["fcgiwrap", "fcgiwrap"];
    Case {
        names,
        start: runtimes::fcgiwrap,
        url: "/application.cgi",
        script: Some(script),
        keeps: false,
        ..PLAIN
    }
    .run();
}

#[test]
fn node() {
    Case { names: ["node-fastcgi", "node-fastcgi"], start: runtimes::node, keeps: false, ..PLAIN }.run();
}

#[test]
fn ruby() {
    Case { names: ["Ruby", "rack"], start: runtimes::ruby, keeps: false, logs: false, ..PLAIN }.run();
}

#[test]
fn lua() {
    Case { names: ["Lua", "wsapi"], start: runtimes::lua, no_path: "/", keeps: false, ..PLAIN }.run();
}

/// E10: what the page says of requests that share a connection. (Apache has one request on each all the same.)
#[test]
fn go_multiplexed() {
    let section = Section::of("Go").with(&[
        ("max_connections=100", "max_connections=1 multiplex=on"),
        ("\"max_connections\" => 100", "\"max_connections\" => 1, \"multiplex\" => \"enable\""),
        ("fcgate_max_connections 100;", "fcgate_max_connections 1; fcgate_multiplex on;"),
    ]);
    Case { names: ["Go", "go"], start: runtimes::go, logs: false, ..PLAIN }.run_with(&section);
}

/// E10: likewise.
#[test]
fn flup_multiplexed() {
    let section = Section::of("flup").with(&[
        ("keep_conn=off", "max_connections=1 multiplex=on"),
        ("\"keep_conn\" => \"off\"", "\"max_connections\" => 1, \"multiplex\" => \"enable\""),
        ("fcgate_keep_conn off;", "fcgate_max_connections 1; fcgate_multiplex on;"),
    ]);
    Case { names: ["flup", "flup"], start: runtimes::flup_multiplexed, ..PLAIN }.run_with(&section);
}

/// A body that is no text and no repetition of a record.
fn body(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|at| ((at ^ seed).wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// By another program than those that are tested.
fn digest(bytes: &[u8]) -> String {
    let directory = fcgate_kit::Directory::new();
    let file = directory.write("body", bytes);
    let output = Command::new("sha256sum").arg(file).output().expect("sha256sum runs");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

impl Case {
    fn run(&self) {
        self.run_with(&Section::of(self.names[0]));
    }

    fn run_with(&self, section: &Section) {
        let mut runtime = (self.start)(section);
        for name in Server::NAMES {
            let server = Server::start(name, section, &runtime.socket, self.script);
            let mut client = server.client();
            self.answers(name, &mut client);
            self.logs(&server, &mut client);
            self.keeps_connections(name, &mut client, &runtime.socket);
            self.answers_many(&server);
            let log = server.log();
            let said = log.lines().find(|line| line.contains("fcgate") && line.contains("; error "));
            assert_eq!(said, None, "{name}");
            runtime.crash_and_restart();
            self.answers(name, &mut server.client());
        }
    }

    fn url(&self, rest: &str) -> String {
        format!("{}{rest}", self.url)
    }

    /// The lines of an answer to `do=params`.
    fn expected(&self, method: &str, query: &str, path: &str, length: &str) -> String {
        format!(
            "REQUEST_METHOD={method}\nQUERY_STRING={query}\nSCRIPT_NAME={}\nPATH_INFO={path}\nCONTENT_LENGTH={length}\nHTTP_X_WORD=Grüße\n",
            self.url
        )
    }

    /// A page, params, bodies, statuses.
    fn answers(&self, server: &str, client: &mut Client) {
        let what = format!("{} behind {server}", self.names[0]);
        let query = "do=params&a=b%20c";
        let page =
            client.send(&Request::get(&self.url(&format!("/some%20path?{query}"))).field("X-Word", "Grüße"));
        let page = page.expect(200);
        assert_eq!(page.text(), self.expected("GET", query, "/some path", ""), "{what}");
        assert_eq!(page.field("X-Application"), Some(self.names[1]), "{what}");
        assert_eq!(
            page.field("Content-Type").map(|value| value.split(';').next().unwrap()),
            Some("text/plain"),
            "{what}"
        );

        let page =
            client.send(&Request::post(&self.url("?do=params"), "abc").field("X-Word", "Grüße")).expect(200);
        assert_eq!(page.text(), self.expected("POST", "do=params", self.no_path, "3"), "{what}");

        let sent = body(300_000, 1);
        let page = client.send(&Request::post(&self.url("?do=echo"), sent.clone())).expect(200);
        assert!(page.body == sent, "{what}: another body");
        // Not every language has it at hand.
        if let Some(seen) = page.field("X-Digest") {
            assert_eq!(seen, digest(&sent), "{what}");
        }
        assert_eq!(client.send(&Request::post(&self.url("?do=echo"), "")).expect(200).text(), "", "{what}");

        let page = client.get(&self.url("?do=large")).expect(200);
        assert!(page.body == b"0123456789abcdef".repeat(65_536), "{what}: {} bytes", page.body.len());
        assert_eq!(client.get(&self.url("?do=missing")).expect(404).text(), "not here", "{what}");
        let page = client.get(&self.url("?do=moved")).expect(302);
        assert_eq!(page.field("Location"), Some("https://example.net/elsewhere"), "{what}");
    }

    /// What it writes to FastCGI's standard error is in the server's error log.
    fn logs(&self, server: &Server, client: &mut Client) {
        if self.logs {
            assert_eq!(client.get(&self.url("?do=log")).expect(200).text(), "logged");
            server.wait_for_log(&["application: ", "a line for the log"]);
        }
    }

    /// One connection for one request after the other, or one for each.
    fn keeps_connections(&self, server: &str, client: &mut Client, socket: &Path) {
        let mut get = || client.get(&self.url("?do=missing")).expect(404);
        get();
        if self.keeps {
            let before = connections(socket);
            get();
            get();
            assert!(!before.is_empty(), "{} behind {server}", self.names[0]);
            assert_eq!(before, connections(socket), "{} behind {server}", self.names[0]);
        } else {
            wait_for_no_connection(socket);
        }
    }

    /// Fifty requests by eight clients, one in five with a body.
    fn answers_many(&self, server: &Server) {
        std::thread::scope(|scope| {
            for number in 0..8 {
                let mut client = server.client();
                scope.spawn(move || {
                    for request in (number..50).step_by(8) {
                        let query = format!("do=params&number={request}");
                        let page = client
                            .send(&Request::get(&self.url(&format!("?{query}"))).field("X-Word", "Grüße"));
                        assert_eq!(page.expect(200).text(), self.expected("GET", &query, self.no_path, ""));
                        if request % 5 == 0 {
                            let sent = body(20_000, request as u32);
                            let page = client.send(&Request::post(&self.url("?do=echo"), sent.clone()));
                            assert!(page.expect(200).body == sent, "{request} has another's body");
                        }
                    }
                });
            }
        });
    }
}

/// Nothing is on the page that no test loads.
#[test]
fn every_runtime_of_the_page_is_tested() {
    assert_eq!(
        Section::runtimes(),
        ["php-fpm", "Go", "flup", "Plack", "libfcgi in C", "fcgiwrap", "node-fastcgi", "Ruby", "Lua"]
    );
}
