//! php-fpm that recycles its children and is restarted, under load: no GET fails, no POST is made twice
//! or lost in silence. The whole of it, with mod_proxy_fcgi beside it, is `make soak`.

use fcgate_kit::load::Over;
use fcgate_kit::{Apache, Directory, Mpm, PhpFpm, Request};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 64;
/// One request in so many is a POST.
const POSTS: usize = 10;

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// fcgate, keeping connections.
    Kept,
    /// fcgate, with a connection for each request.
    Fresh,
    /// mod_proxy_fcgi as Debian's documentation has it.
    Proxy,
}

/// What became of all requests.
#[derive(Debug, Default)]
struct Tally {
    requests: usize,
    failed_gets: Vec<String>,
    failed_posts: usize,
    /// Made twice or more.
    twice: usize,
    /// Answered with 200, but never made.
    lost: usize,
}

fn config(way: Way, php: &PhpFpm) -> String {
    let address = php.address();
    match way {
        Way::Kept => format!("FcgateBalancer php {address} max_connections=4\nFcgateMap .php php"),
        Way::Fresh => format!("FcgateBalancer php {address}\nFcgateMap .php php"),
        Way::Proxy => {
            format!(
                "<FilesMatch \"\\.php$\">\nSetHandler \"proxy:{address}|fcgi://localhost/\"\n</FilesMatch>"
            )
        }
    }
}

/// Limits hold for each process, so those who keep connections have one process.
fn processes(mpm: Mpm, way: Way) -> &'static str {
    if mpm == Mpm::Prefork || way != Way::Kept {
        return "";
    }
    "ServerLimit 1\nStartServers 1\nThreadLimit 80\nThreadsPerChild 80\nMaxRequestWorkers 80\n\
     MinSpareThreads 1\nMaxSpareThreads 80"
}

/// The ways that go with an MPM: in prefork each process serves one request at a time, and connections
/// that it keeps would hold PHP's children from the others.
fn ways(mpm: Mpm) -> &'static [Way] {
    if mpm == Mpm::Prefork { &[Way::Fresh] } else { &[Way::Fresh, Way::Kept] }
}

/// One client: every tenth request a POST with an id of its own.
fn client(
    apache: &Apache,
    number: usize,
    next: &AtomicUsize,
    count: usize,
    tally: &Mutex<Tally>,
    answered: &Mutex<Vec<usize>>,
) {
    let mut client = apache.client();
    loop {
        let id = next.fetch_add(1, Relaxed);
        if id >= count {
            return;
        }
        let is_post = id.is_multiple_of(POSTS);
        let mut request =
            if is_post { Request::post("/post.php", format!("{id}")) } else { Request::get("/get.php") };
        // Half of the clients connect anew each time. A kept connection that Apache closes before a
        // request is begun is for the client to make anew, so POSTs always have their own.
        if number.is_multiple_of(2) || is_post {
            request = request.field("Connection", "close");
            client.close();
        }
        let mut answer = client.try_send(&request);
        if answer.is_err() && !is_post {
            answer = client.try_send(&request);
        }
        let good = answer
            .as_ref()
            .is_ok_and(|page| page.status == 200 && page.is_complete() && page.text() == "done");
        let mut tally = tally.lock().unwrap();
        tally.requests += 1;
        match (is_post, good) {
            (true, true) => answered.lock().unwrap().push(id),
            (true, false) => tally.failed_posts += 1,
            (false, false) => tally.failed_gets.push(format!("{answer:?}").chars().take(300).collect()),
            (false, true) => {}
        }
    }
}

fn soak(mpm: Mpm, way: Way, count: usize, restarts: usize) -> Tally {
    let directory = Directory::new();
    let record = directory.write("record", "");
    std::fs::set_permissions(&record, PermissionsExt::from_mode(0o666)).unwrap();
    let mut php = PhpFpm::unix().children(4).max_requests(50).start();
    let apache = Apache::with(mpm)
        .module("proxy")
        .module("proxy_fcgi")
        .config(processes(mpm, way))
        .config(config(way, &php))
        .file("get.php", "<?php usleep(500); echo 'done';")
        .file(
            "post.php",
            format!(
                "<?php file_put_contents('{}', file_get_contents('php://input') . \"\\n\", FILE_APPEND | LOCK_EX); echo 'done';",
                record.display()
            ),
        )
        .start();
    let (next, tally, answered) = (AtomicUsize::new(0), Mutex::default(), Mutex::default());
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_end();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (apache, next, tally, answered) = (&apache, &next, &tally, &answered);
                scope.spawn(move || client(apache, number, next, count, tally, answered))
            })
            .collect();
        for round in 0..restarts {
            while next.load(Relaxed) < count * (round + 1) / (restarts + 1) {
                thread::sleep(Duration::from_millis(2));
            }
            if round % 2 == 0 { php.reload() } else { php.restart() }
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let mut made: HashMap<usize, usize> = HashMap::new();
    for line in std::fs::read_to_string(&record).unwrap().lines() {
        *made.entry(line.parse().unwrap()).or_default() += 1;
    }
    let mut tally: Tally = tally.into_inner().unwrap();
    tally.twice = made.values().filter(|times| **times > 1).count();
    tally.lost = answered.into_inner().unwrap().iter().filter(|id| !made.contains_key(id)).count();
    println!(
        "{:8} {way:?}: {} requests, {restarts} restarts: {} GETs failed, {} POSTs failed, {} made twice, {} lost",
        mpm.name(),
        tally.requests,
        tally.failed_gets.len(),
        tally.failed_posts,
        tally.twice,
        tally.lost
    );
    tally
}

fn expect_none_failed(mpm: Mpm, way: Way, count: usize, restarts: usize) {
    let tally = soak(mpm, way, count, restarts);
    assert_eq!(tally.requests, count);
    assert_eq!((&tally.failed_gets[..], tally.twice, tally.lost), (&[][..], 0, 0), "{mpm:?} {way:?}");
}

/// F12: the short form.
#[test]
fn restarts_of_php_fail_no_get() {
    expect_none_failed(Mpm::Event, Way::Kept, 4_000, 2);
    expect_none_failed(Mpm::Prefork, Way::Fresh, 2_000, 2);
}

/// F12: 100,000 requests for each MPM and each way, php-fpm restarted or reloaded ten times meanwhile.
#[test]
#[ignore = "takes many minutes: make soak"]
fn soak_under_every_mpm() {
    for mpm in Mpm::ALL {
        soak(mpm, Way::Proxy, 100_000, 10);
        ways(mpm).iter().for_each(|way| expect_none_failed(mpm, *way, 100_000, 10));
    }
}
