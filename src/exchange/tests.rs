//! Every timeout and every fault in simulated time: no socket, no sleep.

use super::*;
use crate::protocol::ProtocolStatus;
use crate::protocol::{Header, RecordType, record::append_stream};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HEAD: &[u8] = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n";

fn params() -> Vec<u8> {
    Header::new(RecordType::PARAMS, 0, 0).encode().to_vec()
}

fn stdout(id: u16, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_stream(&mut out, RecordType::STDOUT, id, content);
    out
}

fn stderr(id: u16, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_stream(&mut out, RecordType::STDERR, id, content);
    out
}

fn end(id: u16, app_status: u32, protocol_status: ProtocolStatus) -> Vec<u8> {
    let mut out = Vec::new();
    append_stream(
        &mut out,
        RecordType::END_REQUEST,
        id,
        &EndRequest { app_status, protocol_status }.encode(),
    );
    out
}

/// A host, a pool and a socket in memory, and a clock that is set by hand.
struct World {
    exchange: Exchange,
    connection: Connection,
    now: Duration,
    wire: Vec<u8>,
    body: Vec<u8>,
    body_at: usize,
    stderr: Vec<u8>,
    response: Vec<u8>,
    heads: usize,
    completes: usize,
    params: Vec<u8>,
}

impl World {
    fn start(change: impl FnOnce(&mut Plan)) -> Self {
        Self::with_body(b"", change)
    }

    fn with_body(body: &[u8], change: impl FnOnce(&mut Plan)) -> Self {
        let params = params();
        let mut world = World {
            exchange: Exchange::default(),
            connection: Connection::default(),
            now: 1000 * SECOND,
            wire: Vec::new(),
            body: body.to_vec(),
            body_at: 0,
            stderr: Vec::new(),
            response: Vec::new(),
            heads: 0,
            completes: 0,
            params,
        };
        let mut plan = Plan {
            role: Role::Responder,
            params: &world.params,
            body_length: body.len() as u64,
            body_replayable: true,
            idempotent: true,
            may_reuse: true,
            is_head_request: false,
            key: None,
            pools: 1,
            restart_window: 5 * SECOND,
            max_tries: 0,
            retry_timeout: Duration::ZERO,
            ignore_client_abort: false,
            error_override: false,
            limits: Limits::default(),
        };
        change(&mut plan);
        world.exchange.start(world.now, &plan);
        world
    }

    /// Performs actions until one that the test must answer, and returns it.
    fn run(&mut self) -> Action {
        loop {
            let action = self.exchange.poll_action(self.now);
            match action {
                Action::Rewind => {
                    self.body_at = 0;
                    self.exchange.handle_rewound(self.now, true);
                }
                Action::Body => {
                    let rest = self.body.len() - self.body_at;
                    self.body_at += self.exchange.handle_body(self.now, rest);
                }
                Action::Transmit => {
                    let chunk = self.exchange.outgoing.chunk();
                    let mut slices = [std::io::IoSlice::new(&[]); SLICES];
                    let chunk = &self.body[self.body_at - chunk..self.body_at];
                    let count = self.exchange.outgoing.slices(chunk, &mut slices);
                    let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                    self.wire.extend_from_slice(&bytes);
                    self.exchange.handle_sent(self.now, bytes.len(), &mut self.connection);
                }
                _ => return action,
            }
        }
    }

    fn connect(&mut self) -> &mut Self {
        assert!(matches!(self.run(), Action::Acquire { .. }));
        self.exchange.handle_permit(self.now, 0, 3 * SECOND);
        assert_eq!(self.run(), Action::Connect);
        self.connection = Connection::default();
        self.exchange.handle_connected(self.now, &mut self.connection, true);
        self
    }

    /// Connects and sends the request.
    fn sent(&mut self) -> &mut Self {
        self.connect();
        assert!(matches!(self.run(), Action::Receive { .. }));
        self
    }

    fn receive(&mut self, bytes: &[u8]) -> &mut Self {
        let mut input = bytes;
        loop {
            match self.connection.next(&mut input) {
                Ok(Some(event)) => {
                    let given = self.exchange.handle_event(self.now, event);
                    self.stderr.extend_from_slice(given.stderr);
                    self.heads += usize::from(given.head);
                    self.response.extend_from_slice(given.body);
                    self.completes += usize::from(given.complete);
                }
                Ok(None) => return self,
                Err(violation) => {
                    self.exchange.handle_violation(self.now, violation);
                    return self;
                }
            }
        }
    }

