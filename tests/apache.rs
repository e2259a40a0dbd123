//! mod_fcgate in Apache httpd: what an administrator configures, and what an application sees of it.

use fcgate_kit::{Apache, Application, Mpm, PhpFpm, Request};

/// What a PHP page was given, one `NAME=value` a line, and the body's length and digest.
const DUMP: &str = "<?php header('Content-Type: text/plain');
foreach ($_SERVER as $name => $value) if (is_string($value)) echo \"$name=$value\\n\";
$body = file_get_contents('php://input');
echo 'BODY=', strlen($body), ' ', md5($body), \"\\n\";";

/// The three lines of the README.
fn three_lines(php: &PhpFpm) -> String {
    format!("FcgateBalancer php {}\nFcgateMap .php php", php.address())
}

/// The three lines serve PHP under each MPM, from the document root, with a body and path info.
#[test]
fn three_lines_serve_php_under_every_mpm() {
    let php = PhpFpm::unix().children(4).start();
    for mpm in Mpm::ALL {
        let apache =
            Apache::with(mpm).config(three_lines(&php)).file("dump.php", DUMP).file("a.txt", "text").start();
        let mut client = apache.client();
        let page = client.get("/dump.php/path/info?a=b%20c").expect(200);
        let text = page.text();
        for line in [
            "REQUEST_METHOD=GET",
            "REQUEST_URI=/dump.php/path/info?a=b%20c",
            "SCRIPT_NAME=/dump.php",
            "PATH_INFO=/path/info",
            "QUERY_STRING=a=b%20c",
            "GATEWAY_INTERFACE=CGI/1.1",
            "SERVER_PROTOCOL=HTTP/1.1",
            "REDIRECT_STATUS=200",
            "REMOTE_ADDR=127.0.0.1",
        ] {
            assert!(text.lines().any(|one| one == line), "{mpm:?}: {line} is not in\n{text}");
        }
        assert!(
            text.contains(&format!(
                "SCRIPT_FILENAME={}\n",
                apache.directory().join("root/dump.php").display()
            ))
        );
        assert_eq!(page.field("Content-Type"), Some("text/plain;charset=UTF-8"));
        let page = client.send(&Request::post("/dump.php", "x".repeat(100_000))).expect(200);
        assert!(page.text().contains("CONTENT_LENGTH=100000\n"), "{}", page.text());
        assert!(page.text().contains("BODY=100000 "), "{}", page.text());
        assert_eq!(client.get("/a.txt").expect(200).text(), "text");
        client.get("/missing.php").expect(404);
    }
}

/// The value that a dumped page says a param has.
fn value<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// X6: HTTP Basic by the application sees PHP_AUTH_USER; by Apache REMOTE_USER and AUTH_TYPE, and the
/// password only where CGIPassAuth or a setting says so.
#[test]
fn http_basic_is_seen_by_php() {
    let php = PhpFpm::unix().start();
    let apache = Apache::with(Mpm::Event)
        .module("auth_basic")
        .module("authn_core")
        .module("authn_file")
        .module("authz_user")
        .config(three_lines(&php))
        .config("<Location /own>\nAuthType Basic\nAuthName x\nAuthUserFile {directory}/users\nRequire valid-user\n</Location>")
        .config("<Location /own/passed>\nCGIPassAuth On\n</Location>\n<Location /own/set>\nFcgatePassAuthorization on\n</Location>")
        .config("<Location /dropped>\nCGIPassAuth Off\n</Location>");
    apache.directory().write("users", "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"); // password
    let apache = ["dump.php", "own/dump.php", "own/passed/dump.php", "own/set/dump.php", "dropped/dump.php"]
        .into_iter()
        .fold(apache, |apache, name| apache.file(name, DUMP))
        .start();
    let mut client = apache.client();
    client.get("/own/dump.php").expect(401);
    for (path, by_php, by_apache) in [
        ("/dump.php", Some("ann"), None),
        ("/own/dump.php", None, Some("ann")),
        ("/own/passed/dump.php", Some("ann"), Some("ann")),
        ("/own/set/dump.php", Some("ann"), Some("ann")),
        ("/dropped/dump.php", None, None),
    ] {
        let request = Request::get(path).field("Authorization", "Basic YW5uOnBhc3N3b3Jk");
        let page = client.send(&request).expect(200).text();
        assert_eq!(
            (value(&page, "PHP_AUTH_USER"), value(&page, "REMOTE_USER")),
            (by_php, by_apache),
            "{path}"
        );
        assert_eq!(value(&page, "AUTH_TYPE"), by_apache.map(|_| "Basic"), "{path}");
        assert_eq!(value(&page, "PHP_AUTH_PW"), by_php.map(|_| "password"), "{path}");
    }
}

