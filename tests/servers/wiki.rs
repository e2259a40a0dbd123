//! What a person does with a DokuWiki, wherever it is served.

use fcgate_kit::Directory;
use fcgate_kit::form::Form;
use fcgate_kit::http::{Client, Request, Response};
use std::path::{Path, PathBuf};
use std::process::Command;

const DATA: [&str; 12] = [
    "attic",
    "cache",
    "index",
    "locks",
    "log",
    "media",
    "media_attic",
    "media_meta",
    "meta",
    "pages",
    "tmp",
    "meta/playground",
];

pub fn run(program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Private settings and data of a wiki with one user, as Debian's package lays them out.
pub fn settings(directory: &Directory) -> PathBuf {
    assert!(
        Path::new("/usr/share/dokuwiki").exists(),
        "DokuWiki is not installed (Debian: apt-get install --no-install-recommends dokuwiki)"
    );
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    run("cp", &["-rL", "/etc/dokuwiki", &path("conf")]);
    for name in DATA {
        std::fs::create_dir_all(directory.join(format!("data/{name}"))).unwrap();
    }
    let hash =
        Command::new("php").args(["-r", "echo password_hash('secret', PASSWORD_BCRYPT);"]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    directory.write(
        "conf/local.php",
        format!(
            "<?php $conf['title']='t'; $conf['savedir']='{}'; $conf['useacl']=1; $conf['superuser']='@admin'; \
             $conf['authtype']='authplain'; $conf['license']=0;",
            path("data")
        ),
    );
    directory.write("conf/users.auth.php", format!("admin:{hash}:Admin:a@example.org:admin,user\n"));
    directory.write("conf/acl.auth.php", "* @ALL 1\n* @user 8\n");
    run("chmod", &["-R", "a+rwX", &path("data"), &path("conf")]);
    directory.join("conf")
}

/// The value of a hidden field of a page.
pub fn hidden(page: &Response, name: &str) -> String {
    let text = page.text();
    let at = text.find(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("no field {name} in {text}"));
    let rest = &text[at..];
    let value = &rest[rest.find("value=\"").unwrap() + 7..];
    value[..value.find('"').unwrap()].to_owned()
}

/// Page, the large css.php, log-in, an edit by multipart form saved and read back, an upload of 5 MiB and
/// its download byte for byte; the wiki stands at `base`.
pub fn visit(client: &mut Client, base: &str) {
    let at = |path: &str| format!("{base}{path}");
    let page = client.get(&at("/doku.php?id=start")).expect(200);
    assert!(page.text().contains("id=\"dokuwiki__top\""));
    let css = client.get(&at("/lib/exe/css.php?t=dokuwiki")).expect(200);
    assert!(css.is_complete() && css.body.len() > 50_000, "css.php has {} bytes", css.body.len());

    let login = client.get(&at("/doku.php?id=start&do=login")).expect(200);
    let fields = [
        ("id", "start"),
        ("do", "login"),
        ("u", "admin"),
        ("p", "secret"),
        ("sectok", &hidden(&login, "sectok")),
    ];
    let answer = client.send(&Request::form(&at("/doku.php?id=start"), &fields));
    assert!(matches!(answer.status, 200 | 302), "log-in: {}", answer.status);
    assert!(client.get(&at("/doku.php?id=start")).expect(200).text().contains("do=logout"), "not logged in");

    let text = format!("====== Written ======\n\nGrüße, **fcgate** {}.\n", "wörter ".repeat(5_000));
    let edit = client.get(&at("/doku.php?id=start&do=edit")).expect(200);
    let form = Form::new()
        .field("sectok", hidden(&edit, "sectok"))
        .field("id", "start")
        .field("rev", "0")
        .field("date", hidden(&edit, "date"))
        .field("prefix", ".")
        .field("suffix", "")
        .field("changecheck", hidden(&edit, "changecheck"))
        .field("target", "section")
        .field("wikitext", &text)
        .field("summary", "test")
        .field("do[save]", "1");
    let saved = client.send(&Request::multipart(&at("/doku.php?id=start"), &form));
    assert!(matches!(saved.status, 200 | 302), "save: {}", saved.status);
    let raw = client.get(&at("/doku.php?id=start&do=export_raw")).expect(200);
    assert!(raw.text().trim() == text.trim(), "the page reads otherwise than it was written");

    let upload: Vec<u8> = (0..5u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let manager = client.get(&at("/lib/exe/mediamanager.php?ns=")).expect(200);
    let target = format!(
        "/lib/exe/ajax.php?call=mediaupload&ns=&qqfile=five.zip&sectok={}",
        hidden(&manager, "sectok")
    );
    let sent = client
        .send(&Request::post(&at(&target), upload.clone()).field("Content-Type", "application/octet-stream"));
    assert!(sent.status == 200 && sent.text().contains("success"), "upload: {} {}", sent.status, sent.text());
    let back = client.get(&at("/lib/exe/fetch.php?media=five.zip")).expect(200);
    assert!(
        back.is_complete() && back.body == upload,
        "{} bytes came back of {}",
        back.body.len(),
        upload.len()
    );
}
