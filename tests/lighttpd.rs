//! mod_fcgate in lighttpd: what an administrator configures, and what an application sees of it.

use fcgate_kit::{Application, Lighttpd, PhpFpm, Request};

/// What a PHP page was given, one `NAME=value` a line, and the body's length and digest.
const DUMP: &str = "<?php header('Content-Type: text/plain');
foreach ($_SERVER as $name => $value) if (is_string($value)) echo \"$name=$value\\n\";
$body = file_get_contents('php://input');
echo 'BODY=', strlen($body), ' ', md5($body), \"\\n\";";

/// The lines of the README, but for the module.
fn three_lines(address: &str) -> String {
    format!("fcgate.balancers = ( \"php\" => \"{address}\" )\nfcgate.map = ( \".php\" => \"php\" )")
}

/// The value that a dumped page says a param has.
fn value<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The three lines serve PHP, from the document root, with a body and path info, by one process and by
/// several workers.
#[test]
fn three_lines_serve_php() {
    let php = PhpFpm::unix().children(4).start();
    for workers in [0, 2] {
        let lighttpd = Lighttpd::builder()
            .workers(workers)
            .config(three_lines(php.address()))
            .file("dump.php", DUMP)
            .file("index.php", DUMP)
            .file("a.txt", "text")
            .start();
        let mut client = lighttpd.client();
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
            "SERVER_NAME=127.0.0.1",
            "SERVER_ADDR=127.0.0.1",
            &format!("SERVER_PORT={}", lighttpd.address().port()),
            "REDIRECT_STATUS=200",
            "REMOTE_ADDR=127.0.0.1",
            "REQUEST_SCHEME=http",
            &format!("SCRIPT_FILENAME={}", lighttpd.directory().join("root/dump.php").display()),
            &format!("DOCUMENT_ROOT={}", lighttpd.directory().join("root").display()),
        ] {
            assert!(text.lines().any(|one| one == line), "{workers}: {line} is not in\n{text}");
        }
        assert_eq!(page.field("Content-Type"), Some("text/plain;charset=UTF-8"));
        let page = client.send(&Request::post("/dump.php", "x".repeat(100_000))).expect(200).text();
        assert_eq!(value(&page, "CONTENT_LENGTH"), Some("100000"));
        assert!(page.contains("BODY=100000 "), "{page}");
        assert_eq!(value(&client.get("/").expect(200).text(), "SCRIPT_NAME"), Some("/index.php"));
        assert_eq!(client.get("/a.txt").expect(200).text(), "text");
        client.get("/missing.php").expect(404);
        client.get("/missing.php/info").expect(404);
        assert_eq!(client.connects(), 1);
    }
}

/// X1, X6: params of all conditions that hold merge, the last line about a name wins, and the balancer's
/// yield to all of them; lighttpd's own environment yields to both.
#[test]
fn params_of_conditions_merge() {
    let application = Application::unix().start();
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( \"php\" => ( \"pools\" => ( \"{}\" => () ),\n\
             \"param\" => ( \"A\" => \"balancer\", \"E\" => \"balancer\" ), \"param_unset\" => ( \"HTTP_X_ONE\" ) ) )",
            application.address()
        ))
        .config("fcgate.map = ( \".php\" => \"php\" )")
        .config("fcgate.param = ( \"A\" => \"all\", \"B\" => \"all\", \"C\" => \"all\", \"NUMBER\" => 7, \"BLANK\" => \"\" )")
        .config("setenv.add-environment = ( \"B\" => \"environment\", \"F\" => \"environment\", \"PHP_VALUE\" => \"x\" )")
        .config("$HTTP[\"url\"] =^ \"/a/\" {\n fcgate.param = ( \"B\" => \"url\" )\n fcgate.param_unset = ( \"C\" )\n}")
        .config("$REQUEST_HEADER[\"X-Three\"] == \"3\" {\n fcgate.param = ( \"B\" => \"header\", \"D\" => \"header\" )\n}")
        .file("b.php", "")
        .file("a/x.php", "")
        .start();
    let mut client = lighttpd.client();
    for (target, three, expected) in [
        ("/b.php", "0", [Some("all"), Some("all"), Some("all"), None]),
        ("/b.php", "3", [Some("all"), Some("header"), Some("all"), Some("header")]),
        ("/a/x.php", "0", [Some("all"), Some("url"), None, None]),
        ("/a/x.php", "3", [Some("all"), Some("header"), None, Some("header")]),
    ] {
        let request = Request::get(target).field("X-One", "1").field("X-Three", three);
        client.send(&request).expect(200);
        let request = application.requests().pop().unwrap();
        assert_eq!(["A", "B", "C", "D"].map(|name| request.param(name)), expected, "{target} {three}");
        assert_eq!((request.param("E"), request.param("F")), (Some("balancer"), Some("environment")));
        assert_eq!((request.param("NUMBER"), request.param("BLANK")), (Some("7"), Some("")));
        assert_eq!((request.param("HTTP_X_ONE"), request.param("HTTP_X_THREE")), (None, Some(three)));
        assert_eq!(request.param("PHP_VALUE"), None);
    }
    application.assert_no_violations();
}

