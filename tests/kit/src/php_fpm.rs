//! A private php-fpm, the application that most web servers talk to.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::application::PATIENCE;
use crate::directory::{Directory, free_port};
use crate::process::{Process, Ready, find_program};
use crate::script::poll;

/// What php-fpm logs each time it has started or reloaded.
const READY: &str = "ready to handle connections";
/// Where Debian keeps the settings of each version.
const DEBIAN_SETTINGS: &str = "/etc/php";

/// A php-fpm that is to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    port: Option<u16>,
    children: u32,
    settings: Vec<(String, String)>,
    is_distributed: bool,
}

impl Builder {
    /// Workers, each of which serves one connection at a time.
    pub fn children(mut self, count: u32) -> Self {
        self.children = count;
        self
    }

    /// A worker ends after so many requests.
    pub fn max_requests(self, count: u32) -> Self {
        self.setting("pm.max_requests", &count.to_string())
    }

    /// Any other setting of the pool, such as `php_admin_value[memory_limit]`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it.
    ///
    /// Panics if php-fpm is not installed or does not start.
    pub fn start(self) -> PhpFpm {
        let program = find().expect("php-fpm is not installed (Debian: apt-get install php-fpm)");
        let directory = Directory::new();
        let (listen, ready) = match self.port {
            Some(port) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                (address.to_string(), Ready::Tcp(address))
            }
            None => {
                let path = directory.join("fpm.sock");
                (path.display().to_string(), Ready::Unix(path))
            }
        };
        let config = if self.is_distributed {
            distributed_config(&program, &directory, &listen)
        } else {
            self.config(&directory, &listen)
        };
        let config = directory.write("fpm.conf", config);
        let mut launch = Process::command(&program).arg("--nodaemonize").arg("--fpm-config").arg(config);
        if let Some(settings) = php_ini(&program) {
            launch = launch.arg("--php-ini").arg(settings);
        }
        let address = if self.port.is_some() { listen } else { format!("unix:{listen}") };
        PhpFpm { process: launch.ready(ready).start(), address, directory }
    }

    fn config(&self, directory: &Directory, listen: &str) -> String {
        let path = directory.path().display();
        let mut text = format!(
            "[global]\npid = {path}/fpm.pid\nerror_log = {path}/fpm.log\ndaemonize = no\n\n[www]\n\
             listen = {listen}\nlisten.mode = 0666\npm = static\npm.max_children = {}\n\
             pm.status_path = /status\nping.path = /ping\nclear_env = no\ncatch_workers_output = yes\n",
            self.children
        );
        // Workers don't run as root, and nobody else may choose who they run as.
        if is_root() {
            text.push_str("user = www-data\ngroup = www-data\n");
        }
        for (name, value) in &self.settings {
            let _ = writeln!(text, "{name} = {value}");
        }
        text
    }
}

/// A php-fpm of the test's own, with a directory for its scripts.
#[derive(Debug)]
pub struct PhpFpm {
    process: Process,
    address: String,
    directory: Directory,
}

impl PhpFpm {
    /// A php-fpm on a unix socket, with two workers.
    pub fn unix() -> Builder {
        Builder { port: None, children: 2, settings: Vec::new(), is_distributed: false }
    }

    /// A php-fpm with the pool that the distribution comes with: its `www.conf`, of which nothing is
    /// changed but the socket. The builder's settings are not for it.
    pub fn distributed() -> Builder {
        Builder { is_distributed: true, ..Self::unix() }
    }

    /// A php-fpm on a port of 127.0.0.1, with two workers.
    pub fn tcp() -> Builder {
        Builder { port: Some(free_port()), ..Self::unix() }
    }

    /// The address as fcgate's settings spell it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Writes a script; returns its path, which is its SCRIPT_FILENAME.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        self.directory.write(PathBuf::from("root").join(name), content)
    }

    /// The directory of the scripts.
    pub fn document_root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("fpm.log")).unwrap_or_default()).into_owned()
    }

    /// The process of its master.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops it; connects are refused until [`PhpFpm::start`].
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it again, on the same address.
    pub fn start(&mut self) {
        self.process.start_again();
    }

    /// Stops and starts it, on the same address.
    pub fn restart(&mut self) {
        self.process.start_again();
    }

    /// Lets it read its settings again, and waits until it has.
    pub fn reload(&mut self) {
        let before = self.log().matches(READY).count();
        self.process.signal(libc::SIGUSR2);
        let reloaded = poll(PATIENCE, || (self.log().matches(READY).count() > before).then_some(()));
        assert!(reloaded.is_some(), "php-fpm does not reload:\n{}", self.log());
    }
}

