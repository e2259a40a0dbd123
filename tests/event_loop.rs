//! Connections of an event loop: what the host is asked to do for them, and who may use them.

use fcgate::config::Config;
use fcgate::drive::{Fact, Request};
use fcgate::gateway::Gateway;
use fcgate_kit::{Application, PollLoop, Reply};
use std::sync::Arc;

fn gateway(line: &str) -> Gateway {
    let config = Config::from_line(&format!("{line} script_exists=off")).unwrap();
    Gateway::new(Arc::new(config.freeze().unwrap()), None).unwrap()
}

fn request(method: &str) -> Request {
    let mut request = Request::default();
    request.fact(Fact::Method, method.as_bytes());
    request.fact(Fact::Target, b"/index.php");
    request.fact(Fact::File, b"/srv/index.php");
    request
}

/// P7: an exchange on a kept connection asks nothing of the host.
#[test]
fn a_kept_connection_stays_watched() {
    let application = Application::unix().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} max_connections=4", application.address()));
    let own = PollLoop::new(&gateway);
    let first = own.finish(request("GET"));
    assert_eq!(first.body.borrow().as_slice(), b"hello");
    let calls = own.watch_calls();
    for _ in 0..20 {
        assert_eq!(own.finish(request("GET")).cause.get(), None);
    }
    assert_eq!(own.watch_calls(), calls);
    assert_eq!((own.watched(), application.connections()), (1, 1));
    assert_eq!(gateway.engine().pools()[0].idle(), 1);
    application.assert_no_violations();
}

/// E12: an idle connection that its application closes is closed here at once, and not tried.
#[test]
fn an_idle_connection_that_ends_is_not_tried() {
    let application = Application::unix().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} max_connections=4", application.address()));
    let own = PollLoop::new(&gateway);
    own.finish(request("GET"));
    application.drop_connections();
    own.run_until("the end of the idle connection", || own.watched() == 0);
    let pool = &gateway.engine().pools()[0];
    assert_eq!((pool.idle(), pool.permits_used()), (0, 0));
    let again = own.finish(request("POST"));
    assert_eq!((again.cause.get(), again.retries.get()), (None, 0));
}

/// E11: an idle connection is closed after its time, by the loop's own timer.
#[test]
fn idle_connections_are_closed_after_their_time() {
    let application = Application::unix().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} max_connections=4 idle_timeout=50ms", application.address()));
    let own = PollLoop::new(&gateway);
    own.finish(request("GET"));
    own.run_until("the end of the idle connection", || own.watched() == 0);
    application.wait_for_open_connections(0);
    assert_eq!(gateway.engine().pools()[0].permits_used(), 0);
}

/// F10: what one loop has idle is given up when another waits for it, and by the same loop where a
/// fresh connection is needed.
#[test]
fn idle_connections_are_given_up_for_those_who_wait() {
    let application = Application::unix().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} max_connections=1", application.address()));
    let (one, other) = (PollLoop::new(&gateway), PollLoop::new(&gateway));
    one.finish(request("GET"));
    assert_eq!(one.watched(), 1);
    let (_, outcome) = other.start(request("GET"));
    one.run_until("the connection is given up", || one.watched() == 0);
    other.run_until("the end of the other's exchange", || outcome.ended.get());
    assert_eq!((outcome.cause.get(), application.connections()), (None, 1));
    assert_eq!(other.watched(), 1);

    let fresh = other.finish(request("POST"));
    assert_eq!((fresh.cause.get(), application.connections()), (None, 2));
    assert_eq!(gateway.engine().pools()[0].permits_used(), 1);
    application.assert_no_violations();
}

/// A loop that ends leaves nothing behind: no watch, no connection, no permit.
#[test]
fn a_loop_ends_with_its_idle_connections() {
    let application = Application::unix().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} max_connections=4", application.address()));
    let own = PollLoop::new(&gateway);
    own.finish(request("GET"));
    drop(own);
    application.wait_for_open_connections(0);
    let pool = &gateway.engine().pools()[0];
    assert_eq!((pool.idle(), pool.permits_used()), (0, 0));
}
