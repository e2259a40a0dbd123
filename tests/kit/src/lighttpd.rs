//! A private lighttpd with mod_fcgate from `build/lighttpd/`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::apache::MARKER;
use crate::application::PATIENCE;
use crate::directory::{Directory, free_port};
use crate::http::Client;
use crate::process::{Process, Ready, find_program};
use crate::sanitizers;
use crate::script::poll;
use crate::usage;

/// Modules that every configuration here has, in the order in which Debian has them.
const MODULES: [&str; 6] =
    ["mod_indexfile", "mod_access", "mod_alias", "mod_rewrite", "mod_setenv", "mod_accesslog"];
/// What lighttpd logs each time it has started or restarted.
const RUNNING: &str = "server started";
/// Where Debian has its modules.
const DEBIAN_MODULES: &str = "/usr/lib/lighttpd";

/// A lighttpd that is to be started.
#[derive(Debug)]
pub struct Builder {
    modules: Vec<String>,
    config: String,
    directory: Directory,
    port: u16,
    wrapper: Vec<String>,
}

impl Builder {
    /// One more module of lighttpd's own, `mod_auth`; it comes before mod_fcgate.
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

    /// Processes that serve, beside the one that watches them.
    pub fn workers(self, count: u32) -> Self {
        self.config(format!("server.max-worker = {count}"))
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

    fn text(&self) -> String {
        let (path, port) = (self.directory.path().display(), self.port);
        let modules =
            MODULES.iter().copied().chain(self.modules.iter().map(String::as_str)).chain(["mod_fcgate"]);
        let modules: Vec<String> = modules.map(|name| format!("\"{name}\"")).collect();
        let mut text = format!(
            "server.port = {port}\nserver.bind = \"127.0.0.1\"\nserver.document-root = \"{path}/root\"\n\
             server.errorlog = \"{path}/own/error.log\"\nserver.upload-dirs = ( \"{path}/own\" )\n\
             server.modules = ( {} )\n\
             setenv.add-response-header = ( \"{MARKER}\" => \"{port}\" )\n\
             accesslog.filename = \"{path}/own/access.log\"\naccesslog.format = \"%m %U %s\"\n\
             index-file.names = ( \"index.php\" )\n",
            modules.join(", "),
        );
        // It does not run as root.
        // SAFETY: it has no preconditions and can't fail.
        if unsafe { libc::geteuid() } == 0 {
            text.push_str("server.username = \"www-data\"\nserver.groupname = \"www-data\"\n");
        }
        text + &self
            .config
            .replace("{root}", &format!("{path}/root"))
            .replace("{directory}", &path.to_string())
            .replace("{port}", &port.to_string())
    }

    /// A directory with all of lighttpd's modules, and ours among them: it looks into one only.
    fn modules(&self) -> PathBuf {
        let directory = self.directory.join("modules");
        fs::create_dir_all(&directory).expect("mkdir");
        let build = sanitizers::modules(&self.wrapper);
        let own = build.join("lighttpd/mod_fcgate.so").canonicalize();
        let own = own.expect("build/lighttpd/mod_fcgate.so is not there: run `make` first");
        // Where it looks for the library: above the directory that it was loaded from.
        let library = build.join("libfcgate.so.0").canonicalize().expect("build/libfcgate.so.0");
        let _ = symlink(library, self.directory.join("libfcgate.so.0"));
        let theirs = fs::read_dir(DEBIAN_MODULES).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in theirs.filter(|file| !file.ends_with("mod_fcgate.so")).chain([own]) {
            let _ = symlink(&file, directory.join(file.file_name().expect("a module has a name")));
        }
        directory
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        let own = self.directory.join("own");
        fs::create_dir_all(&own).expect("mkdir");
        // SAFETY: as above.
        if unsafe { libc::geteuid() } == 0 {
            // It writes there when it is root no more.
            Command::new("chown").arg("www-data").arg(&own).status().expect("chown runs");
        }
        (self.modules(), self.directory.write("lighttpd.conf", self.text()))
    }

    /// Only reads its configuration; whether it is right, and what was said.
    pub fn check(self) -> (bool, String) {
        let (modules, config) = self.files();
        let words = sanitizers::words(&self.wrapper, &self.directory);
        let Output { status, stderr, stdout } = sanitizers::command(words, program())
            .arg("-tt")
            .arg("-m")
            .arg(modules)
            .arg("-f")
            .arg(config)
            .output()
            .expect("lighttpd runs");
        let said = String::from_utf8_lossy(&[stderr, stdout].concat()).into_owned();
        sanitizers::assert_clean(&self.directory, std::slice::from_ref(&said));
        (status.success(), said)
    }

    /// Starts it.
    ///
    /// Panics with its log if it does not start.
    pub fn start(self) -> Lighttpd {
        let (modules, config) = self.files();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let words = sanitizers::words(&self.wrapper, &self.directory);
        let mut words = words.iter().map(PathBuf::from).chain([program()]);
        let first = words.next().expect("there is a program");
        let process = Process::command(first)
            .args(words)
            .arg("-D")
            .arg("-m")
            .arg(modules)
            .arg("-f")
            .arg(config)
            .ready(Ready::Tcp(address))
            .start();
        Lighttpd { process, directory: self.directory, address }
    }
}

fn program() -> PathBuf {
    find_program("lighttpd").expect("lighttpd is not installed (Debian: apt-get install lighttpd)")
}

/// A lighttpd of the test's own.
#[derive(Debug)]
pub struct Lighttpd {
    process: Process,
    directory: Directory,
    address: SocketAddr,
}

impl Lighttpd {
    /// One with mod_fcgate as it was built.
    ///
    /// Starting it panics if there is no `build/lighttpd/mod_fcgate.so`.
    pub fn builder() -> Builder {
        let directory = Directory::new();
        directory.write("root/robots.txt", "a file\n");
        Builder {
            modules: Vec::new(),
            config: String::new(),
            directory,
            port: free_port(),
            wrapper: Vec::new(),
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
        fs::read_to_string(self.directory.join("own/error.log")).unwrap_or_default()
    }

    /// Waits until its log has a line with all of these words, and returns that line.
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        poll(PATIENCE, || self.log().lines().find(has_all).map(str::to_owned))
            .unwrap_or_else(|| panic!("no line of the log has {words:?}:\n{}", self.log()))
    }

    /// Reads its configuration anew; what is under way ends as it began. Returns when it has started
    /// again.
    pub fn restart_gracefully(&mut self) {
        let restarts = |log: &str| log.matches(RUNNING).count();
        // Before it is up, the signal would end it.
        self.wait_for_log(&[RUNNING]);
        let before = restarts(&self.log());
        self.process.signal(libc::SIGUSR1);
        poll(PATIENCE, || (restarts(&self.log()) > before).then_some(()))
            .unwrap_or_else(|| panic!("it did not restart:\n{}", self.log()));
    }

    /// Its workers, of which there are to be so many.
    pub fn workers(&self, count: usize) -> Vec<u32> {
        let parent = self.process.pid();
        let read =
            || fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let parse = |text: String| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        poll(PATIENCE, || Some(parse(read())).filter(|workers: &Vec<u32>| workers.len() == count))
            .unwrap_or_else(|| panic!("it has not {count} workers:\n{}", self.log()))
    }

    /// All its processes, the first one first.
    pub fn processes(&self) -> Vec<u32> {
        usage::with_children(self.process.pid())
    }

    /// The process; with several workers, the one that watches them.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Lighttpd {
    fn drop(&mut self) {
        self.process.stop();
        sanitizers::assert_clean(&self.directory, &[self.log(), self.process.output()]);
    }
}