    fn cause(&mut self) -> Option<Cause> {
        assert!(matches!(self.run(), Action::Finish { .. }), "not finished");
        self.exchange.failure().map(|failure| failure.cause)
    }

    fn kept(&mut self) -> bool {
        matches!(self.run(), Action::Finish { keep: true }) && self.connection.is_clean()
    }

    /// Runs until the exchange waits and lets just so much time pass that it is still alive,
    /// then one millisecond more.
    fn expires_after(&mut self, time: Duration) {
        self.exchange.handle_nothing_received();
        let before = self.now;
        self.now = before + time - MS;
        assert!(!matches!(self.run(), Action::Finish { .. } | Action::Abort), "too early");
        if let Action::Wait(wait) = self.run() {
            assert_eq!(wait.until, Some(before + time));
        }
        self.now = before + time;
    }
}

/// A2: END_REQUEST marks success, and the connection is kept.
#[test]
fn a_response_ends_with_end_request() {
    let mut world = World::start(|_| {});
    world.sent();
    let reply = [stdout(1, HEAD), stdout(1, b"hello"), end(1, 0, ProtocolStatus::RequestComplete)].concat();
    world.receive(&reply);
    assert_eq!((world.heads, world.completes, &world.response[..]), (1, 1, &b"hello"[..]));
    assert_eq!(world.cause(), None);
    assert!(world.kept());
}

/// A2: the empty STDOUT completes the answer at once; END_REQUEST decides about the connection.
#[test]
fn the_empty_stdout_completes_the_answer() {
    let mut world = World::start(|_| {});
    world.sent().receive(&[stdout(1, HEAD), stdout(1, b"hello"), stdout(1, b"")].concat());
    assert_eq!(world.completes, 1);
    assert!(!matches!(world.run(), Action::Finish { .. }));
    assert_eq!(world.exchange.phase(), Phase::End);
    world.receive(&end(1, 0, ProtocolStatus::RequestComplete));
    assert_eq!((world.cause(), world.completes), (None, 1));
    assert!(world.kept());
}

/// A2, F6: without END_REQUEST the connection is dropped after `end_timeout`; no failure.
#[test]
fn without_end_request_the_connection_is_dropped() {
    let mut world = World::start(|_| {});
    world.sent().receive(&[stdout(1, HEAD), stdout(1, b"")].concat());
    world.expires_after(SECOND);
    assert_eq!(world.cause(), None);
    assert!(!world.kept());
    assert_eq!(world.exchange.notice(), Some(Notice::NoEnd));
}

/// A2: end of file before END_REQUEST and the empty STDOUT is never a whole response.
#[test]
fn end_of_file_is_not_the_end_of_a_response() {
    let mut world = World::start(|_| {});
    world.sent().receive(&[stdout(1, HEAD), stdout(1, b"half")].concat());
    world.exchange.handle_closed(world.now, Closed::End, 0);
    assert_eq!((world.cause(), world.completes), (Some(Cause::ClosedInBody), 0));
    assert_eq!(world.response, b"half");
}

/// A5: an application status with a head is delivered; without one it is a failure.
#[test]
fn an_application_status_is_a_failure_only_without_a_head() {
    let mut world = World::start(|_| {});
    world.sent().receive(&[stdout(1, HEAD), end(1, 3, ProtocolStatus::RequestComplete)].concat());
    assert_eq!(world.cause(), None);
    assert_eq!(world.exchange.end().unwrap().app_status, 3);
    let mut world = World::start(|_| {});
    world.sent().receive(&end(1, 3, ProtocolStatus::RequestComplete));
    assert_eq!(world.cause(), Some(Cause::NoHead));
    assert!(world.exchange.failure().unwrap().detail.contains('3'));
}