/// Where php-fpm is: Debian's `php-fpm8.2` before other versions, or plain `php-fpm`.
pub fn find() -> Option<PathBuf> {
    let versions = (0..10).rev().map(|minor| format!("php-fpm8.{minor}"));
    ["php-fpm8.2".to_owned()]
        .into_iter()
        .chain(versions)
        .chain(["php-fpm".to_owned()])
        .find_map(|name| find_program(&name))
}

/// The php.ini that belongs to a program of Debian's; others know their own.
fn php_ini(program: &Path) -> Option<PathBuf> {
    debian_file(program, "php.ini")
}

/// A file of Debian's that belongs to a program.
fn debian_file(program: &Path, name: &str) -> Option<PathBuf> {
    let version =
        program.file_name()?.to_str()?.strip_prefix("php-fpm").filter(|version| !version.is_empty())?;
    let path = Path::new(DEBIAN_SETTINGS).join(version).join("fpm").join(name);
    path.is_file().then_some(path)
}

/// What php-fpm itself needs, and the distribution's pool.
fn distributed_config(program: &Path, directory: &Directory, listen: &str) -> String {
    let path = debian_file(program, "pool.d/www.conf").expect("the distribution has no pool www.conf");
    let pool = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut sockets = 0;
    let pool: String = pool
        .lines()
        .map(|line| match line.split_once('=') {
            Some((name, _)) if name.trim() == "listen" => {
                sockets += 1;
                format!("listen = {listen}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(sockets, 1, "{} has not one line about its socket", path.display());
    let path = directory.path().display();
    format!("[global]\npid = {path}/fpm.pid\nerror_log = {path}/fpm.log\ndaemonize = no\n\n{pool}")
}

fn is_root() -> bool {
    // SAFETY: a plain call that can't fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    fn get(stream: &mut (impl Read + Write), script: &str) -> String {
        let params = [("SCRIPT_FILENAME", script), ("SCRIPT_NAME", "/t.php"), ("REQUEST_METHOD", "GET")];
        let request = bytes::request(1, false, &params, "");
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn connect(fpm: &PhpFpm) -> UnixStream {
        UnixStream::connect(fpm.address().strip_prefix("unix:").unwrap()).unwrap()
    }

    #[test]
    fn a_script_runs_before_and_after_restart_and_reload() {
        let mut fpm = PhpFpm::unix().children(1).max_requests(100).start();
        let script = fpm.script("t.php", "<?php echo 'php says ', $_SERVER['REQUEST_METHOD'];");
        let script = script.to_str().unwrap();
        assert!(get(&mut connect(&fpm), script).contains("php says GET"));
        fpm.restart();
        assert!(get(&mut connect(&fpm), script).contains("php says GET"));
        fpm.reload();
        assert!(get(&mut connect(&fpm), script).contains("php says GET"));
        fpm.stop();
        assert!(UnixStream::connect(fpm.address().strip_prefix("unix:").unwrap()).is_err());
        fpm.start();
        assert!(get(&mut connect(&fpm), script).contains("php says GET"));
    }

    #[test]
    fn the_distributions_pool_serves_on_another_socket() {
        let fpm = PhpFpm::distributed().start();
        let script = fpm.script("t.php", "<?php echo 'php says ', $_SERVER['REQUEST_METHOD'];");
        assert!(get(&mut connect(&fpm), script.to_str().unwrap()).contains("php says GET"));
    }

    #[test]
    fn it_listens_on_a_port_too() {
        let fpm = PhpFpm::tcp().setting("php_admin_value[memory_limit]", "9M").start();
        let script = fpm.script("sub/t.php", "<?php echo ini_get('memory_limit');");
        let mut stream = TcpStream::connect(fpm.address()).unwrap();
        assert!(get(&mut stream, script.to_str().unwrap()).contains("9M"));
        assert!(script.starts_with(fpm.document_root()));
    }
}
