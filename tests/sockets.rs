//! What pools say of their TCP sockets, over each drive: where connections come from, and that they are probed.

mod host;

use fcgate::drive::{Fact, Request, Source, forward};
use fcgate::exchange::Cause;
use fcgate::gateway::Gateway;
use fcgate_kit::{Apache, Application, Lighttpd, Mpm, PollLoop, Reply};
use host::{Keep, gateway};

fn request() -> Request {
    let mut request = Request::default();
    request.fact(Fact::Method, b"GET");
    request.fact(Fact::Target, b"/x.php");
    request
}

/// One request by the blocking drive and one by a loop; why each failed.
fn ask(gateway: &Gateway) -> [Option<Cause>; 2] {
    let engine = gateway.engine();
    let over = forward(engine, engine.route(0).unwrap(), &mut request(), &mut Keep::default()).unwrap();
    let blocking = over.scratch.exchange.failure().map(|failure| failure.cause);
    [blocking, PollLoop::new(gateway).finish(request()).cause.get()]
}

/// The kernel's lines about connections to an application: the timer that runs for each.
fn timers(application: &str) -> Vec<String> {
    let port = application.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timer = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[2].ends_with(&format!(":{port:04X}")) && words[3] == "01").then(|| words[5][..2].to_owned())
    };
    table.lines().skip(1).filter_map(timer).collect()
}

/// Connections come from the address that the pool names; unix sockets have none.
#[test]
fn connections_come_from_the_address_of_the_pool() {
    let tcp = Application::tcp().reply(Reply::page(200, "hello")).start();
    assert_eq!(ask(&gateway(&format!("{} bind=127.0.0.2", tcp.address()))), [None; 2]);
    let peers: Vec<_> = tcp.requests().iter().map(|one| one.peer.unwrap().ip().to_string()).collect();
    assert_eq!(peers, ["127.0.0.2", "127.0.0.2"]);
    assert_eq!(ask(&gateway(&format!("{} bind=off", tcp.address()))), [None; 2]);
    assert_eq!(tcp.requests()[3].peer.unwrap().ip().to_string(), "127.0.0.1");
    let unix = Application::unix().reply(Reply::page(200, "hello")).start();
    assert_eq!(ask(&gateway(&format!("{} bind=127.0.0.2", unix.address()))), [None; 2]);
    tcp.assert_no_violations();
}

/// A request with a source of its own has a connection of its own, by either drive, also where others share
/// one or are kept.
#[test]
fn a_request_may_have_its_own_source() {
    for setting in ["multiplex=off", "multiplex=on"] {
        let tcp = Application::tcp().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=2 {setting}", tcp.address()));
        let own = PollLoop::new(&gateway);
        let with_source = || {
            let source = Source { address: "127.0.0.6:0".parse().unwrap(), transparent: false };
            let mut request = request();
            request.source = Some(source);
            request
        };
        for request in [request(), with_source(), request(), with_source()] {
            assert_eq!(own.finish(request).cause.get(), None);
        }
        let engine = gateway.engine();
        assert_eq!(engine.pools()[0].idle(), 1);
        let route = engine.route(0).unwrap();
        let over = forward(engine, route, &mut with_source(), &mut Keep::default()).unwrap();
        assert!(over.scratch.exchange.failure().is_none());
        let seen: Vec<_> = tcp
            .requests()
            .iter()
            .map(|one| (one.connection, one.peer.unwrap().ip().to_string(), one.keep_conn))
            .collect();
        let (usual, other) = ("127.0.0.1".to_owned(), "127.0.0.6".to_owned());
        assert_eq!(
            seen,
            [
                (0, usual.clone(), true),
                (1, other.clone(), false),
                (0, usual, true),
                (2, other.clone(), false),
                (3, other, false)
            ],
            "{setting}"
        );
        tcp.assert_no_violations();
    }
}

