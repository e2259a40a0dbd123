//! A FastCGI application that does what a test tells it to, in threads of the test's process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::builder::{Builder, Settings};
use crate::directory::{Directory, free_port};
use crate::listener::{Address, Listener, Socket, connect_unless_full};
use crate::player::Player;
use crate::recorder::Recorded;

/// How long a test waits for what it wants to see before it fails.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often the accepting thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Default)]
struct State {
    log: Vec<Recorded>,
    /// Every byte of each connection.
    received: Vec<Vec<u8>>,
    received_length: Vec<u64>,
    /// Connections that are open.
    open: BTreeMap<usize, Arc<Socket>>,
    threads: Vec<JoinHandle<()>>,
    asked: Vec<String>,
    violations: Vec<String>,
}

struct Accepting {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What the threads of an application share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) stopped: AtomicBool,
    address: Mutex<Address>,
    backlog: Option<i32>,
    accepting: Mutex<Option<Accepting>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// A panic of one script must not hide what the others saw.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn with_log<T>(&self, act: impl FnOnce(&mut Vec<Recorded>) -> T) -> T {
        let result = act(&mut lock(&self.state).log);
        self.changed.notify_all();
        result
    }

    pub(crate) fn keep_bytes(&self, connection: usize, bytes: &[u8]) {
        let mut state = lock(&self.state);
        state.received_length[connection] += bytes.len() as u64;
        if self.settings.keep_bodies {
            state.received[connection].extend_from_slice(bytes);
        }
    }

    pub(crate) fn note_asked(&self, names: &[String]) {
        lock(&self.state).asked.extend_from_slice(names);
        self.changed.notify_all();
    }

    pub(crate) fn forget_connection(&self, connection: usize, violations: Vec<String>) {
        let mut state = lock(&self.state);
        state.open.remove(&connection);
        state.violations.extend(violations.iter().map(|text| format!("connection {connection}: {text}")));
        self.changed.notify_all();
    }

    pub(crate) fn stop_listening(&self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.stop.store(true, Ordering::Relaxed);
            let _ = accepting.thread.join();
        }
    }

    pub(crate) fn remove_socket(&self) {
        if let Address::Path(path) = &*lock(&self.address) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn bind(&self) -> Listener {
        let mut address = lock(&self.address);
        Listener::bind(&mut address, self.backlog)
            .unwrap_or_else(|error| panic!("can't listen on {}: {error}", address.spelling()))
    }

    fn accept(self: &Arc<Self>, listener: Listener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (Arc::clone(self), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                if let Some(socket) = listener.accept(LOOK) {
                    shared.connected(socket);
                }
            }
        });
        *lock(&self.accepting) = Some(Accepting { stop, thread });
    }

    fn connected(self: &Arc<Self>, socket: Socket) {
        let socket = Arc::new(socket);
        let mut state = lock(&self.state);
        let connection = state.received.len();
        state.received.push(Vec::new());
        state.received_length.push(0);
        state.open.insert(connection, Arc::clone(&socket));
        let player = Player::new(socket, Arc::clone(self), connection);
        state.threads.push(thread::spawn(move || player.run()));
        self.changed.notify_all();
    }
}

/// A scripted application; all that is its own ends when it is dropped.
pub struct Application {
    shared: Arc<Shared>,
    _directory: Option<Directory>,
    /// The listener that nobody accepts on.
    idle: Mutex<Option<Listener>>,
    fillers: Mutex<Vec<OwnedFd>>,
}

impl Application {
    /// An application on a unix socket in a directory of its own.
    pub fn unix() -> Builder {
        let directory = Directory::new();
        let path = directory.join("application.sock");
        Builder::new(Address::Path(path), Some(directory))
    }

    /// An application on a unix socket of this path.
    pub fn unix_at(path: impl Into<PathBuf>) -> Builder {
        Builder::new(Address::Path(path.into()), None)
    }