/// A4: what each protocol status leads to.
#[test]
fn protocol_statuses_are_acted_on() {
    for (status, cause) in [(3, Cause::UnknownRole), (4, Cause::UnknownStatus), (255, Cause::UnknownStatus)] {
        let mut world = World::start(|plan| plan.pools = 2);
        world.sent().receive(&end(1, 0, ProtocolStatus::from_wire(status)));
        assert_eq!(world.cause(), Some(cause));
    }
    let mut world = World::start(|plan| plan.pools = 2);
    world.sent().receive(&end(1, 0, ProtocolStatus::Overloaded));
    assert!(matches!(world.run(), Action::Acquire { .. }) && world.exchange.tried().contains(0));
    world.exchange.handle_permit(world.now, 1, SECOND);
    world.run();
    world.connection = Connection::default();
    world.exchange.handle_connected(world.now, &mut world.connection, true);
    world.run();
    world.receive(&end(1, 0, ProtocolStatus::Overloaded));
    assert_eq!(world.cause(), Some(Cause::Overloaded));

    let mut world = World::start(|_| {});
    world.sent().receive(&end(1, 0, ProtocolStatus::CantMultiplex));
    assert_eq!(world.run(), Action::Acquire { reuse: false });
    world.sent().receive(&end(1, 0, ProtocolStatus::CantMultiplex));
    assert_eq!(world.cause(), Some(Cause::CantMultiplex));
}

/// A11: an early END_REQUEST stops the sending, delivers, and drops the connection.
#[test]
fn an_early_end_delivers_and_drops() {
    let mut world = World::with_body(&[7; 100], |_| {});
    world.connect();
    assert_eq!(world.exchange.poll_action(world.now), Action::Transmit);
    world.exchange.handle_sent(world.now, 30, &mut world.connection);
    world.exchange.handle_sent(world.now, 0, &mut world.connection);
    world.receive(&[stdout(1, b"Status: 413\n\nno"), end(1, 0, ProtocolStatus::RequestComplete)].concat());
    assert_eq!((world.cause(), &world.response[..]), (None, &b"no"[..]));
    assert!(!world.kept());
    assert_eq!(world.exchange.notice(), Some(Notice::EarlyEnd));
}

/// A3, A6: a breach of the protocol fails the exchange and drops the connection.
#[test]
fn a_violation_drops_the_connection() {
    let mut world = World::start(|_| {});
    world.sent().receive(&[stdout(1, HEAD), stdout(0, b"late")].concat());
    assert_eq!(world.cause(), Some(Cause::Protocol));
    assert!(!world.kept());
    let mut world = World::start(|_| {});
    world.sent().receive(&[stdout(1, HEAD), stdout(1, b""), stdout(1, b"late")].concat());
    assert_eq!((world.cause(), world.completes), (None, 1));
    assert!(!world.kept() && matches!(world.exchange.notice(), Some(Notice::Violation(_))));
}

/// F16: bytes after the end spoil a connection that would have been kept.
#[test]
fn late_bytes_spoil_a_kept_connection() {
    let mut world = World::start(|_| {});
    let reply = [stdout(1, HEAD), end(1, 0, ProtocolStatus::RequestComplete), stdout(1, b"late")].concat();
    world.sent().receive(&reply);
    assert_eq!(world.cause(), None);
    assert!(world.response.is_empty() && !world.kept());
}

/// H2: no head before the end.
#[test]
fn an_end_without_a_head_is_a_failure() {
    for reply in [vec![], stdout(1, b""), [stdout(1, b"Status: 200\r\n"), stdout(1, b"")].concat()] {
        let mut world = World::start(|_| {});
        world.sent().receive(&reply).receive(&end(1, 0, ProtocolStatus::RequestComplete));
        assert_eq!(world.cause(), Some(Cause::NoHead));
    }
}

/// H5: a body longer than its Content-Length is cut there and the connection dropped.
#[test]
fn a_longer_body_is_cut() {
    let mut world = World::start(|_| {});
    world.sent().receive(&stdout(1, b"Content-Length: 3\n\nabcdef"));
    assert_eq!((world.cause(), &world.response[..], world.completes), (None, &b"abc"[..], 1));
    assert!(!world.kept());
    assert_eq!(world.exchange.notice(), Some(Notice::BodyCut { declared: 3, came: 6 }));
}

