//! The whole examples of the documentation: they load as they stand, with their sockets and directories in place,
//! and answer one table of requests alike.

use crate::server::{Kind, Server};
use fcgate_kit::{Apache, Application, Lighttpd, Mpm, Nginx, Request};

/// An example's files; what they are replaced by is in a private directory.
const FILES: [&str; 4] = ["root/index.php", "root/reports", "wiki/doku.php", "reports/index.php"];

/// The three before one application.
fn examples(application: &Application) -> [Server; 3] {
    let address = application.address();
    let in_place = |config: &str| {
        config
            .replace("unix:/run/php/php8.2-fpm.sock", &address)
            .replace("unix:/run/php/reports.sock", &address)
            .replace("unix:/run/fcgiwrap.socket", &address)
            .replace("/srv/www", "{root}")
            .replace("/srv/reports", "{directory}/reports")
            .replace("/usr/share/dokuwiki", "{directory}/wiki")
            .replace("*:443", "*:{port}")
            .replace("server.modules += ( \"mod_fcgate\" )\n", "")
            .replace(
                "listen 443 ssl http2;",
                "listen 127.0.0.1:{port}; add_header X-Fcgate-Test {port} always;",
            )
    };
    let config = in_place(include_str!("../../docs/apache-example.conf"));
    let apache = Apache::with(Mpm::Event).module("authz_host").config(config);
    let lighttpd = Lighttpd::builder().config(in_place(include_str!("../../docs/lighttpd-example.conf")));
    let nginx = Nginx::builder().http(in_place(include_str!("../../docs/nginx-example.conf")));
    for directory in [apache.directory(), lighttpd.directory(), nginx.directory()] {
        FILES.iter().for_each(|file| drop(directory.write(file, "")));
    }
    [apache.start().into(), lighttpd.start().into(), nginx.start().into()]
}

/// A line of the table as it is for one of the three, whose examples differ in two places.
fn line(kind: Kind, line: [&str; 4]) -> [&str; 4] {
    match (kind, line[0]) {
        // Its rewrite takes all that is no file.
        (Kind::Lighttpd, "/index.php/a") => [line[0], "/index.php", "", line[3]],
        // One script for all below it, where the others have a file.
        (Kind::Nginx, "/reports") => ["/reports/a", "", "/reports/a", "reports/index.php"],
        _ => line,
    }
}

/// S10, X6: the three examples load and answer one table of requests alike; params of all levels are there, those
/// of a condition where it holds.
#[test]
fn the_whole_examples_answer_alike() {
    let application = Application::unix().start();
    for server in examples(&application) {
        let mut client = server.client().host("www.example.net");
        let directory = server.root.parent().unwrap().display().to_string();
        for [target, script, info, file] in [
            ["/", "/index.php", "", "root/index.php"],
            ["/index.php", "/index.php", "", "root/index.php"],
            ["/index.php/a", "/index.php", "/a", "root/index.php"],
            ["/no/such/page?a=b", "/index.php", "", "root/index.php"],
            ["/api/x", "/index.php", "", "root/index.php"],
            ["/dokuwiki/doku.php", "/dokuwiki/doku.php", "", "wiki/doku.php"],
            ["/reports", "/reports", "", "root/reports"],
            [
                "/git/repository.git/info/refs?service=git-upload-pack",
                "/git",
                "/repository.git/info/refs",
                "/usr/lib/git-core/git-http-backend",
            ],
        ]
        .map(|each| line(server.kind, each))
        {
            let file = if file.starts_with('/') { file.to_owned() } else { format!("{directory}/{file}") };
            for https in ["", "on"] {
                let request = Request::get(target);
                let request =
                    if https == "on" { request.field("X-Forwarded-Proto", "https") } else { request };
                client.send(&request).expect(200);
                let request = application.requests().pop().unwrap();
                let git = if target.starts_with("/git/") { "/srv/git" } else { "" };
                let names =
                    ["REQUEST_URI", "SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME", "APP_ENV", "HTTPS"];
                assert_eq!(
                    names.map(|name| request.param(name).unwrap_or("")),
                    [target, script, info, &file, "production", https],
                    "{:?}",
                    server.kind
                );
                assert_eq!(request.param("GIT_PROJECT_ROOT").unwrap_or(""), git);
            }
        }
        let before = application.requests().len();
        match server.kind {
            // Its example has a page of its own in that place.
            Kind::Lighttpd => {
                assert!(
                    client.get("/fcgate-status?json").expect(200).text().contains(&application.address())
                );
            }
            _ => drop(client.get("/fpm-status").expect(403)),
        }
        assert_eq!(application.requests().len(), before);
    }
    application.assert_no_violations();
}
