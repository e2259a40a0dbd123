//! The real runtimes, each started by the lines that docs/applications.md has for it.

use super::packages::{self, source};
use super::page::Section;
use fcgate_kit::process::{Process, Ready};
use fcgate_kit::unix_sockets::wait_for_silence;
use fcgate_kit::{Directory, PhpFpm};
use std::path::PathBuf;
use std::process::Command;

/// A runtime that answers on a unix socket.
pub struct Runtime {
    running: Running,
    pub socket: PathBuf,
    _directory: Directory,
}

enum Running {
    Php(Box<PhpFpm>),
    Other(Process),
}

impl Runtime {
    /// Runs the page's lines in a directory with this file of tests/applications as `app` and its extension.
    /// What they make may be used by everyone: the socket is for servers under a user of their own.
    fn start(section: &Section, file: &str, environment: &[(&str, PathBuf)]) -> Self {
        let directory = Directory::new();
        let socket = directory.join("app.sock");
        let (_, extension) = file.split_once('.').expect("a file has an extension");
        std::fs::copy(source(file), directory.join(format!("app.{extension}"))).unwrap();
        let lines = section.start(socket.to_str().expect("a path of ours is UTF-8"));
        // A compiler may take longer than a start may.
        let lines = match lines.split_once('\n') {
            Some((compile, rest)) if compile.contains(" -o app ") => {
                let mut shell = Command::new("sh");
                shell.args(["-c", compile]).current_dir(directory.path()).envs(environment.iter().cloned());
                assert!(shell.status().expect("there is a shell").success(), "{compile}");
                rest.to_owned()
            }
            _ => lines,
        };
        let launch = Process::command("sh")
            .args(["-c", &format!("umask 0\n{lines}")])
            .current_dir(directory.path())
            .ready(Ready::Listening(socket.clone()));
        let launch = environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        Self { running: Running::Other(launch.start()), socket, _directory: directory }
    }

    fn process(&mut self) -> &mut Process {
        match &mut self.running {
            Running::Php(php) => php.process(),
            Running::Other(process) => process,
        }
    }

    /// Ends it as a crash does, with all its workers, and starts it again. Not all of them take a socket that is
    /// there already.
    pub fn crash_and_restart(&mut self) {
        self.process().kill();
        wait_for_silence(&self.socket);
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

/// With as many workers as the page says.
pub fn php_fpm(section: &Section) -> Runtime {
    assert!(section.start("").contains("pm.max_children = 8"));
    let php = PhpFpm::unix().children(8).start();
    let socket = PathBuf::from(php.address().strip_prefix("unix:").expect("it is on a unix socket"));
    Runtime { running: Running::Php(Box::new(php)), socket, _directory: Directory::new() }
}

pub fn go(section: &Section) -> Runtime {
    Runtime::start(section, "application.go", &packages::go())
}

pub fn flup(section: &Section) -> Runtime {
    Runtime::start(section, "application.py", &[("PYTHONPATH", packages::flup())])
}

pub fn flup_multiplexed(section: &Section) -> Runtime {
    let environment = [("PYTHONPATH", packages::flup()), ("MULTIPLEXED", "yes".into())];
    Runtime::start(section, "application.py", &environment)
}

pub fn plack(section: &Section) -> Runtime {
    Runtime::start(section, "application.psgi", &[])
}

pub fn libfcgi(section: &Section) -> Runtime {
    Runtime::start(section, "application.c", &[])
}

pub fn fcgiwrap(section: &Section) -> Runtime {
    Runtime::start(section, "application.cgi", &[])
}

pub fn node(section: &Section) -> Runtime {
    Runtime::start(section, "application.js", &[("NODE_PATH", packages::node())])
}

pub fn ruby(section: &Section) -> Runtime {
    Runtime::start(section, "application.ru", &[])
}

pub fn lua(section: &Section) -> Runtime {
    Runtime::start(section, "application.lua", &[])
}