/// X6: an error page in PHP is told the real status and what was asked for, and its answer keeps that
/// status; the body of the request that failed is not handed to it.
#[test]
fn an_error_document_in_php_is_told_the_status() {
    let php = PhpFpm::unix().start();
    let apache = Apache::with(Mpm::Event)
        .config(three_lines(&php))
        .config("ErrorDocument 404 /error.php?from=config")
        .file("error.php", DUMP)
        .start();
    for (path, request) in [
        ("/no/page", Request::get("/no/page?a=b")),
        ("/no/page", Request::post("/no/page?a=b", "body")),
        ("/no.php", Request::get("/no.php?a=b")),
    ] {
        let target = format!("{path}?a=b");
        let page = apache.client().send(&request).expect(404).text();
        for (name, expected) in [
            ("REDIRECT_STATUS", "404"),
            ("REDIRECT_URL", path),
            ("REDIRECT_QUERY_STRING", "a=b"),
            ("QUERY_STRING", "from=config"),
            ("REQUEST_URI", &target),
            ("SCRIPT_NAME", "/error.php"),
            ("REQUEST_METHOD", "GET"),
        ] {
            assert_eq!(value(&page, name), Some(expected), "{name}\n{page}");
        }
        assert!(
            page.contains("BODY=0 ") && value(&page, "CONTENT_LENGTH").unwrap_or("").is_empty(),
            "{page}"
        );
    }
}

/// X6, X12: a front controller behind rewriting in .htaccess, with its variables; FallbackResource;
/// what a .htaccess file can set, and what it can't.
#[test]
fn htaccess_rewrites_and_is_held_within_its_bounds() {
    let php = PhpFpm::unix().start();
    let apache = Apache::with(Mpm::Event)
        .module("rewrite")
        .module("setenvif")
        .config(three_lines(&php))
        .config("<Directory {root}>\nAllowOverride FileInfo Options\nOptions FollowSymLinks\n</Directory>")
        .config("<Directory {root}/fallback>\nFallbackResource /fallback/index.php\n</Directory>")
        .config("<Directory {root}/admin>\nFcgateParam PHP_ADMIN_VALUE \"memory_limit=77M\"\n</Directory>")
        .file("front/.htaccess", "RewriteEngine on\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^(.*)$ index.php?path=$1 [QSA,L,E=FROM:rule]\n")
        .file("front/index.php", DUMP)
        .file("fallback/index.php", DUMP)
        .file("limits/.htaccess", "SetEnv PHP_ADMIN_VALUE \"memory_limit=99M\"\nSetEnv PHP_VALUE \"memory_limit=98M\"\nSetEnv LD_PRELOAD /x\nSetEnv APP_ENV test\nSetEnvIf Host . REMOTE_ADDR=1.2.3.4\n")
        .file("limits/index.php", "<?php echo ini_get('memory_limit'), \"\\n\"; foreach ($_SERVER as $n => $v) if (is_string($v)) echo \"$n=$v\\n\";")
        .file("admin/index.php", "<?php echo ini_get('memory_limit');")
        .file("good/.htaccess", "FcgateParam APP_ENV \"expr=%{REQUEST_METHOD}\"\nFcgateParamUnset HTTP_X_DROP\nFcgatePreset plain\n")
        .file("good/dump.php", DUMP)
        .file("protected/.htaccess", "FcgateParam PHP_ADMIN_VALUE x\n")
        .file("protected/dump.php", DUMP)
        .file("foreign/.htaccess", "FcgateHeadTimeout 1s\n")
        .file("foreign/dump.php", DUMP)
        .file("address/.htaccess", "SetHandler fcgate:unix:/run/other.sock\n")
        .file("address/dump.txt", DUMP)
        .start();
    let mut client = apache.client();
    let page = client.get("/front/deep/page?a=b").expect(200).text();
    for (name, expected) in [
        ("REQUEST_URI", "/front/deep/page?a=b"),
        ("SCRIPT_NAME", "/front/index.php"),
        ("QUERY_STRING", "path=deep/page&a=b"),
        ("REDIRECT_FROM", "rule"),
        ("REDIRECT_URL", "/front/deep/page"),
        ("REDIRECT_STATUS", "200"),
    ] {
        assert_eq!(value(&page, name), Some(expected), "{name}\n{page}");
    }
    let sent = client.send(&Request::post("/front/deep/page", "x".repeat(70_000))).expect(200).text();
    assert!(sent.contains("BODY=70000 ") && value(&sent, "REQUEST_METHOD") == Some("POST"), "{sent}");
    let page = client.get("/fallback/some/page").expect(200).text();
    assert_eq!(value(&page, "REQUEST_URI"), Some("/fallback/some/page"));
    assert_eq!(value(&page, "SCRIPT_NAME"), Some("/fallback/index.php"));

    let page = client.get("/limits/index.php").expect(200).text();
    assert!(!page.starts_with("99M") && !page.starts_with("98M"), "{page}");
    assert_eq!(
        [value(&page, "PHP_ADMIN_VALUE"), value(&page, "PHP_VALUE"), value(&page, "LD_PRELOAD")],
        [None; 3]
    );
    assert_eq!((value(&page, "APP_ENV"), value(&page, "REMOTE_ADDR")), (Some("test"), Some("127.0.0.1")));
    assert_eq!(client.get("/admin/index.php").expect(200).text(), "77M");

    let request = Request::get("/good/dump.php").field("X-Drop", "1").field("X-Keep", "1");
    let page = client.send(&request).expect(200).text();
    assert_eq!((value(&page, "APP_ENV"), value(&page, "HTTP_X_DROP")), (Some("GET"), None));
    assert_eq!(value(&page, "HTTP_X_KEEP"), Some("1"));

    client.get("/protected/dump.php").expect(500);
    apache.wait_for_log(&["PHP_ADMIN_VALUE can be set in the server's configuration only"]);
    client.get("/foreign/dump.php").expect(500);
    apache.wait_for_log(&["FcgateHeadTimeout not allowed here"]);
    client.get("/address/dump.txt").expect(500);
    apache.wait_for_log(&["SetHandler fcgate:unix:/run/other.sock", "an address can't stand here"]);
}

