//! Graceful restarts of Apache with mod_fcgate: one after the other under load, they neither fail a request
//! nor leak.

use fcgate_kit::load::Over;
use fcgate_kit::valgrind::Valgrind;
use fcgate_kit::{Apache, Application, Client, Directory, Gate, Mpm, PhpFpm, Reply, Request, Response};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Tests that load the machine don't share it with each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fcgate_kit::under_every_mpm! {
    /// Twenty graceful restarts under load: every request is answered.
    graceful_restarts_fail_no_request;
}

/// The three lines of the README.
fn three_lines(php: &PhpFpm) -> String {
    format!("FcgateBalancer php {}\nFcgateMap .php php", php.address())
}

/// As soon as one generation has answered each client, on average, the next is there.
const LOAD: Load = Load { clients: 8, restarts: 20, between: 8, before: |_| {} };
/// What is bearable under valgrind.
const LIGHT_LOAD: Load = Load { clients: 2, restarts: 3, between: 40, before: |_| {} };

/// What it was sent, with the body's digest. Some answers take longer than a restart does.
const ECHO: &str =
    "<?php if ($_GET['n'] % 10 == 0) usleep(300000); echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['n'], ' ',
    crc32(file_get_contents('php://input')), \"\\n\", str_repeat('.', 10000), 'end';";

/// CRC-32 as PHP has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A GET or a POST on a connection of its own; why it failed.
fn echo(client: &mut Client, n: usize) -> Result<(), String> {
    let target = format!("/echo.php?n={n}");
    // Some bodies are too large for memory and are spooled in a file.
    let body = format!("post {n} ").repeat(if n % 4 == 3 { 10_000 } else { 1 }).into_bytes();
    let (request, method, body) = match n % 2 {
        0 => (Request::get(&target), "GET", Vec::new()),
        _ => (Request::post(&target, body.clone()), "POST", body),
    };
    let right = format!("{method} {n} {}\n{}end", crc32(&body), ".".repeat(10_000));
    let answer = client.try_send(&request.field("Connection", "close"));
    client.close();
    match answer {
        Ok(answer) if answer.status == 200 && answer.is_complete() && answer.text() == right => Ok(()),
        Ok(Response { status, ending, body, .. }) => {
            Err(format!("{method} {n}: {status}, {ending:?}, {} bytes", body.len()))
        }
        Err(error) => Err(format!("{method} {n}: {error}")),
    }
}

/// An Apache that serves `ECHO` and says of which generation it is.
fn with_generations(mpm: Mpm, php: &PhpFpm) -> fcgate_kit::apache::Builder {
    let builder = Apache::with(mpm)
        .config(three_lines(php))
        .config("Include {directory}/generation.conf")
        .file("echo.php", ECHO);
    builder.directory().write("generation.conf", "Header always set X-Generation 0\n");
    builder
}

/// How Apache is restarted under load.
struct Load {
    clients: usize,
    restarts: usize,
    /// Requests between two restarts, beyond those that the restarts themselves take.
    between: usize,
    /// What is done before each.
    before: fn(&Apache),
}

