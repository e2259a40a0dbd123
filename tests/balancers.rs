//! The methods of balancers through Apache, lighttpd and nginx: the same words, and the same pool for the
//! same request in each of them.

use fcgate_kit::{Apache, Application, Client, Gate, Lighttpd, Mpm, Nginx, Reply, Request, Step};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Applications that answer their names; the path `/…/stall` waits for the gate.
fn applications(stall: &Gate) -> Vec<Application> {
    let one = |name: &'static str| {
        let gate = stall.clone();
        Application::unix()
            .on_request(move |request| -> Vec<Step> {
                let reply = Reply::new();
                let stalls = request.param("REQUEST_URI").unwrap_or_default().ends_with("/stall");
                let reply = if stalls { reply.stall(&gate) } else { reply };
                reply.stdout(format!("Set-Cookie: own=1\r\n\r\n{name}")).end_stdout().end().to(request)
            })
            .start()
    };
    ["a", "b", "c"].map(one).into()
}

/// Balancers of the same pools: their names, what stands in them in the words of nginx, and what stands on
/// each pool's line.
const BALANCERS: [(&str, &str, [&str; 3]); 7] = [
    ("round", "", ["", "", ""]),
    ("least", "method least_connections", ["", "", ""]),
    ("two", "method random_two", ["", "", ""]),
    ("ip", "method ip_hash", ["", "", ""]),
    ("hash", "method hash REQUEST_URI", ["", "", ""]),
    ("sticky", "method sticky ROUTE", ["", "", ""]),
    ("first", "method failover", ["drain", "", "disable_time=300s"]),
];

struct Server {
    name: &'static str,
    client: Client,
    address: SocketAddr,
    _running: Box<dyn Any>,
}

impl Server {
    /// Who answers.
    fn ask(&mut self, target: &str) -> String {
        self.client.get(target).expect(200).text()
    }
}

/// Apache with one process, lighttpd and nginx, each with all balancers under their names.
fn servers(applications: &[Application]) -> [Server; 3] {
    let (mut apache, mut lighttpd, mut map, mut nginx, mut locations) =
        (String::new(), String::new(), String::new(), String::new(), String::new());
    for (name, line, of_pools) in BALANCERS {
        let line = line.split_once(' ').map(|(_, value)| value);
        let pools = || applications.iter().map(Application::address).zip(of_pools);
        let section: String =
            pools().map(|(address, more)| format!("FcgatePool {address} {more}\n")).collect();
        let method = line.map(|value| format!("FcgateMethod {value}\n")).unwrap_or_default();
        apache += &format!(
            "<FcgateBalancer {name}>\n{method}{section}</FcgateBalancer>\n\
             <Location /{name}>\nSetHandler fcgate:{name}\nFcgatePreset plain\n</Location>\n"
        );
        let entries: Vec<String> = pools()
            .map(|(address, more)| match more.split_once('=') {
                Some((name, value)) => format!("\"{address}\" => ( \"{name}\" => \"{value}\" )"),
                None if more.is_empty() => format!("\"{address}\" => ( \"weight\" => 1 )"),
                None => format!("\"{address}\" => ( \"{more}\" => \"enable\" )"),
            })
            .collect();
        let method = line.map(|value| format!("\"method\" => \"{value}\", ")).unwrap_or_default();
        lighttpd += &format!("\"{name}\" => ( {method}\"pools\" => ( {} ) ),\n", entries.join(", "));
        map += &format!("\"/{name}\" => \"{name}\", ");
        let lines: String = pools().map(|(address, more)| format!("pool {address} {more};\n")).collect();
        let method = line.map(|value| format!("method {value};\n")).unwrap_or_default();
        nginx += &format!("fcgate_balancer {name} {{\n{method}{lines}}}\n");
        locations += &format!("location /{name}/ {{ fcgate_pass {name}; fcgate_preset plain; }}\n");
    }
    let one_process = "ServerLimit 1\nStartServers 1\nThreadsPerChild 32\nMaxRequestWorkers 32\n";
    let apache = Apache::with(Mpm::Event).config(format!("{one_process}{apache}")).start();
    let lighttpd = Lighttpd::builder()
        .config(format!(
            "fcgate.balancers = (\n{lighttpd})\nfcgate.map = ( {map} )\nfcgate.preset = \"plain\"\n"
        ))
        .start();
    let nginx = Nginx::builder().http(nginx).server(locations).start();
    [
        Server {
            name: "Apache",
            client: apache.client(),
            address: apache.address(),
            _running: Box::new(apache),
        },
        Server {
            name: "lighttpd",
            client: lighttpd.client(),
            address: lighttpd.address(),
            _running: Box::new(lighttpd),
        },
        Server { name: "nginx", client: nginx.client(), address: nginx.address(), _running: Box::new(nginx) },
    ]
}

/// P12: a URL and a network lead to the same pool each time and in each server, and URLs to all of them.
#[test]
fn keys_lead_to_the_same_pool_in_every_server() {
    let applications = applications(&Gate::new());
    let mut places: Vec<BTreeMap<String, String>> = Vec::new();
    for server in &mut servers(&applications) {
        let mut places_here = BTreeMap::new();
        for round in 0..2 {
            for page in 0..30 {
                for balancer in ["hash", "ip"] {
                    let target = format!("/{balancer}/{page}");
                    let who = server.ask(&target);
                    let before = places_here.insert(target, who.clone());
                    assert!(round == 0 || before == Some(who), "{}", server.name);
                }
            }
        }
        places.push(places_here);
    }
    assert_eq!(places[0], places[1]);
    assert_eq!(places[0], places[2]);
    let of = |balancer| -> BTreeSet<&str> {
        places[0].iter().filter(|(page, _)| page.starts_with(balancer)).map(|(_, who)| who.as_str()).collect()
    };
    assert_eq!((of("/hash").len(), of("/ip").len()), (3, 1));
}

