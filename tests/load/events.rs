//! Server-sent events beside a large download: each reaches the client at once, and the download keeps its large
//! writes.

use crate::on_every_server;
use crate::reader::body;
use crate::server::{Kind, Server};
use fcgate_kit::load::Over;
use fcgate_kit::{Application, Gate, Recorded, Reply, Request, Step, usage};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

on_every_server! {
    /// F3: each event reaches its client before the application writes the next, while downloads run.
    events_arrive_beside_downloads;
    /// F3: the same, a hundred streams and 100 MiB at a time: how long the first event takes, and how large the
    /// download's writes are.
    #[ignore = "measures: make proofs"]
    events_beside_100_mib;
}

const HEAD: &str = "Content-Type: text/event-stream\r\n\r\n";

/// The answer to `download`.
fn download(length: usize) -> impl Fn(&Recorded) -> Vec<Step> {
    let body = body(length);
    move |request| {
        let head = Reply::new().stdout(format!("Content-Length: {length}\r\n\r\n"));
        body.chunks(65_000).fold(head, |reply, piece| reply.stdout(piece)).end_stdout().end().to(request)
    }
}

/// Downloads again and again until it is over; how often.
fn downloads(server: &Server, length: usize, over: &Over) -> usize {
    let mut client = server.client();
    let mut count = 0;
    while !over.is_near() {
        assert_eq!(client.get("/app?download").expect(200).body.len(), length);
        count += 1;
    }
    count
}

fn events_arrive_beside_downloads(kind: Kind) {
    const LENGTH: usize = 4 << 20;
    const EVENTS: usize = 8;
    let gates: Vec<Gate> = std::iter::repeat_with(Gate::new).take(EVENTS).collect();
    let (steps, large) = (gates.clone(), download(LENGTH));
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some("events") => {
                let head = Reply::new().stdout(HEAD);
                let event = |reply: Reply, (n, gate): (usize, &Gate)| {
                    reply.stdout(format!("data: event {n}\n\n")).stall(gate)
                };
                steps.iter().enumerate().fold(head, event).end_stdout().end().to(request)
            }
            _ => large(request),
        })
        .start();
    let server = Server::of(kind).route("app", application.address(), &[("preset", "plain")]).start();
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_end();
        scope.spawn(|| downloads(&server, LENGTH, &over));
        application.wait_for("a download has begun", |log| !log.is_empty());
        let mut client = server.client();
        client.send_part(&Request::get("/app?events"), 0).unwrap();
        for (n, gate) in gates.iter().enumerate() {
            client.wait_for(format!("data: event {n}\n\n").as_bytes());
            gate.open();
        }
        client.read_response("GET").unwrap().expect(200);
    });
    application.assert_no_violations();
}

/// The middle, the 99th of a hundred, and the longest.
fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    format!("{:.2} ms in the middle, {:.2} ms for 99 of 100, {:.2} ms at most", at(50), at(99), at(100))
}

fn events_beside_100_mib(kind: Kind) {
    const LENGTH: usize = 100 << 20;
    const STREAMS: usize = 100;
    const EVENTS: usize = 5;
    let written = Arc::new(Mutex::new(Instant::now()));
    let (note, large) = (Arc::clone(&written), download(LENGTH));
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some("events") => {
                let mut reply = Reply::new();
                for n in 0..EVENTS {
                    let note = Arc::clone(&note);
                    reply = reply.then(Step::Run(Arc::new(move || {
                        // Events come when something happens, not one behind the other.
                        thread::sleep(Duration::from_millis(5));
                        *note.lock().unwrap() = Instant::now();
                    })));
                    reply = reply.stdout(format!("{}data: event {n}\n\n", if n == 0 { HEAD } else { "" }));
                }
                reply.end_stdout().end().to(request)
            }
            _ => large(request),
        })
        .start();
    let server = Server::of(kind).route("app", application.address(), &[("preset", "plain")]).start();
    server.client().get("/app?download").expect(200);
    let streams = || {
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for _ in 0..STREAMS {
            let mut client = server.client();
            client.send_part(&Request::get("/app?events"), 0).unwrap();
            for n in 0..EVENTS {
                client.wait_for(format!("data: event {n}\n\n").as_bytes());
                let took = written.lock().unwrap().elapsed();
                if n == 0 { first.push(took) } else { later.push(took) }
            }
            client.read_response("GET").unwrap().expect(200);
        }
        (first, later)
    };
    let writes = || usage::writes(&server.processes());
    let start = writes();
    streams();
    let alone = writes();
    let over = Over::default();
    let (first, later, count) = thread::scope(|scope| {
        let end = over.at_end();
        let count = scope.spawn(|| downloads(&server, LENGTH, &over));
        let (first, later) = streams();
        drop(end);
        (first, later, count.join().unwrap())
    });
    let both = writes();
    // What the events take by themselves is no write of the downloads.
    let calls = (both.0 - alone.0).saturating_sub(alone.0 - start.0);
    let bytes = (both.1 - alone.1).saturating_sub(alone.1 - start.1);
    assert!(first.iter().all(|took| *took < Duration::from_millis(20)), "{kind:?}: {}", told(first));
    println!(
        "{kind:?}: first event {}; later ones {}; {count} downloads meanwhile, {} bytes in a write of theirs",
        told(first),
        told(later),
        bytes / calls.max(1)
    );
}
