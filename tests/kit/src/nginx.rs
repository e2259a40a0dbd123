//! A private nginx with ngx_http_fcgate_module from `build/`.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::apache::MARKER;
use crate::application::PATIENCE;
use crate::directory::{Directory, free_port};
use crate::http::Client;
use crate::process::{Process, Ready, find_program};
use crate::sanitizers;
use crate::script::poll;
use crate::usage;

/// What nginx logs of each worker that it starts, and of each that it tells to end.
const STARTED: &str = "start worker process ";
/// What it logs of each that has ended.
const ENDED: &str = " exited with code 0";
/// Where nginx would lay bodies aside, each with a directory of its own.
const TEMPORARY: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// An nginx that is to be started.
#[derive(Debug)]
pub struct Builder {
    main: String,
    http: String,
    server: String,
    directory: Directory,
    port: u16,
    workers: usize,
    connections: usize,
    wrapper: Vec<String>,
    bare: bool,
}

impl Builder {
    /// Lines outside of `http`.
    pub fn main(mut self, lines: impl AsRef<str>) -> Self {
        self.main.push_str(lines.as_ref());
        self.main.push('\n');
        self
    }

    /// Lines of `http`. `{root}` stands for the document root, `{directory}` for a private directory,
    /// `{port}` for its port.
    pub fn http(mut self, lines: impl AsRef<str>) -> Self {
        self.http.push_str(lines.as_ref());
        self.http.push('\n');
        self
    }

    /// Lines of its `server`; the same words are replaced.
    pub fn server(mut self, lines: impl AsRef<str>) -> Self {
        self.server.push_str(lines.as_ref());
        self.server.push('\n');
        self
    }

    /// So many workers, in place of one.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// So many connections of each worker, in place of 512.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// A file below the document root.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.directory.write(Path::new("root").join(name), content);
        self
    }

    /// A private directory, beside the document root.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The program to run it with, valgrind, and its arguments.
    pub fn wrapped<T: Into<String>>(mut self, wrapper: impl IntoIterator<Item = T>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Without marker and access log: as little as can be, for measuring.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    fn text(&self) -> String {
        let (path, port) = (self.directory.path().display(), self.port);
        let module = sanitizers::modules(&self.wrapper).join("ngx_http_fcgate_module.so");
        let module =
            module.canonicalize().expect("build/ngx_http_fcgate_module.so is not there: run `make` first");
        let mut text = format!(
            "load_module {};\npid {path}/pid;\ndaemon off;\nworker_processes {};\nerror_log {path}/error.log notice;\n",
            module.display(),
            self.workers,
        );
        // Workers don't run as root.
        // SAFETY: it has no preconditions and can't fail.
        if unsafe { libc::geteuid() } == 0 {
            text.push_str("user www-data;\n");
        }
        text.push_str(&self.main);
        let _ = writeln!(text, "events {{ worker_connections {}; }}\nhttp {{", self.connections);
        for name in TEMPORARY {
            let _ = writeln!(text, "{name}_temp_path {path}/temporary/{name};");
        }
        if self.bare {
            text.push_str("access_log off;\n");
        } else {
            text.push_str("log_format short '$request_method $uri $status $bytes_sent';\n");
            let _ = writeln!(text, "access_log {path}/access.log short;");
        }
        text.push_str(&self.http);
        if !self.server.is_empty() {
            let _ = writeln!(text, "server {{\nlisten 127.0.0.1:{port};\nroot {path}/root;");
            if !self.bare {
                let _ = writeln!(text, "add_header {MARKER} {port} always;");
            }
            text.push_str(&self.server);
            text.push_str("}\n");
        }
        text.push_str("}\n");
        text.replace("{root}", &format!("{path}/root"))
            .replace("{directory}", &path.to_string())
            .replace("{port}", &port.to_string())
    }

    fn write(&self) -> PathBuf {
        self.directory.write("nginx.conf", self.text())
    }

    /// Only reads its configuration; whether it is right, and what was said.
    pub fn check(self) -> (bool, String) {
        let config = self.write();
        let words = sanitizers::words(&self.wrapper, &self.directory);
        let Output { status, stderr, stdout } = sanitizers::command(words, program())
            .arg("-t")
            .arg("-c")
            .arg(config)
            .arg("-e")
            .arg(self.directory.join("start.log"))
            .output()
            .expect("nginx runs");
        let said = String::from_utf8_lossy(&[stderr, stdout].concat()).into_owned();
        sanitizers::assert_clean(&self.directory, std::slice::from_ref(&said));
        (status.success(), said)
    }

    /// Starts it.
    ///
    /// Panics with its log if it does not start.
    pub fn start(self) -> Nginx {
        let config = self.write();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let words = sanitizers::words(&self.wrapper, &self.directory);
        let mut words = words.iter().map(PathBuf::from).chain([program()]);
        let first = words.next().expect("there is a program");
        let process = Process::command(first)
            .args(words)
            .arg("-c")
            .arg(config)
            .arg("-e")
            .arg(self.directory.join("error.log"))
            .ready(Ready::Tcp(address))
            .start();
        let nginx = Nginx { process, directory: self.directory, address, workers: self.workers };
        nginx.wait_for_workers(self.workers);
        nginx
    }
}

