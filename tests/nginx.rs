//! ngx_http_fcgate_module in nginx: what an administrator configures, and what an application sees of it.

use fcgate_kit::{Application, Gate, Nginx, PhpFpm, Recorded, Reply, Request};

/// What a PHP page was given, one `NAME=value` a line, and the body's length and digest.
const DUMP: &str = "<?php header('Content-Type: text/plain');
foreach ($_SERVER as $name => $value) if (is_string($value)) echo \"$name=$value\\n\";
$body = file_get_contents('php://input');
echo 'BODY=', strlen($body), ' ', md5($body), \"\\n\";";

/// The three lines of the README.
fn three_lines(address: &str) -> String {
    format!("location ~ \\.php(/|$) {{\nfcgate_pass {address};\n}}")
}

/// The value that a dumped page says a param has.
fn value<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The three lines serve PHP, from the document root, with a body and path info.
#[test]
fn three_lines_serve_php() {
    let php = PhpFpm::unix().children(4).start();
    let nginx = Nginx::builder()
        .server(three_lines(php.address()))
        .server("index index.php;\nclient_max_body_size 4m;")
        .file("dump.php", DUMP)
        .file("dir/index.php", DUMP)
        .file("a.txt", "text")
        .start();
    let mut client = nginx.client();
    let page = client.get("/dump.php/path/info?a=b%20c").expect(200);
    let text = page.text();
    let port = nginx.address().port().to_string();
    for (name, expected) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/dump.php/path/info?a=b%20c"),
        ("SCRIPT_NAME", "/dump.php"),
        ("PATH_INFO", "/path/info"),
        ("QUERY_STRING", "a=b%20c"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_PORT", port.as_str()),
        ("SERVER_ADDR", "127.0.0.1"),
        ("REDIRECT_STATUS", "200"),
        ("REQUEST_SCHEME", "http"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("DOCUMENT_ROOT", nginx.directory().join("root").to_str().unwrap()),
        ("SCRIPT_FILENAME", nginx.directory().join("root/dump.php").to_str().unwrap()),
    ] {
        assert_eq!(value(&text, name), Some(expected), "{name}\n{text}");
    }
    assert!(value(&text, "SERVER_SOFTWARE").is_some_and(|name| name.starts_with("nginx/")), "{text}");
    assert_eq!(value(&text, "HTTPS"), None);
    assert_eq!(page.field("Content-Type"), Some("text/plain; charset=UTF-8"));
    // In memory, in nginx's own file, and of unknown length.
    for length in [10_000, 3_000_000] {
        let body = "x".repeat(length);
        let whole = Request::post("/dump.php", body.clone());
        let chunked =
            Request::new("PUT", "/dump.php").chunked(body.as_bytes().chunks(7_000).map(<[u8]>::to_vec));
        for request in [whole, chunked] {
            let page = client.send(&request).expect(200).text();
            assert_eq!(value(&page, "CONTENT_LENGTH"), Some(length.to_string().as_str()));
            assert!(page.contains(&format!("BODY={length} ")), "{page}");
        }
    }
    assert_eq!(value(&client.get("/dir/").expect(200).text(), "SCRIPT_NAME"), Some("/dir/index.php"));
    assert_eq!(client.get("/a.txt").expect(200).text(), "text");
    client.get("/missing.php").expect(404);
    client.get("/upload/a.txt/missing.php").expect(404);
    assert_eq!(client.connects(), 1, "the client's connection is kept");
}

/// X1: levels of params merge, the innermost line about a name wins; a balancer's params yield to all of
/// them; values have variables.
#[test]
fn params_of_levels_merge() {
    let application = Application::unix().start();
    let nginx = Nginx::builder()
        .http(format!(
            "fcgate_balancer php {{\npool {};\nparam A balancer;\nparam E balancer;\nparam_unset HTTP_X_ONE;\n}}",
            application.address()
        ))
        .http("fcgate_param A http;\nfcgate_param B http;\nfcgate_param C http;")
        .server("fcgate_param B server;\nfcgate_param ARG $arg_q;\nfcgate_param EMPTY $arg_none if_not_empty;\nfcgate_param BLANK $arg_none;")
        .server("location / {\nfcgate_pass php;\n}")
        .server("location /a/ {\nfcgate_param B location;\nfcgate_param_unset C;\nfcgate_pass php;\nlocation ~ x\\.php$ {\nfcgate_param C nested;\nfcgate_pass php;\n}\n}")
        .file("a/x.php", "")
        .file("a/y.php", "")
        .file("b.php", "")
        .start();
    let mut client = nginx.client();
    for (target, expected) in [
        ("/b.php?q=1", [Some("http"), Some("server"), Some("http"), Some("1")]),
        ("/a/y.php?q=2", [Some("http"), Some("location"), None, Some("2")]),
        ("/a/x.php?q=3", [Some("http"), Some("location"), Some("nested"), Some("3")]),
    ] {
        client.send(&Request::get(target).field("X-One", "1").field("X-Two", "2")).expect(200);
        let request = application.requests().pop().unwrap();
        assert_eq!(["A", "B", "C", "ARG"].map(|name| request.param(name)), expected, "{target}");
        assert_eq!(request.param("E"), Some("balancer"));
        assert_eq!((request.param("EMPTY"), request.param("BLANK")), (None, Some("")));
        assert_eq!((request.param("HTTP_X_ONE"), request.param("HTTP_X_TWO")), (None, Some("2")));
    }
    application.assert_no_violations();
}

/// X6, X8: root, alias, a rewrite and try_files lead to a file; what follows the script is path info;
/// fcgate_split_path_info splits as its expression says.
#[test]
fn paths_are_mapped_as_nginx_maps_them() {
    let application = Application::unix().start();
    let pass = format!("fcgate_pass {};", application.address());
    let nginx = Nginx::builder()
        .server("index index.php;")
        .server(format!("location ~ ^/caught/(.*)$ {{ alias {{directory}}/lib/$1; {pass} }}"))
        .server(format!("location ~ \\.php(/|$) {{ {pass} }}"))
        .server("location /front/ { try_files $uri /front/index.php?path=$uri; }")
        .server(format!("location /wiki {{ alias {{directory}}/lib; location ~ \\.php(/|$) {{ {pass} }} }}"))
        .server(format!("location ^~ /split/ {{ fcgate_split_path_info ^(/split/one)(.*)$; fcgate_script_exists off; {pass} }}"))
        .server(format!("location ^~ /cut/ {{ alias {{directory}}/lib; fcgate_split_path_info ^/cut(/.+?\\.php)(.*)$; {pass} }}"))
        .server(format!("location ^~ /longer/ {{ alias {{directory}}/lib; fcgate_split_path_info ^/longer(/[a-z])(.*)$; fcgate_script_exists off; {pass} }}"))
        .server(format!("location /git/ {{ fcgate_preset plain; fcgate_param SCRIPT_FILENAME /bin/git; {pass} }}"))
        .server(format!("location /one/ {{ fcgate_script {{root}}/a.php; {pass} }}"))
        .server(format!("location /fixed {{ fcgate_param SCRIPT_FILENAME {{root}}/a.php; {pass} }}"))
        .server("rewrite ^/old/(.*)$ /$1 last;")
        .file("a.php", "")
        .file("dir.php/index.php", "")
        .file("front/index.php", "");
    let lib = nginx.directory().write("lib/doku.php", "");
    let nginx = nginx.start();
    let mut client = nginx.client();
    let root = |name: &str| nginx.directory().join("root").join(name).display().to_string();
    let lib = lib.display().to_string();
    for (target, script, info, file) in [
        ("/a.php/b/c", "/a.php", "/b/c", root("a.php")),
        ("/dir.php/index.php/x", "/dir.php/index.php", "/x", root("dir.php/index.php")),
        ("/front/deep/page", "/front/index.php", "", root("front/index.php")),
        ("/wiki/doku.php", "/wiki/doku.php", "", lib.clone()),
        ("/wiki/doku.php/start/page", "/wiki/doku.php", "/start/page", lib.clone()),
        ("/caught/doku.php", "/caught/doku.php", "", lib.clone()),
        ("/split/one/two.php/x", "/split/one", "/two.php/x", root("split/one")),
        ("/cut/doku.php/start", "/doku.php", "/start", lib.clone()),
        ("/longer/a/b", "/a", "/b", lib.replace("doku.php", "a")),
        ("/git/a.git/info/refs?service=git-upload-pack", "/git", "/a.git/info/refs", "/bin/git".into()),
        ("/one/two/three", "", "/one/two/three", root("a.php")),
        ("/fixed/x", "/fixed/x", "", root("a.php")),
        ("/old/a.php/x", "/a.php", "/x", root("a.php")),
    ] {
        client.get(target).expect(200);
        let request = application.requests().pop().unwrap();
        assert_eq!(
            ["REQUEST_URI", "SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME"]
                .map(|name| request.param(name).unwrap_or("")),
            [target, script, info, file.as_str()]
        );
    }
    client.get("/wiki/missing.php").expect(404);
    application.assert_no_violations();
}

/// X7, X12: the Authorization header passes, and makes nobody a user; a variable names a balancer that was
/// declared, never an address.
#[test]
fn variables_name_balancers_only() {
    let applications = [Application::unix().start(), Application::unix().start()];
    let nginx = Nginx::builder()
        .http(format!("fcgate_pool one {};", applications[0].address()))
        .http(format!("fcgate_pool two {};", applications[1].address()))
        .server("location / { fcgate_pass $arg_to; }")
        .server(format!("location /own {{ fcgate_pass {}; }}", applications[0].address()))
        .file("x.php", "")
        .file("own", "")
        .start();
    let mut client = nginx.client();
    for (at, name) in [(0, "one"), (1, "two"), (0, "one")] {
        let before = applications[at].requests().len();
        let request =
            Request::get(&format!("/x.php?to={name}")).field("Authorization", "Basic YW5uOnBhc3N3b3Jk");
        client.send(&request).expect(200);
        let request = applications[at].request(before);
        assert_eq!(request.param("HTTP_AUTHORIZATION"), Some("Basic YW5uOnBhc3N3b3Jk"));
        assert_eq!((request.param("REMOTE_USER"), request.param("AUTH_TYPE")), (None, None));
    }
    client.get("/own").expect(200);
    let before: usize = applications.iter().map(|one| one.requests().len()).sum();
    let address = applications[0].address();
    for name in ["three", "", "ONE", &address, "one%00"] {
        client.get(&format!("/x.php?to={name}")).expect(500);
    }
    nginx.wait_for_log(&["no balancer \"three\" is declared", "no address is taken from a variable"]);
    assert_eq!(applications.iter().map(|one| one.requests().len()).sum::<usize>(), before);
}

/// X6: an error page in PHP is told the real status, and its answer keeps that status; the body of the
/// request that failed is not handed to it.
#[test]
fn an_error_page_in_php_is_told_the_status() {
    let php = PhpFpm::unix().start();
    let nginx = Nginx::builder()
        .server(three_lines(php.address()))
        .server("error_page 404 /error.php?from=config;")
        .file("error.php", DUMP)
        .start();
    for (target, request) in [
        ("/no/page?a=b", Request::get("/no/page?a=b")),
        ("/no/page?a=b", Request::post("/no/page?a=b", "body")),
        ("/no.php?a=b", Request::get("/no.php?a=b")),
    ] {
        let page = nginx.client().send(&request).expect(404).text();
        for (name, expected) in [
            ("REDIRECT_STATUS", "404"),
            ("REDIRECT_URL", target.split('?').next().unwrap()),
            ("REDIRECT_QUERY_STRING", "a=b"),
            ("QUERY_STRING", "from=config"),
            ("REQUEST_URI", target),
            ("SCRIPT_NAME", "/error.php"),
            ("REQUEST_METHOD", "GET"),
        ] {
            assert_eq!(value(&page, name), Some(expected), "{name}\n{page}");
        }
        assert!(page.contains("BODY=0 "), "{page}");
    }
}

/// `mirror`: another application gets a copy of each request, body and all, and what it does about it is
/// nobody's answer.
#[test]
fn mirrored_requests_are_whole() {
    let own = Application::unix().reply(Reply::page(200, "own")).start();
    let other = Application::unix().reply(Reply::page(500, "other")).start();
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\nclient_max_body_size 2m;\nmirror /mirror;")
        .server(format!("location / {{ fcgate_pass {}; }}", own.address()))
        .server(format!("location /stream {{ fcgate_request_body stream; fcgate_pass {}; }}", own.address()))
        .server(format!("location = /mirror {{ internal; fcgate_pass {}; }}", other.address()))
        .start();
    let mut client = nginx.client();
    for target in ["/a?b", "/stream"] {
        // In memory and in nginx's own file.
        for length in [0, 1000, 1 << 20] {
            let (before, copied) = (own.requests().len(), other.requests().len());
            let body = "x".repeat(length);
            let request = if length > 0 { Request::post(target, body.clone()) } else { Request::get(target) };
            assert_eq!(client.send(&request).expect(200).text(), "own");
            assert!(own.request(before).stdin == body.as_bytes(), "{target}, {length}");
            let whole = |requests: &[Recorded]| requests.get(copied).is_some_and(|copy| copy.stdin_ended);
            other.wait_for("the copy", whole);
            let copy = other.request(copied);
            assert!(copy.stdin == body.as_bytes(), "{target}, {length}");
            assert_eq!(
                ["REQUEST_METHOD", "REQUEST_URI"].map(|name| copy.param(name)),
                [Some(if length > 0 { "POST" } else { "GET" }), Some(target)]
            );
        }
    }
    own.assert_no_violations();
}

/// Subrequests: pages put together of parts, and auth_request, which hands its application no body.
#[test]
fn subrequests_are_forwarded() {
    let application = Application::unix()
        .on_request(|request| {
            let fields = "Content-Type: text/plain\r\n\r\n";
            let page = |text: &str| Reply::new().stdout(format!("{fields}{text}")).end_stdout().end();
            match (request.param("SCRIPT_NAME"), request.param("HTTP_X_LET_IN")) {
                (Some("/part.php"), _) => page(&"a part ".repeat(5_000)).to(request),
                (Some("/auth.php"), None) => Reply::page(401, "no").to(request),
                _ => page("page").to(request),
            }
        })
        .start();
    let nginx = Nginx::builder()
        .server(three_lines(&application.address()))
        .server("location = /page.html { ssi on; }\nlocation = /inner.php { auth_request /auth.php; fcgate_pass {address}; }".replace("{address}", &application.address()))
        .file("page.html", "<p><!--#include virtual=\"/part.php?q\" -->+<!--#include virtual=\"/part.php\" --></p>")
        .file("part.php", "")
        .file("auth.php", "")
        .file("inner.php", "")
        .start();
    let mut client = nginx.client();
    let part = "a part ".repeat(5_000);
    assert!(client.get("/page.html").expect(200).text() == format!("<p>{part}+{part}</p>"));
    // Both are under way at once.
    let mut queries: Vec<_> =
        application.requests().iter().map(|one| one.param("QUERY_STRING").map(str::to_owned)).collect();
    queries.sort();
    assert_eq!(queries, [Some(String::new()), Some("q".to_owned())]);
    assert_eq!(application.request(0).param("REQUEST_URI"), Some("/page.html"));

    client.send(&Request::post("/inner.php", "body")).expect(401);
    let request = Request::post("/inner.php", "body").field("X-Let-In", "yes");
    assert_eq!(client.send(&request).expect(200).text(), "page");
    let mut asked = application.requests();
    let (inner, auth) = (asked.pop().unwrap(), asked.pop().unwrap());
    assert_eq!((auth.param("SCRIPT_NAME"), auth.stdin.len()), (Some("/auth.php"), 0));
    assert_eq!((inner.param("SCRIPT_NAME"), inner.stdin.as_slice()), (Some("/inner.php"), &b"body"[..]));
    application.assert_no_violations();
}

/// H10: what an application writes to STDERR behind its response, when the request is gone, is logged too.
#[test]
fn stderr_behind_the_response_is_logged() {
    let gate = Gate::new();
    let reply = Reply::new().stdout("X: y\r\n\r\n").end_stdout().stall(&gate).stderr("one\ntwo\nthree").end();
    let application = Application::unix().reply(reply).start();
    let pass = format!("fcgate_preset plain; fcgate_end_timeout 1m; fcgate_pass {};", application.address());
    let nginx = Nginx::builder()
        .server(format!("location /quiet {{ fcgate_log_stderr off; {pass} }}"))
        .server(format!("location /low {{ fcgate_log_stderr warn; {pass} }}"))
        .start();
    nginx.client().get("/quiet").expect(200);
    nginx.client().get("/low").expect(200);
    assert!(!nginx.log().contains("application: "));
    gate.open();
    nginx.wait_for_log(&["[warn]", "application: three"]);
    nginx.quit();
    nginx.wait_for_ended_workers(1);
    assert_eq!(nginx.log().matches("application: one").count(), 1, "{}", nginx.log());
}