/// X1, X6: an application behind mod_remoteip sees the client's address and, by a param or by SetEnvIf,
/// that the client came by HTTPS.
#[test]
fn a_proxy_in_front_is_believed_where_it_is_configured() {
    let php = PhpFpm::unix().start();
    let apache = Apache::with(Mpm::Event)
        .module("remoteip")
        .module("setenvif")
        .config(three_lines(&php))
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .config("FcgateParam HTTPS on \"expr=%{HTTP:X-Forwarded-Proto} == 'https'\"")
        .config(
            "<Location /set>\nFcgateParamUnset HTTPS\nSetEnvIf X-Forwarded-Proto https TLS=yes\n</Location>",
        )
        .file("dump.php", DUMP)
        .file("set/dump.php", DUMP)
        .start();
    let ask = |path: &str, proto: &str| {
        let request =
            Request::get(path).field("X-Forwarded-For", "203.0.113.7").field("X-Forwarded-Proto", proto);
        apache.client().send(&request).expect(200).text()
    };
    let page = ask("/dump.php", "https");
    assert_eq!((value(&page, "REMOTE_ADDR"), value(&page, "HTTPS")), (Some("203.0.113.7"), Some("on")));
    assert_eq!(value(&ask("/dump.php", "http"), "HTTPS"), None);
    let page = ask("/set/dump.php", "https");
    assert_eq!((value(&page, "HTTPS"), value(&page, "TLS")), (None, Some("yes")));
}

/// X1: levels of params merge, the innermost line about a name wins, for each section that holds, also
/// where they overlap; a balancer's params yield to all of them.
#[test]
fn params_of_sections_merge() {
    let application = Application::unix().start();
    let apache = Apache::with(Mpm::Worker)
        .config(format!("<FcgateBalancer php>\nFcgatePool {}\nFcgateParam A balancer\nFcgateParam E balancer\nFcgateParamUnset HTTP_X_ONE\n</FcgateBalancer>", application.address()))
        .config("FcgateMap .php php\nFcgateParam A server\nFcgateParam B server\nFcgateParam C server\nFcgateParam EMPTY \"\" if_not_empty\nFcgateParam BLANK \"\"")
        .config("<Directory {root}/a>\nFcgateParam B directory\nFcgateParamUnset C\n</Directory>")
        .config("<Location /a>\nFcgateParam D location\n</Location>\n<FilesMatch x>\nFcgateParam C files\n</FilesMatch>")
        .config("SetEnv B environment\nSetEnv F environment")
        .file("a/x.php", "")
        .file("a/y.php", "")
        .file("b.php", "")
        .start();
    let mut client = apache.client();
    for (target, expected) in [
        ("/b.php", [Some("server"), Some("server"), Some("server"), None]),
        ("/a/y.php", [Some("server"), Some("directory"), None, Some("location")]),
        ("/a/x.php", [Some("server"), Some("directory"), Some("files"), Some("location")]),
    ] {
        client.send(&Request::get(target).field("X-One", "1").field("X-Two", "2")).expect(200);
        let request = application.requests().pop().unwrap();
        assert_eq!(["A", "B", "C", "D"].map(|name| request.param(name)), expected, "{target}");
        assert_eq!((request.param("E"), request.param("F")), (Some("balancer"), Some("environment")));
        assert_eq!((request.param("EMPTY"), request.param("BLANK")), (None, Some("")));
        assert_eq!((request.param("HTTP_X_ONE"), request.param("HTTP_X_TWO")), (None, Some("2")));
    }
    application.assert_no_violations();
}