fn program() -> PathBuf {
    find_program("nginx").expect("nginx is not installed (Debian: apt-get install nginx)")
}

/// An nginx of the test's own.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    directory: Directory,
    address: SocketAddr,
    workers: usize,
}

impl Nginx {
    /// One with ngx_http_fcgate_module as it was built.
    ///
    /// Starting it panics if there is no `build/ngx_http_fcgate_module.so`.
    pub fn builder() -> Builder {
        let directory = Directory::new();
        directory.write("root/robots.txt", "a file\n");
        fs::create_dir(directory.join("temporary")).expect("a private directory can be written to");
        Builder {
            main: String::new(),
            http: String::new(),
            server: String::new(),
            directory,
            port: free_port(),
            workers: 1,
            connections: 512,
            wrapper: Vec::new(),
            bare: false,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A private directory of its own; the document root is `root` in it.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// A client that takes an answer from nobody else.
    pub fn client(&self) -> Client {
        Client::new(self.address).expect_field(MARKER, &self.address.port().to_string())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("error.log")).unwrap_or_default()
    }

    /// The access log.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.directory.join("access.log")).unwrap_or_default()
    }

    /// Waits until its log has a line with all of these words, and returns that line.
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        poll(PATIENCE, || self.log().lines().find(has_all).map(str::to_owned))
            .unwrap_or_else(|| panic!("no line of the log has {words:?}:\n{}", self.log()))
    }

    /// Waits until something is so.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        poll(PATIENCE, || is_so(self).then_some(()))
            .unwrap_or_else(|| panic!("waited in vain until {what}:\n{}", self.log()));
    }

    fn count(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    fn wait_for_workers(&self, count: usize) {
        self.wait_until("the workers have started", |nginx| nginx.count(STARTED) >= count);
    }

    fn tell(&self, signal: i32) {
        // SAFETY: a plain call. The master alone is told; it tells its workers.
        unsafe { libc::kill(self.process.pid() as libc::pid_t, signal) };
    }

    /// `nginx -s reload`: reads its configuration anew; what is under way ends as it began. Returns when
    /// the new workers are there.
    pub fn reload(&self) {
        let before = self.count(STARTED);
        self.tell_to_reload();
        self.wait_for_workers(before + self.workers);
    }

    /// The same without waiting.
    pub fn tell_to_reload(&self) {
        self.tell(libc::SIGHUP);
    }

    /// `nginx -s quit`: ends when what is under way has ended.
    pub fn quit(&self) {
        self.tell(libc::SIGQUIT);
    }

    /// Waits until so many workers have ended, since the start, and all is well.
    pub fn wait_for_ended_workers(&self, count: usize) {
        self.wait_until("the workers have ended", |nginx| nginx.count(ENDED) >= count);
    }

    /// All its processes, the first one first.
    pub fn processes(&self) -> Vec<u32> {
        usage::with_children(self.process.pid())
    }

    /// Its workers.
    pub fn workers(&self) -> Vec<u32> {
        let master = self.process.pid();
        let text = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// How many sockets its workers have.
    pub fn sockets(&self) -> usize {
        let targets = usage::descriptors(&self.workers()).into_iter();
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.stop();
        sanitizers::assert_clean(&self.directory, &[self.log(), self.process.output()]);
    }
}
