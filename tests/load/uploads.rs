//! A streamed upload to an application that reads slower than its client sends: the client waits, and nothing of
//! it piles up in the server.

use crate::on_every_server;
use crate::server::{Kind, Server};
use fcgate_kit::{Application, Gate, Moment, Reply, Step};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const PIECE: usize = 64 << 10;
const MEBIBYTE: usize = 1 << 20;
/// What the server may grow by: buffers, not bodies.
const GROWTH: u64 = 4 << 20;
/// What the sockets on the way may hold: the kernel lets those of TCP grow to some megabytes each.
const ON_THE_WAY: usize = 16 << 20;

on_every_server! {
    /// X11, F9: of 32 MiB to an application that reads none of it, the client gets rid of what sockets hold, and the
    /// server holds neither the rest nor a file; all of it arrives when the application reads.
    an_upload_waits_for_its_application;
    /// X11, F9: a gibibyte to an application that reads 10 MiB a second.
    #[ignore = "takes two minutes: make proofs"]
    a_gibibyte_at_10_mib_a_second;
}

/// What a server takes beyond what it took before.
struct Growth {
    before: u64,
    files: Vec<PathBuf>,
    most: u64,
}

impl Growth {
    fn of(server: &Server) -> Self {
        Self { before: server.memory(), files: server.files(), most: 0 }
    }

    fn look(&mut self, server: &Server, kind: Kind) {
        self.most = self.most.max(server.memory().saturating_sub(self.before));
        assert!(self.most < GROWTH, "{kind:?} grew by {} bytes, {GROWTH} are the bound", self.most);
        assert_eq!(server.files(), self.files, "{kind:?}");
    }
}

/// Sends pieces until so much is sent, or nothing was taken for a while; how much.
fn send(stream: &mut TcpStream, from: usize, length: usize) -> usize {
    let piece = vec![b'x'; PIECE];
    let mut sent = from;
    while sent < length {
        match stream.write(&piece[..PIECE.min(length - sent)]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error} behind {sent} bytes"),
        }
    }
    sent
}

fn begin(server: &Server, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "POST /app HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
        .unwrap();
    stream
}

fn assert_answered(mut stream: TcpStream) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("taken"), "{answer}");
}

/// What a first request takes is no growth.
fn warm_up(server: &Server) {
    let mut small = begin(server, 1);
    small.write_all(b"x").unwrap();
    assert_answered(small);
}

fn taken() -> Reply {
    Reply::new().then(Step::Await(Moment::Complete)).stdout("X: y\r\n\r\ntaken").end_stdout().end()
}

fn an_upload_waits_for_its_application(kind: Kind) {
    const LENGTH: usize = 32 * MEBIBYTE;
    let gate = Gate::new();
    let stalled = gate.clone();
    let application = Application::unix()
        .at(Moment::Params)
        .discard_bodies()
        .on_request(move |request| match request.param("CONTENT_LENGTH") {
            Some("1") => taken().to(request),
            _ => [Reply::new().stall(&stalled).to(request), taken().to(request)].concat(),
        })
        .start();
    let server =
        Server::of(kind).route("app", application.address(), &[("preset", "plain")]).streaming().start();
    warm_up(&server);
    let mut growth = Growth::of(&server);
    let mut stream = begin(&server, LENGTH);
    application.wait_for_connections(2);
    // What could pile up has this long to do so.
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let sent = send(&mut stream, 0, LENGTH);
    assert!(sent < ON_THE_WAY, "{kind:?}: {sent} bytes are gone, and the application has read none");
    growth.look(&server, kind);
    println!("{kind:?}: {} KiB on the way, grew by {} KiB", sent >> 10, growth.most >> 10);
    gate.open();
    stream.set_write_timeout(Some(Duration::from_secs(15))).unwrap();
    assert_eq!(send(&mut stream, sent, LENGTH), LENGTH);
    assert_answered(stream);
    growth.look(&server, kind);
    assert_eq!(application.request(1).stdin_length, LENGTH as u64);
    application.assert_no_violations();
}

fn a_gibibyte_at_10_mib_a_second(kind: Kind) {
    const LENGTH: usize = 1 << 30;
    const PACE: Duration = Duration::from_millis(100);
    let application = Application::unix()
        .at(Moment::Params)
        .discard_bodies()
        .on_request(move |request| {
            let start = Instant::now();
            let mebibytes = (1..=(LENGTH / MEBIBYTE) as u32).flat_map(|n| {
                let pace: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
                    thread::sleep((start + PACE * n).saturating_duration_since(Instant::now()))
                });
                [Step::Await(Moment::Body(u64::from(n) * MEBIBYTE as u64)), Step::Run(pace)]
            });
            let mebibytes = mebibytes.filter(|_| request.param("CONTENT_LENGTH") != Some("1"));
            mebibytes.chain(taken().to(request)).collect()
        })
        .start();
    let server =
        Server::of(kind).route("app", application.address(), &[("preset", "plain")]).streaming().start();
    warm_up(&server);
    let mut growth = Growth::of(&server);
    let start = Instant::now();
    let mut stream = begin(&server, LENGTH);
    stream.set_write_timeout(Some(Duration::from_secs(15))).unwrap();
    for end in (4 * MEBIBYTE..=LENGTH).step_by(4 * MEBIBYTE) {
        assert_eq!(send(&mut stream, end - 4 * MEBIBYTE, end), end);
        growth.look(&server, kind);
    }
    assert_answered(stream);
    assert_eq!(application.request(1).stdin_length, LENGTH as u64);
    application.assert_no_violations();
    println!(
        "{kind:?}: a gibibyte in {:.1} s; memory {} KiB before, {} KiB more at most; no file",
        start.elapsed().as_secs_f64(),
        growth.before >> 10,
        growth.most >> 10
    );
}