/// H5: a shorter body is never passed off as whole.
#[test]
fn a_shorter_body_is_a_failure() {
    for last in [stdout(1, b""), end(1, 0, ProtocolStatus::RequestComplete)] {
        let mut world = World::start(|_| {});
        world.sent().receive(&[stdout(1, b"Content-Length: 9\n\nabc"), last].concat());
        assert_eq!((world.cause(), world.completes), (Some(Cause::ShortBody), 0));
        let detail = &world.exchange.failure().unwrap().detail;
        assert!(detail.contains('9') && detail.contains('3'));
    }
}

/// H7: the body for HEAD, 204 and 304 is read to the end, thrown away, and the connection kept;
/// beyond a bound it is dropped.
#[test]
#[cfg_attr(miri, ignore = "too many rounds for Miri")]
fn a_body_that_may_not_be_is_thrown_away() {
    for (head, is_head) in [("Status: 200", true), ("Status: 204", false), ("Status: 304", false)] {
        let mut world = World::start(|plan| plan.is_head_request = is_head);
        let reply = format!("{head}\r\nContent-Length: 5000\r\n\r\nbody");
        world
            .sent()
            .receive(&[stdout(1, reply.as_bytes()), end(1, 0, ProtocolStatus::RequestComplete)].concat());
        assert_eq!((world.cause(), world.completes), (None, 1));
        assert!(world.response.is_empty() && world.kept());
    }
    let mut world = World::start(|plan| plan.is_head_request = true);
    world.sent().receive(&stdout(1, HEAD));
    for _ in 0..DISCARD_MAX / 65_535 + 1 {
        world.receive(&stdout(1, &[0; 65_535]));
    }
    assert_eq!(world.cause(), None);
    assert!(world.response.is_empty() && !world.kept());
}

/// A2: what the application has answered while the request is being sent is received though sending goes on
/// and fills the socket again: nobody may tell of it a second time.
#[test]
fn what_is_readable_is_received_while_sending() {
    let mut world = World::with_body(&[1; 100_000], |_| {});
    world.connect();
    let block = |world: &mut World| loop {
        match world.exchange.poll_action(world.now) {
            Action::Transmit => world.exchange.handle_sent(world.now, 0, &mut world.connection),
            Action::Body => {
                world.body_at += world.exchange.handle_body(world.now, 100_000 - world.body_at);
            }
            action => return action,
        }
    };
    assert!(matches!(block(&mut world), Action::Wait(wait) if wait.readable && wait.writable));
    world.exchange.handle_ready(true, true);
    assert_eq!(block(&mut world), Action::Receive { may_block: false });
    world.exchange.handle_nothing_received();
    assert!(matches!(block(&mut world), Action::Wait(_)));
    // Nothing to receive is not asked for either.
    world.exchange.handle_ready(false, true);
    assert!(matches!(block(&mut world), Action::Wait(_)));
}

/// F1: the window of a restart bounds a request's attempts, and so do their number and their time where
/// the route says so.
#[test]
fn attempts_are_bounded_by_their_route() {
    let refused = |change: fn(&mut Plan<'_>)| {
        let mut world = World::start(change);
        let (start, mut attempts) = (world.now, 0);
        loop {
            match world.run() {
                Action::Acquire { .. } => {
                    attempts += 1;
                    world.exchange.handle_permit(world.now, 0, 3 * SECOND);
                }
                Action::Connect => world.exchange.handle_connect_failed(world.now, 111, false),
                Action::Wait(wait) => world.now = wait.until.unwrap(),
                _ => break,
            }
        }
        assert_eq!(world.cause(), Some(Cause::Connect));
        (attempts, world.now - start)
    };
    let (attempts, time) = refused(|_| {});
    assert!(attempts > 15 && (4 * SECOND..=5 * SECOND).contains(&time), "{attempts}, {time:?}");
    assert_eq!(refused(|plan| plan.max_tries = 1), (1, Duration::ZERO));
    assert_eq!(refused(|plan| plan.max_tries = 3).0, 3);
    let (attempts, time) = refused(|plan| plan.retry_timeout = SECOND);
    assert!(attempts > 4 && (SECOND / 2..=SECOND).contains(&time), "{attempts}, {time:?}");
    let (_, time) = refused(|plan| plan.retry_timeout = 60 * SECOND);
    assert!(time <= 5 * SECOND, "the window is a bound all the same: {time:?}");
}