/// F1: a cookie that fcgate sets leads back to its pool, in every server alike, until that is gone; then
/// another one is set.
#[test]
fn cookie_leads_back() {
    let stall = Gate::new();
    let applications = applications(&stall);
    let mut servers = servers(&applications);
    let mut bound = Vec::new();
    for server in &mut servers {
        let page = server.client.get("/sticky/").expect(200);
        let who = page.text();
        let cookies: Vec<&str> = page.fields("Set-Cookie").collect();
        assert!(cookies.len() == 2 && cookies[0] == "own=1", "{}: {cookies:?}", server.name);
        let (cookie, attributes) = cookies[1].split_once("; ").unwrap();
        assert!(cookie.starts_with("ROUTE="), "{}: {cookie}", server.name);
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax", "{}", server.name);
        // Each server's cookie is good in each.
        bound.push((cookie.to_owned(), who));
    }
    for server in &mut servers {
        for (cookie, who) in &bound {
            for request in [Request::get("/sticky/x"), Request::post("/sticky/y", "a=b")] {
                let page = server.client.send(&request.field("Cookie", format!("x=y; {cookie}"))).expect(200);
                assert_eq!(page.text(), *who, "{}", server.name);
                assert_eq!(page.fields("Set-Cookie").count(), 1, "{}", server.name);
            }
        }
        // Whatever else it may hold binds to nobody, and does no harm.
        for cookie in ["ROUTE=", "ROUTE=0000000000000000", "ROUTE=\"; ;;=", "ROUTE=ffffffffffffffffffff"] {
            let page = server.client.send(&Request::get("/sticky/").field("Cookie", cookie)).expect(200);
            assert_eq!(page.fields("Set-Cookie").count(), 2, "{}: {cookie}", server.name);
        }
    }
    let (cookie, who) = &bound[0];
    let gone = &applications[["a", "b", "c"].iter().position(|name| name == who).unwrap()];
    gone.stop_listening();
    for server in &mut servers {
        let page = server.client.send(&Request::get("/sticky/").field("Cookie", cookie)).expect(200);
        let cookies: Vec<&str> = page.fields("Set-Cookie").collect();
        assert!(page.text() != *who && cookies.len() == 2, "{}: {cookies:?}", server.name);
        assert!(!cookies[1].starts_with(cookie.as_str()), "{}: {cookies:?}", server.name);
    }
}

/// The cookie of a request over TLS does not go out in the clear.
#[test]
fn cookie_of_a_secure_request() {
    let application = applications(&Gate::new()).swap_remove(0);
    let nginx = Nginx::builder()
        .http(format!(
            "fcgate_balancer a {{ method sticky; pool {}; param HTTPS on; }}",
            application.address()
        ))
        .server("location / { fcgate_pass a; fcgate_preset plain; }")
        .start();
    let page = nginx.client().get("/").expect(200);
    let cookie = page.fields("Set-Cookie").nth(1).unwrap();
    assert!(
        cookie.starts_with("fcgate=") && cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
}

/// F1: the first pool that is up answers everything, one that drains nothing, and a request that meets a
/// pool that is gone is answered by the next.
#[test]
fn failover_takes_the_first() {
    let applications = applications(&Gate::new());
    let mut servers = servers(&applications);
    for server in &mut servers {
        assert!((0..6).all(|_| server.ask("/first/") == "b"), "{}", server.name);
    }
    applications[1].stop_listening();
    for server in &mut servers {
        assert!((0..6).all(|_| server.ask("/first/") == "c"), "{}", server.name);
    }
}

/// P12: a pool with a request under way is passed over by least_connections while another has none.
#[test]
fn busy_pools_are_passed_over() {
    let stall = Gate::new();
    let applications = applications(&stall);
    for server in &mut servers(&applications) {
        let before: Vec<usize> =
            applications.iter().map(|application| application.requests().len()).collect();
        let mut waiting = Client::new(server.address);
        waiting.write(b"GET /least/stall HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let busy = loop {
            let more = |at: &usize| applications[*at].requests().len() > before[*at];
            if let Some(at) = (0..3).find(more) {
                break ["a", "b", "c"][at];
            }
            std::thread::yield_now();
        };
        for _ in 0..10 {
            assert_ne!(server.ask("/least/"), busy, "{}", server.name);
        }
        for balancer in ["two", "round"] {
            let all: BTreeSet<String> = (0..60).map(|_| server.ask(&format!("/{balancer}/"))).collect();
            assert_eq!(all.len(), 3, "{}: {balancer}", server.name);
        }
    }
    stall.open();
}

/// S10: what is wrong with a method is told in each server's words, with what is allowed.
#[test]
fn wrong_methods_are_told() {
    for (method, words) in [
        ("hash", "method=hash: a word is missing; write hash KEY"),
        ("least_conections", "did you mean least_connections?"),
        ("failover now", "failover has no word after it"),
        ("busyness", "comes with a later version; now there is round_robin, least_connections"),
    ] {
        let apache = Apache::with(Mpm::Event)
            .config(format!("<FcgateBalancer a>\nFcgateMethod {method}\nFcgatePool b:1\n</FcgateBalancer>"))
            .check();
        let lighttpd = Lighttpd::builder()
            .config(format!(
                "fcgate.balancers = ( \"a\" => ( \"method\" => \"{method}\", \"pools\" => ( \"b:1\" ) ) )"
            ))
            .check();
        let nginx =
            Nginx::builder().http(format!("fcgate_balancer a {{ method {method}; pool b:1; }}")).check();
        for (right, said) in [apache, lighttpd, nginx] {
            assert!(!right && said.contains(words), "{method}: {said}");
        }
    }
}
