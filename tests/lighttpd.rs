//! mod_fcgate in lighttpd: what an administrator configures, and what an application sees of it.

use fcgate_kit::{Lighttpd, PhpFpm, Request};

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
        let lighttpd = Lighttpd::new()
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
