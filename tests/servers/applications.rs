//! Real applications behind every server.

use crate::server::{Kind, Server, Way};
use crate::wiki;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Directory, Mpm, PhpFpm, free_port};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

through_every_server! {
    /// F12, X6, H1: DokuWiki as Debian installs it, by an alias outside the document root where there are
    /// aliases: page, the large css.php, log-in, an edit by multipart form saved and read back, an upload of
    /// 5 MiB and its download byte for byte; over kept connections and without.
    dokuwiki_works;
    /// X11, E9: git over HTTP by fcgiwrap: a plain application; a push of several megabytes, whose body is
    /// chunked, and a clone that brings them back.
    git_is_pushed_and_cloned;
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("a path of ours is UTF-8").to_owned()
}

/// What fcgate itself has to say is nothing; what the applications warn of is theirs.
fn assert_nothing_failed(server: &Server, address: &str) {
    let log = server.log();
    let said = log.lines().find(|line| line.contains(address) && !line.contains("application: "));
    assert_eq!(said, None);
}

/// The ways that differ most, and Apache's MPMs.
const RUNS: [(Way, Mpm); 3] = [
    (Way { tcp: false, kept: true }, Mpm::Event),
    (Way { tcp: true, kept: false }, Mpm::Prefork),
    (Way { tcp: false, kept: true }, Mpm::Worker),
];

fn dokuwiki_works(kind: Kind) {
    for (way, mpm) in RUNS.into_iter().take(if kind == Kind::Apache { 3 } else { 2 }) {
        let directory = Directory::new();
        let conf = text(wiki::settings(&directory));
        let define = format!("<?php define('DOKU_MAIN_CONF', '{conf}/'); define('DOKU_CONF', '{conf}/');");
        let php = if way.tcp { PhpFpm::tcp() } else { PhpFpm::unix() }
            .children(4)
            .setting("php_admin_value[upload_max_filesize]", "32M")
            .setting("php_admin_value[post_max_size]", "40M")
            .start();
        let prepend = text(directory.write("prepend.php", define));
        let params = directory.write("params", format!("PHP_ADMIN_VALUE auto_prepend_file={prepend}\n"));
        let site = way
            .site(kind, php.address())
            .pool("max_connections", 4)
            .setting("params_file", text(params))
            .mpm(mpm)
            .apache_module("access_compat")
            .apache_module("authz_host")
            .only(Kind::Apache, "Include /etc/dokuwiki/apache.conf")
            .only(Kind::Lighttpd, "alias.url = ( \"/dokuwiki\" => \"/usr/share/dokuwiki\" )")
            .only(
                Kind::Nginx,
                "location /dokuwiki { alias /usr/share/dokuwiki; location ~ \\.php$ { fcgate_pass php; } }",
            )
            .example_root("/usr/share/dokuwiki");
        let base = if kind.is_example() { "" } else { "/dokuwiki" };
        let server = site.start();
        wiki::visit(&mut server.client().with_cookies(), base);
        assert_nothing_failed(&server, php.address());
    }
}

fn git_is_pushed_and_cloned(kind: Kind) {
    for way in Way::ALL {
        let directory = Directory::new();
        let bare = text(directory.join("repositories/git.php/project.git"));
        let blob: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        directory.write("work/blob.bin", &blob);
        let home = text(directory.join("home"));
        directory.write(
            "home/.gitconfig",
            "[safe]\n\tdirectory = *\n[user]\n\tname = A Person\n\temail = a@example.org\n",
        );
        let git = |words: &[&str]| {
            let Output { status, stderr, .. } = Command::new("git")
                .env("HOME", &home)
                .args(["-C", &text(directory.join("work"))])
                .args(words)
                .output()
                .unwrap();
            assert!(status.success(), "{kind:?} {words:?}: {}", String::from_utf8_lossy(&stderr));
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", "The first commit"]);
        git(&["init", "--quiet", "--bare", "--initial-branch=main", &bare]);
        git(&["-C", &bare, "config", "http.receivepack", "true"]);

        let (mut wrap, address) = fcgiwrap(way, &directory);
        let params = format!(
            "GIT_PROJECT_ROOT {}\nGIT_HTTP_EXPORT_ALL 1\nHOME {home}\n",
            text(directory.join("repositories"))
        );
        let server = way
            .site(kind, &address)
            .pool("max_connections", 1)
            .setting("preset", "script")
            .setting("script", "/usr/lib/git-core/git-http-backend")
            .setting("params_file", text(directory.write("params", params)))
            .everything()
            .start();
        let url = format!("http://{}/git.php/project.git", server.address);
        git(&["push", "--quiet", &url, "main"]);
        let clone = text(directory.join("clone"));
        git(&["clone", "--quiet", &url, &clone]);
        assert!(std::fs::read(format!("{clone}/blob.bin")).unwrap() == blob);
        assert_nothing_failed(&server, &address);
        // It waits in accept, where a polite signal does not reach it.
        wrap.kill();
    }
}

fn fcgiwrap(way: Way, directory: &Directory) -> (Process, String) {
    let (listen, address, ready) = if way.tcp {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        (format!("tcp:{address}"), address.to_string(), Ready::Tcp(address))
    } else {
        let socket = directory.join("wrap.sock");
        let address = format!("unix:{}", socket.display());
        (address.clone(), address, Ready::Unix(socket))
    };
    let process = Process::command("fcgiwrap").args(["-c", "1", "-s", &listen]).ready(ready).start();
    if !way.tcp {
        wiki::run("chmod", &["a+rw", &text(directory.join("wrap.sock"))]);
    }
    (process, address)
}
