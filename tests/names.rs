//! Pools that are names: each address a member, looked up beside the requests, and followed where it goes.

mod host;

use fcgate::config::Config;
use fcgate::drive::{Body, Fact, Request, Sink, forward};
use fcgate::exchange::Cause;
use fcgate::gateway::{Gateway, status};
use fcgate::os::{Address, SocketAddress};
use fcgate_kit::{Apache, Application, Gate, Lighttpd, Mpm, Nginx, PollLoop, Reply};
use host::Keep;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a name leads to, and may be changed.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<(Vec<SocketAddress>, usize)>>);

impl Zone {
    fn of(applications: &[&Application]) -> Self {
        let zone = Self::default();
        zone.set(applications);
        zone
    }

    fn set(&self, applications: &[&Application]) {
        let address =
            |application: &&Application| application.address().parse::<Address>().unwrap().literal().unwrap();
        self.0.lock().unwrap().0 = applications.iter().map(address).collect();
    }

    fn looks(&self) -> usize {
        self.0.lock().unwrap().1
    }

    fn gateway(&self, line: &str) -> Gateway {
        let zone = self.clone();
        gateway(line, move |address| {
            assert_eq!(address.to_string(), "app.example:9000");
            let (found, looks) = &mut *zone.0.lock().unwrap();
            *looks += 1;
            if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found.clone()) }
        })
    }
}

fn gateway(
    line: &str,
    lookup: impl Fn(&Address) -> io::Result<Vec<SocketAddress>> + Send + Sync + 'static,
) -> Gateway {
    with_log(line, None, lookup)
}

fn with_log(
    line: &str,
    log: Option<Arc<Sink>>,
    lookup: impl Fn(&Address) -> io::Result<Vec<SocketAddress>> + Send + Sync + 'static,
) -> Gateway {
    let config = Config::from_line(line).unwrap().freeze().unwrap();
    Gateway::with_lookup(Arc::new(config), log, Arc::new(lookup)).unwrap()
}

fn application(name: &'static str) -> Application {
    Application::tcp().reply(Reply::page(200, name)).start()
}