    /// An application on a unix socket without a file.
    pub fn abstract_unix() -> Builder {
        let directory = Directory::new();
        let name = directory.path().file_name().expect("it has a name").to_string_lossy().into_owned();
        Builder::new(Address::Abstract(name), Some(directory))
    }

    /// An application on a free port of 127.0.0.1.
    pub fn tcp() -> Builder {
        Builder::new(Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port())), None)
    }

    /// An application on a free port of ::1.
    pub fn tcp6() -> Builder {
        Builder::new(Address::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)), None)
    }

    pub(crate) fn begin(builder: Builder) -> Self {
        let shared = Arc::new(Shared {
            settings: builder.settings,
            stopped: AtomicBool::new(false),
            address: Mutex::new(builder.address),
            backlog: builder.backlog,
            accepting: Mutex::new(None),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let application =
            Self { shared, _directory: builder.directory, idle: Mutex::new(None), fillers: Mutex::default() };
        if builder.accepts {
            application.listen();
        } else {
            *application.lock_idle() = Some(application.shared.bind());
        }
        application
    }

    /// The address as fcgate's settings spell it.
    pub fn address(&self) -> String {
        lock(&self.shared.address).spelling()
    }

    /// The file of the socket.
    ///
    /// Panics if there is none.
    pub fn path(&self) -> PathBuf {
        match &*lock(&self.shared.address) {
            Address::Path(path) => path.clone(),
            other => panic!("{} has no file", other.spelling()),
        }
    }

    /// The port.
    ///
    /// Panics if there is none.
    pub fn port(&self) -> u16 {
        match &*lock(&self.shared.address) {
            Address::Tcp(address) => address.port(),
            other => panic!("{} has no port", other.spelling()),
        }
    }

    /// Listens, again or for the first time; a socket file of before is replaced.
    pub fn listen(&self) {
        self.stop_listening();
        self.shared.remove_socket();
        let listener = self.shared.bind();
        self.shared.accept(listener);
    }

    /// Begins to accept after [`Builder::never_accept`], those who wait first.
    pub fn accept(&self) {
        let listener = self.lock_idle().take().expect("the application accepts already");
        self.shared.accept(listener);
    }

    /// Stops listening: connects are refused. The socket's file stays, and so does what is open.
    pub fn stop_listening(&self) {
        self.lock_idle().take();
        self.shared.stop_listening();
    }

    /// Removes the socket's file.
    pub fn remove_socket(&self) {
        self.shared.remove_socket();
    }

    /// Connects to the own socket until its backlog is full, and holds on to that.
    pub fn fill_backlog(&self) {
        let address = lock(&self.shared.address).clone();
        assert!(address.is_unix() && self.lock_idle().is_some(), "for never_accept on a unix socket");
        let mut fillers = lock(&self.fillers);
        loop {
            match connect_unless_full(&address) {
                Ok(socket) => fillers.push(socket),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("can't fill the backlog: {error}"),
            }
        }
    }

    /// Closes every connection that is open, as an application that is restarted does.
    pub fn drop_connections(&self) {
        for socket in lock(&self.shared.state).open.values() {
            socket.shut_down();
        }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).received.len()
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.state).open.len()
    }

    /// Every byte that came on a connection.
    pub fn received(&self, connection: usize) -> Vec<u8> {
        lock(&self.shared.state).received[connection].clone()
    }

    /// How many bytes came on a connection; also where none are kept.
    pub fn received_length(&self, connection: usize) -> u64 {
        lock(&self.shared.state).received_length[connection]
    }

    /// The requests so far, in the order of their BEGIN_REQUEST.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.state).log.clone()
    }

    /// A request, by its number; waits until it is complete or aborted.
    pub fn request(&self, number: usize) -> Recorded {
        self.wait_for(&format!("request {number} complete"), |log| {
            log.get(number).is_some_and(|request| request.is_complete() || request.aborted)
        });
        lock(&self.shared.state).log[number].clone()
    }

    /// The names that GET_VALUES asked for.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.state).asked.clone()
    }

    /// Requests of a method.
    pub fn count(&self, method: &str) -> usize {
        lock(&self.shared.state).log.iter().filter(|request| request.method() == method).count()
    }

    /// How often each value of a param came.
    pub fn count_by(&self, param: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in &lock(&self.shared.state).log {
            if let Some(value) = request.param_bytes(param) {
                *counts.entry(String::from_utf8_lossy(value).into_owned()).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Panics if a value of this param came twice: give every request its own.
    pub fn assert_at_most_once(&self, param: &str) {
        let often: Vec<_> = self.count_by(param).into_iter().filter(|(_, count)| *count > 1).collect();
        assert!(often.is_empty(), "requests that came more than once, by {param}: {often:?}");
    }

    /// Waits until the requests so far are as wanted; panics with what there was instead.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&[Recorded]) -> bool) {
        self.wait(what, |state| wanted(&state.log));
    }

    /// Waits until so many requests are complete.
    pub fn wait_for_requests(&self, count: usize) {
        self.wait_for(&format!("{count} requests"), |log| {
            log.iter().filter(|request| request.is_complete()).count() >= count
        });
    }

    /// Waits until so many connections have been accepted.
    pub fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("{count} connections"), |state| state.received.len() >= count);
    }

    /// Waits until exactly so many connections are open.
    pub fn wait_for_open_connections(&self, count: usize) {
        self.wait(&format!("{count} open connections"), |state| state.open.len() == count);
    }

    fn wait(&self, what: &str, wanted: impl Fn(&State) -> bool) {
        let state = lock(&self.shared.state);
        let (state, result) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !wanted(state))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "waited in vain for {what}; {}", describe(&state));
    }

    /// What was wrong with anything so far. Of a connection that is still open, only what was
    /// wrong with its requests is known.
    pub fn violations(&self) -> Vec<String> {
        let state = lock(&self.shared.state);
        let of_requests = state.log.iter().enumerate().flat_map(|(number, request)| {
            request.violations.iter().map(move |text| format!("request {number}: {text}"))
        });
        of_requests.chain(state.violations.iter().cloned()).collect()
    }

    /// Panics if anything was wrong.
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the web server broke the rules: {violations:#?}");
    }

    fn lock_idle(&self) -> MutexGuard<'_, Option<Listener>> {
        lock(&self.idle)
    }
}

