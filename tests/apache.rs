//! mod_fcgate in Apache httpd: what an administrator configures, and what an application sees of it.

use fcgate_kit::{Apache, Mpm, PhpFpm, Request};

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