/// F1: an address that is not this machine's fails the attempt as an application does that is not there.
#[test]
fn an_address_of_another_machine_can_not_be_come_from() {
    let tcp = Application::tcp().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} bind=192.0.2.77 restart_window=0", tcp.address()));
    assert_eq!(ask(&gateway), [Some(Cause::Connect); 2]);
    assert_eq!(tcp.connections(), 0);
}

/// Silent connections are probed where the pool says so.
#[test]
fn silent_connections_are_probed() {
    for (setting, timer) in [("on", "02"), ("off", "00")] {
        let tcp = Application::tcp().reply(Reply::page(200, "hello")).start();
        let gateway = gateway(&format!("{} max_connections=2 tcp_keepalive={setting}", tcp.address()));
        let own = PollLoop::new(&gateway);
        assert_eq!(own.finish(request()).cause.get(), None);
        assert_eq!(gateway.engine().pools()[0].idle(), 1);
        assert_eq!(timers(&tcp.address()), [timer], "tcp_keepalive={setting}");
    }
}

/// The same words on a pool's line in the other servers: the application sees the address, the kernel
/// probes what is kept, and a route's bound of attempts holds.
#[test]
fn apache_and_lighttpd_take_the_same_words() {
    let tcp = Application::tcp().reply(Reply::page(200, "hello")).start();
    let address = tcp.address();
    let pool = format!("{address} bind=127.0.0.2 tcp_keepalive=on max_connections=1");
    let apache = Apache::with(Mpm::Event)
        .config(format!(
            "FcgateBalancer php {pool}\nFcgateBalancer gone unix:/no/such.sock\nFcgateMap .php php"
        ))
        .config("<Location /gone>\nSetHandler fcgate:gone\nFcgatePreset plain\nFcgateRetry off\n</Location>")
        .file("x.php", "")
        .start();
    apache.client().get("/x.php").expect(200);
    assert_eq!(timers(&address), ["02"]);
    apache.client().get("/gone").expect(502);
    drop(apache);
    tcp.wait_for_open_connections(0);
    let lighttpd = Lighttpd::builder()
        .config(format!("fcgate.balancers = ( \"php\" => \"{pool}\", \"gone\" => \"unix:/no/such.sock\" )"))
        .config("fcgate.map = ( \".php\" => \"php\", \"/gone\" => \"gone\" )")
        .config("$HTTP[\"url\"] =^ \"/gone\" { fcgate.max_tries = 1\nfcgate.preset = \"plain\" }")
        .file("x.php", "")
        .start();
    lighttpd.client().get("/x.php").expect(200);
    assert_eq!(timers(&address), ["02"]);
    lighttpd.client().get("/gone").expect(502);
    let sources = tcp.requests().iter().map(|one| one.peer.unwrap().ip().to_string()).collect::<Vec<_>>();
    assert_eq!(sources, ["127.0.0.2", "127.0.0.2"]);
    tcp.assert_no_violations();
}

/// A source that a request can't come from fails that request, and is no sign against its pool.
#[test]
fn a_wrong_source_is_no_fault_of_the_pool() {
    let tcp = Application::tcp().reply(Reply::page(200, "hello")).start();
    let gateway = gateway(&format!("{} restart_window=50ms", tcp.address()));
    let (engine, own) = (gateway.engine(), PollLoop::new(&gateway));
    let wrong = || {
        let mut request = request();
        request.source = Some(Source { address: "[::1]:0".parse().unwrap(), transparent: false });
        request
    };
    let over = forward(engine, engine.route(0).unwrap(), &mut wrong(), &mut Keep::default()).unwrap();
    assert_eq!(over.scratch.exchange.failure().map(|failure| failure.cause), Some(Cause::Connect));
    assert_eq!(own.finish(wrong()).cause.get(), Some(Cause::Connect));
    assert!(engine.pools()[0].health().is_up());
    assert_eq!(ask(&gateway), [None; 2]);
}
