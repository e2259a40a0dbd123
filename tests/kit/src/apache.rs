//! A private Apache httpd with mod_fcgate from `build/`.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::application::PATIENCE;
use crate::directory::{Directory, free_port};
use crate::http::Client;
use crate::process::{Process, Ready, find_program};
use crate::sanitizers;
use crate::script::poll;
use crate::usage;

/// The field by which a test knows that its own server has answered.
pub const MARKER: &str = "X-Fcgate-Test";
/// Modules that every configuration here has, besides those that are built in.
const MODULES: [&str; 6] = ["authz_core", "mime", "dir", "alias", "headers", "env"];
/// What Apache logs each time it has started or restarted.
const RUNNING: &str = "resuming normal operations";
/// Where Debian has its modules.
const DEBIAN_MODULES: &str = "/usr/lib/apache2/modules";

/// How Apache serves several clients at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mpm {
    /// A process for each.
    Prefork,
    /// A thread for each connection.
    Worker,
    /// A thread for each request.
    Event,
}

impl Mpm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prefork, Self::Worker, Self::Event];

    /// Its name in Apache.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefork => "prefork",
            Self::Worker => "worker",
            Self::Event => "event",
        }
    }

    fn sizes(self) -> &'static str {
        match self {
            Self::Prefork => {
                "StartServers 4\nMinSpareServers 2\nMaxSpareServers 90\nServerLimit 90\nMaxRequestWorkers 90\n"
            }
            Self::Worker | Self::Event => {
                "StartServers 2\nServerLimit 8\nThreadsPerChild 32\nMaxRequestWorkers 128\n\
                 MinSpareThreads 32\nMaxSpareThreads 128\n"
            }
        }
    }
}

/// An Apache that is to be started.
#[derive(Debug)]
pub struct Builder {
    mpm: Mpm,
    modules: Vec<String>,
    config: String,
    directory: Directory,
    port: u16,
    wrapper: Vec<String>,
    fcgate: Option<PathBuf>,
    log_level: &'static str,
    bare: bool,
}

