//! The bodies of requests: in every framing the same bytes, with their exact length.

use crate::nature::Deed;
use crate::server::{Kind, Server, Way};
use fcgate_kit::{Application, Directory, Recorded, Reply, Request};

through_every_server! {
    /// E3, E4, E9, X11: no body, one of known length, chunks, one that is sent when 100 Continue came, and
    /// HTTP/2 with a length and without: the application gets the same bytes and their exact length, whether
    /// they are spooled or streamed.
    bodies_are_the_same_in_every_framing;
    /// E9, X11: a streamed body reaches the application while it is still being sent; a spooled one only
    /// when it is whole.
    bodies_are_spooled_or_streamed;
    /// X11: a body over the limit is refused, whether its length is known or not, and the application is not
    /// contacted; who waits to be asked for it is refused without.
    bodies_that_are_too_large_are_refused;
}

fn answering(way: Way) -> Application {
    way.application().reply(Reply::new().stdout("X: y\r\n\r\ndone").end_stdout().end()).start()
}

/// The request that an application has got since.
fn new(application: &Application, before: usize) -> Recorded {
    assert_eq!(application.requests().len(), before + 1);
    application.request(before)
}

fn bodies_are_the_same_in_every_framing(kind: Kind) {
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let directory = Directory::new();
    let file = directory.write("body", &body).display().to_string();
    for way in Way::ALL {
        let application = answering(way);
        for setting in ["spool", "stream"] {
            let site = way.site(kind, &application.address()).setting("request_body", setting);
            let server = site.http2().file("x.php", "").start();
            let mut client = server.client();
            let expecting = Request::post("/x.php", body.clone()).field("Expect", "100-continue");
            let chunks = body.chunks(7001).map(<[u8]>::to_vec);
            for (framing, request, length) in [
                ("none", Request::get("/x.php"), None),
                ("known", Request::post("/x.php", body.clone()), Some("300000")),
                ("chunks", Request::new("PUT", "/x.php").chunked(chunks), Some("300000")),
                ("asked for", expecting, Some("300000")),
            ] {
                let before = application.requests().len();
                let page = if framing == "asked for" {
                    client.send_part(&request, 0).unwrap();
                    client.wait_for(b" 100 Continue\r\n\r\n");
                    client.write(&body).unwrap();
                    client.read_response("POST").unwrap()
                } else {
                    client.send(&request)
                };
                assert_eq!(page.expect(200).text(), "done", "{framing} {kind:?}");
                let request = new(&application, before);
                assert_eq!(request.param("CONTENT_LENGTH"), length, "{framing} {kind:?}");
                assert!(
                    request.stdin == if length.is_some() { &body[..] } else { b"" },
                    "{framing} {kind:?}"
                );
            }
            assert_eq!(client.connects(), 1, "{kind:?}");
            for known in [true, false] {
                over_http2(&server, &application, &file, &body, known);
            }
        }
        application.assert_no_violations();
    }
}

fn over_http2(server: &Server, application: &Application, file: &str, body: &[u8], known: bool) {
    let before = application.requests().len();
    let length = if known { "X-One: 1" } else { "Content-Length:" };
    let out = server.over_http2("/x.php", &["--upload-file", file, "-H", length, "-H", "Expect:"]);
    if server.http2.is_none() {
        assert!(!out.status.success());
        assert_eq!(application.requests().len(), before);
        return;
    }
    assert!(out.status.success() && out.stdout == b"done", "{:?} {known}: {out:?}", server.kind);
    let request = new(application, before);
    assert_eq!(request.param("SERVER_PROTOCOL"), Some("HTTP/2.0"));
    assert_eq!(request.param("CONTENT_LENGTH"), Some("300000"));
    assert!(request.stdin == body, "{:?}", server.kind);
}

fn bodies_are_spooled_or_streamed(kind: Kind) {
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    for way in Way::ALL {
        for setting in ["spool", "stream"] {
            let application = answering(way);
            let site = way.site(kind, &application.address()).setting("request_body", setting);
            let server = site.file("x.php", "").start();
            let mut client = server.client();
            client.send_part(&Request::post("/x.php", body.clone()), 200_000).unwrap();
            if setting == "stream" && kind.does(Deed::StreamBody) {
                application.wait_for("the first part of a streamed body", |requests| {
                    requests.first().is_some_and(|request| request.stdin_length > 100_000)
                });
                assert_eq!(application.requests()[0].param("CONTENT_LENGTH"), Some("300000"));
            } else {
                // Another client's whole request shows that the server has been through its events.
                server.client().get("/x.php").expect(200);
                assert_eq!(application.requests().len(), 1);
            }
            client.write(&body[200_000..]).unwrap();
            assert_eq!(client.read_response("POST").unwrap().expect(200).text(), "done");
            assert!(application.requests().pop().unwrap().stdin == body, "{kind:?} {setting}");
            application.assert_no_violations();
        }
    }
}

fn bodies_that_are_too_large_are_refused(kind: Kind) {
    for way in Way::ALL {
        let application = answering(way);
        let site = way.site(kind, &application.address()).setting("max_body_bytes", 10);
        let server = site.file("x.php", "").start();
        let body = "x".repeat(2000);
        let chunks = [body.clone(), body.clone()];
        for request in [Request::post("/x.php", body.clone()), Request::new("PUT", "/x.php").chunked(chunks)]
        {
            assert_eq!(server.client().send(&request).status, 413, "{kind:?} {request:?}");
        }
        let mut client = server.client();
        client.send_part(&Request::post("/x.php", body.clone()).field("Expect", "100-continue"), 0).unwrap();
        if !kind.does(Deed::RefuseAtOnce) {
            client.wait_for(b" 100 Continue\r\n\r\n");
            client.write(body.as_bytes()).unwrap();
        }
        let page = client.read_response("POST").unwrap().expect(413);
        assert_eq!(page.interim.is_empty(), kind.does(Deed::RefuseAtOnce), "{kind:?}");
        assert!(application.requests().is_empty());
        server.client().send(&Request::post("/x.php", "0123456789")).expect(200);
        assert_eq!(application.request(0).stdin, b"0123456789");
        application.assert_no_violations();
    }
}
