//! The blocking drive: the calling thread does the I/O itself. No thread, no hand-over, no wake-up.
//!
//! A kept exchange costs two system calls: one send, and one receive on a socket that stays
//! blocking with a receive timeout of 100 ms. That timeout is only a slice: deadlines come from the
//! clock and are judged by the exchange. Once a slice has passed, a send came up short or the body
//! is still to be sent, the exchange waits in `poll` on the application and the client together.

use super::attempt::{Attempt, Got, NoneOwn};
use super::dial::prepare;
use super::engine::Engine;
use super::forward::GiveUp;
use super::scratch::Lease;
use crate::exchange::{Action, Cause, Closed, SLICES, Wait};
use crate::os::clock;
use crate::os::socket::{self, Connect, Interest, Mode, Stream};
use crate::protocol::{HEADER_LEN, Header, RecordType};
use crossbeam_utils::sync::Parker;
use std::io::{ErrorKind, IoSlice};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// How long a receive or a connect lasts before the clock is looked at.
const SLICE: Duration = Duration::from_millis(100);
/// How long a wait lasts before the client is looked at.
const CLIENT_SLICE: Duration = Duration::from_millis(250);

/// How the host's client is watched while the exchange waits.
pub trait Client {
    /// A descriptor whose end of file or error says that the client is gone.
    fn fd(&self) -> Option<RawFd>;
    /// Asked each time a slice has passed.
    fn is_gone(&mut self) -> bool;
}

/// Nobody to watch.
#[derive(Debug)]
pub struct NoClient;

impl Client for NoClient {
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn is_gone(&mut self) -> bool {
        false
    }
}

/// What an exchange has come to. Ranges are of [`Scratch::received`](super::Scratch::received).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something for the host.
    Given {
        /// Bytes of STDERR.
        stderr: Range<usize>,
        /// The head is complete.
        head: bool,
        /// Bytes of the body.
        body: Range<usize>,
        /// The response is whole.
        complete: bool,
    },
    /// The host's next piece of the request's body is wanted; see `host_body`.
    Body,
    /// The application pauses: what the host holds back should go out.
    Pause,
    /// The exchange is over.
    Finished,
}

/// One exchange of the blocking drive, begun.
#[derive(Debug)]
pub struct Blocking {
    engine: Arc<Engine>,
    /// Its working state.
    pub scratch: Lease,
    /// The request's own bytes, if its body is among them.
    request_body: Vec<u8>,
    attempt: Attempt,
    connecting: Option<Stream>,
    parker: Option<Parker>,
    now: Duration,
    inbound: Range<usize>,
    unflushed: bool,
    /// The host holds bytes for its client: a pause is also when the client takes more.
    client_blocked: bool,
    wants_pauses: bool,
}

impl Blocking {
    /// Takes over an exchange that was started on `scratch`. `wants_pauses` asks for
    /// [`Progress::Pause`], which costs a system call for each.
    pub(super) fn new(
        engine: Arc<Engine>,
        attempt: Attempt,
        scratch: Lease,
        request_body: Vec<u8>,
        now: Duration,
        wants_pauses: bool,
    ) -> Self {
        Self {
            engine,
            scratch,
            request_body,
            attempt,
            connecting: None,
            parker: None,
            now,
            inbound: 0..0,
            unflushed: false,
            client_blocked: false,
            wants_pauses,
        }
    }

    /// The engine it runs in.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The balancer it goes to.
    pub fn balancer(&self) -> usize {
        self.attempt.balancer
    }

