//! mod_fcgate under load: children are never idle while somebody waits, bodies of gigabytes take no
//! memory, and graceful restarts, one after the other, neither fail a request nor leak.

use fcgate_kit::{Apache, Application, Client, Directory, Mpm, PhpFpm, Reply, Request, Response};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Tests that measure don't share the machine with each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells threads that it is over, also when a test fails meanwhile.
#[derive(Default)]
struct Over(AtomicBool);

impl Over {
    fn is_near(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Something that tells them when it is dropped.
    fn at_end(&self) -> impl Drop + '_ {
        struct End<'a>(&'a Over);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, Relaxed);
            }
        }
        End(self)
    }
}

/// One test for each MPM.
macro_rules! under_every_mpm {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        mod $name {
            use fcgate_kit::Mpm;
            #[test]
            fn prefork() {
                super::$name(Mpm::Prefork);
            }
            #[test]
            fn worker() {
                super::$name(Mpm::Worker);
            }
            #[test]
            fn event() {
                super::$name(Mpm::Event);
            }
        }
    )+};
}

under_every_mpm! {
    /// Debian's pool as it comes, the three lines, 64 clients: the five children of php-fpm are busy 95 %
    /// of the time or more.
    children_are_busy_while_anything_waits;
    /// X11: a body whose length shows at its end only arrives whole, with its exact CONTENT_LENGTH.
    a_chunked_upload_has_its_exact_length;
    /// Twenty graceful restarts under load: every request is answered.
    graceful_restarts_fail_no_request;
}

/// The three lines of the README.
fn three_lines(php: &PhpFpm) -> String {
    format!("FcgateBalancer php {}\nFcgateMap .php php", php.address())
}

// ---- busy children ----

const CHILDREN: usize = 5;
const CLIENTS: usize = 64;
/// In nanoseconds, as PHP tells the time.
const WINDOW: u64 = 2_000_000_000;

/// Works for 20 ms, and notes when.
const WORK: &str = "<?php $start = hrtime(true);
usleep(20000);
file_put_contents('RECORD', getmypid() . ' ' . $start . ' ' . hrtime(true) . \"\\n\", FILE_APPEND | LOCK_EX);
echo 'done';";

/// When a child was busy.
struct Busy {
    pid: u32,
    start: u64,
    end: u64,
}

/// What is noted so far, but for a line that is just being written.
fn busy(record: &Path) -> Vec<Busy> {
    let text = fs::read_to_string(record).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).expect("a number");
    whole
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut next = || number(words.next());
            Busy { pid: next() as u32, start: next(), end: next() }
        })
        .collect()
}

/// When the last of the children began its first request, once all have.
fn all_there(record: &[Busy]) -> Option<u64> {
    let mut first = HashMap::new();
    for busy in record {
        let start = first.entry(busy.pid).or_insert(busy.start);
        *start = busy.start.min(*start);
    }
    (first.len() == CHILDREN).then(|| first.into_values().max().unwrap_or(0))
}