fn describe(state: &State) -> String {
    let mut text = format!("{} connections, {} open", state.received.len(), state.open.len());
    for (number, request) in state.log.iter().enumerate() {
        let _ = write!(
            text,
            "\n  request {number}: connection {}, id {}, {} {}, {} bytes of stdin{}{}{}",
            request.connection,
            request.id,
            request.method(),
            request.param("REQUEST_URI").unwrap_or("-"),
            request.stdin_length,
            if request.is_complete() { ", complete" } else { "" },
            if request.aborted { ", aborted" } else { "" },
            if request.ended { ", ended" } else { "" },
        );
    }
    text
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.stop_listening();
        self.drop_connections();
        let threads = std::mem::take(&mut lock(&self.shared.state).threads);
        let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        if panicked > 0 && !thread::panicking() {
            panic!("{panicked} scripts of the application panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes;
    use crate::script::{Gate, Moment, Reply, Step, interleave};
    use fcgate::protocol::RecordType;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};

    fn request(id: u16, keep_conn: bool, body: &str) -> Vec<u8> {
        let length = body.len().to_string();
        let params = [("REQUEST_METHOD", "POST"), ("HTTP_X_KEY", body), ("CONTENT_LENGTH", &length)];
        bytes::request(id, keep_conn, &params, body)
    }

    fn connect(application: &Application) -> UnixStream {
        UnixStream::connect(application.path()).unwrap()
    }

    fn answer(stream: &mut (impl Read + Write), request: &[u8]) -> Vec<u8> {
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    fn read(stream: &mut UnixStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_request_is_answered_recorded_and_closed_as_asked() {
        let reply = Reply::new().stdout("Status: 200\r\n\r\nhi").end();
        let application = Application::unix().reply(reply.clone()).start();
        assert_eq!(answer(&mut connect(&application), &request(3, false, "body")), reply.encode(3));
        let recorded = application.request(0);
        assert_eq!((recorded.id, recorded.connection, &recorded.stdin[..]), (3, 0, &b"body"[..]));
        assert_eq!((recorded.param("CONTENT_LENGTH"), application.count("POST")), (Some("4"), 1));
        application.wait_for_open_connections(0);
        assert_eq!(application.received(0), request(3, false, "body"));
        application.assert_no_violations();
        application.assert_at_most_once("HTTP_X_KEY");
    }

    #[test]
    fn every_kind_of_address_answers() {
        let page = Reply::page(200, "hello").encode(1);
        for builder in [Application::tcp(), Application::tcp6()] {
            let application = builder.start();
            let mut stream = TcpStream::connect(application.address()).unwrap();
            assert_eq!(answer(&mut stream, &request(1, false, "")), page);
        }
        let application = Application::abstract_unix().start();
        let address = application.address();
        let name = address.strip_prefix("unix:@").unwrap();
        let name = <UnixAddr as SocketAddrExt>::from_abstract_name(name).unwrap();
        let mut stream = UnixStream::connect_addr(&name).unwrap();
        assert_eq!(answer(&mut stream, &request(1, false, "")), page);
    }

    #[test]
    fn a_kept_connection_serves_one_request_after_the_other() {
        let application =
            Application::unix().replies(vec![Reply::page(200, "a"), Reply::page(404, "b")]).start();
        let mut stream = connect(&application);
        for (id, reply) in
            [(1, Reply::page(200, "a")), (2, Reply::page(404, "b")), (1, Reply::page(404, "b"))]
        {
            stream.write_all(&request(id, true, "x")).unwrap();
            let expected = reply.encode(id);
            assert_eq!(read(&mut stream, expected.len()), expected);
        }
        assert_eq!(application.connections(), 1);
        assert_eq!(application.violations(), ["request 2: E8: id 1 again"]);
        assert_eq!(application.count_by("HTTP_X_KEY")["x"], 3);
    }

    #[test]
    fn split_bytes_arrive_as_they_were_split() {
        let reply = Reply::new().stdout("abc").end();
        let application = Application::unix().reply(reply.clone().split_at([1, 9])).start();
        let mut stream = connect(&application);
        stream.write_all(&request(1, false, "")).unwrap();
        let mut buffer = [0; 100];
        let lengths: Vec<usize> = (0..4).map(|_| stream.read(&mut buffer).unwrap()).collect();
        assert_eq!(lengths, [1, 8, reply.encode(1).len() - 9, 0]);

        let application = Application::unix().reply(reply.clone().singly()).start();
        assert_eq!(answer(&mut connect(&application), &request(1, false, "")), reply.encode(1));
    }

    #[test]
    fn a_stalled_application_reads_nothing_until_the_gate_opens() {
        let (gate, reached) = (Gate::new(), Gate::new());
        let reply = Reply::new().stdout("a").then(Step::Open(reached.clone())).stall(&gate).end();
        let application = Application::unix().reply(reply.clone()).start();
        let mut stream = connect(&application);
        stream.write_all(&request(1, false, "")).unwrap();
        assert!(reached.wait(PATIENCE));
        assert_eq!(read(&mut stream, 9), bytes::stdout(1, "a"));
        gate.open();
        assert_eq!(answer(&mut stream, b""), bytes::end_ok(1));
        // One that nobody lets go on ends with its application.
        let application = Application::unix().reply(Reply::new().stall(&Gate::new())).start();
        let mut stream = connect(&application);
        stream.write_all(&request(1, false, "")).unwrap();
        application.wait_for_requests(1);
        drop(application);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }

    #[test]
    fn a_reset_is_a_reset_and_a_close_inside_a_record_a_close() {
        let application = Application::tcp().reply(Reply::new().reset()).start();
        let mut stream = TcpStream::connect(application.address()).unwrap();
        stream.write_all(&request(1, true, "")).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let cut = Reply::new().raw(bytes::header(1, 6, 1, 100, 0)).close();
        let application = Application::unix().reply(cut).start();
        assert_eq!(answer(&mut connect(&application), &request(1, true, "")), bytes::header(1, 6, 1, 100, 0));
    }

    #[test]
    fn an_abort_is_waited_for() {
        let steps = Reply::new().then(Step::AwaitAbort).end();
        let application = Application::unix().at(Moment::Params).reply(steps).start();
        let mut stream = connect(&application);
        let whole = request(1, false, "body");
        let without_end = &whole[..whole.len() - 8];
        stream.write_all(&[without_end, &bytes::record(RecordType::ABORT_REQUEST, 1, "")].concat()).unwrap();
        assert_eq!(answer(&mut stream, b""), bytes::end_ok(1));
        let recorded = application.request(0);
        assert!(recorded.aborted && !recorded.stdin_ended && recorded.stdin == b"body");
        application.assert_no_violations();
    }

    #[test]
    fn requests_that_share_a_connection_are_answered_together() {
        let application = Application::unix()
            .on_requests(2, |requests| {
                let reply = Reply::new().stdout("x").then(Step::Run(Arc::new(|| ()))).end();
                interleave(requests.iter().map(|request| reply.to(request)).collect())
            })
            .start();
        let two = [request(1, false, "a"), request(2, false, "b")].concat();
        let expected =
            [bytes::stdout(1, "x"), bytes::stdout(2, "x"), bytes::end_ok(1), bytes::end_ok(2)].concat();
        assert_eq!(answer(&mut connect(&application), &two), expected);
        application.assert_no_violations();
    }

    #[test]
    fn a_socket_is_closed_removed_and_made_again() {
        let application = Application::unix().start();
        let refused = || UnixStream::connect(application.path()).unwrap_err().kind();
        application.stop_listening();
        assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
        application.remove_socket();
        assert_eq!(refused(), std::io::ErrorKind::NotFound);
        application.listen();
        assert!(!answer(&mut connect(&application), &request(1, false, "")).is_empty());
        let application = Application::tcp().start();
        let port = application.port();
        application.listen();
        assert_eq!(application.port(), port);
    }

    #[test]
    fn a_backlog_is_filled_and_drained() {
        let application = Application::unix().backlog(1).never_accept().start();
        application.fill_backlog();
        let address = lock(&application.shared.address).clone();
        assert_eq!(connect_unless_full(&address).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        application.accept();
        application.wait_for_connections(1);
        assert!(!answer(&mut connect(&application), &request(1, false, "")).is_empty());
    }

    /// E12: a half close is told from a close.
    #[test]
    fn a_half_close_is_a_violation() {
        let application = Application::unix().start();
        drop(connect(&application));
        let stream = connect(&application);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        application.wait_for_connections(2);
        application.wait_for_open_connections(0);
        assert_eq!(application.violations(), ["connection 1: E12: the connection was closed by half"]);
    }

    #[test]
    fn get_values_is_answered_for_the_names_asked() {
        let application =
            Application::unix().values(Some(&[("FCGI_MPXS_CONNS", "1"), ("OTHER", "2")])).start();
        let mut stream = connect(&application);
        stream.write_all(&bytes::record(RecordType::GET_VALUES, 0, b"\x0f\0FCGI_MPXS_CONNS")).unwrap();
        let expected = bytes::values(&[("FCGI_MPXS_CONNS".into(), "1".into())]);
        assert_eq!(read(&mut stream, expected.len()), expected);
        assert_eq!(application.asked(), ["FCGI_MPXS_CONNS"]);
    }
}