/// X1: a param with `if_not_empty` and nothing in it is as if its line were not there, in a condition and in a
/// balancer.
#[test]
fn empty_params_can_be_left_out() {
    let application = Application::unix().start();
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( \"php\" => ( \"pools\" => ( \"{}\" => () ),\n\
             \"param\" => ( \"A\" => ( \"balancer\", \"if_not_empty\" ), \"B\" => ( \"\", \"if_not_empty\" ) ) ) )",
            application.address()
        ))
        .config("fcgate.map = ( \".php\" => \"php\" )")
        .config("fcgate.param = ( \"C\" => \"all\", \"D\" => ( 7, \"if_not_empty\" ) )")
        .config("$HTTP[\"url\"] =^ \"/\" { fcgate.param = ( \"A\" => ( \"\", \"if_not_empty\" ), \"C\" => ( \"\", \"if_not_empty\" ) ) }")
        .file("x.php", "")
        .start();
    lighttpd.client().get("/x.php").expect(200);
    let request = application.requests().pop().unwrap();
    let params = ["A", "B", "C", "D"].map(|name| request.param(name));
    assert_eq!(params, [Some("balancer"), None, Some("all"), Some("7")]);
    application.assert_no_violations();
}

/// X6, X9: what a map's keys claim: the last extension, found or not; a prefix; all. What lighttpd has
/// mapped to another place is told to be there.
#[test]
fn maps_claim_extensions_prefixes_and_all() {
    let [php, app] = [Application::unix().start(), Application::unix().start()];
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( \"php\" => \"{}\", \"app\" => \"{}\" )",
            php.address(),
            app.address()
        ))
        .config("fcgate.map = ( \"/plain\" => \"app\", \"/script\" => \"app\", \"/below\" => \"app\", \".php\" => \"php\" )")
        .config("$HTTP[\"url\"] =^ \"/plain\" { fcgate.preset = \"plain\" }")
        .config("$HTTP[\"url\"] =^ \"/script\" { fcgate.script = \"{directory}/elsewhere/z.php\" }")
        .config("$HTTP[\"host\"] == \"all.example\" { fcgate.map = ( \"\" => \"app\" )\n fcgate.preset = \"plain\" }")
        .config("$HTTP[\"host\"] == \"far.example\" { server.document-root = \"/no/such/root\" }")
        .config("$HTTP[\"host\"] == \"mapped.example\" { fcgate.map_root = ( \"{root}\" => \"/var/www\" ) }")
        .config("alias.url = ( \"/alias/\" => \"{directory}/elsewhere/\", \"/below/\" => \"{directory}/elsewhere/\" )")
        .config("url.rewrite-if-not-file = ( \"^/front/(.*)\" => \"/front/index.php?path=$1\" )")
        .file("x.php", "")
        .file("dir.php/y.php", "")
        .file("a.php.jpg", "a picture")
        .file("front/index.php", "");
    lighttpd.directory().write("elsewhere/z.php", "");
    let lighttpd = lighttpd.start();
    let root = lighttpd.directory().join("root").display().to_string();
    let elsewhere = lighttpd.directory().join("elsewhere/z.php").display().to_string();
    let in_root = |name: &str| format!("{root}{name}");
    for (host, target, of, script, info, file) in [
        ("a.example", "/x.php", &php, "/x.php", None, Some(in_root("/x.php"))),
        ("a.example", "/x.php/a/b%20c", &php, "/x.php", Some("/a/b c"), Some(in_root("/x.php"))),
        (
            "a.example",
            "/dir.php/y.php/i",
            &php,
            "/dir.php/y.php",
            Some("/i"),
            Some(in_root("/dir.php/y.php")),
        ),
        ("a.example", "/alias/z.php/i", &php, "/alias/z.php", Some("/i"), Some(elsewhere.clone())),
        (
            "a.example",
            "/front/some/page?a=b",
            &php,
            "/front/index.php",
            None,
            Some(in_root("/front/index.php")),
        ),
        ("a.example", "/below/z.php", &app, "/below/z.php", None, Some(elsewhere.clone())),
        ("a.example", "/plain", &app, "/plain", None, None),
        ("a.example", "/plain/x.php/i", &app, "/plain", Some("/x.php/i"), None),
        ("a.example", "/script/any/path", &app, "", Some("/script/any/path"), Some(elsewhere.clone())),
        ("all.example", "/x.php", &app, "", Some("/x.php"), None),
        ("far.example", "/none.php/i", &php, "/none.php", Some("/i"), Some("/no/such/root/none.php".into())),
        ("mapped.example", "/none.php/i", &php, "/none.php", Some("/i"), Some("/var/www/none.php".into())),
    ] {
        lighttpd.client().host(host).get(target).expect(200);
        let request = of.requests().pop().unwrap_or_else(|| panic!("{host} {target} went elsewhere"));
        assert_eq!(request.param("REQUEST_URI"), Some(target), "{host}");
        assert_eq!(
            (request.param("SCRIPT_NAME"), request.param("PATH_INFO"), request.param("SCRIPT_FILENAME")),
            (Some(script), info, file.as_deref()),
            "{host} {target}"
        );
    }
    assert_eq!(php.requests().pop().unwrap().param("DOCUMENT_ROOT"), Some("/var/www"));
    let before = (php.requests().len(), app.requests().len());
    let mut client = lighttpd.client();
    assert_eq!(client.get("/a.php.jpg").expect(200).text(), "a picture");
    assert_eq!(client.get("/a.php.jpg/x.php").expect(200).text(), "a picture");
    client.get("/none.php").expect(404);
    client.get("/x.phpx").expect(404);
    assert_eq!((php.requests().len(), app.requests().len()), before);
    php.assert_no_violations();
    app.assert_no_violations();
}

