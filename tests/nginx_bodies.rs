//! ngx_http_fcgate_module in nginx: the bodies of requests.

use fcgate_kit::{Application, Gate, Moment, Nginx, Reply, Request, Step};

fn pass(application: &Application) -> String {
    format!("fcgate_pass {};", application.address())
}

fn answering() -> Application {
    Application::unix().reply(Reply::new().stdout("X: y\r\n\r\ndone").end_stdout().end()).start()
}

/// E9, X11: a streamed body reaches the application while it is still being sent; a spooled one only
/// when it is whole; 100 Continue is asked for when the body is wanted, and one that is too large is
/// refused.
#[test]
fn bodies_are_spooled_or_streamed() {
    let application = answering();
    let pass = pass(&application);
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\nclient_max_body_size 8m;")
        .server(format!("location /x {{ {pass} }}"))
        .server(format!("location /stream {{ fcgate_request_body stream; {pass} }}"))
        .server(format!("location /unbuffered {{ fcgate_request_buffering off; {pass} }}"))
        .server(format!("location /small {{ fcgate_max_body_bytes 10; {pass} }}"))
        .server(format!("location /limit {{ client_max_body_size 10; {pass} }}"))
        .server(format!("location /without {{ fcgate_pass_request_body off; {pass} }}"))
        .start();
    let body = vec![b'b'; 3_000_000];
    let mut client = nginx.client();
    client.send_part(&Request::post("/x", body.clone()), 1_000_000).unwrap();
    for path in ["/stream", "/unbuffered"] {
        let before = application.requests().len();
        let mut streamed = nginx.client();
        streamed.send_part(&Request::post(path, body.clone()), 1_000_000).unwrap();
        application.wait_for("the first part of a streamed body", |requests| {
            requests.get(before).is_some_and(|request| request.stdin_length > 500_000)
        });
        let begun = application.requests().swap_remove(before);
        assert_eq!(begun.param("REQUEST_URI"), Some(path));
        assert_eq!(begun.param("CONTENT_LENGTH"), Some("3000000"));
        streamed.write(&body[1_000_000..]).unwrap();
        assert_eq!(streamed.read_response("POST").unwrap().expect(200).text(), "done");
        assert!(application.request(before).stdin == body);
    }
    assert_eq!(application.requests().len(), 2);
    client.write(&body[1_000_000..]).unwrap();
    client.read_response("POST").unwrap().expect(200);
    assert!(application.request(2).stdin == body);
    for path in ["/x", "/stream"] {
        let chunks = body.chunks(10_001).map(<[u8]>::to_vec);
        nginx.client().send(&Request::new("POST", path).chunked(chunks)).expect(200);
        let request = application.requests().pop().unwrap();
        assert_eq!((request.param("CONTENT_LENGTH"), request.stdin == body), (Some("3000000"), true));
    }
    let mut client = nginx.client();
    client.send(&Request::post("/without", "body")).expect(200);
    let request = application.requests().pop().unwrap();
    assert_eq!((request.param("CONTENT_LENGTH"), request.stdin.len()), (None, 0));
    client.send(&Request::get("/x")).expect(200);

    let expecting = |path: &str| Request::post(path, "x".repeat(100)).field("Expect", "100-continue");
    let mut client = nginx.client();
    client.send_part(&expecting("/x"), 0).unwrap();
    client.wait_for(b"100 Continue\r\n\r\n");
    client.write("x".repeat(100).as_bytes()).unwrap();
    assert_eq!(client.read_response("POST").unwrap().expect(200).interim.len(), 1);
    let before = application.requests().len();
    nginx.client().send(&Request::post("/small", "x".repeat(100))).expect(413);
    nginx.client().send(&Request::post("/limit", "x".repeat(100))).expect(413);
    assert_eq!(application.requests().len(), before);
    application.assert_no_violations();
}

/// E9, F8: a client that stops in the middle of its body: the application never takes what came for the
/// whole; every slot is given back.
#[test]
fn a_client_that_stops_in_its_body_is_refused() {
    let application = answering();
    let nginx = Nginx::builder()
        .http(format!("fcgate_pool php {} max_connections=1;", application.address()))
        .server("fcgate_preset plain;\nlocation / { fcgate_pass php; }")
        .server("location /stream { fcgate_request_body stream; fcgate_pass php; }")
        .start();
    for path in ["/", "/stream"] {
        for _ in 0..20 {
            let mut client = nginx.client();
            client.send_part(&Request::post(path, vec![b'b'; 50_000]), 20_000).unwrap();
            client.half_close();
            let answer = client.read_response("POST");
            assert!(answer.is_err() || answer.as_ref().unwrap().status == 400, "{answer:?}");
        }
    }
    nginx.client().get("/").expect(200);
    for request in application.requests() {
        assert!(request.is_complete() || request.aborted || !request.stdin_ended);
    }
}

/// F7: with ignore_client_abort the application gets the whole body, from nginx's own file too, though its
/// client and nginx's request are gone.
#[test]
fn an_application_that_may_finish_gets_the_whole_body() {
    let gate = Gate::new();
    let reply = Reply::new().stall(&gate).then(Step::Await(Moment::Complete)).stdout("X: y\r\n\r\n");
    let application = Application::unix().at(Moment::Params).reply(reply.end_stdout().end()).start();
    let nginx = Nginx::builder()
        .server("fcgate_preset plain;\nfcgate_ignore_client_abort on;\nclient_max_body_size 8m;\nlocation = /robots.txt { }")
        .server(format!("location / {{ {} }}", pass(&application)))
        .start();
    let body: Vec<u8> = (0..6_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut client = nginx.client();
    client.send_part(&Request::post("/", body.clone()), body.len()).unwrap();
    application.wait_for("its beginning", |requests| !requests.is_empty());
    client.close();
    // Files that others open meanwhile could get the descriptor.
    for _ in 0..20 {
        nginx.client().get("/robots.txt").expect(200);
    }
    gate.open();
    application.wait_for("the end", |requests| requests[0].ended);
    let request = application.request(0);
    assert!(!request.aborted && request.stdin == body);
    application.assert_no_violations();
}
