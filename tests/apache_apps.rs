//! Real applications in Apache with mod_fcgate, each through Debian's own Alias outside the document
//! root, under every MPM.

use fcgate_kit::form::Form;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Apache, Directory, Mpm, PhpFpm, Request};
use std::path::Path;
use std::process::Command;

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("a path of ours is UTF-8").to_owned()
}

fn run(program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What fcgate itself has to say is nothing; what the applications warn of is theirs.
fn assert_nothing_failed(apache: &Apache) {
    let log = apache.log();
    let said = log.lines().find(|line| line.contains("[fcgate:") && !line.contains("application: "));
    assert_eq!(said, None);
}

/// A picture that MediaWiki takes: the smallest PNG, with a megabyte behind its end.
fn picture() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
        \0\0\0\nIDATx\x9cc\0\x01\0\0\x05\0\x01\r\n-\xb4\0\0\0\0IEND\xaeB`\x82"
        .to_vec();
    png.extend((0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8));
    png
}

/// The value of a field of a MediaWiki form, whose attributes stand in any order.
fn field(page: &str, name: &str) -> String {
    let named = format!("name=\"{name}\"");
    let at = page.find(&named).unwrap_or_else(|| panic!("no field {name} in {page}"));
    let start = page[..at].rfind('<').expect("a field begins");
    let tag = &page[start..start + page[start..].find('>').expect("a field ends")];
    let value = tag.split("value=\"").nth(1).unwrap_or_default();
    let value = value.split('"').next().unwrap_or_default();
    value.replace("&quot;", "\"").replace("&amp;", "&").replace("&#43;", "+")
}

/// MediaWiki as Debian installs it, with its own configuration of Apache and SQLite: pages, a path
/// behind the script, log-in, an edit saved and read back, an upload and its download.
fn mediawiki_works(mpm: Mpm) {
    assert!(
        Path::new("/usr/share/mediawiki").exists(),
        "MediaWiki is not installed (Debian: apt-get install --no-install-recommends mediawiki)"
    );
    let builder = Apache::with(mpm);
    let private = Directory::new();
    for name in ["db", "upload"] {
        std::fs::create_dir(private.join(name)).unwrap();
    }
    let php = PhpFpm::unix()
        .children(4)
        .setting("php_admin_value[upload_max_filesize]", "32M")
        .setting("php_admin_value[post_max_size]", "40M")
        .start();
    let settings = text(private.join("LocalSettings.php"));
    let apache = builder
        .module("authz_host")
        .config(format!("FcgateBalancer php {}\nFcgateMap .php php", php.address()))
        .config("Include /etc/apache2/conf-available/mediawiki.conf")
        .config(format!(
            "<Directory /var/lib/mediawiki>\nFcgateParam MW_CONFIG_FILE {settings}\n</Directory>"
        ))
        .start();
    let (db, conf) = (text(private.join("db")), text(private.path()));
    let url = format!("http://{}", apache.address());
    run(
        "php",
        &[
            "/usr/share/mediawiki/maintenance/install.php",
            "--dbtype",
            "sqlite",
            "--dbpath",
            &db,
            "--confpath",
            &conf,
            "--scriptpath",
            "/mediawiki",
            "--server",
            &url,
            "--pass",
            "Secret-pass-123",
            "Wiki",
            "Admin",
        ],
    );
    let more = format!(
        "\n$wgEnableUploads = true; $wgUploadDirectory = '{}'; $wgHashedUploadDirectory = false;\n\
         $wgUploadPath = '/mediawiki/img_auth.php'; $wgGroupPermissions['*']['read'] = false;\n\
         $wgWhitelistRead = ['Main Page']; $wgVerifyMimeType = false; $wgRunJobsAsync = false;\n",
        text(private.join("upload"))
    );
    std::fs::write(&settings, std::fs::read_to_string(&settings).unwrap() + &more).unwrap();
    run("chmod", &["-R", "a+rwX", &conf]);

    let mut client = apache.client().with_cookies();
    let page = client.get("/mediawiki/index.php/Main_Page").expect(200).text();
    assert!(page.contains("MediaWiki has been installed"), "{page}");
    let css =
        client.get("/mediawiki/load.php?lang=en&modules=skins.vector.styles.legacy&only=styles").expect(200);
    assert!(css.is_complete() && css.body.len() > 10_000, "load.php has {} bytes", css.body.len());

    let login = client.get("/mediawiki/index.php?title=Special:UserLogin").expect(200).text();
    let form = [
        ("wpName", "Admin"),
        ("wpPassword", "Secret-pass-123"),
        ("wpLoginToken", &field(&login, "wpLoginToken")),
        ("authAction", "login"),
        ("wpLoginAttempt", "Log in"),
        ("title", "Special:UserLogin"),
    ];
    let answer = client.send(&Request::form("/mediawiki/index.php?title=Special:UserLogin", &form));
    assert!(matches!(answer.status, 302 | 303), "log-in: {} {}", answer.status, answer.text());

    let written = format!("== Written ==\n\nGrüße, '''fcgate''' {}", "wörter ".repeat(3000).trim());
    let edit = client.get("/mediawiki/index.php?title=Notes&action=edit").expect(200).text();
    let mut form =
        Form::new().field("wpTextbox1", &written).field("wpSummary", "test").field("wpSave", "Save");
    for name in [
        "wpUnicodeCheck",
        "wpStarttime",
        "wpEdittime",
        "editRevId",
        "oldid",
        "parentRevId",
        "format",
        "model",
        "wpEditToken",
        "wpUltimateParam",
    ] {
        form = form.field(name, field(&edit, name));
    }
    let saved = client.send(&Request::multipart("/mediawiki/index.php?title=Notes&action=submit", &form));
    assert!(matches!(saved.status, 302 | 303), "save: {} {}", saved.status, saved.text());
    let raw = client.get("/mediawiki/index.php?title=Notes&action=raw").expect(200).text();
    assert!(raw == written, "the page reads otherwise than it was written");
    let page = client.get("/mediawiki/index.php/Notes").expect(200).text();
    assert!(page.contains("<b>fcgate</b>"), "{page}");

    let picture = picture();
    let upload = client.get("/mediawiki/index.php/Special:Upload").expect(200).text();
    let form = Form::new()
        .file("wpUploadFile", "sent.png", "image/png", &picture)
        .field("wpSourceType", "file")
        .field("wpDestFile", "Sent.png")
        .field("wpUploadDescription", "test")
        .field("wpEditToken", field(&upload, "wpEditToken"))
        .field("wpIgnoreWarning", "1")
        .field("wpUpload", "Upload file");
    let sent = client.send(&Request::multipart("/mediawiki/index.php/Special:Upload", &form));
    assert!(matches!(sent.status, 302 | 303), "upload: {} {}", sent.status, sent.text());
    let back = client.get("/mediawiki/img_auth.php/Sent.png").expect(200);
    assert_eq!(back.field("Content-Type"), Some("image/png"));
    assert!(back.body == picture, "{} bytes came back of {}", back.body.len(), picture.len());
    assert_nothing_failed(&apache);
}

#[test]
fn mediawiki_works_under_prefork() {
    mediawiki_works(Mpm::Prefork);
}

#[test]
fn mediawiki_works_under_worker() {
    mediawiki_works(Mpm::Worker);
}

#[test]
fn mediawiki_works_under_event() {
    mediawiki_works(Mpm::Event);
}

/// cgit through fcgiwrap: a plain application, whose path is a repository's, and whose answers are bytes
/// of every value.
#[test]
fn cgit_works_under_every_mpm() {
    let directory = Directory::new();
    let blob: Vec<u8> =
        (0..300_000u32).map(|i| if i % 7 == 0 { 0 } else { (i.wrapping_mul(i) >> 3) as u8 }).collect();
    directory.write("work/blob.bin", &blob);
    directory.write("work/crlf.txt", "a\r\nb\r\n\r\nContent-Type: c\r\n");
    let (work, bare) = (text(directory.join("work")), text(directory.join("repositories/project.git")));
    std::fs::create_dir(directory.join("repositories")).unwrap();
    let git = |words: &[&str]| {
        let identity =
            ["-c", "user.name=A Person", "-c", "user.email=a@example.org", "-c", "safe.directory=*"];
        let output = Command::new("git").args(identity).args(["-C", &work]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "The first commit"]);
    git(&["clone", "--quiet", "--bare", ".", &bare]);
    run("chmod", &["-R", "a+rX", &text(directory.join("repositories"))]);
    let cgitrc = directory.write(
        "cgitrc",
        format!(
            "virtual-root=/cgit\ncache-size=0\nsnapshots=tar.gz\nenable-git-config=0\nscan-path={}\n",
            text(directory.join("repositories"))
        ),
    );
    directory.write("home/.gitconfig", "[safe]\n\tdirectory = *\n");
    let socket = directory.join("wrap.sock");
    let mut wrap = Process::command("fcgiwrap")
        .args(["-c", "1", "-s", &format!("unix:{}", socket.display())])
        .ready(Ready::Unix(socket.clone()))
        .start();
    run("chmod", &["a+rw", &text(&socket)]);
    for mpm in Mpm::ALL {
        let apache = Apache::with(mpm)
            .config(format!("FcgateBalancer cgit unix:{}", socket.display()))
            .config(format!(
                "<Location /cgit>\nSetHandler fcgate:cgit\nFcgatePreset plain\n\
                 FcgateParam SCRIPT_FILENAME /usr/lib/cgit/cgit.cgi\nFcgateParam CGIT_CONFIG {}\n\
                 FcgateParam HOME {}\n</Location>",
                cgitrc.display(),
                directory.join("home").display()
            ))
            .start();
        let mut client = apache.client();
        let page = client.get("/cgit/project.git/log/").expect(200).text();
        assert!(page.contains("The first commit"), "{mpm:?} {page}");
        let back = client.get("/cgit/project.git/plain/blob.bin").expect(200);
        assert!(back.body == blob, "{mpm:?}: {} bytes came back of {}", back.body.len(), blob.len());
        let back = client.get("/cgit/project.git/plain/crlf.txt").expect(200);
        assert_eq!(back.text(), "a\r\nb\r\n\r\nContent-Type: c\r\n");
        let snapshot = client.get("/cgit/project.git/snapshot/project-main.tar.gz").expect(200);
        let archive = text(directory.write("snapshot.tar.gz", &snapshot.body));
        let unpacked =
            Command::new("tar").args(["-xOzf", &archive, "project-main/blob.bin"]).output().unwrap();
        assert!(unpacked.stdout == blob, "{}", String::from_utf8_lossy(&unpacked.stderr));
        assert_nothing_failed(&apache);
    }
    // It waits in accept, where a polite signal does not reach it.
    wrap.kill();
}