/// F6: each phase has its own timeout.
#[test]
fn every_phase_has_its_timeout() {
    let mut world = World::start(|_| {});
    world.run();
    world.exchange.handle_queued(world.now, 0, 10 * SECOND);
    world.expires_after(10 * SECOND);
    assert_eq!(world.cause(), Some(Cause::QueueTimeout));

    let mut world = World::start(|plan| plan.restart_window = Duration::ZERO);
    world.run();
    world.exchange.handle_permit(world.now, 0, 3 * SECOND);
    world.run();
    world.exchange.handle_connecting();
    world.expires_after(3 * SECOND);
    assert_eq!(world.cause(), Some(Cause::ConnectTimeout));

    let mut world = World::with_body(&[1; 1000], |_| {});
    world.connect();
    world.exchange.poll_action(world.now);
    world.exchange.handle_sent(world.now, 16, &mut world.connection);
    world.exchange.handle_sent(world.now, 0, &mut world.connection);
    world.expires_after(30 * SECOND);
    world.run();
    assert_eq!(world.cause(), Some(Cause::SendTimeout));

    let mut world = World::start(|_| {});
    world.sent().expires_after(60 * SECOND);
    assert_eq!(world.run(), Action::Abort);
    assert_eq!(world.cause(), Some(Cause::HeadTimeout));

    let mut world = World::start(|_| {});
    world.sent().receive(&stdout(1, HEAD));
    world.now += 59 * SECOND;
    world.receive(&stdout(1, b"x"));
    world.expires_after(60 * SECOND);
    world.run();
    assert_eq!(world.cause(), Some(Cause::ReadTimeout));

    let mut world = World::start(|plan| plan.limits.total_timeout = 70 * SECOND);
    world.sent().receive(&stdout(1, HEAD));
    for _ in 0..3 {
        world.now += 20 * SECOND;
        world.receive(&stdout(1, b"x"));
    }
    world.expires_after(10 * SECOND);
    world.run();
    assert_eq!(world.cause(), Some(Cause::TotalTimeout));
    assert_eq!(world.exchange.failure().unwrap().cause.http_status(), 504);
}

/// F6: STDERR does not put the head timeout off.
#[test]
fn dripping_stderr_does_not_put_the_head_timeout_off() {
    let mut world = World::start(|_| {});
    world.sent();
    for _ in 0..59 {
        world.now += SECOND;
        world.receive(&stderr(1, b"."));
    }
    world.expires_after(SECOND);
    world.run();
    assert_eq!(world.cause(), Some(Cause::HeadTimeout));
    assert_eq!(world.stderr.len(), 59);
}

/// F1: refused is retried inside the restart window, then 502.
#[test]
fn a_refused_connection_is_waited_out() {
    let mut world = World::with_body(b"body", |plan| plan.idempotent = false);
    let start = world.now;
    for _ in 0..5 {
        assert!(matches!(world.run(), Action::Acquire { .. }));
        world.exchange.handle_permit(world.now, 0, 3 * SECOND);
        world.run();
        world.exchange.handle_connect_failed(world.now, 111, false);
        let Action::Wait(wait) = world.run() else { panic!("does not wait") };
        world.now = wait.until.unwrap();
    }
    world.sent().receive(&[stdout(1, HEAD), end(1, 0, ProtocolStatus::RequestComplete)].concat());
    assert_eq!(world.cause(), None);
    assert_eq!(world.exchange.retries(), 5);

    let mut world = World::start(|_| {});
    loop {
        match world.run() {
            Action::Acquire { .. } => world.exchange.handle_permit(world.now, 0, 3 * SECOND),
            Action::Connect => world.exchange.handle_connect_failed(world.now, 2, false),
            Action::Wait(wait) => world.now = wait.until.unwrap(),
            _ => break,
        }
    }
    let failure = world.exchange.failure().unwrap();
    assert_eq!((failure.cause, failure.errno, failure.cause.http_status()), (Cause::Connect, 2, 502));
    assert!(failure.retry_safe && world.now - start <= 5 * SECOND && world.now - start > 4 * SECOND);
}