    /// Goes on until there is something for the host.
    pub fn advance(&mut self, client: &mut dyn Client) -> Progress {
        loop {
            if let Some(progress) = self.deliver() {
                return progress;
            }
            match self.scratch.exchange.poll_action(self.now) {
                Action::Acquire { reuse } => self.acquire(reuse),
                Action::Connect => self.connect(),
                Action::Rewind => {
                    let replayable = self.scratch.body.is_replayable();
                    self.scratch.body.rewind();
                    self.scratch.exchange.handle_rewound(self.now, replayable);
                }
                Action::Body if self.scratch.body.is_from_host() => return Progress::Body,
                Action::Body => self.read_body(),
                Action::Transmit => self.transmit(),
                Action::Receive { may_block } => {
                    let tells_pause = may_block && std::mem::take(&mut self.unflushed);
                    let received = self.receive(!may_block || tells_pause || self.client_blocked);
                    if tells_pause && !received {
                        return Progress::Pause;
                    }
                }
                Action::Wait(wait) => {
                    if self.unflushed && wait.readable {
                        self.unflushed = false;
                        return Progress::Pause;
                    }
                    if self.wait(&wait, client) {
                        return Progress::Pause;
                    }
                }
                Action::Abort => self.send_abort(),
                Action::Finish { keep } => {
                    self.finish(keep);
                    return Progress::Finished;
                }
            }
        }
    }

    /// Hands received bytes to the exchange, until one of them is for the host.
    fn deliver(&mut self) -> Option<Progress> {
        while !self.inbound.is_empty() {
            let Some(link) = &mut self.attempt.link else {
                self.inbound = 0..0;
                return None;
            };
            let scratch = &mut *self.scratch;
            let end = self.inbound.end;
            let mut rest = &scratch.received[self.inbound.clone()];
            let event = link.connection.next(&mut rest);
            self.inbound.start = end - rest.len();
            match event {
                Ok(Some(event)) => {
                    let given = scratch.exchange.handle_event(self.now, event);
                    let base = scratch.received.as_ptr() as usize;
                    let place = |part: &[u8]| {
                        if part.is_empty() {
                            return 0..0;
                        }
                        let start = part.as_ptr() as usize - base;
                        start..start + part.len()
                    };
                    let (stderr, head, mut complete) = (place(given.stderr), given.head, given.complete);
                    let mut body = place(given.body);
                    // What came with it of the body goes with it, in one piece, and so does the end.
                    while !body.is_empty() && !complete {
                        let mut rest = &scratch.received[self.inbound.clone()];
                        if !link.connection.goes_on(scratch.exchange.id(), rest) {
                            break;
                        }
                        let event = link.connection.next(&mut rest);
                        self.inbound.start = end - rest.len();
                        match event {
                            Ok(Some(event)) => {
                                let more = scratch.exchange.handle_event(self.now, event);
                                complete = more.complete;
                                let more = place(more.body);
                                scratch.received.copy_within(more.clone(), body.end);
                                body.end += more.len();
                            }
                            Ok(None) => {}
                            Err(violation) => {
                                self.inbound = 0..0;
                                scratch.exchange.handle_violation(self.now, violation);
                            }
                        }
                    }
                    if head || complete || !stderr.is_empty() || !body.is_empty() {
                        if head {
                            self.attempt.answered(&self.engine, scratch, self.now);
                        }
                        self.unflushed =
                            self.wants_pauses && (self.unflushed || head || complete || !body.is_empty());
                        return Some(Progress::Given { stderr, head, body, complete });
                    }
                }
                Ok(None) => self.inbound = 0..0,
                Err(violation) => {
                    self.inbound = 0..0;
                    scratch.exchange.handle_violation(self.now, violation);
                }
            }
        }
        None
    }

    fn acquire(&mut self, reuse: bool) {
        self.drop_attempt();
        let Self { attempt, engine, scratch, parker, now, .. } = self;
        let make = || crate::pool::Waiter::thread(parker.get_or_insert_with(Parker::new).unparker().clone());
        attempt.acquire(engine, &mut scratch.exchange, *now, reuse, &mut NoneOwn, make);
    }

    fn drop_attempt(&mut self) {
        self.inbound = 0..0;
        if self.connecting.take().is_some() {
            self.attempt.note_unreachable(&self.engine, self.now);
        }
        self.attempt.release(&self.engine, self.now);
    }

