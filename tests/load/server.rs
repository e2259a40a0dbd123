//! A server with fcgate before applications, whichever it is: one set of words for all of them.

use fcgate_kit::{Apache, Client, Lighttpd, Mpm, Nginx, usage};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Apache with a thread for each of the clients here, in one process, as limits hold for each process.
const THREADS: &str = "ServerLimit 1\nStartServers 1\nThreadLimit 300\nThreadsPerChild 300\n\
    MaxRequestWorkers 300\nMinSpareThreads 1\nMaxSpareThreads 300\nLimitRequestBody 0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Apache,
    Lighttpd,
    Nginx,
}

/// One test for each server, of functions that take it.
#[macro_export]
macro_rules! on_every_server {
    ($($(#[doc = $doc:literal])+ $(#[ignore = $reason:literal])? $name:ident;)+) => {$(
        $(#[doc = $doc])+
        mod $name {
            use $crate::server::Kind;
            #[test]
            $(#[ignore = $reason])?
            fn apache() {
                super::$name(Kind::Apache);
            }
            #[test]
            $(#[ignore = $reason])?
            fn lighttpd() {
                super::$name(Kind::Lighttpd);
            }
            #[test]
            $(#[ignore = $reason])?
            fn nginx() {
                super::$name(Kind::Nginx);
            }
        }
    )+};
}

/// What is before one application: the requests below `/NAME` go to the balancer NAME.
struct Route {
    name: &'static str,
    pool: String,
    settings: Vec<(&'static str, String)>,
}

/// A server that is to be started.
pub struct Builder {
    kind: Kind,
    routes: Vec<Route>,
    wrapper: Vec<String>,
    /// lighttpd passes bodies on by words of its own.
    streams: bool,
}

/// `response_body` as Apache has it.
fn camel_case(name: &str) -> String {
    let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    format!("Fcgate{}", words.collect::<String>())
}

impl Builder {
    /// A balancer of one pool with its settings, and those of its requests, by their names.
    pub fn route(
        mut self,
        name: &'static str,
        pool: impl Into<String>,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.routes.push(Route { name, pool: pool.into(), settings });
        self
    }

    /// Bodies of requests go on as they come.
    pub fn streaming(mut self) -> Self {
        self.streams = true;
        self.routes.iter_mut().for_each(|route| route.settings.push(("request_body", "stream".into())));
        self
    }

    /// The program to run it with, and its arguments.
    pub fn wrapped(mut self, words: Vec<String>) -> Self {
        self.wrapper = words;
        self
    }

    fn apache(&self) -> String {
        let mut text = format!("{THREADS}\n");
        for Route { name, pool, settings } in &self.routes {
            let _ =
                writeln!(text, "FcgateBalancer {name} {pool}\n<Location /{name}>\nSetHandler fcgate:{name}");
            for (name, value) in settings {
                let _ = writeln!(text, "{} {value}", camel_case(name));
            }
            text.push_str("</Location>\n");
        }
        text
    }

    fn lighttpd(&self) -> String {
        let list =
            |item: &dyn Fn(&Route) -> String| self.routes.iter().map(item).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "server.stream-response-body = 2\nfcgate.balancers = ( {} )\nfcgate.map = ( {} )\n",
            list(&|route| format!("\"{}\" => \"{}\"", route.name, route.pool)),
            list(&|route| format!("\"/{0}\" => \"{0}\"", route.name)),
        );
        if self.streams {
            text.push_str("server.stream-request-body = 2\n");
        }
        for Route { name, settings, .. } in &self.routes {
            let _ = writeln!(text, "$HTTP[\"url\"] =^ \"/{name}\" {{");
            for (name, value) in settings {
                let _ = writeln!(text, "fcgate.{name} = \"{value}\"");
            }
            text.push_str("}\n");
        }
        text
    }

    fn nginx(&self) -> (String, String) {
        let (mut http, mut server) = ("client_max_body_size 0;\n".to_owned(), String::new());
        for Route { name, pool, settings } in &self.routes {
            let _ = writeln!(http, "fcgate_pool {name} {pool};");
            let _ = writeln!(server, "location /{name} {{\nfcgate_pass {name};");
            for (name, value) in settings {
                let _ = writeln!(server, "fcgate_{name} {value};");
            }
            server.push_str("}\n");
        }
        (http, server)
    }

    pub fn start(self) -> Server {
        match self.kind {
            Kind::Apache => {
                let builder = Apache::with(Mpm::Event).config(self.apache());
                Server::Apache(builder.wrapped(self.wrapper).start())
            }
            Kind::Lighttpd => {
                let builder = Lighttpd::builder().config(self.lighttpd());
                Server::Lighttpd(builder.wrapped(self.wrapper).start())
            }
            Kind::Nginx => {
                let (http, server) = self.nginx();
                let builder = Nginx::builder().connections(2048).http(http).server(server);
                Server::Nginx(builder.wrapped(self.wrapper).start())
            }
        }
    }
}

/// One that runs.
pub enum Server {
    Apache(Apache),
    Lighttpd(Lighttpd),
    Nginx(Nginx),
}

impl Server {
    pub fn of(kind: Kind) -> Builder {
        Builder { kind, routes: Vec::new(), wrapper: Vec::new(), streams: false }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Apache(server) => server.address(),
            Self::Lighttpd(server) => server.address(),
            Self::Nginx(server) => server.address(),
        }
    }

    pub fn client(&self) -> Client {
        match self {
            Self::Apache(server) => server.client(),
            Self::Lighttpd(server) => server.client(),
            Self::Nginx(server) => server.client(),
        }
    }

    pub fn log(&self) -> String {
        match self {
            Self::Apache(server) => server.log(),
            Self::Lighttpd(server) => server.log(),
            Self::Nginx(server) => server.log(),
        }
    }

    /// The end of its log, but for lines about clients that left.
    pub fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| {
                ![" error client_gone", "the client closed", "to a temporary file"]
                    .iter()
                    .any(|part| line.contains(part))
            })
            .collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// All its processes.
    pub fn processes(&self) -> Vec<u32> {
        match self {
            Self::Apache(server) => server.processes(),
            Self::Lighttpd(server) => server.processes(),
            Self::Nginx(server) => server.processes(),
        }
    }

    /// Bytes of memory that they take.
    pub fn memory(&self) -> u64 {
        usage::memory(&self.processes())
    }

    /// How many descriptors they have.
    pub fn descriptors(&self) -> usize {
        usage::descriptors(&self.processes()).len()
    }

    /// The files that they have open, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = usage::descriptors(&self.processes());
        files.retain(|path| path.is_absolute() && !path.starts_with("/dev"));
        files.sort();
        files
    }

    /// Ends it, with all that it has to do at its end.
    pub fn stop(mut self) -> String {
        match &mut self {
            Self::Apache(server) => server.process().stop(),
            Self::Lighttpd(server) => server.process().stop(),
            Self::Nginx(server) => server.process().stop(),
        }
        self.log()
    }
}