/// F1: with every pool down, the exchange waits for the next trial if its window lasts till then.
#[test]
fn a_pool_that_is_down_is_waited_for_inside_the_window() {
    let mut world = World::start(|_| {});
    world.run();
    world.exchange.handle_no_pool(world.now, Some(world.now + 2 * SECOND));
    let Action::Wait(wait) = world.run() else { panic!("does not wait") };
    assert_eq!(wait.until, Some(world.now + 2 * SECOND));
    world.now += 2 * SECOND;
    assert!(matches!(world.run(), Action::Acquire { .. }));
    world.exchange.handle_no_pool(world.now, Some(world.now + 4 * SECOND));
    assert_eq!(world.cause(), Some(Cause::NoPool));
}

/// F1: where all that may be asked were tried and another one drains, the exchange pauses, ever longer,
/// and tries them anew.
#[test]
fn tried_pools_are_tried_again_after_a_pause() {
    let mut world = World::start(|plan| plan.pools = 2);
    let start = world.now;
    let mut pauses = Vec::new();
    loop {
        match world.run() {
            Action::Acquire { .. } if world.exchange.tried().contains(0) => {
                world.exchange.handle_no_pool(world.now, Some(world.now));
            }
            Action::Acquire { .. } => world.exchange.handle_permit(world.now, 0, 3 * SECOND),
            Action::Connect => world.exchange.handle_connect_failed(world.now, 2, false),
            Action::Wait(wait) => {
                pauses.push(wait.until.unwrap() - world.now);
                world.now = wait.until.unwrap();
            }
            _ => break,
        }
    }
    assert_eq!(world.exchange.failure().unwrap().cause, Cause::Connect);
    assert!(world.now - start > 4 * SECOND && (15..40).contains(&pauses.len()), "{pauses:?}");
    assert!(pauses.is_sorted(), "{pauses:?}");
}

/// F2: a full backlog is tried again after 1, 2, 4 ... ms inside the connect timeout.
#[test]
fn a_full_backlog_is_tried_again() {
    let mut world = World::start(|plan| plan.restart_window = Duration::ZERO);
    world.run();
    world.exchange.handle_permit(world.now, 0, SECOND);
    let start = world.now;
    let mut pauses = Vec::new();
    while world.run() == Action::Connect {
        world.exchange.handle_backlog_full(world.now);
        let Action::Wait(wait) = world.run() else { break };
        pauses.push((wait.until.unwrap() - world.now).as_millis());
        world.now = wait.until.unwrap();
    }
    assert_eq!(pauses[..4], [1, 2, 4, 8]);
    assert_eq!(world.cause(), Some(Cause::ConnectTimeout));
    assert_eq!(world.now - start, SECOND);
}

/// F3: a connect that hangs moves on to the next pool.
#[test]
fn a_hanging_connect_moves_to_the_next_pool() {
    let mut world = World::start(|plan| plan.pools = 2);
    world.run();
    world.exchange.handle_permit(world.now, 0, 3 * SECOND);
    world.run();
    world.exchange.handle_connecting();
    world.expires_after(3 * SECOND);
    assert!(matches!(world.run(), Action::Acquire { .. }));
    assert!(world.exchange.tried().contains(0));
}

/// F4: a kept connection that turns out dead is never seen by an idempotent request.
#[test]
fn a_stale_connection_is_not_seen() {
    let mut world = World::start(|_| {});
    assert_eq!(world.run(), Action::Acquire { reuse: true });
    let mut stale = Connection::default();
    world.exchange.handle_kept(world.now, 0, &mut stale, true);
    world.run();
    world.exchange.handle_closed(world.now, Closed::End, 0);
    assert_eq!(world.run(), Action::Acquire { reuse: false });
    world.sent().receive(&[stdout(1, HEAD), end(1, 0, ProtocolStatus::RequestComplete)].concat());
    assert_eq!(world.cause(), None);
}

