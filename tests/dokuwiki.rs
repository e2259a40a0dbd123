//! DokuWiki from Debian through the civetweb example and php-fpm, over kept connections: what a
//! person does with a wiki.

mod wiki;

use fcgate_kit::http::Client;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Directory, PhpFpm, free_port};
use std::net::SocketAddr;
use std::path::Path;

/// F12, X6, H1: page, the large css.php, log-in, an edit by multipart form saved and read back, an
/// upload of 5 MiB and its download byte for byte.
#[test]
fn dokuwiki_works_over_kept_connections() {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/civetweb_server");
    assert!(server.exists(), "{} is not there: run `make` first", server.display());
    let directory = Directory::new();
    let conf = wiki::settings(&directory);
    wiki::run("cp", &["-rL", "/usr/share/dokuwiki", directory.join("wiki").to_str().unwrap()]);
    let root = directory.join("wiki");
    directory.write("wiki/inc/preload.php", format!("<?php define('DOKU_CONF', '{}/');", conf.display()));
    let php = PhpFpm::unix()
        .children(4)
        .setting("php_admin_value[upload_max_filesize]", "32M")
        .setting("php_admin_value[post_max_size]", "40M")
        .start();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = Process::command(server)
        .args(["--listen", &address.to_string(), "--root", root.to_str().unwrap()])
        .args(["--pool", &format!("{} max_connections=4", php.address())])
        .ready(Ready::Tcp(address))
        .start();
    let mut client = Client::new(address).with_cookies().expect_field("X-Fcgate-Example", "civetweb");

    wiki::visit(&mut client, "");
    drop(server);
}
