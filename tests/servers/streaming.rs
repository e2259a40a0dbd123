//! Responses on their way: passed on as they come, whole however large, and laid aside for slow clients.

use crate::nature::Deed;
use crate::server::{Kind, Way};
use fcgate_kit::{Client, Gate, Reply, Request};

through_every_server! {
    /// A2, H9: what has come is passed on when the application pauses, and the response is whole as soon as
    /// its end is known, though the request itself has not ended.
    a_stream_is_passed_on_when_the_application_pauses;
    /// A12, F9: large responses are passed on whole, with a length and without, one after the other on one
    /// connection, and to a client that takes them late.
    large_responses_are_passed_on_whole;
    /// A12, F9: with response_body=spool responses that nobody takes hold no worker of the application: its
    /// only one serves all, and each client gets its own in the end.
    responses_laid_aside_free_the_application;
}

fn head(fields: &str) -> Reply {
    Reply::new().stdout(format!("{fields}\r\n\r\n"))
}

fn a_stream_is_passed_on_when_the_application_pauses(kind: Kind) {
    for way in Way::ALL {
        let (first, second) = (Gate::new(), Gate::new());
        let reply = head("Content-Type: text/event-stream").stdout("one\n").stall(&first).stdout("two\n");
        let application = way.application().reply(reply.end_stdout().stall(&second).end()).start();
        let server = way.site(kind, &application.address()).file("x.php", "").start();
        let mut client = server.client();
        client.send_part(&Request::get("/x.php").http_1_0(), 0).unwrap();
        client.wait_for(b"one\n");
        first.open();
        client.wait_for(b"two\n");
        if kind.does(Deed::Complete) {
            assert_eq!(client.read_response("GET").unwrap().text(), "one\ntwo\n");
            second.open();
        } else {
            second.open();
            assert_eq!(client.read_response("GET").unwrap().text(), "one\ntwo\n");
        }
        application.wait_for("the end", |requests| requests[0].ended);
        assert!(!application.request(0).aborted);
    }
}

fn large_responses_are_passed_on_whole(kind: Kind) {
    let body: String = (0..500_000).map(|n| format!("{n:07} ")).collect();
    for way in Way::ALL {
        let (content, length) = (body.clone(), body.len());
        let application = way
            .application()
            .on_request(move |request| {
                let fields = match request.param("QUERY_STRING") {
                    Some("sized") => format!("Content-Length: {length}"),
                    _ => "X: y".to_owned(),
                };
                let parts = content.as_bytes().chunks(60_000);
                parts.fold(head(&fields), |reply, part| reply.stdout(part)).end_stdout().end().to(request)
            })
            .start();
        let server = way.site(kind, &application.address()).http2().file("x.php", "").start();
        let mut late = server.client();
        late.send_part(&Request::get("/x.php?late"), 0).unwrap();
        let mut client = server.client();
        for query in ["sized", "unsized", "sized"] {
            assert!(client.get(&format!("/x.php?{query}")).expect(200).text() == body, "{query} {kind:?}");
        }
        assert_eq!(client.connects(), 1);
        let out = server.over_http2("/x.php?unsized", &["--limit-rate", "40M"]);
        assert_eq!(out.stdout == body.as_bytes(), kind.does(Deed::Http2), "{kind:?}");
        assert!(late.read_response("GET").unwrap().expect(200).text() == body);
        application.assert_no_violations();
    }
}

fn responses_laid_aside_free_the_application(kind: Kind) {
    let body: Vec<u8> = (0..6_000_000u32).map(|n| (n % 251) as u8).collect();
    for way in Way::ALL {
        let parts = body.chunks(60_000).fold(head("X: y"), |reply, part| reply.stdout(part));
        let application = way.application().reply(parts.end_stdout().end()).start();
        let server = way
            .site(kind, &application.address())
            .pool("max_connections", 1)
            .setting("response_body", "spool")
            .setting("response_memory", "128k")
            .file("x.php", "")
            .start();
        let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send_part(&Request::get("/x.php"), 0).unwrap();
        }
        if kind.does(Deed::LayAside) {
            application.wait_for("all requests end", |requests| {
                requests.iter().filter(|request| request.ended).count() == 4
            });
        }
        // Where nothing is laid aside, who does not read holds up the others.
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| {
                    let page = client.read_response("GET").unwrap().expect(200);
                    assert!(page.body == body, "{kind:?}: {} bytes came", page.body.len());
                });
            }
        });
        application.assert_no_violations();
    }
}