/// Several virtual hosts have balancers of the same name, each its own; outside of them the server's.
#[test]
fn virtual_hosts_have_balancers_of_the_same_name() {
    let applications =
        [Application::unix().start(), Application::unix().start(), Application::unix().start()];
    let [main, one, two] = [0, 1, 2].map(|at| applications[at].address());
    let apache = Apache::with(Mpm::Event)
        .config(format!("FcgateBalancer php {main}\nFcgateMap .php php"))
        .config("<VirtualHost *:{port}>\nServerName main.example\n</VirtualHost>")
        .config(format!("<VirtualHost *:{{port}}>\nServerName one.example\nFcgateBalancer php {one}\n</VirtualHost>"))
        .config(format!("<VirtualHost *:{{port}}>\nServerName two.example\nFcgateBalancer php {two}\nFcgateBalancer only {two}\n<Location /only>\nSetHandler fcgate:only\n</Location>\n</VirtualHost>"))
        .config("<Location /foreign>\nSetHandler fcgate:only\n</Location>")
        .file("x.php", "")
        .file("only", "")
        .file("foreign", "")
        .start();
    for (host, at) in [("main.example", 0), ("one.example", 1), ("two.example", 2), ("one.example", 1)] {
        let before: Vec<usize> = applications.iter().map(|one| one.requests().len()).collect();
        apache.client().host(host).get("/x.php").expect(200);
        for (other, application) in applications.iter().enumerate() {
            assert_eq!(
                application.requests().len(),
                before[other] + usize::from(other == at),
                "{host} {other}"
            );
        }
    }
    apache.client().host("two.example").get("/foreign").expect(200);
    apache.client().host("one.example").get("/foreign").expect(500);
    apache.wait_for_log(&["no balancer \"only\" is declared here"]);
}

/// What FcgateMap answers: the last extension alone, in its case, unless another handler is set; also
/// files that only the application has.
#[test]
fn maps_take_the_last_extension_only() {
    let application = Application::unix().start();
    let apache = Apache::with(Mpm::Event)
        .config(format!("FcgateBalancer php {}\nFcgateMap .php php", application.address()))
        .config("<Location /off>\nSetHandler none\n</Location>")
        .config("<Location /there>\nFcgateMapRoot {root}/there /srv/app\n</Location>")
        .config("AcceptPathInfo on")
        .file("a.php", "code")
        .file("a.php.jpg", "jpg")
        .file("upper.PHP", "upper")
        .file("off/a.php", "plain")
        .file("upload/a.jpg", "jpg")
        .file("dir.php/index.html", "directory")
        .start();
    let mut client = apache.client();
    for (target, body) in [
        ("/a.php.jpg", "jpg"),
        ("/upper.PHP", "upper"),
        ("/off/a.php", "plain"),
        ("/upload/a.jpg/x.php", "jpg"),
        ("/dir.php/", "directory"),
        ("/a.php", "hello"),
        ("/a.php/x.jpg", "hello"),
    ] {
        assert_eq!(client.get(target).expect(200).text(), body, "{target}");
    }
    client.get("/upload/x.php").expect(404);
    assert_eq!(application.requests().len(), 2);
    client.get("/there/deep/b.php/in%20fo?q").expect(200);
    let request = application.requests().pop().unwrap();
    assert_eq!(
        ["SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME"].map(|name| request.param(name)),
        [Some("/there/deep/b.php"), Some("/in fo"), Some("/srv/app/deep/b.php")]
    );
}

/// S3, S4: the parent, which makes the children, has neither thread nor connection of fcgate's, before and
/// after the module was loaded anew.
#[test]
fn the_parent_keeps_out_of_it() {
    for mpm in Mpm::ALL {
        let application = Application::unix().start();
        let mut apache = Apache::with(mpm)
            .config(format!(
                "FcgateBalancer php {} max_connections=2\nFcgateMap .php php",
                application.address()
            ))
            .file("x.php", "")
            .start();
        for _ in 0..3 {
            for _ in 0..3 {
                apache.client().get("/x.php").expect(200);
            }
            let parent = apache.process().pid();
            let listed = |what: &str| std::fs::read_dir(format!("/proc/{parent}/{what}")).unwrap().flatten();
            assert_eq!(listed("task").count(), 1, "{mpm:?}");
            let targets = listed("fd").filter_map(|fd| std::fs::read_link(fd.path()).ok());
            let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count();
            assert_eq!(sockets, 1, "{mpm:?}: more than the one it listens on");
            apache.restart_gracefully();
        }
        application.assert_no_violations();
    }
}
