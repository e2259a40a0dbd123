//! What goes wrong: the same status, and a line of the log that says what to do, from every server.

use crate::nature::Deed;
use crate::server::{Kind, Site, Way};
use fcgate_kit::{Gate, Reply, Request, free_port};

through_every_server! {
    /// F1, F4 to F6, H1, H2, A4, A6: each fault has its status and says in the log what to look at; a
    /// response that is right, whatever its status, is none.
    faults_have_their_status_and_line;
    /// F10: beyond max_connections and the queue there is a 503 with Retry-After, and all is well afterwards.
    a_full_queue_is_told;
    /// error_override leaves error pages to the server, and only those.
    error_override_leaves_error_pages_to_the_server;
    /// H10: what an application writes to STDERR is logged line by line, escaped.
    stderr_is_logged;
}

fn faults_have_their_status_and_line(kind: Kind) {
    for way in Way::ALL {
        let stall = Gate::new();
        let gate = stall.clone();
        let application = way
            .application()
            .on_request(move |request| {
                let reply = Reply::new();
                let reply = match request.param("QUERY_STRING").unwrap_or_default() {
                    "close" => reply.close(),
                    "garbage" => reply.raw("HTTP/1.1 200 OK\r\n\r\n"),
                    "no-head" => reply.end_stdout().end(),
                    "bad-head" => reply.stdout("no colon\r\n\r\n").end(),
                    "long-head" => reply.stdout(format!("X-Long: {}\r\n\r\n", "x".repeat(5000))).end(),
                    "overloaded" => reply.overloaded(),
                    "stall" => reply.stall(&gate),
                    "empty" => reply.stdout("Status: 204\r\n\r\n").end_stdout().end(),
                    "unchanged" => reply.stdout("Status: 304\r\nETag: \"a\"\r\n\r\n").end_stdout().end(),
                    "moved" => reply.stdout("Location: http://example.net/x\r\n\r\n").end_stdout().end(),
                    "own" => reply.stdout("Status: 418 Teapot\r\n\r\ntea").end_stdout().end(),
                    other => panic!("{other}"),
                };
                reply.to(request)
            })
            .start();
        let site = way.site(kind, &application.address());
        let server = site
            .setting("head_timeout", "300ms")
            .setting("max_head_bytes", "4k")
            .only(Kind::Apache, "ErrorDocument 502 \"a page of ours\"")
            .only(Kind::Lighttpd, "server.errorfile-prefix = \"{root}/error-\"")
            .only(Kind::Nginx, "error_page 502 /ours;\nlocation /ours { return 502 'a page of ours'; }")
            .file("error-502.html", "a page of ours")
            .file("x.php", "")
            .start();
        let mut client = server.client();
        for (query, status, words) in [
            ("close", 502, &["closed the connection without an answer", "phase"][..]),
            ("garbage", 502, &["FastCGI protocol", "phase head", "is it a FastCGI application"]),
            ("no-head", 502, &["without a response head", "phase end"]),
            ("bad-head", 502, &["the response head is malformed", "no colon", "phase head"]),
            ("long-head", 502, &["max_head_bytes", "X-Long"]),
            ("overloaded", 503, &["overloaded"]),
            ("stall", 504, &["no response head came", "head_timeout", "slow log"]),
            ("empty", 204, &[]),
            ("unchanged", 304, &[]),
            ("moved", 302, &[]),
            ("own", 418, &[]),
        ] {
            let page = client.send(&Request::post(&format!("/x.php?{query}"), ""));
            assert_eq!(page.status, status, "{query} {kind:?} {way:?}");
            assert_eq!(page.field("Retry-After").is_some(), status == 503, "{query} {kind:?}");
            if kind.does(Deed::ErrorPages) {
                assert_eq!(page.text() == "a page of ours", status == 502, "{query}: {}", page.text());
            } else {
                assert!(page.body.is_empty() == (status != 418), "{query}: {}", page.text());
            }
            if !words.is_empty() {
                let line = server.wait_for_log(words);
                assert!(line.contains(&application.address()), "{query}: {line}");
                let log = server.log();
                let said = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
                assert_eq!(said.count(), 1, "{query} is said once");
            }
        }
        assert_eq!(client.get("/none.php").status, 404, "{kind:?}");
        assert_eq!(application.requests().len(), 11);
        stall.open();

        let nobody = if way.tcp { format!("127.0.0.1:{}", free_port()) } else { "unix:/no/such.sock".into() };
        let site = way.site(kind, &nobody).balancer("restart_window", 0).file("x.php", "");
        let server = site.start();
        assert_eq!(server.client().get("/x.php").status, 502);
        let why = if way.tcp { "refused" } else { "No such file" };
        server.wait_for_log(&["can't be reached", why, "is the application running"]);
    }
}