    fn connect(&mut self) {
        let engine = Arc::clone(&self.engine);
        let pool = engine.pool(self.attempt.balancer, self.attempt.member);
        let Some(address) = pool.target() else { return self.connect_failed(libc::EHOSTUNREACH) };
        let begun = self.connecting.is_some();
        let result = match self.connecting.take() {
            Some(stream) => Ok(stream),
            None => Stream::new(&address, Mode::Blocking)
                .and_then(|stream| stream.set_slice(SLICE).map(|()| stream)),
        };
        let stream = match result {
            Ok(stream) => stream,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                return self.scratch.exchange.handle_out_of_resources(self.now, errno);
            }
        };
        if !begun && let Err(error) = prepare(&stream, &address, pool.settings(), self.attempt.source) {
            let errno = error.raw_os_error().unwrap_or(libc::EADDRNOTAVAIL);
            if self.attempt.source.is_some() {
                // Where this request comes from says nothing of the pool.
                return self.scratch.exchange.handle_connect_failed(self.now, errno, false);
            }
            return self.connect_failed(errno);
        }
        let is_unix = matches!(address, crate::os::SocketAddress::Unix(_));
        let outcome =
            if begun && !is_unix { stream.finish_connect(&address) } else { stream.connect(&address) };
        self.now = clock::now();
        match outcome {
            Ok(Connect::Done) => {
                let exchange = &mut self.scratch.exchange;
                self.attempt.connected(&engine, exchange, self.now, stream);
            }
            Ok(Connect::InProgress) => {
                self.connecting = Some(stream);
                self.scratch.exchange.handle_connecting();
            }
            Ok(Connect::Again) => {
                self.connecting = Some(stream);
                self.scratch.exchange.handle_backlog_full(self.now);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.connecting = Some(stream);
                self.scratch.exchange.handle_backlog_full(self.now);
            }
            Err(error) => self.connect_failed(error.raw_os_error().unwrap_or(0)),
        }
    }

    fn connect_failed(&mut self, errno: i32) {
        self.attempt.note_unreachable(&self.engine, self.now);
        self.scratch.exchange.handle_connect_failed(self.now, errno, false);
    }

    fn read_body(&mut self) {
        let scratch = &mut *self.scratch;
        match scratch.body.next(&self.request_body) {
            Ok(length) => {
                let taken = scratch.exchange.handle_body(self.now, length);
                scratch.body.taken(taken);
            }
            Err(_) => scratch.exchange.handle_body_failed(self.now, false),
        }
    }

    /// How much of the body the host still has to give.
    pub fn host_body_left(&self) -> u64 {
        self.scratch.exchange.outgoing.body_left()
    }

    /// The host's next piece of the body, which `fill` puts into a buffer: it returns how much;
    /// 0 is the end of the body, an error that it can't be read.
    pub fn host_body(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<usize, GiveUp>) {
        let left = usize::try_from(self.host_body_left()).unwrap_or(usize::MAX);
        let scratch = &mut *self.scratch;
        let filled = fill(scratch.body.host_buffer(left));
        self.now = clock::now();
        match filled {
            Ok(length) => {
                scratch.body.host_filled(length);
                let taken = scratch.exchange.handle_body(self.now, length);
                scratch.body.taken(taken);
            }
            Err(reason) => {
                scratch.exchange.handle_body_failed(self.now, reason == GiveUp::ClientGone);
            }
        }
    }

    fn transmit(&mut self) {
        let Some(link) = &mut self.attempt.link else { return };
        let scratch = &mut *self.scratch;
        let mut slices = [IoSlice::new(&[]); SLICES];
        let chunk = scratch.body.chunk(&self.request_body);
        let count = scratch.exchange.outgoing.slices(chunk, &mut slices);
        match link.stream.send(&slices[..count]) {
            Ok(sent) => scratch.exchange.handle_sent(self.now, sent, &mut link.connection),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => scratch.exchange.handle_sent(self.now, 0, &mut link.connection),
                _ if is_exhaustion(&error) => {
                    scratch.exchange.handle_out_of_resources(self.now, error.raw_os_error().unwrap_or(0));
                }
                _ => scratch.exchange.handle_send_failed(self.now, error.raw_os_error().unwrap_or(0)),
            },
        }
    }

    /// Receives once. Returns whether something came of it.
    fn receive(&mut self, dont_wait: bool) -> bool {
        let Some(link) = &mut self.attempt.link else { return true };
        let result = link.stream.receive(self.scratch.receive_room(), dont_wait);
        self.now = clock::now();
        match result {
            Ok(0) => self.scratch.exchange.handle_closed(self.now, Closed::End, 0),
            Ok(count) => self.inbound = 0..count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => {
                    self.scratch.exchange.handle_nothing_received();
                    return false;
                }
                _ => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    self.scratch.exchange.handle_closed(self.now, Closed::Reset, errno);
                }
            },
        }
        true
    }

    /// Waits. Returns whether the client takes what its host holds for it.
    fn wait(&mut self, wait: &Wait, client: &mut dyn Client) -> bool {
        let left = wait.until.map_or(CLIENT_SLICE, |until| until.saturating_sub(self.now).min(CLIENT_SLICE));
        if wait.permit {
            if let Some(parker) = &self.parker {
                parker.park_timeout(left.min(SLICE));
            }
            self.now = clock::now();
            let got = self.attempt.take_grant(&self.engine, &mut self.scratch.exchange, self.now);
            let is_gone =
                |client: &mut dyn Client| client.fd().is_some_and(socket::client_gone) || client.is_gone();
            if got == Got::Nothing && is_gone(client) {
                self.scratch.exchange.handle_client_gone(self.now);
            }
            return false;
        }
        let application = match (&self.attempt.link, &self.connecting) {
            (Some(link), _) => link.stream.as_raw_fd(),
            (None, Some(stream)) => stream.as_raw_fd(),
            (None, None) => -1,
        };
        let application = if wait.readable || wait.writable { application } else { -1 };
        let client_writable = self.client_blocked;
        let interest = Interest {
            readable: wait.readable,
            writable: wait.writable,
            client_end: wait.client,
            client_writable,
        };
        let fd = client.fd().filter(|_| wait.client || client_writable);
        let ready = socket::poll_two(application, interest, fd, Some(left)).unwrap_or_default();
        self.now = clock::now();
        if ready.readable || ready.writable {
            self.scratch.exchange.handle_ready(ready.readable, ready.writable);
        }
        if wait.client && (ready.client_gone || !ready.readable && client.is_gone()) {
            self.scratch.exchange.handle_client_gone(self.now);
        }
        ready.client_writable
    }

    fn send_abort(&mut self) {
        let Some(link) = &mut self.attempt.link else { return };
        let id = self.scratch.exchange.id();
        let record: [u8; HEADER_LEN] = Header::new(RecordType::ABORT_REQUEST, id, 0).encode();
        let _ = link.stream.send(&[IoSlice::new(&record)]);
        link.connection.abort(id);
    }

    fn finish(&mut self, keep: bool) {
        if keep && self.inbound.is_empty() && self.connecting.is_none() {
            self.attempt.keep(&self.engine, self.now);
        }
        self.drop_attempt();
    }

    /// The application wrote a line that `catch_stderr` names.
    pub fn caught_stderr(&mut self) {
        self.scratch.exchange.handle_caught_stderr(self.now);
    }

    /// Returns the request's bytes.
    pub(super) fn return_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.request_body)
    }

    /// Whether the host holds bytes for its client, and is to be told when it takes more.
    pub(super) fn set_client_blocked(&mut self, blocked: bool) {
        self.client_blocked = blocked;
    }

    /// The host's client is gone.
    pub(super) fn client_gone(&mut self) {
        self.scratch.exchange.handle_client_gone(self.now);
    }

    /// The exchange is over, but its host could not pass on what it held of the response.
    pub(super) fn undelivered(&mut self, cause: Cause) {
        self.scratch.exchange.handle_undelivered(self.now, cause, 0);
    }

    /// Gives the exchange up, if it is not over.
    pub fn abort(&mut self) {
        if self.scratch.exchange.is_finished() {
            return;
        }
        self.scratch.exchange.handle_abort(self.now);
        while self.advance(&mut NoClient) != Progress::Finished {}
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.drop_attempt();
    }
}

/// Whether an error of a socket comes from want of resources in this process or its machine.
pub(super) fn is_exhaustion(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
}
