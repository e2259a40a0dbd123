//! Clients that go away.

use crate::nature::Deed;
use crate::server::{Kind, Way};
use fcgate_kit::{Gate, Moment, Reply, Request, Step};

through_every_server! {
    /// F7: a client that goes away while the application is silent is noticed, over HTTP/2 too, where only a
    /// stream may go; the application is told, and the connection it held serves the next.
    a_client_that_goes_away_ends_its_request;
    /// F7: with ignore_client_abort the application may finish.
    an_application_may_be_left_to_finish;
    /// F7: a client that goes away in the middle of a large response lets the application go.
    a_client_that_goes_away_in_the_response_ends_it;
    /// E9, F8: a client that stops in the middle of its body is refused, the application never takes what
    /// came for the whole, and every slot is given back.
    a_client_that_stops_in_its_body_is_refused;
}

fn a_client_that_goes_away_ends_its_request(kind: Kind) {
    for way in Way::ALL {
        let gate = Gate::new();
        let late = gate.clone();
        let application = way
            .application()
            .on_request(move |request| match request.param("QUERY_STRING") {
                Some("silent") if kind.does(Deed::NoticeWhileSilent) => {
                    Reply::new().then(Step::AwaitAbort).close().to(request)
                }
                // It is noticed by what it does not take.
                Some("silent") => {
                    let head = Reply::new().stall(&late).stdout("X: y\r\n\r\n");
                    let parts = (0..200).fold(head, |reply, _| reply.stdout("x".repeat(60_000)));
                    parts.then(Step::AwaitAbort).close().to(request)
                }
                _ => Reply::page(200, "served").to(request),
            })
            .start();
        let site = way.site(kind, &application.address()).pool("max_connections", 1);
        let server = site.http2().file("x.php", "").start();
        for request in [Request::get("/x.php?silent"), Request::post("/x.php?silent", "a body")] {
            let before = application.requests().len();
            let mut client = server.client();
            client.send_part(&request, 6).unwrap();
            application.wait_for("the whole request", |requests| {
                requests.get(before).is_some_and(|request| request.is_complete())
            });
            client.close();
            if kind.does(Deed::NoticeWhileSilent) {
                application.wait_for("an abort", |requests| requests[before].aborted);
            } else {
                assert!(!application.requests()[before].aborted);
                gate.open();
                application.wait_for_open_connections(0);
            }
            assert_eq!(server.client().get("/x.php").expect(200).text(), "served");
        }
        if kind.does(Deed::Http2) {
            let before = application.requests().len();
            let out = server.over_http2("/x.php?silent", &["--max-time", "0.5"]);
            assert_eq!(out.status.code(), Some(28), "{kind:?}");
            application.wait_for("an abort", |requests| requests.get(before).is_some_and(|one| one.aborted));
            assert_eq!(server.client().get("/x.php").expect(200).text(), "served");
        }
        application.wait_for_open_connections(usize::from(way.kept));
    }
}

fn an_application_may_be_left_to_finish(kind: Kind) {
    for way in Way::ALL {
        let gate = Gate::new();
        let late = gate.clone();
        let application = way
            .application()
            .on_request(move |request| match request.param("QUERY_STRING") {
                Some("silent") => {
                    let reply = Reply::new().stall(&late).stdout("X: y\r\n\r\n").stdout("z".repeat(3 << 20));
                    reply.then(Step::Await(Moment::Complete)).end_stdout().end().to(request)
                }
                _ => Reply::page(200, "served").to(request),
            })
            .start();
        let site = way.site(kind, &application.address()).setting("ignore_client_abort", "on");
        let server = site.file("x.php", "").start();
        let mut client = server.client();
        client.send_part(&Request::get("/x.php?silent"), 0).unwrap();
        application.wait_for_requests(1);
        client.close();
        // Another client's whole request shows that the server has been through its events meanwhile.
        assert_eq!(server.client().get("/x.php").expect(200).text(), "served");
        assert!(!application.requests()[0].aborted);
        gate.open();
        application.wait_for("the end", |requests| requests[0].ended);
        assert!(!application.request(0).aborted);
        assert_eq!(server.client().get("/x.php").expect(200).text(), "served");
        application.assert_no_violations();
    }
}

fn a_client_that_goes_away_in_the_response_ends_it(kind: Kind) {
    for way in Way::ALL {
        let application = way
            .application()
            .on_request(|request| match request.param("QUERY_STRING") {
                Some("large") => {
                    let head = Reply::new().stdout("Content-Type: text/event-stream\r\n\r\n");
                    let parts = (0..400).fold(head, |reply, _| reply.stdout("x".repeat(60_000)));
                    parts.then(Step::AwaitClose).to(request)
                }
                _ => Reply::page(200, "served").to(request),
            })
            .start();
        let site = way.site(kind, &application.address()).pool("max_connections", 1);
        let server = site.file("x.php", "").start();
        for _ in 0..3 {
            let mut client = server.client();
            client.send_part(&Request::get("/x.php?large"), 0).unwrap();
            client.wait_for(b"xxxx");
            client.close();
            assert_eq!(server.client().get("/x.php").expect(200).text(), "served");
        }
        application.wait_for_open_connections(usize::from(way.kept));
    }
}

fn a_client_that_stops_in_its_body_is_refused(kind: Kind) {
    for way in Way::ALL {
        let application = way.application().reply(Reply::page(200, "done")).start();
        for body in ["spool", "stream"] {
            let site = way.site(kind, &application.address()).pool("max_connections", 1);
            let server = site.setting("request_body", body).file("x.php", "").start();
            for _ in 0..10 {
                let mut client = server.client();
                client.send_part(&Request::post("/x.php", vec![b'b'; 50_000]), 20_000).unwrap();
                client.half_close();
                let answer = client.read_response("POST");
                assert!(answer.is_err() || answer.as_ref().unwrap().status == 400, "{kind:?} {answer:?}");
            }
            server.client().get("/x.php").expect(200);
        }
        for request in application.requests() {
            assert!(request.is_complete() || request.aborted || !request.stdin_ended);
        }
    }
}
