//! The real runtimes, each started as docs/applications.md says.

use fcgate_kit::process::{Process, Ready};
use fcgate_kit::{Directory, PhpFpm};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Workers of those that have a number of them.
pub const WORKERS: u32 = 8;

/// A runtime that answers on a unix socket.
pub struct Runtime {
    process: Running,
    pub socket: PathBuf,
    _directory: Directory,
}

enum Running {
    Php(Box<PhpFpm>),
    Other(Process),
}

impl Runtime {
    fn process(&mut self) -> &mut Process {
        match &mut self.process {
            Running::Php(php) => php.process(),
            Running::Other(process) => process,
        }
    }

    /// Ends it as a crash does, with all its workers, and starts it again. Not all of them take a socket that is
    /// there already.
    pub fn crash_and_restart(&mut self) {
        self.process().kill();
        std::fs::remove_file(&self.socket).expect("its socket is left");
        self.process().start_again();
    }
}

impl Drop for Runtime {
    /// Several of them let a polite signal wait until they are asked something.
    fn drop(&mut self) {
        self.process().kill();
    }
}

pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/applications").join(name)
}

/// Starts a program with its socket in this directory; `{socket}` in its words stands for that, and everyone may
/// connect to it.
fn start(directory: Directory, words: &[&str], environment: &[(&str, &Path)]) -> Runtime {
    let socket = directory.join("app.sock");
    let words = words.iter().map(|word| word.replace("{socket}", &socket.display().to_string()));
    let mut launch = Process::command("sh")
        .args(["-c", "umask 0 && exec \"$@\"", "sh"])
        .args(words)
        .ready(Ready::Listening(socket.clone()));
    for (name, value) in environment {
        launch = launch.env(name, value);
    }
    Runtime { process: Running::Other(launch.start()), socket, _directory: directory }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is UTF-8")
}

fn run(command: &mut Command, hint: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} ({hint})"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a directory that stays for the next run, and that others may make at the same time: in a place of
/// its own, then where it belongs.
fn set_up(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !place.exists() {
        let new = place.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(&new).unwrap();
        make(&new);
        let _ = std::fs::rename(&new, &place);
        let _ = std::fs::remove_dir_all(&new);
    }
    place
}

pub fn php_fpm() -> Runtime {
    let php = PhpFpm::unix().children(WORKERS).start();
    let socket = PathBuf::from(php.address().strip_prefix("unix:").expect("it is on a unix socket"));
    Runtime { process: Running::Php(Box::new(php)), socket, _directory: Directory::new() }
}

pub fn go() -> Runtime {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let directory = Directory::new();
    let program = directory.join("application");
    run(
        Command::new("go")
            .args(["build", "-o"])
            .args([&program, &source("application.go")])
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", cache.join("cache"))
            .env("GOPATH", cache.join("path")),
        "Debian: apt-get install golang-go",
    );
    start(directory, &[text(&program), "{socket}"], &[])
}

pub fn flup() -> Runtime {
    let packages = set_up("flup-1.0.3", |place| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target"]);
        run(pip.arg(place).arg("--requirement").arg(source("requirements.txt")), "Debian: python3-pip");
    });
    start(
        Directory::new(),
        &["python3", text(&source("application.py")), "{socket}"],
        &[("PYTHONPATH", &packages)],
    )
}

pub fn plack() -> Runtime {
    let workers = WORKERS.to_string();
    let words = ["plackup", "-s", "FCGI", "--listen", "{socket}", "--nproc", &workers, "-E", "production"];
    start(Directory::new(), &[&words[..], &[text(&source("application.psgi"))]].concat(), &[])
}

pub fn libfcgi() -> Runtime {
    let directory = Directory::new();
    let program = directory.join("application");
    run(
        Command::new("cc")
            .args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&program, &source("application.c")])
            .arg("-lfcgi"),
        "Debian: libfcgi-dev",
    );
    let words = ["spawn-fcgi", "-n", "-s", "{socket}", "-M", "0666", "--", text(&program)];
    start(directory, &words, &[])
}

pub fn fcgiwrap() -> Runtime {
    start(Directory::new(), &["fcgiwrap", "-f", "-c", &WORKERS.to_string(), "-s", "unix:{socket}"], &[])
}

pub fn node() -> Runtime {
    let modules = set_up("node-fastcgi-2.0.0", |place| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(source(name), place.join(name)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
        run(npm.current_dir(place), "Debian: apt-get install npm");
    });
    let modules = modules.join("node_modules");
    start(
        Directory::new(),
        &["node", text(&source("application.js")), "{socket}"],
        &[("NODE_PATH", &modules)],
    )
}

pub fn ruby() -> Runtime {
    let program = "app, = Rack::Builder.parse_file(ARGV[0])
        Rack::Handler::FastCGI.run(app, File: ARGV[1])";
    start(
        Directory::new(),
        &["ruby", "-rrack", "-e", program, text(&source("application.ru")), "{socket}"],
        &[],
    )
}

pub fn lua() -> Runtime {
    let source = source("application.lua");
    start(
        Directory::new(),
        &["spawn-fcgi", "-n", "-s", "{socket}", "-M", "0666", "--", "/usr/bin/lua5.1", text(&source)],
        &[],
    )
}