fn ask(gateway: &Gateway) -> Result<String, Cause> {
    let mut request = Request::default();
    request.body = Body::None;
    request.fact(Fact::Method, b"GET");
    request.fact(Fact::Target, b"/x.php");
    let (engine, mut host) = (gateway.engine(), Keep::default());
    let over = forward(engine, engine.route(0).unwrap(), &mut request, &mut host).expect("not started");
    match over.scratch.exchange.failure() {
        Some(failure) => Err(failure.cause),
        None => Ok(String::from_utf8(host.body).unwrap()),
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn present(gateway: &Gateway) -> usize {
    gateway.engine().pools().iter().filter(|pool| pool.target().is_some()).count()
}

/// F13: every address of a name is a member, with connections of its own.
#[test]
fn every_address_is_a_member() {
    let applications = ["a", "b", "c"].map(application);
    let zone = Zone::of(&applications.each_ref());
    let gateway = zone.gateway("app.example:9000 max_connections=1");
    wait_until(|| present(&gateway) == 3);
    let answers: Vec<_> = (0..9).map(|_| ask(&gateway).unwrap()).collect();
    assert_eq!(answers.iter().collect::<BTreeSet<_>>().len(), 3);
    assert!(applications.iter().all(|application| application.requests().len() == 3), "{answers:?}");
    assert!(applications.iter().all(|application| application.connections() == 1));
    let text = status::text(gateway.engine(), status::Format::Json);
    assert_eq!(text.matches("app.example:9000 (127.0.0.1:").count(), 3, "{text}");
    assert_eq!(zone.looks(), 1, "looked up once within the interval");
}

/// F13: a name that leads elsewhere is followed, old connections are drained, and no request fails.
#[test]
fn a_name_is_followed() {
    let [old, new] = ["old", "new"].map(application);
    let zone = Zone::of(&[&old]);
    let gateway = zone.gateway("app.example:9000 max_connections=4 resolve_interval=1s");
    assert_eq!(ask(&gateway), Ok("old".into()));
    assert_eq!(old.open_connections(), 1);
    zone.set(&[&new]);
    while ask(&gateway).unwrap() != "new" {
        std::thread::sleep(Duration::from_millis(10));
    }
    old.wait_for_open_connections(0);
    assert!((0..5).all(|_| ask(&gateway).unwrap() == "new"));
    // What can't be looked up any more stays as it was.
    let looks = zone.looks();
    zone.set(&[]);
    while zone.looks() == looks {
        assert_eq!(ask(&gateway), Ok("new".into()));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(ask(&gateway), Ok("new".into()));
}

/// F13: an address that can't be reached has its name looked up soon, whatever the interval.
#[test]
fn a_failure_looks_again() {
    let [old, new] = ["old", "new"].map(application);
    let zone = Zone::of(&[&old]);
    let gateway = zone.gateway("app.example:9000 resolve_interval=1h restart_window=20s");
    assert_eq!(ask(&gateway), Ok("old".into()));
    zone.set(&[&new]);
    old.stop_listening();
    assert_eq!(ask(&gateway), Ok("new".into()));
    assert_eq!(zone.looks(), 2);
}

/// F13: a connection that is in use while its address goes is not used again.
#[test]
fn a_connection_in_use_is_not_used_again() {
    let gate = Gate::new();
    let stall = gate.clone();
    let old = Application::tcp()
        .on_request(move |request| {
            Reply::new().stall(&stall).stdout("X-Name: old\r\n\r\nold").end_stdout().end().to(request)
        })
        .start();
    let new = application("new");
    let zone = Zone::of(&[&old]);
    let gateway = zone.gateway("app.example:9000 max_connections=4");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&gateway));
        old.wait_for_requests(1);
        // The new address takes the place of the old one, or another.
        let found = new.address().parse::<Address>().unwrap().literal().unwrap();
        gateway.engine().settle(0, Ok(vec![found]), fcgate::os::clock::now());
        assert_eq!(ask(&gateway), Ok("new".into()));
        gate.open();
        assert_eq!(waiting.join().unwrap(), Ok("old".into()));
    });
    old.wait_for_open_connections(0);
    assert!((0..3).all(|_| ask(&gateway).unwrap() == "new"));
    assert!(gateway.engine().pools().iter().map(|pool| pool.permits_used()).sum::<u32>() <= 1);
}

/// F13: an event loop does not use what it kept of an address that is gone, and has its host watch the new
/// connection.
#[test]
fn a_loop_leaves_the_connections_of_an_address_that_is_gone() {
    for make in [PollLoop::new, PollLoop::edge_triggered] {
        let [old, new] = ["old", "new"].map(application);
        let zone = Zone::of(&[&old]);
        let gateway = zone.gateway("app.example:9000 max_connections=4 max_addresses=1");
        wait_until(|| present(&gateway) == 1);
        let own: PollLoop = make(&gateway);
        let ask = || {
            let mut request = Request::default();
            request.fact(Fact::Method, b"GET");
            request.fact(Fact::Target, b"/x.php");
            let outcome = own.finish(request);
            let body = outcome.body.borrow().clone();
            (outcome.cause.get(), outcome.retries.get(), String::from_utf8(body).unwrap())
        };
        assert_eq!(ask(), (None, 0, "old".into()));
        let found = new.address().parse::<Address>().unwrap().literal().unwrap();
        gateway.engine().settle(0, Ok(vec![found]), fcgate::os::clock::now());
        assert_eq!(ask(), (None, 0, "new".into()));
        assert_eq!((own.watched(), gateway.engine().pools()[0].permits_used()), (1, 1));
        old.wait_for_open_connections(0);
    }
}