/// F4, F12: a POST whose bytes were taken is not sent again; one whose first send failed is.
#[test]
fn a_post_reaches_an_application_at_most_once() {
    for closed in [Closed::End, Closed::Reset] {
        let mut world = World::with_body(b"body", |plan| plan.idempotent = false);
        world.sent();
        world.exchange.handle_closed(world.now, closed, 104);
        assert_eq!(world.cause(), Some(Cause::Closed));
        assert!(!world.exchange.failure().unwrap().retry_safe);
    }
    let mut world = World::with_body(b"body", |plan| plan.idempotent = false);
    world.run();
    let mut stale = Connection::default();
    world.exchange.handle_kept(world.now, 0, &mut stale, true);
    assert_eq!(world.exchange.poll_action(world.now), Action::Transmit);
    world.exchange.handle_send_failed(world.now, 32);
    assert_eq!(world.run(), Action::Acquire { reuse: false });
    world.sent();
    assert!(world.wire.ends_with(&[b"body", &Header::new(RecordType::STDIN, 1, 0).encode()[..]].concat()));
}

/// F4: a body that was streamed away is not replayed.
#[test]
#[cfg_attr(miri, ignore = "too many rounds for Miri")]
fn a_streamed_body_is_not_replayed() {
    let body = vec![5; CHUNK_MAX + 10];
    let mut world = World::with_body(&body, |plan| plan.body_replayable = false);
    world.sent();
    world.exchange.handle_closed(world.now, Closed::End, 0);
    assert_eq!(world.cause(), Some(Cause::Closed));
    let mut world = World::with_body(&body, |_| {});
    world.sent();
    let first = std::mem::take(&mut world.wire);
    world.exchange.handle_closed(world.now, Closed::End, 0);
    let Action::Wait(wait) = world.run() else { panic!("does not wait") };
    world.now = wait.until.unwrap();
    world.sent();
    assert!(world.wire == first);
}

/// F5: closed inside the head, closed inside the body.
#[test]
fn a_close_inside_the_response_is_told_apart() {
    for reply in [stdout(1, b"Status: 2"), stderr(1, b"dying")] {
        let mut world = World::start(|_| {});
        world.sent().receive(&reply);
        world.exchange.handle_closed(world.now, Closed::Reset, 104);
        assert_eq!(world.cause(), Some(Cause::ClosedInHead));
    }
}

/// F7, E13: a client that goes while queued is dequeued; later the request is aborted, and only
/// where a record ends.
#[test]
fn a_client_that_is_gone_ends_the_exchange() {
    let mut world = World::start(|_| {});
    world.run();
    world.exchange.handle_queued(world.now, 0, SECOND);
    world.run();
    world.exchange.handle_client_gone(world.now);
    assert_eq!(world.cause(), Some(Cause::ClientGone));

    let mut world = World::start(|_| {});
    world.sent();
    world.exchange.handle_client_gone(world.now);
    assert_eq!(world.run(), Action::Abort);
    assert_eq!(world.cause(), Some(Cause::ClientGone));
    assert!(!world.kept());

    let mut world = World::start(|_| {});
    world.connect();
    world.exchange.poll_action(world.now);
    world.exchange.handle_sent(world.now, 3, &mut world.connection);
    world.exchange.handle_client_gone(world.now);
    assert!(matches!(world.run(), Action::Finish { keep: false }));

    let mut world = World::start(|plan| plan.ignore_client_abort = true);
    world.sent();
    world.exchange.handle_client_gone(world.now);
    world.exchange.handle_nothing_received();
    let Action::Wait(wait) = world.run() else { panic!("does not wait") };
    assert!(!wait.client);
}

