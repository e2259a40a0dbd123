//! A process that runs out of descriptors, or has many. One test after the other: the limit is everybody's.

mod host;

use fcgate::drive::{Fact, Request, forward};
use fcgate::exchange::Cause;
use fcgate::gateway::Gateway;
use fcgate_kit::{Application, Gate, Reply};
use host::{Keep, gateway};
use std::sync::{Mutex, MutexGuard, PoisonError};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One GET; its failure's cause and the status for the client.
fn get(gateway: &Gateway) -> Result<(), (Cause, u16)> {
    let mut request = Request::default();
    request.fact(Fact::Method, b"GET");
    request.fact(Fact::Target, b"/x.php");
    let engine = gateway.engine();
    let over =
        forward(engine, engine.route(0).unwrap(), &mut request, &mut Keep::default()).expect("not started");
    let failure = over.scratch.exchange.failure();
    failure.map_or(Ok(()), |failure| Err((failure.cause, failure.cause.http_status())))
}

#[allow(unsafe_code)]
fn set_limit(most: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a valid structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = most.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

/// F14, S6: out of descriptors a request fails with 503, its permit comes back, and all recovers.
#[test]
fn out_of_descriptors_is_told_and_passes() {
    let _alone = alone();
    let application = Application::unix().reply(Reply::page(200, "ok")).start();
    let gateway = gateway(&format!("{} max_connections=2", application.address()));
    let before = set_limit(3);
    let results: Vec<_> = (0..10).map(|_| get(&gateway)).collect();
    set_limit(before);
    assert!(results.iter().all(|result| *result == Err((Cause::Resources, 503))), "{results:?}");
    assert_eq!(gateway.engine().pools()[0].permits_used(), 0);
    for _ in 0..3 {
        assert_eq!(get(&gateway), Ok(()));
    }
    application.assert_no_violations();
}

/// S8: descriptors beyond those that `select` could tell are as good as any.
#[test]
fn large_descriptors_are_fine() {
    let _alone = alone();
    let before = set_limit(3000);
    let files: Vec<_> = (0..1500).filter_map(|_| std::fs::File::open("/dev/null").ok()).collect();
    assert!(files.len() == 1500, "only {} descriptors can be had: raise the hard limit", files.len());
    let gate = Gate::new();
    let application = Application::unix()
        .reply(Reply::new().stall(&gate).stdout("X: y\r\n\r\n").end_stdout().end())
        .start();
    let gateway = gateway(&application.address());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| get(&gateway));
        application.wait_for_requests(1);
        gate.open();
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    drop(files);
    set_limit(before);
}