/// F13: of more addresses than there are places for, in whatever order they come, those that have one keep it.
#[test]
fn addresses_keep_their_places() {
    let applications = ["a", "b", "c"].map(application);
    let [a, b, c] = applications.each_ref();
    let zone = Zone::of(&[a, b, c]);
    let gateway = zone.gateway("app.example:9000 max_addresses=2");
    wait_until(|| present(&gateway) == 2);
    let targets = || gateway.engine().pools().iter().map(|pool| pool.target()).collect::<Vec<_>>();
    let before = targets();
    let address = |one: &Application| one.address().parse::<Address>().unwrap().literal().unwrap();
    for order in [[c, b, a], [b, c, a], [c, a, b]] {
        gateway.engine().settle(0, Ok(order.map(address).to_vec()), fcgate::os::clock::now());
        assert_eq!(targets(), before);
    }
}

/// F13: a gateway starts without an answer; requests wait for it as for a restart, and no longer.
#[test]
fn starts_without_an_answer() {
    let application = application("a");
    let zone = Zone::default();
    let gateway = zone.gateway("app.example:9000 restart_window=20s");
    wait_until(|| zone.looks() == 1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&gateway));
        zone.set(&[&application]);
        assert_eq!(waiting.join().unwrap(), Ok("a".into()));
    });
    let nowhere = Zone::default().gateway("app.example:9000 restart_window=100ms");
    assert_eq!(ask(&nowhere), Err(Cause::NoPool));
}

/// F13: a resolver that hangs holds up no request and no end.
#[test]
fn a_resolver_that_hangs_holds_up_nobody() {
    let gate = Gate::new();
    let hang = gate.clone();
    let gateway = gateway("app.example:9000 restart_window=0", move |_| {
        hang.wait(Duration::from_secs(60));
        Err(io::ErrorKind::TimedOut.into())
    });
    assert_eq!(ask(&gateway), Err(Cause::NoPool));
    drop(gateway);
}

/// F13: what was found is told in the log, by a thread of the host's.
#[test]
fn changes_are_told() {
    let application = application("a");
    let target = application.address().parse::<Address>().unwrap().literal().unwrap();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let (kept, own) = (Arc::clone(&lines), std::thread::current().id());
    let log: Arc<Sink> = Arc::new(move |_, line: &str| {
        assert_eq!(std::thread::current().id(), own);
        kept.lock().unwrap().push(line.to_owned());
    });
    let looks = AtomicUsize::new(0);
    let gateway = with_log("app.example:9000 restart_window=20s", Some(log), move |_| {
        match looks.fetch_add(1, SeqCst) {
            0 => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(vec![target.clone()]),
        }
    });
    assert_eq!(ask(&gateway), Ok("a".into()));
    assert_eq!(ask(&gateway), Ok("a".into()));
    let lines = lines.lock().unwrap();
    let name = "balancer default, pool app.example:9000: the name";
    assert!(lines[0].starts_with(&format!("{name} can't be looked up: ")), "{lines:?}");
    assert_eq!(lines[1], format!("{name} leads to 127.0.0.1:{}", application.port()));
}

/// F13: localhost, which has one address or two, works in every server.
#[test]
fn localhost_in_every_server() {
    let application = application("here");
    let address = format!("localhost:{}", application.port());
    let apache = Apache::with(Mpm::Event)
        .config(format!(
            "FcgateBalancer a {address}\n<Location /a>\nSetHandler fcgate:a\nFcgatePreset plain\n</Location>"
        ))
        .start();
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = ( \"a\" => \"{address}\" )\nfcgate.map = ( \"/a\" => \"a\" )\nfcgate.preset = \"plain\""
        ))
        .start();
    let nginx = Nginx::builder()
        .server(format!("location /a {{ fcgate_pass {address}; fcgate_preset plain; }}"))
        .start();
    for mut client in [apache.client(), lighttpd.client(), nginx.client()] {
        for _ in 0..4 {
            assert_eq!(client.get("/a").expect(200).text(), "here");
        }
    }
}