fn children_are_busy_while_anything_waits(mpm: Mpm) {
    let _alone = alone();
    let directory = Directory::new();
    let record = directory.write("record", "");
    fs::set_permissions(&record, fs::Permissions::from_mode(0o666)).unwrap();
    let php = PhpFpm::distributed().start();
    let apache = Apache::with(mpm)
        .config(three_lines(&php))
        .file("work.php", WORK.replace("RECORD", record.to_str().unwrap()))
        .start();
    let over = Over::default();
    let mut from = None;
    thread::scope(|scope| {
        let _end = over.at_end();
        for _ in 0..CLIENTS {
            let mut client = apache.client();
            let over = &over;
            scope.spawn(move || {
                // When one fails, the others need not go on.
                let _end = over.at_end();
                while !over.is_near() {
                    // MPM event closes kept connections when it needs their threads.
                    let request = Request::get("/work.php").field("Connection", "close");
                    assert_eq!(client.send(&request).expect(200).text(), "done");
                }
            });
        }
        // php-fpm starts a child a second, and so many more requests are answered meanwhile.
        for _ in 0..600 {
            let record = busy(&record);
            from = from.or_else(|| all_there(&record));
            if over.is_near() || from.is_some_and(|from| record.iter().any(|busy| busy.end >= from + WINDOW))
            {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let record = busy(&record);
    let from = from.unwrap_or_else(|| panic!("not all children were started:\n{}", php.log()));
    let to = from + WINDOW;
    assert!(record.iter().any(|busy| busy.end >= to), "the load ended early");
    let times = record.iter().map(|busy| busy.end.min(to).saturating_sub(busy.start.max(from)));
    let share = times.sum::<u64>() * 1000 / (WINDOW * CHILDREN as u64);
    println!("{mpm:?}: busy {share} thousandths of the time");
    assert!(share >= 950, "{mpm:?}: busy {share} thousandths of the time only");
}

// ---- chunked bodies ----

fn a_chunked_upload_has_its_exact_length(mpm: Mpm) {
    let application = Application::unix().reply(Reply::page(200, "taken")).start();
    let apache = Apache::with(mpm)
        .config(format!("FcgateBalancer php {}\nFcgateMap .php php", application.address()))
        .file("a.php", "")
        .start();
    let mut client = apache.client();
    let mut sent = Vec::new();
    for length in [0, 1, 65_535, 65_536, 300_000] {
        for sizes in [vec![usize::MAX], vec![1, 3, 7, 1023, 4097, 65_537], vec![997]] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut chunks = Vec::new();
            let mut rest = &body[..];
            for size in sizes.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, behind) = rest.split_at(size.min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = behind;
            }
            let request = Request::new("POST", "/a.php").chunked(chunks);
            assert_eq!(client.send(&request).expect(200).text(), "taken");
            sent.push(body);
        }
    }
    for (number, body) in sent.iter().enumerate() {
        let request = application.request(number);
        let length = body.len().to_string();
        // X6: none where there is no body.
        let wanted = (!body.is_empty()).then_some(&length[..]);
        assert_eq!(request.param("CONTENT_LENGTH"), wanted, "{mpm:?}: number {number}");
        assert!(request.stdin == *body, "{mpm:?}: number {number}, {length} bytes: others arrived");
    }
    application.assert_no_violations();
}

// ---- graceful restarts ----

const RESTARTS: usize = 20;
const LOADERS: usize = 8;

/// What it was sent, with the body's digest.
const ECHO: &str = "<?php echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['n'], ' ',
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
    let body = format!("post {n}").into_bytes();
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

/// Restarts Apache so often under the load of some clients, each time as soon as the children of the time
/// before answer; returns how many requests were answered, and which were not.
fn restart_under_load(apache: &mut Apache, restarts: usize, loaders: usize) -> (usize, Vec<String>) {
    let over = Over::default();
    let failures = Mutex::new(Vec::new());
    let mut answered = 0;
    thread::scope(|scope| {
        let end = over.at_end();
        let mut load = Vec::new();
        for loader in 0..loaders {
            let mut client = apache.client();
            let (over, failures) = (&over, &failures);
            load.push(scope.spawn(move || {
                let mut numbers = (loader..).step_by(loaders);
                let mut answered = 0;
                while !over.is_near() {
                    match echo(&mut client, numbers.next().unwrap_or(0)) {
                        Ok(()) => answered += 1,
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
                answered
            }));
        }
        for generation in 1..=restarts {
            let line = format!("Header always set X-Generation {generation}\n");
            apache.directory().write("generation.conf", line);
            apache.restart_gracefully();
            wait_for_generation(apache, generation);
        }
        drop(end);
        answered = load.into_iter().map(|load| load.join().unwrap()).sum();
    });
    (answered, failures.into_inner().unwrap())
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
    let (answered, failures) = restart_under_load(&mut apache, RESTARTS, LOADERS);
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
    assert!(answered > RESTARTS * LOADERS, "{mpm:?}: hardly any load: {answered} requests");
}
