//! The five servers, each before one pool, with settings of the engine in the server's own spelling.

use crate::nature::Deed;
use fcgate_kit::apache::Mpm;
use fcgate_kit::application::PATIENCE;
use fcgate_kit::http::Client;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::script::poll;
use fcgate_kit::{Apache, Application, Builder, Directory, Lighttpd, Nginx, free_port};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Apache,
    Lighttpd,
    Nginx,
    /// c_examples/civetweb_server.c
    Civetweb,
    /// c_examples/libevent_server.c
    Libevent,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Apache, Self::Lighttpd, Self::Nginx, Self::Civetweb, Self::Libevent];

    /// Whether it is one of the programs of c_examples/, which have settings for the pool alone.
    pub fn is_example(self) -> bool {
        matches!(self, Self::Civetweb | Self::Libevent)
    }
}

/// How a server reaches its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub tcp: bool,
    pub kept: bool,
}

impl Way {
    pub const ALL: [Self; 4] = [
        Self { tcp: false, kept: false },
        Self { tcp: false, kept: true },
        Self { tcp: true, kept: false },
        Self { tcp: true, kept: true },
    ];

    /// An application that listens so.
    pub fn application(self) -> Builder {
        if self.tcp { Application::tcp() } else { Application::unix() }
    }

    /// A server of this kind before an application at this address. What the server has of its own ways to
    /// pass on a response is gone through beside ours.
    pub fn site(self, kind: Kind, address: &str) -> Site {
        Site::new(kind, address)
            .pool("keep_conn", if self.kept { "on" } else { "off" })
            .mpm(if self.tcp { Mpm::Worker } else { Mpm::Event })
            .only(Kind::Lighttpd, format!("server.stream-response-body = {}", self.lighttpd_streaming()))
    }

    /// 0: lighttpd waits for the whole response.
    fn lighttpd_streaming(self) -> u8 {
        match (self.tcp, self.kept) {
            (false, false) | (true, true) => 0,
            (false, true) => 1,
            (true, false) => 2,
        }
    }

    /// Whether what has come of any response is passed on before its end.
    pub fn streams(self, kind: Kind) -> bool {
        kind != Kind::Lighttpd || self.lighttpd_streaming() > 0
    }
}