/// X6, X7: HTTP Basic by the application sees PHP_AUTH_USER; by lighttpd REMOTE_USER and AUTH_TYPE; one
/// setting keeps the password back.
#[test]
fn http_basic_is_seen_by_php() {
    let php = PhpFpm::unix().start();
    let lighttpd = Lighttpd::builder()
        .module("mod_auth")
        .module("mod_authn_file")
        .config(three_lines(php.address()))
        .config("auth.backend = \"plain\"\nauth.backend.plain.userfile = \"{directory}/users\"")
        .config("$HTTP[\"url\"] =^ \"/own/\" { auth.require = ( \"\" => ( \"method\" => \"basic\", \"realm\" => \"x\", \"require\" => \"valid-user\" ) ) }")
        .config("$HTTP[\"url\"] =^ \"/own/kept/\" { fcgate.pass_authorization = \"off\" }");
    lighttpd.directory().write("users", "ann:password\n");
    let lighttpd = ["dump.php", "own/dump.php", "own/kept/dump.php"]
        .into_iter()
        .fold(lighttpd, |lighttpd, name| lighttpd.file(name, DUMP))
        .start();
    let mut client = lighttpd.client();
    client.get("/own/dump.php").expect(401);
    for (path, by_php, by_lighttpd) in [
        ("/dump.php", Some("ann"), None),
        ("/own/dump.php", Some("ann"), Some("ann")),
        ("/own/kept/dump.php", None, Some("ann")),
    ] {
        let request = Request::get(path).field("Authorization", "Basic YW5uOnBhc3N3b3Jk");
        let page = client.send(&request).expect(200).text();
        assert_eq!(
            (value(&page, "PHP_AUTH_USER"), value(&page, "REMOTE_USER")),
            (by_php, by_lighttpd),
            "{path}"
        );
        assert_eq!(value(&page, "AUTH_TYPE"), by_lighttpd.map(|_| "Basic"), "{path}");
    }
}

/// X6: an error page in PHP is told the real status and what was asked for, and its answer keeps that
/// status, whether lighttpd found no file or the application answered so.
#[test]
fn an_error_handler_in_php_is_told_the_status() {
    let php = PhpFpm::unix().start();
    let lighttpd = Lighttpd::builder()
        .config(three_lines(php.address()))
        .config("server.error-handler = \"/error.php?from=config\"")
        .config("$HTTP[\"url\"] =^ \"/over/\" { fcgate.error_override = \"enable\" }")
        .file("error.php", DUMP)
        .file("over/x.php", "<?php http_response_code(503);")
        .start();
    for (path, status) in [("/no/page", "404"), ("/no.php", "404"), ("/over/x.php", "503")] {
        let target = format!("{path}?a=b");
        let page = lighttpd.client().get(&target).expect(status.parse().unwrap()).text();
        for (name, expected) in [
            ("REDIRECT_STATUS", status),
            ("QUERY_STRING", "from=config"),
            ("REQUEST_URI", &target),
            ("SCRIPT_NAME", "/error.php"),
        ] {
            assert_eq!(value(&page, name), Some(expected), "{path} {name}\n{page}");
        }
    }
    let page = lighttpd.client().send(&Request::post("/no.php", "body")).expect(404).text();
    assert!(page.contains("BODY=0 ") && value(&page, "REQUEST_METHOD") == Some("GET"), "{page}");
}