/// F7: a client that leaves with its whole answer, before END_REQUEST came, gives nothing up.
#[test]
fn a_client_that_has_its_answer_may_leave() {
    type Change = fn(&mut Plan<'_>);
    let heads: [(&[u8], Change, bool); 5] = [
        (b"Content-Length: 2\r\n\r\nhi", |_| {}, true),
        (b"Content-Length: 3\r\n\r\nhi", |_| {}, false),
        (b"Content-Type: text/plain\r\n\r\nhi", |_| {}, false),
        (b"Content-Type: text/plain\r\n\r\n", |plan| plan.is_head_request = true, true),
        (b"Status: 404\r\nContent-Length: 2\r\n\r\nhi", |plan| plan.error_override = true, false),
    ];
    for (head, change, served) in heads {
        let mut world = World::start(change);
        world.sent().receive(&stdout(1, head));
        world.exchange.handle_client_gone(world.now);
        if served {
            assert!(
                world.receive(&end(1, 0, ProtocolStatus::RequestComplete)).kept(),
                "{}",
                head.escape_ascii()
            );
        } else {
            assert_eq!(world.run(), Action::Abort);
            assert_eq!(world.cause(), Some(Cause::ClientGone), "{}", head.escape_ascii());
        }
    }
}

/// E9, F8: a body that ends before its length is never ended falsely; the request is aborted.
#[test]
fn a_body_that_ends_early_is_aborted() {
    let mut world = World::with_body(&[1; 100], |_| {});
    world.connect();
    world.exchange.poll_action(world.now);
    world.exchange.handle_sent(world.now, 24, &mut world.connection);
    assert_eq!(world.exchange.poll_action(world.now), Action::Body);
    assert_eq!(world.exchange.handle_body(world.now, 0), 0);
    assert_eq!(world.run(), Action::Abort);
    assert_eq!(world.cause(), Some(Cause::RequestBodyShort));
    assert_eq!(world.exchange.failure().unwrap().cause.http_status(), 400);
}

/// F14: after a failed send, an answer that was already under way is still delivered.
#[test]
fn an_answer_before_a_failed_send_is_delivered() {
    let mut world = World::with_body(&[1; 100], |_| {});
    world.connect();
    world.exchange.poll_action(world.now);
    world.exchange.handle_sent(world.now, 40, &mut world.connection);
    world.exchange.handle_send_failed(world.now, 32);
    assert_eq!(world.run(), Action::Receive { may_block: true });
    world.receive(&[stdout(1, b"Status: 413\n\n"), end(1, 0, ProtocolStatus::RequestComplete)].concat());
    assert_eq!((world.cause(), world.heads), (None, 1));
    assert!(!world.kept());
}

/// An error status with `error_override` is the host's to answer: no head, no body, at any split, and
/// the connection is kept all the same; other statuses pass.
#[test]
fn an_overridden_error_is_left_to_the_host() {
    let reply = [
        stdout(1, b"Status: 404\r\nContent-Length: 9\r\n\r\nnot"),
        stderr(1, b"warning"),
        stdout(1, b" found"),
        stdout(1, b""),
        end(1, 0, ProtocolStatus::RequestComplete),
    ]
    .concat();
    for cut in 0..=reply.len() {
        let mut world = World::start(|plan| plan.error_override = true);
        world.sent().receive(&reply[..cut]).receive(&reply[cut..]);
        assert_eq!((world.heads, world.completes, world.response.len()), (0, 0, 0));
        assert_eq!(world.cause(), Some(Cause::ErrorOverride));
        assert_eq!((world.exchange.response.head.status(), &world.stderr[..]), (404, &b"warning"[..]));
        assert!(world.kept());
    }
    for head in [&b"Status: 302\n\n"[..], b"Status: 401\nWWW-Authenticate: Basic\n\n"] {
        let mut world = World::start(|plan| plan.error_override = true);
        world.sent().receive(&[stdout(1, head), end(1, 0, ProtocolStatus::RequestComplete)].concat());
        assert_eq!((world.cause(), world.heads), (None, 1));
    }
}

/// A1, H1: a response is the same at every split.
#[test]
fn a_response_is_the_same_at_every_split() {
    let reply = [
        stderr(1, b"warning"),
        stdout(1, b"Status: 201 Made\r\nX-One: 1\r\n"),
        stdout(1, b"Content-Length: 11\r\n\r\nhello"),
        stdout(1, b" world"),
        stdout(1, b""),
        end(1, 0, ProtocolStatus::RequestComplete),
    ]
    .concat();
    for cut in 0..=reply.len() {
        let mut world = World::start(|_| {});
        world.sent().receive(&reply[..cut]).receive(&reply[cut..]);
        assert_eq!((world.heads, world.completes, &world.response[..]), (1, 1, &b"hello world"[..]));
        assert_eq!((world.exchange.response.head.status(), &world.stderr[..]), (201, &b"warning"[..]));
        assert_eq!(world.cause(), None);
        assert!(world.kept());
    }
}