impl Builder {
    /// One more module of Apache's own, `rewrite`.
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Lines of its configuration. `{root}` stands for the document root, `{directory}` for a private
    /// directory, `{port}` for its port.
    pub fn config(mut self, lines: impl AsRef<str>) -> Self {
        self.config.push_str(lines.as_ref());
        self.config.push('\n');
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

    /// The program to run it with, valgrind, and its arguments.
    pub fn wrapped<T: Into<String>>(mut self, wrapper: impl IntoIterator<Item = T>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Of its own log, in place of `notice`, by which a restart is seen.
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// Another file of mod_fcgate than the one in `build/`.
    pub fn fcgate(mut self, file: impl Into<PathBuf>) -> Self {
        self.fcgate = Some(file.into());
        self
    }

    /// Without marker and access log: as little as can be, for measuring.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    fn built(&self) -> PathBuf {
        let built = sanitizers::modules(&self.wrapper).join("mod_fcgate.so");
        built.canonicalize().expect("build/mod_fcgate.so is not there: run `make` first")
    }

    /// The program, to be told what to do.
    fn command(&self) -> Command {
        sanitizers::command(sanitizers::words(&self.wrapper, &self.directory), program())
    }

    fn text(&self) -> String {
        let (path, port) = (self.directory.path().display(), self.port);
        let modules = modules();
        let modules = modules.display();
        let mut text = format!(
            "ServerRoot {path}\nPidFile {path}/pid\nDefaultRuntimeDir {path}\nMutex file:{path} default\n\
             ErrorLog {path}/error.log\nLogLevel {}\nListen 127.0.0.1:{port}\nServerName localhost:{port}\n\
             DocumentRoot {path}/root\nTypesConfig /etc/mime.types\nTimeout 60\n\
             LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so\n{}",
            self.log_level,
            self.mpm.sizes(),
            mpm = self.mpm.name(),
        );
        for name in MODULES.iter().copied().chain(self.modules.iter().map(String::as_str)) {
            let _ = writeln!(text, "LoadModule {name}_module {modules}/mod_{name}.so");
        }
        let fcgate = self.fcgate.clone().unwrap_or_else(|| self.built());
        let _ = writeln!(text, "LoadModule fcgate_module {}", fcgate.display());
        if !self.bare {
            let _ = writeln!(text, "Header always set {MARKER} {port}");
            text.push_str("LogFormat \"%m %U %s %O\" short\n");
            let _ = writeln!(text, "CustomLog {path}/access.log short");
        }
        // Children don't run as root.
        // SAFETY: it has no preconditions and can't fail.
        if unsafe { libc::geteuid() } == 0 {
            text.push_str("User www-data\nGroup www-data\n");
        }
        text + &self
            .config
            .replace("{root}", &format!("{path}/root"))
            .replace("{directory}", &path.to_string())
            .replace("{port}", &port.to_string())
    }

    /// Only reads its configuration; whether it is right, and what was said.
    pub fn check(self) -> (bool, String) {
        let config = self.directory.write("httpd.conf", self.text());
        let Output { status, stderr, stdout } =
            self.command().arg("-t").arg("-f").arg(config).output().expect("apache2 runs");
        let said = String::from_utf8_lossy(&[stderr, stdout].concat()).into_owned();
        sanitizers::assert_clean(&self.directory, std::slice::from_ref(&said));
        (status.success(), said)
    }

    /// The directives that mod_fcgate brings.
    pub fn directives(self) -> Vec<String> {
        let config = self.directory.write("httpd.conf", self.text());
        let output = self.command().arg("-L").arg("-f").arg(config).output().expect("apache2 runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of_ours = text.lines().filter_map(|line| line.strip_suffix(" (mod_fcgate.c)"));
        of_ours.map(|name| name.trim().to_owned()).collect()
    }

    /// Starts it.
    ///
    /// Panics with its log if it does not start.
    pub fn start(self) -> Apache {
        let config = self.directory.write("httpd.conf", self.text());
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let program = program();
        let words = sanitizers::words(&self.wrapper, &self.directory);
        let mut words = words.iter().map(PathBuf::from).chain([program]);
        let first = words.next().expect("there is a program");
        let process = Process::command(first)
            .args(words)
            .arg("-f")
            .arg(config)
            .arg("-DFOREGROUND")
            .ready(Ready::Tcp(address))
            .start();
        Apache { process, directory: self.directory, address, mpm: self.mpm }
    }
}

fn program() -> PathBuf {
    ["apache2", "httpd"]
        .into_iter()
        .find_map(find_program)
        .expect("Apache is not installed (Debian: apt-get install apache2-bin)")
}

fn modules() -> PathBuf {
    if Path::new(DEBIAN_MODULES).is_dir() {
        return DEBIAN_MODULES.into();
    }
    let output = Command::new("apxs").args(["-q", "LIBEXECDIR"]).output().expect("apxs runs");
    String::from_utf8(output.stdout).expect("apxs names a directory").trim().into()
}

/// An Apache of the test's own.
#[derive(Debug)]
pub struct Apache {
    process: Process,
    directory: Directory,
    address: SocketAddr,
    mpm: Mpm,
}

impl Apache {
    /// One with this MPM and mod_fcgate as it was built.
    ///
    /// Starting it panics if there is no `build/mod_fcgate.so`.
    pub fn with(mpm: Mpm) -> Builder {
        let directory = Directory::new();
        directory.write("root/robots.txt", "a file\n");
        Builder {
            mpm,
            modules: Vec::new(),
            config: String::new(),
            directory,
            port: free_port(),
            wrapper: Vec::new(),
            fcgate: None,
            log_level: "notice",
            bare: false,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its MPM.
    pub fn mpm(&self) -> Mpm {
        self.mpm
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

    /// Reads its configuration anew; what is under way ends as it began. Returns when the new children
    /// are there.
    pub fn restart_gracefully(&mut self) {
        let restarts = |log: &str| log.matches(RUNNING).count();
        // Before it is up, the signal would end it.
        self.wait_for_log(&[RUNNING]);
        let before = restarts(&self.log());
        // SAFETY: a plain call. The parent alone is told; it tells its children.
        unsafe { libc::kill(self.process.pid() as libc::pid_t, libc::SIGUSR1) };
        poll(PATIENCE, || (restarts(&self.log()) > before).then_some(()))
            .unwrap_or_else(|| panic!("it did not restart:\n{}", self.log()));
    }

    /// All its processes, the parent first.
    pub fn processes(&self) -> Vec<u32> {
        usage::with_children(self.process.pid())
    }

    /// Bytes of memory that all its processes take together; what they share counts once.
    pub fn memory(&self) -> u64 {
        usage::memory(&self.processes())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        self.process.stop();
        sanitizers::assert_clean(&self.directory, &[self.log(), self.process.output()]);
    }
}