/// Restarts Apache under load, each time when the children of the time before answer; returns how many
/// requests were answered, and which were not.
fn restart_under_load(apache: &mut Apache, load: &Load) -> (usize, Vec<String>) {
    let over = Over::default();
    let done = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let _end = over.at_end();
        for first in 0..load.clients {
            let mut client = apache.client();
            let (over, done, failures) = (&over, &done, &failures);
            scope.spawn(move || {
                let _end = over.at_end();
                for n in (first..).step_by(load.clients).take_while(|_| !over.is_near()) {
                    if let Err(failure) = echo(&mut client, n) {
                        failures.lock().unwrap().push(failure);
                    }
                    done.fetch_add(1, Relaxed);
                }
            });
        }
        for generation in 1..=load.restarts {
            let line = format!("Header always set X-Generation {generation}\n");
            apache.directory().write("generation.conf", line);
            (load.before)(apache);
            apache.restart_gracefully();
            wait_for_generation(apache, generation);
            let enough = done.load(Relaxed) + load.between;
            // A client that panics ends it all.
            while done.load(Relaxed) < enough && !over.is_near() {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let failures = failures.into_inner().unwrap();
    (done.into_inner() - failures.len(), failures)
}

fn wait_for_generation(apache: &Apache, generation: usize) {
    let wanted = generation.to_string();
    let new = (0..10_000).any(|_| {
        let mut client = apache.client();
        let answer = client.send(&Request::get("/robots.txt").field("Connection", "close")).expect(200);
        answer.field("X-Generation") == Some(&wanted)
    });
    assert!(new, "generation {generation} does not answer:\n{}", apache.log());
}

fn graceful_restarts_fail_no_request(mpm: Mpm) {
    let _alone = alone();
    let php = PhpFpm::unix().children(4).start();
    let mut apache = with_generations(mpm, &php).start();
    let (answered, failures) = restart_under_load(&mut apache, &LOAD);
    let log = apache.log();
    println!("{mpm:?}: {answered} answered");
    assert!(
        failures.is_empty(),
        "{mpm:?}: {} of {} failed, the first: {:?}\n{log}",
        failures.len(),
        failures.len() + answered,
        &failures[..failures.len().min(5)]
    );
    for crash in ["exit signal", "Segmentation"] {
        assert!(!log.contains(crash), "{mpm:?}: {log}");
    }
}

/// Lays another file of the module where Apache loads it from, as installing a version does.
fn replace_module(directory: &Directory) {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/mod_fcgate.so");
    let (new, place) = (directory.join("modules/new"), directory.join("modules/mod_fcgate.so"));
    fs::copy(built, &new).unwrap();
    fs::rename(new, place).unwrap();
}

/// S4: the module is replaced, and replaced back, under load: no request fails, and all children have the
/// file that is there then.
#[test]
fn the_module_is_replaced_under_load() {
    let _alone = alone();
    let php = PhpFpm::unix().children(4).start();
    let builder = with_generations(Mpm::Event, &php);
    let directory = builder.directory();
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/libfcgate.so.0");
    directory.write("modules/libfcgate.so.0", fs::read(library).unwrap());
    replace_module(directory);
    let place = directory.join("modules/mod_fcgate.so");
    let mut apache = builder.fcgate(&place).start();
    let load = Load { restarts: 4, before: |apache| replace_module(apache.directory()), ..LOAD };
    let (answered, failures) = restart_under_load(&mut apache, &load);
    assert!(answered > 0 && failures.is_empty(), "{failures:?}");
    let inode = fs::metadata(&place).unwrap().ino().to_string();
    let has = |pid: &u32| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let own = maps.lines().find(|line| line.contains("mod_fcgate.so")).map(str::to_owned);
        own.is_some_and(|line| line.split_whitespace().nth(4) == Some(&inode))
    };
    let processes = apache.processes();
    assert!(has(&processes[0]) && processes.iter().filter(|pid| has(pid)).count() > 1, "{processes:?}");
}

/// S5: a child that is killed in the middle of its requests leaves nothing behind that would hold up the
/// others.
#[test]
fn a_killed_child_holds_nobody_up() {
    let _alone = alone();
    let gate = Gate::new();
    let stalled = gate.clone();
    let application = Application::unix()
        .on_request(move |request| match request.param("QUERY_STRING") {
            Some("stall") => Reply::new().stall(&stalled).close().to(request),
            _ => Reply::page(200, "served").to(request),
        })
        .start();
    let apache = Apache::with(Mpm::Prefork)
        .config(format!("FcgateBalancer php {} max_connections=1\nFcgateMap .php php", application.address()))
        .file("x.php", "")
        .start();
    for round in 0..3 {
        let mut client = apache.client();
        client.send_part(&Request::get("/x.php?stall"), 0).unwrap();
        application.wait_for("the request that stalls", |requests| {
            requests.iter().filter(|one| one.param("QUERY_STRING") == Some("stall")).count() > round
        });
        // Whichever of them has it.
        for pid in apache.processes().into_iter().skip(1) {
            Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        }
        assert!(client.read_response("GET").is_err());
        // Their successors are made within a second.
        let answers = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            apache.client().try_send(&Request::get("/x.php")).is_ok()
        });
        assert!(answers, "{}", apache.log());
        for _ in 0..10 {
            assert_eq!(apache.client().get("/x.php").expect(200).text(), "served");
        }
    }
    gate.open();
}

// ---- under valgrind ----

/// Three graceful restarts under some load with valgrind: no invalid access of ours, nothing of ours lost.
#[test]
fn graceful_restarts_leak_nothing() {
    let _alone = alone();
    let valgrind = Valgrind::default();
    let php = PhpFpm::unix().children(2).start();
    let mut apache = with_generations(Mpm::Worker, &php)
        .config(
            "StartServers 1\nThreadsPerChild 4\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8",
        )
        .wrapped(valgrind.words())
        .start();
    let (answered, failures) = restart_under_load(&mut apache, &LIGHT_LOAD);
    assert!(failures.is_empty(), "{answered} answered, then {failures:?}\n{}", apache.log());
    apache.process().signal(libc::SIGTERM);
    apache.process().wait();
    let finished = valgrind.assert_clean();
    // The parent, and a child of each generation.
    assert!(
        finished >= LIGHT_LOAD.restarts + 2,
        "only {finished} processes ended by themselves:\n{}",
        apache.log()
    );
}
