//! A child process that never outlives the test that needs it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::application::PATIENCE;
use crate::directory::Directory;
use crate::script::poll;
use crate::unix_sockets;

/// How long a process has to end after SIGTERM.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How to tell that a process can be used.
#[derive(Clone, Debug)]
pub enum Ready {
    /// As soon as it runs.
    AtOnce,
    /// When a unix socket accepts.
    Unix(PathBuf),
    /// When a unix socket listens: for those that end over a connection without a request.
    Listening(PathBuf),
    /// When a TCP address accepts.
    Tcp(SocketAddr),
}

impl Ready {
    fn is_so(&self) -> bool {
        match self {
            Self::AtOnce => true,
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
            Self::Listening(path) => unix_sockets::listens(path),
            Self::Tcp(address) => TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok(),
        }
    }
}

/// A process that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    ready: Ready,
}

impl Launch {
    /// An argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Several arguments.
    pub fn args<T: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = T>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// A variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where it runs.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What [`Launch::start`] waits for.
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// Starts it and waits until it is ready; panics with its output if it never is.
    pub fn start(self) -> Process {
        let directory = Directory::new();
        let output = directory.join("output");
        let child = self.spawn(&output);
        let mut process = Process { child, launch: self, output, _directory: directory };
        process.wait_ready();
        process
    }

    fn spawn(&self, output: &Path) -> Child {
        let open = || File::options().create(true).append(true).open(output).expect("an output file");
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(open()).stderr(open()).process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        spawn_beneath_us(command)
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()))
    }
}

/// Spawns a child that is told to end when this process does, however that ends.
///
/// The kernel ties that wish to the *thread* that made the child, and a test's thread ends with
/// its test; so one thread, which lives as long as the process, makes all children.
fn spawn_beneath_us(mut command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static LAUNCHER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let us = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) < 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the wish was known.
            if libc::getppid() as u32 != us { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
        });
    }
    let launcher = LAUNCHER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, child) = channel();
    let order = (command, reply);
    launcher.lock().unwrap_or_else(PoisonError::into_inner).send(order).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

/// A process that was started here, and is stopped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    launch: Launch,
    output: PathBuf,
    _directory: Directory,
}

impl Process {
    /// A process of this program, to be found in `PATH` or at its path.
    pub fn command(program: impl Into<PathBuf>) -> Launch {
        Launch {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            ready: Ready::AtOnce,
        }
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout and stderr.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&mut self, signal: i32) {
        if self.is_running() {
            // SAFETY: a plain call; the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let status = poll(PATIENCE, || self.child.try_wait().expect("a child can be waited for"));
        status.unwrap_or_else(|| panic!("{} does not end:\n{}", self.launch.program.display(), self.output()))
    }

    /// Ends it: SIGTERM, and SIGKILL for it and what it started if that does not help.
    pub fn stop(&mut self) {
        self.signal(libc::SIGTERM);
        if poll(STOP_TIME, || (!self.is_running()).then_some(())).is_none() {
            // SAFETY: a plain call; the group is the child's own, made when it was spawned.
            unsafe { libc::kill(-(self.pid() as libc::pid_t), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }

    /// Ends it at once, with what it started, as a crash does.
    pub fn kill(&mut self) {
        if self.is_running() {
            // SAFETY: as in `stop`.
            unsafe { libc::kill(-(self.pid() as libc::pid_t), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }

    /// Starts it again as before, and waits until it is ready.
    pub fn start_again(&mut self) {
        self.stop();
        self.child = self.launch.spawn(&self.output);
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let (ready, child) = (&self.launch.ready, &mut self.child);
        let ended = poll(PATIENCE, || {
            if ready.is_so() {
                Some(None)
            } else {
                child.try_wait().expect("a child can be waited for").map(Some)
            }
        });
        let program = self.launch.program.display();
        match ended {
            Some(None) => {}
            Some(Some(status)) => panic!("{program} ended with {status}:\n{}", self.output()),
            None => panic!("{program} is not ready ({:?}):\n{}", self.launch.ready, self.output()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where a program is: in `PATH`, or among the administrator's.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Launch {
        Process::command("/bin/sh").args(["-c", script])
    }

    #[test]
    fn output_and_status_are_kept() {
        let mut process = shell("echo out; echo err >&2; exit 3").start();
        assert_eq!(process.wait().code(), Some(3));
        assert_eq!(process.output(), "out\nerr\n");
        process.signal(libc::SIGTERM);
    }

    #[test]
    fn a_process_ends_when_dropped_and_starts_again() {
        let mut process = shell("echo $VALUE; exec sleep 1000").env("VALUE", "set").start();
        let first = process.pid();
        process.start_again();
        assert!(process.is_running() && process.pid() != first);
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_child_survives_the_thread_that_asked_for_it() {
        let mut process = std::thread::spawn(|| shell("exec sleep 1000").start()).join().unwrap();
        assert!(process.is_running());
        process.kill();
        assert!(!process.is_running());
    }

    /// Tells the inner run of the test below where to write the id of its child.
    const INNER: &str = "FCGATE_KIT_INNER";

    #[test]
    fn a_child_ends_when_the_process_of_the_test_is_killed() {
        if let Some(file) = std::env::var_os(INNER) {
            let child = shell("exec sleep 1000").start();
            fs::write(file, child.pid().to_string()).unwrap();
            std::thread::park();
        }
        let directory = Directory::new();
        let file = directory.join("pid");
        let name = "process::tests::a_child_ends_when_the_process_of_the_test_is_killed";
        let inner =
            Process::command(std::env::current_exe().unwrap()).args(["--exact", name]).env(INNER, &file);
        // Its own directories go into ours, since it can't remove them.
        let mut inner = inner.env("TMPDIR", directory.path()).start();
        let read = || fs::read_to_string(&file).ok()?.parse::<u32>().ok();
        let child = poll(PATIENCE, read).unwrap_or_else(|| panic!("no child: {}", inner.output()));
        assert!(Path::new(&format!("/proc/{child}")).exists());
        inner.kill();
        let gone = poll(PATIENCE, || (!is_alive(child)).then_some(()));
        assert!(gone.is_some(), "{child} is still there");
    }

    /// A zombie that nobody has waited for is not alive.
    fn is_alive(pid: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
    }

    #[test]
    fn one_that_ends_before_it_is_ready_says_why() {
        let start = || shell("echo no such setting; exit 1").ready(Ready::Unix("/nowhere".into())).start();
        let message = *std::panic::catch_unwind(start).unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("exit status: 1") && message.contains("no such setting"), "{message}");
    }

    #[test]
    fn programs_are_found() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }
}