/// A server that is to be started.
pub struct Site {
    kind: Kind,
    address: String,
    pool: Vec<(&'static str, String)>,
    balancer: Vec<(&'static str, String)>,
    settings: Vec<(&'static str, String)>,
    params: Vec<(&'static str, String)>,
    unset: Vec<&'static str>,
    files: Vec<(String, Vec<u8>)>,
    /// Lines of the server's own, beside those of fcgate.
    lines: Vec<String>,
    example_root: Option<PathBuf>,
    everything: bool,
    http2: bool,
    mpm: Mpm,
    apache_modules: Vec<&'static str>,
}

impl Site {
    pub fn new(kind: Kind, address: &str) -> Self {
        Self {
            kind,
            address: address.to_owned(),
            pool: Vec::new(),
            balancer: Vec::new(),
            settings: Vec::new(),
            params: Vec::new(),
            unset: Vec::new(),
            files: Vec::new(),
            lines: Vec::new(),
            example_root: None,
            everything: false,
            http2: false,
            mpm: Mpm::Event,
            apache_modules: Vec::new(),
        }
    }

    /// A setting of the pool.
    pub fn pool(mut self, name: &'static str, value: impl ToString) -> Self {
        self.pool.push((name, value.to_string()));
        self
    }

    /// A setting of its balancer.
    pub fn balancer(mut self, name: &'static str, value: impl ToString) -> Self {
        self.balancer.push((name, value.to_string()));
        self
    }

    /// A setting of requests; its name is the same in all servers.
    pub fn setting(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }

    /// A param directive, which the examples have none of.
    pub fn param(mut self, name: &'static str, value: impl ToString) -> Self {
        self.params.push((name, value.to_string()));
        self
    }

    /// A param that is not to be sent; likewise.
    pub fn param_unset(mut self, name: &'static str) -> Self {
        self.unset.push(name);
        self
    }

    /// A file of the site.
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// Lines of the configuration for this one server.
    pub fn only(mut self, kind: Kind, lines: impl ToString) -> Self {
        if self.kind == kind {
            self.lines.push(lines.to_string());
        }
        self
    }

    /// Where an example finds its files, since it has no alias.
    pub fn example_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.example_root = Some(root.into());
        self
    }

    /// Every path is the application's, and not scripts alone.
    pub fn everything(mut self) -> Self {
        self.everything = true;
        self
    }

    /// HTTP/2 without TLS, by those that have it.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// How Apache serves several clients at once.
    pub fn mpm(mut self, mpm: Mpm) -> Self {
        self.mpm = mpm;
        self
    }

    /// One more of Apache's own modules.
    pub fn apache_module(mut self, name: &'static str) -> Self {
        self.apache_modules.push(name);
        self
    }

    pub fn start(self) -> Server {
        match self.kind {
            Kind::Apache => self.start_apache(),
            Kind::Lighttpd => self.start_lighttpd(),
            Kind::Nginx => self.start_nginx(),
            Kind::Civetweb | Kind::Libevent => self.start_example(),
        }
    }

    /// The pool as a line: its address and its settings.
    fn line(&self) -> String {
        let settings = self.pool.iter().map(|(name, value)| format!(" {name}={value}"));
        settings.fold(self.address.clone(), |line, setting| line + &setting)
    }

    fn start_apache(self) -> Server {
        let mut config =
            format!("DirectoryIndex index.php\n<FcgateBalancer php>\nFcgatePool {}\n", self.line());
        let directive = |name: &str| {
            let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
            format!("Fcgate{}", words.collect::<String>())
        };
        for (name, value) in &self.balancer {
            config += &format!("{} {value}\n", directive(name));
        }
        config += "</FcgateBalancer>\n";
        if self.mpm != Mpm::Prefork {
            // Limits hold for each process.
            config += "ServerLimit 1\nStartServers 1\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n";
        }
        if self.http2 {
            config += "Protocols h2c http/1.1\nH2Direct on\n";
        }
        config += if self.everything { "SetHandler fcgate:php\n" } else { "FcgateMap .php php\n" };
        for (name, value) in &self.settings {
            config += &format!("{} {value}\n", directive(name));
        }
        self.params.iter().for_each(|(name, value)| config += &format!("FcgateParam {name} \"{value}\"\n"));
        self.unset.iter().for_each(|name| config += &format!("FcgateParamUnset {name}\n"));
        let builder = Apache::with(self.mpm).config(config).config(self.lines.join("\n"));
        let modules = self.apache_modules.iter().copied().chain(self.http2.then_some("http2"));
        let builder = modules.fold(builder, |builder, name| builder.module(name));
        let builder = self.files.iter().fold(builder, |builder, (name, text)| builder.file(name, text));
        let mut server = Server::from(builder.start());
        server.http2 = self.http2.then_some(server.address);
        server
    }

    fn start_lighttpd(self) -> Server {
        let map = if self.everything { "" } else { ".php" };
        let settings = |list: &[(&str, String)]| {
            list.iter().map(|(name, value)| format!("\"{name}\" => \"{value}\"")).collect::<Vec<_>>()
        };
        let mut config = format!(
            "fcgate.balancers = ( \"php\" => ( \"pools\" => ( \"{}\" => ( {} ) ){} ) )\n\
             fcgate.map = ( \"{map}\" => \"php\" )\n",
            self.address,
            settings(&self.pool).join(", "),
            settings(&self.balancer).iter().map(|setting| format!(", {setting}")).collect::<String>(),
        );
        for (name, value) in &self.settings {
            config += &format!("fcgate.{name} = \"{value}\"\n");
        }
        let params = settings(&self.params).join(", ");
        if !params.is_empty() {
            config += &format!("fcgate.param = ( {params} )\n");
        }
        if !self.unset.is_empty() {
            config += &format!("fcgate.param_unset = ( \"{}\" )\n", self.unset.join("\", \""));
        }
        let builder = Lighttpd::builder().config(config).config(self.lines.join("\n"));
        let builder = self.files.iter().fold(builder, |builder, (name, text)| builder.file(name, text));
        let mut server = Server::from(builder.start());
        server.http2 = self.http2.then_some(server.address);
        server
    }

    fn start_nginx(self) -> Server {
        let mut config = String::from("index index.php;\nclient_max_body_size 0;\n");
        config += if self.everything {
            "location / { fcgate_pass php; }\n"
        } else {
            "location ~ \\.php(/|$) { fcgate_pass php; }\n"
        };
        for (name, value) in &self.settings {
            config += &format!("fcgate_{name} {value};\n");
        }
        self.params.iter().for_each(|(name, value)| config += &format!("fcgate_param {name} \"{value}\";\n"));
        self.unset.iter().for_each(|name| config += &format!("fcgate_param_unset {name};\n"));
        let balancer = self.balancer.iter().map(|(name, value)| format!("{name} {value}; "));
        let balancer = balancer.collect::<String>();
        let http2 = self.http2.then(|| SocketAddr::from(([127, 0, 0, 1], free_port())));
        http2.iter().for_each(|address| config += &format!("listen {address} http2;\n"));
        let builder = Nginx::builder()
            .http(format!("fcgate_balancer php {{ pool {}; {balancer}}}", self.line()))
            .server(config)
            .server(self.lines.join("\n"));
        let builder = self.files.iter().fold(builder, |builder, (name, text)| builder.file(name, text));
        let mut server = Server::from(builder.start());
        server.http2 = http2;
        server
    }

    /// All settings stand on the pool's line; every one of a request may.
    fn start_example(self) -> Server {
        assert!(self.params.is_empty() && self.unset.is_empty(), "the examples have no params of their own");
        let directory = Directory::new();
        directory.write("root/robots.txt", "a file\n");
        self.files.iter().for_each(|(name, text)| drop(directory.write(Path::new("root").join(name), text)));
        let root = self.example_root.clone().unwrap_or(directory.join("root"));
        let settings =
            self.balancer.iter().chain(&self.settings).map(|(name, value)| format!(" {name}={value}"));
        let pool = settings.fold(self.line(), |line, setting| line + &setting);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let name = if self.kind == Kind::Civetweb { "civetweb_server" } else { "libevent_server" };
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("build").join(name);
        assert!(program.exists(), "{} is not there: run `make` first", program.display());
        let root_text = root.to_str().expect("a path of ours is UTF-8");
        let launch = match self.kind {
            Kind::Civetweb => Process::command(program).args([
                "--listen",
                &address.to_string(),
                "--root",
                root_text,
                "--pool",
                &pool,
            ]),
            _ => Process::command(program).args([&address.port().to_string(), root_text, &pool]),
        };
        let process = launch.ready(Ready::Tcp(address)).start();
        Server { kind: self.kind, address, http2: None, root, running: Running::Example(process, directory) }
    }
}

enum Running {
    Apache(Apache),
    Lighttpd(Lighttpd),
    Nginx(Nginx),
    /// With the directory of its files.
    Example(Process, #[allow(dead_code, reason = "kept until it ends")] Directory),
}

/// A server that runs.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    /// Where it speaks HTTP/2 to whoever knows.
    pub http2: Option<SocketAddr>,
    pub root: PathBuf,
    running: Running,
}

impl From<Apache> for Server {
    fn from(apache: Apache) -> Self {
        let (address, root) = (apache.address(), apache.directory().join("root"));
        Self { kind: Kind::Apache, address, http2: None, root, running: Running::Apache(apache) }
    }
}

impl From<Lighttpd> for Server {
    fn from(lighttpd: Lighttpd) -> Self {
        let (address, root) = (lighttpd.address(), lighttpd.directory().join("root"));
        Self { kind: Kind::Lighttpd, address, http2: None, root, running: Running::Lighttpd(lighttpd) }
    }
}

impl From<Nginx> for Server {
    fn from(nginx: Nginx) -> Self {
        let (address, root) = (nginx.address(), nginx.directory().join("root"));
        Self { kind: Kind::Nginx, address, http2: None, root, running: Running::Nginx(nginx) }
    }
}

impl Server {
    /// A client that takes an answer from nobody else.
    pub fn client(&self) -> Client {
        match &self.running {
            Running::Apache(apache) => apache.client(),
            Running::Lighttpd(lighttpd) => lighttpd.client(),
            Running::Nginx(nginx) => nginx.client(),
            Running::Example(..) => {
                let name = if self.kind == Kind::Civetweb { "civetweb" } else { "libevent" };
                Client::new(self.address).expect_field("X-Fcgate-Example", name)
            }
        }
    }

    /// A request over HTTP/2; curl fails where the response is cut, or there is no HTTP/2.
    pub fn over_http2(&self, path: &str, arguments: &[&str]) -> Output {
        assert_eq!(self.http2.is_some(), self.kind.does(Deed::Http2), "{:?}", self.kind);
        let url = format!("http://{}{path}", self.http2.unwrap_or(self.address));
        Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "20", "--http2-prior-knowledge"])
            .args(arguments)
            .arg(&url)
            .output()
            .expect("curl runs")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        match &self.running {
            Running::Apache(apache) => apache.log(),
            Running::Lighttpd(lighttpd) => lighttpd.log(),
            Running::Nginx(nginx) => nginx.log(),
            Running::Example(process, _) => process.output(),
        }
    }

    /// Waits until its log has a line with all of these words, and returns that line.
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        poll(PATIENCE, || self.log().lines().find(has_all).map(str::to_owned))
            .unwrap_or_else(|| panic!("{:?}: no line of the log has {words:?}:\n{}", self.kind, self.log()))
    }

