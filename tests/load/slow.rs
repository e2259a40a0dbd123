//! Clients that read slowly: what they take of the server's memory is bounded by the settings, and they hold
//! none of the application's workers.

use crate::on_every_server;
use crate::reader::{Reader, body};
use crate::server::{Kind, Server};
use fcgate_kit::{Application, Directory, Gate, PhpFpm, Reply, Request};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

/// As many as php-fpm has children.
const WORKERS: usize = 5;
const MEMORY: usize = 64 << 10;
/// What an exchange and a client's connection take besides response_memory, however long the response: buffers for
/// reading from the application and from the file, the server's own, a thread's stack, and what the allocator
/// makes of them.
const OWN: usize = 256 << 10;
/// What serving anything at all takes.
const BASE: u64 = 4 << 20;

const LAID_ASIDE: [(&str, &str); 2] = [("response_body", "spool"), ("response_memory", "64k")];

/// No more than `clients × (response_memory + OWN)`, and a base.
fn assert_bounded(server: &Server, kind: Kind, before: u64, clients: usize) {
    let (grown, bound) = (server.memory().saturating_sub(before), (clients * (MEMORY + OWN)) as u64 + BASE);
    println!(
        "{kind:?}: grew by {} KiB, {} KiB each; bound {} KiB",
        grown >> 10,
        (grown / clients as u64) >> 10,
        bound >> 10
    );
    assert!(grown < bound, "{kind:?} grew by {grown} bytes, {bound} are the bound");
}

on_every_server! {
    /// F9, A12: forty clients that read nothing: all of what they asked for is taken from the application, whose five
    /// workers are free at once for others; the clients get theirs in the end.
    clients_that_read_nothing;
    /// F9, A12: two hundred clients at 20 KiB/s, a mebibyte each, before php-fpm with five children: memory as
    /// set, and others are served meanwhile.
    #[ignore = "takes a minute: make proofs"]
    clients_at_20_kib_a_second;
}

fn clients_that_read_nothing(kind: Kind) {
    const CLIENTS: usize = 40;
    const LENGTH: usize = 2 << 20;
    let gate = Gate::new();
    let together = gate.clone();
    let large = body(LENGTH);
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some("together") => {
                Reply::new().stall(&together).stdout("X: y\r\n\r\nfree").end_stdout().end().to(request)
            }
            _ => {
                let head = Reply::new().stdout(format!("Content-Length: {LENGTH}\r\n\r\n"));
                large
                    .chunks(60_000)
                    .fold(head, |reply, piece| reply.stdout(piece))
                    .end_stdout()
                    .end()
                    .to(request)
            }
        })
        .start();
    let pool = format!("{} max_connections={WORKERS}", application.address());
    let settings = [&[("preset", "plain")][..], &LAID_ASIDE].concat();
    let server = Server::of(kind).route("app", pool, &settings).start();
    let mut first = Reader::get(server.address(), "/app");
    first.finish();
    first.assert_whole(LENGTH);
    let before = server.memory();

    let mut readers: Vec<_> = (0..CLIENTS).map(|_| Reader::get(server.address(), "/app")).collect();
    application.wait_for_requests(1 + CLIENTS);
    let mut others: Vec<_> = (0..WORKERS).map(|_| server.client()).collect();
    for client in &mut others {
        client.send_part(&Request::get("/app?together"), 0).unwrap();
    }
    application.wait_for_requests(1 + CLIENTS + WORKERS);
    gate.open();
    for client in &mut others {
        assert_eq!(client.read_response("GET").unwrap().expect(200).text(), "free");
    }
    assert_bounded(&server, kind, before, CLIENTS);
    for reader in &mut readers {
        reader.finish();
        reader.assert_whole(LENGTH);
    }
    application.assert_no_violations();
}

/// A mebibyte; or, for `?N`, waits until as many as php-fpm has children are here at once, in round N.
const SCRIPT: &str = "<?php
$round = $_SERVER['QUERY_STRING'];
if ($round === '') {
    header('Content-Length: ' . LENGTH);
    $piece = '';
    for ($at = 0; $at < 251; $at++) $piece .= chr($at);
    echo substr(str_repeat($piece, intdiv(LENGTH, 251) + 1), 0, LENGTH);
    exit;
}
touch('PLACE/' . $round . '.' . getmypid());
while (count(glob('PLACE/' . $round . '.*')) < WORKERS) usleep(1000);
echo 'free';";

fn clients_at_20_kib_a_second(kind: Kind) {
    const CLIENTS: usize = 200;
    const LENGTH: usize = 1 << 20;
    const TICK: Duration = Duration::from_millis(100);
    const EACH_TICK: usize = 2 << 10;
    let place = Directory::new();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let php = PhpFpm::unix().children(WORKERS as u32).start();
    let text = SCRIPT
        .replace("LENGTH", &LENGTH.to_string())
        .replace("WORKERS", &WORKERS.to_string())
        .replace("PLACE", place.path().to_str().unwrap());
    let script = php.script("app.php", &text);
    let pool = format!("{} max_connections={WORKERS} queue_timeout=1m", php.address());
    let settings = [&[("script", script.to_str().unwrap())][..], &LAID_ASIDE].concat();
    let server = Server::of(kind).route("app", pool, &settings).start();
    let mut first = Reader::get(server.address(), "/app");
    first.finish();
    first.assert_whole(LENGTH);
    let before = server.memory();

    let start = Instant::now();
    let mut readers: Vec<_> = (0..CLIENTS).map(|_| Reader::get(server.address(), "/app")).collect();
    let (mut round, mut longest, mut most) = (0, Duration::ZERO, 0);
    let mut open = true;
    while open {
        // Every fifth second all five children have to be free at once.
        if start.elapsed() >= Duration::from_secs(5) * (round + 1)
            && readers.iter().all(|one| one.received < LENGTH)
        {
            round += 1;
            let asked = Instant::now();
            thread::scope(|scope| {
                for _ in 0..WORKERS {
                    let mut client = server.client();
                    scope.spawn(move || {
                        assert_eq!(client.get(&format!("/app?{round}")).expect(200).text(), "free")
                    });
                }
            });
            longest = longest.max(asked.elapsed());
            most = most.max(server.memory());
            assert_bounded(&server, kind, before, CLIENTS);
        }
        let tick = Instant::now();
        open = readers.iter_mut().filter_map(|reader| reader.read(EACH_TICK).then_some(())).count() > 0;
        thread::sleep(TICK.saturating_sub(tick.elapsed()));
    }
    readers.iter().for_each(|reader| reader.assert_whole(LENGTH));
    assert!(round > 5, "{round} rounds");
    println!(
        "{kind:?}: {CLIENTS} clients of {LENGTH} bytes took {:.1} s; memory {} KiB before, {} KiB at most; five requests at once answered {round} times, within {:.1} ms",
        start.elapsed().as_secs_f64(),
        before >> 10,
        most >> 10,
        longest.as_secs_f64() * 1000.0,
    );
}
