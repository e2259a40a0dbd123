//! Restarts that nobody sees: php-fpm under load, its workers recycled after 50 requests each, and
//! the whole of it restarted again and again.

mod host;

use fcgate::drive::{Body, Fact, Request, forward};
use fcgate::gateway::Gateway;
use fcgate_kit::{Application, PhpFpm};
use host::{Keep, gateway};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const GETS: usize = 50_000;
const THREADS: usize = 32;
const RESTARTS: usize = 5;

/// One request; its body, or why it failed.
fn fetch(gateway: &Gateway, script: &Path, query: &str, body: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let mut request = Request::default();
    let script = script.to_str().unwrap();
    request.fact(Fact::Method, if body.is_some() { b"POST" } else { b"GET" });
    request.fact(Fact::Target, format!("/script.php?{query}").as_bytes());
    request.fact(Fact::File, script.as_bytes());
    request.fact(Fact::Protocol, b"HTTP/1.1");
    if let Some(body) = body {
        request.header(b"Content-Type", b"text/plain");
        request.body = Body::Bytes(body.to_vec());
    }
    let engine = gateway.engine();
    let mut host = Keep::default();
    let over = forward(engine, engine.route(0).unwrap(), &mut request, &mut host)
        .map_err(|error| error.to_string())?;
    match over.scratch.exchange.failure() {
        Some(failure) => Err(format!("{failure:?}")),
        None if host.status == 200 => Ok(host.body),
        None => Err(format!("status {}", host.status)),
    }
}

/// E2: a gateway that is retired closes its idle connections and keeps none from then on.
#[test]
fn a_retired_gateway_keeps_no_connection() {
    let application = Application::unix().start();
    let gateway = gateway(&format!("{} max_connections=4 preset=plain", application.address()));
    let fetch = || fetch(&gateway, Path::new("/x.php"), "", None).unwrap();
    fetch();
    fetch();
    assert_eq!((application.connections(), application.open_connections()), (1, 1));
    gateway.engine().retire();
    application.wait_for_open_connections(0);
    fetch();
    application.wait_for_open_connections(0);
    assert_eq!(application.connections(), 2);
    application.assert_no_violations();
}

/// F12: restarts and recycled workers under load: no failed GET.
#[test]
fn no_get_fails_while_php_fpm_is_restarted() {
    let mut php = PhpFpm::unix().children(4).max_requests(50).start();
    let script = php.script("get.php", "<?php echo 'n', $_GET['n'];");
    let gateway = gateway(&format!("{} max_connections=4", php.address()));
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= GETS {
                        return;
                    }
                    match fetch(&gateway, &script, &format!("n={n}"), None) {
                        Ok(body) if body == format!("n{n}").as_bytes() => {}
                        Ok(body) => {
                            failures.lock().unwrap().push(format!("{n}: {}", String::from_utf8_lossy(&body)))
                        }
                        Err(error) => failures.lock().unwrap().push(format!("{n}: {error}")),
                    }
                }
            });
        }
        for restart in 1..=RESTARTS {
            while next.load(SeqCst) < GETS * restart / (RESTARTS + 1) {
                std::thread::yield_now();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            php.restart();
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {GETS} failed, the first: {:?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    let reuses: u64 = gateway.engine().pools().iter().map(|pool| pool.counters().reuses.get()).sum();
    assert!(reuses > GETS as u64 / 2, "connections were hardly kept: {reuses} reuses");
}

/// F12: the same for POSTs, counted by the application: none reaches it twice, and each that was
/// answered reached it once.
#[test]
fn no_post_is_sent_twice_while_php_fpm_is_restarted() {
    const POSTS: usize = 5_000;
    let mut php = PhpFpm::unix().children(4).max_requests(50).start();
    let script = php.script(
        "post.php",
        "<?php file_put_contents(__DIR__ . '/posts', file_get_contents('php://input') . \"\\n\", FILE_APPEND | LOCK_EX); echo 'ok';",
    );
    let counted = script.parent().unwrap().join("posts");
    std::fs::write(&counted, "").unwrap();
    let mut mode = std::fs::metadata(&counted).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o666);
    std::fs::set_permissions(&counted, mode).unwrap();
    let gateway = gateway(&format!("{} max_connections=4", php.address()));
    let next = AtomicUsize::new(0);
    let answered = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= POSTS {
                        return;
                    }
                    if fetch(&gateway, &script, "", Some(format!("post {n}").as_bytes())).is_ok() {
                        answered.lock().unwrap().push(n);
                    }
                }
            });
        }
        for restart in 1..=RESTARTS {
            while next.load(SeqCst) < POSTS * restart / (RESTARTS + 1) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            php.restart();
        }
    });
    let mut counts = vec![0; POSTS];
    for line in std::fs::read_to_string(&counted).unwrap().lines() {
        counts[line.strip_prefix("post ").unwrap().parse::<usize>().unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| *count <= 1), "some POST arrived twice");
    let answered = answered.into_inner().unwrap();
    assert!(answered.iter().all(|n| counts[*n] == 1), "some POST was answered but did not arrive");
    assert!(answered.len() > POSTS * 9 / 10, "only {} of {POSTS} POSTs were answered", answered.len());
}