    /// Tells it to read its configuration anew; returns when it has begun to.
    pub fn begin_restart(&mut self) {
        match &mut self.running {
            Running::Apache(apache) => apache.restart_gracefully(),
            Running::Nginx(nginx) => nginx.reload(),
            Running::Lighttpd(lighttpd) => {
                lighttpd.wait_for_log(&["server started"]);
                lighttpd.process().signal(libc::SIGUSR1);
                lighttpd.wait_for_log(&["graceful shutdown started"]);
            }
            Running::Example(..) => panic!("{:?} has nothing to read anew", self.kind),
        }
    }

    /// Waits until it accepts clients.
    pub fn wait_until_it_listens(&self) {
        poll(PATIENCE, || TcpStream::connect(self.address).ok())
            .unwrap_or_else(|| panic!("{:?} does not listen:\n{}", self.kind, self.log()));
    }

    /// Tells it to end, and how it did.
    pub fn end(&mut self) -> ExitStatus {
        let process = match &mut self.running {
            Running::Apache(apache) => apache.process(),
            Running::Lighttpd(lighttpd) => lighttpd.process(),
            Running::Nginx(nginx) => nginx.process(),
            Running::Example(process, _) => process,
        };
        process.signal(libc::SIGTERM);
        process.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // These look for their end every second or two only.
        match (self.kind, &mut self.running) {
            (Kind::Civetweb, Running::Example(process, _)) => process.kill(),
            (_, Running::Lighttpd(lighttpd)) => lighttpd.process().kill(),
            _ => {}
        }
    }
}
