//! Real applications in lighttpd with mod_fcgate.

mod wiki;

use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Directory, Lighttpd, PhpFpm};
use std::path::Path;
use std::process::{Command, Output};

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("a path of ours is UTF-8").to_owned()
}

/// What fcgate itself has to say is nothing; what the applications warn of is theirs.
fn assert_nothing_failed(lighttpd: &Lighttpd) {
    let log = lighttpd.log();
    let said = log.lines().find(|line| line.contains("(mod_fcgate.") && !line.contains("application: "));
    assert_eq!(said, None);
}

/// F12, X6, H1: DokuWiki as Debian installs it, by an alias outside the document root, over kept
/// connections; only its settings and data are private.
#[test]
fn dokuwiki_works() {
    for streaming in [0, 2] {
        let directory = Directory::new();
        let conf = text(wiki::settings(&directory));
        let prepend = format!("<?php define('DOKU_MAIN_CONF', '{conf}/'); define('DOKU_CONF', '{conf}/');");
        let prepend = text(directory.write("prepend.php", prepend));
        let php = PhpFpm::unix()
            .children(4)
            .setting("php_admin_value[upload_max_filesize]", "32M")
            .setting("php_admin_value[post_max_size]", "40M")
            .start();
        let lighttpd = Lighttpd::builder()
            .workers(2)
            .config(format!(
                "fcgate.balancers = ( \"php\" => \"{} max_connections=2 keep_conn=on\" )",
                php.address()
            ))
            .config("fcgate.map = ( \".php\" => \"php\" )")
            .config("alias.url = ( \"/dokuwiki\" => \"/usr/share/dokuwiki\" )")
            .config(format!("server.stream-response-body = {streaming}"))
            .config(format!(
                "$HTTP[\"url\"] =^ \"/dokuwiki/\" {{ fcgate.param = ( \"PHP_ADMIN_VALUE\" => \"auto_prepend_file={prepend}\" ) }}"
            ))
            .start();
        wiki::visit(&mut lighttpd.client().with_cookies(), "/dokuwiki");
        assert_nothing_failed(&lighttpd);
    }
}

/// X11, E9: git over HTTP by fcgiwrap: a plain application below a prefix; a push of several megabytes,
/// whose body is chunked, and a clone that brings them back.
#[test]
fn git_is_pushed_and_cloned() {
    let directory = Directory::new();
    let bare = text(directory.join("repositories/project.git"));
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
        assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "The first commit"]);
    git(&["init", "--quiet", "--bare", "--initial-branch=main", &bare]);
    git(&["-C", &bare, "config", "http.receivepack", "true"]);
    let socket = directory.join("wrap.sock");
    let mut wrap = Process::command("fcgiwrap")
        .args(["-c", "1", "-s", &format!("unix:{}", socket.display())])
        .ready(Ready::Unix(socket.clone()))
        .start();
    wiki::run("chmod", &["a+rw", &text(&socket)]);
    let lighttpd = Lighttpd::builder()
        .config(format!("fcgate.balancers = ( \"git\" => \"unix:{}\" )", socket.display()))
        .config("fcgate.map = ( \"/git\" => \"git\" )")
        .config("fcgate.preset = \"plain\"")
        .config(format!(
            "fcgate.param = ( \"SCRIPT_FILENAME\" => \"/usr/lib/git-core/git-http-backend\", \"GIT_PROJECT_ROOT\" => \"{}\", \"GIT_HTTP_EXPORT_ALL\" => \"1\", \"HOME\" => \"{home}\" )",
            text(directory.join("repositories"))
        ))
        .start();
    let url = format!("http://{}/git/project.git", lighttpd.address());
    git(&["push", "--quiet", &url, "main"]);
    let clone = text(directory.join("clone"));
    git(&["clone", "--quiet", &url, &clone]);
    assert!(std::fs::read(format!("{clone}/blob.bin")).unwrap() == blob);
    assert_nothing_failed(&lighttpd);
    // It waits in accept, where a polite signal does not reach it.
    wrap.kill();
}
