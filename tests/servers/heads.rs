//! The heads of responses, and the framing of what follows them.

use crate::nature::Deed;
use crate::server::{Kind, Way};
use fcgate_kit::http::Delimiter;
use fcgate_kit::{Gate, Reply, Request};

through_every_server! {
    /// H2, H3, H6: status, reason, repeated fields in their order, every field once, none that the
    /// application did not send, and nothing of the hop's; the client's connection is kept.
    a_head_is_passed_on_as_it_came;
    /// H4, H7: a redirect, HEAD with its Content-Length, 204 and 304 without a body; the connections of the
    /// client and to the application stay usable.
    responses_without_a_body_are_framed;
    /// A2, F5, H5: a response that is cut never looks whole: without its length, with it, over HTTP/1.0 and
    /// HTTP/2.
    a_cut_response_never_looks_whole;
    /// A1: heads and bodies that come byte by byte are the same.
    bytes_that_come_one_by_one_are_put_together;
}

fn head(fields: &str) -> Reply {
    Reply::new().stdout(format!("{fields}\r\n\r\n"))
}

fn whole(fields: &str, body: &str) -> Reply {
    head(fields).stdout(body).end_stdout().end()
}

fn a_head_is_passed_on_as_it_came(kind: Kind) {
    for way in Way::ALL {
        let reply = whole(
            "Status: 201 Made With Care\r\nSet-Cookie: a=1\r\nX-Own: yes\r\nSet-Cookie: b=2\r\nETag: \"e\"\r\n\
             Last-Modified: Sat, 21 Nov 2026 01:00:00 GMT\r\nLocation: /else\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\nKeep-Alive: timeout=1",
            "body",
        );
        let application = way.application().reply(reply).start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        let mut client = server.client();
        for _ in 0..3 {
            let page = client.get("/x.php").expect(201);
            let reason = if kind.does(Deed::Reason) { "Made With Care" } else { "Created" };
            assert_eq!((page.reason.as_str(), page.text().as_str()), (reason, "body"));
            assert_eq!(page.fields("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
            for (name, value) in [
                ("X-Own", "yes"),
                ("ETag", "\"e\""),
                ("Last-Modified", "Sat, 21 Nov 2026 01:00:00 GMT"),
                ("Location", "/else"),
            ] {
                assert_eq!(page.fields(name).collect::<Vec<_>>(), [value], "{name}, {kind:?}");
            }
            assert_eq!((page.field("Content-Type"), page.field("Status")), (None, None));
            assert_eq!(page.fields("Date").count(), usize::from(kind.does(Deed::Date)));
            assert_ne!(page.field("Keep-Alive"), Some("timeout=1"));
            assert_ne!(page.delimiter, Delimiter::Close);
        }
        assert_eq!(client.connects(), 1, "{kind:?} keeps the client's connection");
        assert_eq!(application.connections(), if way.kept { 1 } else { 3 });
        application.assert_no_violations();
    }
}

fn responses_without_a_body_are_framed(kind: Kind) {
    for way in Way::ALL {
        let application = way
            .application()
            .on_request(|request| {
                let fields = match request.param("QUERY_STRING") {
                    Some("location") => "Location: /else",
                    Some("204") => "Status: 204",
                    Some("304") => "Status: 304\r\nETag: \"x\"",
                    _ => "Content-Type: text/x\r\nContent-Length: 5",
                };
                whole(fields, "hello").to(request)
            })
            .start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        let mut client = server.client();
        let page = client.get("/x.php?location").expect(302);
        assert_eq!(page.field("Location"), Some("/else"));
        let page = client.send(&Request::head("/x.php")).expect(200);
        assert_eq!((page.field("Content-Length"), page.body.len()), (Some("5"), 0));
        assert!(client.get("/x.php?204").expect(204).body.is_empty());
        let page = client.get("/x.php?304").expect(304);
        assert_eq!((page.field("ETag"), page.body.len()), (Some("\"x\""), 0));
        let page = client.get("/x.php").expect(200);
        assert_eq!((page.text().as_str(), page.field("Content-Length")), ("hello", Some("5")));
        assert_eq!((client.connects(), client.leftover()), (1, &b""[..]), "{kind:?} {way:?}");
        assert_eq!(application.connections(), if way.kept { 1 } else { 5 });
        application.assert_no_violations();
    }
}

fn a_cut_response_never_looks_whole(kind: Kind) {
    for way in Way::ALL {
        let gate = Gate::new();
        let late = gate.clone();
        let application = way
            .application()
            .on_request(move |request| {
                let fields = match request.param("QUERY_STRING") {
                    Some("sized") => "Content-Length: 30000",
                    _ => "X: y",
                };
                head(fields).stdout("some bytes".repeat(2000)).stall(&late).close().to(request)
            })
            .start();
        let server = way.site(kind, &application.address()).http2().file("x.php", "").start();
        for (n, query) in ["unsized", "sized", "unsized", "sized"].into_iter().enumerate() {
            let request = Request::get(&format!("/x.php?{query}"));
            let request = if n < 2 { request } else { request.http_1_0() };
            let mut client = server.client();
            client.send_part(&request, 0).unwrap();
            application.wait_for_requests(n + 1);
            let streams = way.streams(kind);
            if n == 0 && streams {
                // It has been passed on before anyone can know.
                client.wait_for(b"some bytes");
            }
            gate.open();
            match client.read_response("GET") {
                // Nothing was passed on yet.
                Ok(page) if page.status == 502 => assert!(n > 0 || !streams),
                Ok(page) if n == 2 && !kind.does(Deed::Reset) => assert!(page.is_complete()),
                Ok(page) => assert!(!page.is_complete(), "{query} {kind:?} {way:?} {:?}", page.ending),
                Err(_) => {}
            }
        }
        for query in ["unsized", "sized"] {
            assert!(!server.over_http2(&format!("/x.php?{query}"), &[]).status.success(), "{query} {kind:?}");
        }
        server.wait_for_log(&["the application closed the connection before the response was whole"]);
    }
}

fn bytes_that_come_one_by_one_are_put_together(kind: Kind) {
    for way in Way::ALL {
        let reply = whole("Status: 202\r\nX-Own: yes\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2", "a body")
            .padding(3)
            .stderr("a line\n");
        let application = way.application().reply(reply.singly()).start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        let page = server.client().get("/x.php").expect(202);
        assert_eq!((page.text().as_str(), page.field("X-Own")), ("a body", Some("yes")));
        assert_eq!(page.fields("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    }
}