fn a_full_queue_is_told(kind: Kind) {
    for way in Way::ALL {
        let gate = Gate::new();
        let stall = Reply::new().stall(&gate).stdout("X: y\r\n\r\nserved").end_stdout().end();
        let application = way.application().reply(stall).start();
        let site = way.site(kind, &application.address()).pool("max_connections", 1).pool("queue_length", 0);
        let server = site.file("x.php", "").start();
        let mut first = server.client();
        first.send_part(&Request::get("/x.php"), 0).unwrap();
        application.wait_for_requests(1);
        for _ in 0..3 {
            let page = server.client().get("/x.php").expect(503);
            assert!(page.field("Retry-After").is_some());
        }
        server.wait_for_log(&["the queue is full", "max_connections"]);
        gate.open();
        assert_eq!(first.read_response("GET").unwrap().expect(200).text(), "served");
        application.wait_for("its end", |requests| requests[0].ended);
        assert_eq!(application.requests().len(), 1);
        application.assert_no_violations();
    }
}

fn error_override_leaves_error_pages_to_the_server(kind: Kind) {
    for way in Way::ALL {
        let application = way
            .application()
            .on_request(|request| match request.param("QUERY_STRING") {
                Some("ok") => Reply::page(200, "fine").to(request),
                _ => Reply::page(404, "the application's page").to(request),
            })
            .start();
        let page = "the server's page";
        let site = |overrides: &str| {
            let site = way.site(kind, &application.address()).setting("error_override", overrides);
            site.only(Kind::Apache, format!("ErrorDocument 404 \"{page}\""))
                .only(Kind::Lighttpd, "server.errorfile-prefix = \"{root}/error-\"")
                .only(
                    Kind::Nginx,
                    format!("error_page 404 /ours;\nlocation /ours {{ return 404 \"{page}\"; }}"),
                )
                .file("error-404.html", page)
                .file("x.php", "")
        };
        let own = if kind.does(Deed::ErrorPages) { page } else { "" };
        for (overrides, right) in [("off", "the application's page"), ("on", own)] {
            let server = Site::start(site(overrides));
            let mut client = server.client();
            for _ in 0..2 {
                assert_eq!(client.get("/x.php").expect(404).text(), right, "{kind:?}");
                assert_eq!(client.get("/x.php?ok").expect(200).text(), "fine");
            }
        }
        application.assert_no_violations();
    }
}

fn stderr_is_logged(kind: Kind) {
    for way in Way::ALL {
        let reply = Reply::new().stderr("PHP Warning:  one\nPHP Warning:  two\u{1b}[0m\n");
        let reply = reply.stdout("X: y\r\n\r\n").end_stdout().end();
        let application = way.application().reply(reply).start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        server.client().get("/x.php").expect(200);
        let first = server.wait_for_log(&["PHP Warning:  one"]);
        let second = server.wait_for_log(&["PHP Warning:  two"]);
        assert!(!second.contains('\u{1b}') && first.contains("application"), "{first}\n{second}");
        assert_eq!(server.log().matches("PHP Warning:  ").count(), 2);
    }
}
