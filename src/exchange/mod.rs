//! The life of one request on its way to an application: decisions only.
//!
//! An [`Exchange`] is asked for its next action by [`Exchange::poll_action`] and told what came
//! of it by its `handle_…` methods; it never acts itself, and time is a parameter. So one state
//! machine serves blocking hosts, event loops and tests in simulated time alike.
//!
//! The order of calls: [`start`](Exchange::start), then `poll_action` and the matching `handle_…`
//! in turn until [`Action::Finish`]. Received bytes go through
//! [`Connection::next`](crate::connection::Connection::next), and each event of this exchange to
//! [`handle_event`](Exchange::handle_event), whose result is passed on to the host at once.

mod action;
mod arrival;
mod deadline;
mod ending;
mod failure;
mod outgoing;
mod response;
mod retry;
mod timing;

pub use action::{Action, Closed, Given, Notice, Plan, Wait};
pub use failure::{Cause, Failure, Phase, markdown};
pub use outgoing::{CHUNK_MAX, Outgoing, SLICES};
pub use response::{DISCARD_MAX, Response};
pub use timing::{Limits, Times};

use crate::balancer::Tried;
use crate::connection::Connection;
use crate::protocol::{EndRequest, Role};
use retry::{Bounds, Ended, Retry};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Acquire,
    Queued,
    Pause(Duration),
    Connect,
    Connecting,
    Flow,
    Abort,
    Finished,
}

/// One request on its way. Reusable: [`start`](Self::start) forgets all that was.
#[derive(Debug, Default)]
pub struct Exchange {
    /// What is still to be sent.
    pub outgoing: Outgoing,
    /// What came of the response.
    pub response: Response,
    limits: Limits,
    times: Times,
    retry: Retry,
    step: Step,
    role: Role,
    id: u16,
    key: Option<u64>,
    pool: u32,
    on_kept: bool,
    may_reuse: bool,
    body_replayable: bool,
    is_head_request: bool,
    ignore_client_abort: bool,
    error_override: bool,
    client_watched: bool,
    connect_timeout: Duration,
    backlog_pause: Duration,
    consumed: bool,
    rewind_due: bool,
    send_blocked: bool,
    send_dead: bool,
    receive_blocked: bool,
    /// It was told that there is something to receive, and has not yet received all of it.
    is_readable: bool,
    has_waited: bool,
    body_pending: bool,
    paused: bool,
    response_byte: bool,
    stdout_ended: bool,
    ended: bool,
    keep: bool,
    end: Option<EndRequest>,
    failure: Option<Failure>,
    notice: Option<Notice>,
    last_errno: i32,
}

impl Exchange {
    /// Starts an exchange.
    pub fn start(&mut self, now: Duration, plan: &Plan<'_>) {
        self.limits = plan.limits;
        self.times.start(now);
        let until = (!plan.retry_timeout.is_zero()).then(|| now + plan.retry_timeout);
        let bounds = Bounds { tries: plan.max_tries, until };
        self.retry.start(plan.pools, plan.restart_window, plan.idempotent, bounds);
        self.outgoing.prepare(plan.role, plan.params, plan.body_length);
        self.role = plan.role;
        self.key = plan.key;
        self.pool = 0;
        self.may_reuse = plan.may_reuse;
        self.body_replayable = plan.body_replayable;
        self.is_head_request = plan.is_head_request;
        self.ignore_client_abort = plan.ignore_client_abort;
        self.error_override = plan.error_override;
        self.client_watched = true;
        self.consumed = false;
        self.rewind_due = false;
        self.paused = false;
        self.failure = None;
        self.notice = None;
        self.last_errno = 0;
        self.begin_attempt();
    }

    /// Starts an exchange whose request never came to be, for it to be given up in order.
    pub fn start_unsent(&mut self, now: Duration) {
        self.times.start(now);
        self.outgoing.prepare(self.role, &[], 0);
        self.pool = 0;
        self.failure = None;
        self.notice = None;
        self.begin_attempt();
    }

    fn begin_attempt(&mut self) {
        self.step = Step::Acquire;
        self.response.clear(self.is_head_request);
        self.outgoing.rewind();
        self.rewind_due = self.consumed;
        self.id = 0;
        self.backlog_pause = Duration::from_millis(1);
        self.send_blocked = false;
        self.send_dead = false;
        self.receive_blocked = false;
        self.is_readable = false;
        self.has_waited = false;
        self.body_pending = false;
        self.response_byte = false;
        self.stdout_ended = false;
        self.ended = false;
        self.keep = false;
        self.end = None;
    }

    // What can be asked at any time.

    /// The phase the exchange is in.
    pub fn phase(&self) -> Phase {
        match self.step {
            Step::Acquire | Step::Pause(_) => Phase::Choose,
            Step::Queued => Phase::Queue,
            Step::Connect | Step::Connecting => Phase::Connect,
            Step::Abort | Step::Finished => Phase::Done,
            Step::Flow if self.stdout_ended => Phase::End,
            Step::Flow if self.response.has_head() => Phase::Body,
            Step::Flow if self.outgoing.is_complete() || self.send_dead => Phase::Head,
            Step::Flow => Phase::Send,
        }
    }

    /// The request id on the connection; 0 before there is one.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// What its pool is chosen by, if by something of the request.
    pub fn key(&self) -> Option<u64> {
        self.key
    }

    /// The pool of this attempt, by its place in its balancer.
    pub fn pool(&self) -> u32 {
        self.pool
    }

    /// Whether this attempt runs on a kept connection.
    pub fn is_on_kept_connection(&self) -> bool {
        self.on_kept
    }

    /// The pools not to be chosen again while there are others.
    pub fn tried(&self) -> &Tried {
        &self.retry.tried
    }

    /// Whether the method allows a repeat after bytes were sent.
    pub fn is_idempotent(&self) -> bool {
        self.retry.is_idempotent()
    }

    /// How often the request was tried again.
    pub fn retries(&self) -> u32 {
        self.retry.count()
    }

    /// When what happened.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Something to tell a person although it did not fail.
    pub fn notice(&self) -> Option<Notice> {
        self.notice
    }

    /// What END_REQUEST said, once it came.
    pub fn end(&self) -> Option<EndRequest> {
        self.end
    }

    /// Whether the exchange is over.
    pub fn is_finished(&self) -> bool {
        self.step == Step::Finished
    }

    // The next action.

    /// What is to be done next. Deadlines are judged against `now`, which never goes back.
    pub fn poll_action(&mut self, now: Duration) -> Action {
        if !matches!(self.step, Step::Finished | Step::Abort) {
            self.judge_deadlines(now);
        }
        match self.step {
            Step::Acquire if self.rewind_due => Action::Rewind,
            Step::Acquire => Action::Acquire { reuse: self.may_reuse && self.retry.may_reuse() },
            Step::Queued => self.wait(Wait { permit: true, ..Wait::default() }),
            Step::Pause(until) if now < until => self.wait(Wait { until: Some(until), ..Wait::default() }),
            Step::Pause(_) if self.times.connect_since.is_some() => {
                self.step = Step::Connect;
                Action::Connect
            }
            Step::Pause(_) => {
                self.step = Step::Acquire;
                self.poll_action(now)
            }
            Step::Connect => Action::Connect,
            Step::Connecting => self.wait(Wait { writable: true, ..Wait::default() }),
            Step::Flow => self.poll_flow(),
            Step::Abort => {
                self.step = Step::Finished;
                Action::Abort
            }
            Step::Finished => Action::Finish { keep: self.keep },
        }
    }

    fn poll_flow(&mut self) -> Action {
        let sending = !self.send_dead && !self.outgoing.is_complete();
        if sending && !self.send_blocked {
            if self.outgoing.is_pending() {
                return Action::Transmit;
            }
            if !self.body_pending {
                return Action::Body;
            }
        }
        if !self.paused && !self.receive_blocked && (!sending || self.has_waited) {
            return Action::Receive { may_block: !sending && !self.has_waited };
        }
        self.has_waited = true;
        self.wait(Wait {
            readable: !self.paused,
            writable: sending && self.send_blocked,
            body: sending && self.body_pending,
            ..Wait::default()
        })
    }

    fn wait(&self, wait: Wait) -> Action {
        let deadline = self.deadline().map(|(at, _)| at);
        let until = match (wait.until, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // While the body is still to come, the end of what the client sends is no sign that it is gone.
        let client = self.client_watched && (self.body_replayable || self.outgoing.body_left() == 0);
        Action::Wait(Wait { until, client, ..wait })
    }

    // Getting a connection.

    /// A kept connection was taken from the pool at this place.
    pub fn handle_kept(&mut self, now: Duration, pool: u32, connection: &mut Connection, keep_conn: bool) {
        self.times.chosen(now);
        self.pool = pool;
        self.on_kept = true;
        self.begin_flow(now, connection, keep_conn);
    }

    /// A permit for a new connection to the pool at this place was taken.
    pub fn handle_permit(&mut self, now: Duration, pool: u32, connect_timeout: Duration) {
        self.times.chosen(now);
        self.times.connect_since = Some(now);
        self.pool = pool;
        self.on_kept = false;
        self.connect_timeout = connect_timeout;
        self.step = Step::Connect;
    }

    /// The request waits in the queue of the pool at this place, until then at the longest.
    pub fn handle_queued(&mut self, now: Duration, pool: u32, timeout: Duration) {
        self.pool = pool;
        self.times.queue_since.get_or_insert(now);
        self.times.queue_until = Some(now + timeout);
        self.step = Step::Queued;
    }

    /// Every pool is at its limit and so is the queue.
    pub fn handle_queue_full(&mut self, now: Duration, pool: u32) {
        self.pool = pool;
        self.fail(now, Cause::QueueFull);
    }

    /// No pool may be tried before `retry_at`, if there is such a time.
    pub fn handle_no_pool(&mut self, now: Duration, retry_at: Option<Duration>) {
        let end = self.retry.window_end(now);
        match retry_at {
            Some(at) if at <= end && end > now => {
                // At once means that all that may be asked were tried.
                let at = if at > now { at } else { self.retry.pause(now) };
                self.step = Step::Pause(at);
            }
            _ => self.fail(now, if self.last_errno == 0 { Cause::NoPool } else { Cause::Connect }),
        }
    }

    /// The socket is connected.
    pub fn handle_connected(&mut self, now: Duration, connection: &mut Connection, keep_conn: bool) {
        self.times.connected = Some(now);
        self.begin_flow(now, connection, keep_conn);
    }

    /// Connecting goes on; the socket becomes writable when it is done.
    pub fn handle_connecting(&mut self) {
        self.step = Step::Connecting;
    }

    /// The application's backlog is full, and no event will say when it is not.
    pub fn handle_backlog_full(&mut self, now: Duration) {
        self.step = Step::Pause(now + self.backlog_pause);
        self.backlog_pause = (self.backlog_pause * 2).min(Duration::from_millis(64));
    }

    /// Connecting failed; `timed_out` if for want of time.
    pub fn handle_connect_failed(&mut self, now: Duration, errno: i32, timed_out: bool) {
        self.last_errno = errno;
        self.times.connect_since = None;
        let cause = if timed_out { Cause::ConnectTimeout } else { Cause::Connect };
        self.repeat_or_fail(now, Ended::Untouched, cause);
    }

    /// This process ran out of descriptors, memory or disk.
    pub fn handle_out_of_resources(&mut self, now: Duration, errno: i32) {
        self.last_errno = errno;
        self.fail(now, Cause::Resources);
    }

    fn begin_flow(&mut self, now: Duration, connection: &mut Connection, keep_conn: bool) {
        self.times.connect_since = None;
        self.times.progress = now;
        let Some(id) = connection.open() else {
            return self.fail(now, Cause::Resources);
        };
        self.id = id;
        self.outgoing.address(id, keep_conn);
        self.step = Step::Flow;
    }

    // Sending.

    /// The body is at its start again, or can't be.
    pub fn handle_rewound(&mut self, now: Duration, done: bool) {
        self.rewind_due = false;
        self.consumed = false;
        if !done {
            self.fail(now, Cause::RequestBody);
        }
    }

    /// The next chunk of the body: its length. Returns how much of it is taken; 0 bytes offered
    /// mean that the body ended before its length.
    pub fn handle_body(&mut self, now: Duration, length: usize) -> usize {
        self.body_pending = false;
        if length == 0 {
            self.abort(now, Cause::RequestBodyShort);
            return 0;
        }
        self.consumed = true;
        self.times.progress = now;
        self.outgoing.offer(length)
    }

    /// Whether the next chunk of the body can be taken right now.
    pub fn wants_body(&self) -> bool {
        self.step == Step::Flow
            && !self.outgoing.is_pending()
            && self.outgoing.body_left() > 0
            && !self.send_dead
    }

    /// The host has nothing of the body yet.
    pub fn handle_body_pending(&mut self) {
        self.body_pending = true;
    }

    /// The body can't be read, because the client is gone or for another reason.
    pub fn handle_body_failed(&mut self, now: Duration, client_gone: bool) {
        self.abort(now, if client_gone { Cause::ClientGone } else { Cause::RequestBody });
    }

    /// The socket took `count` bytes; 0 if it takes none now.
    pub fn handle_sent(&mut self, now: Duration, count: usize, connection: &mut Connection) {
        if count == 0 {
            return self.handle_send_blocked();
        }
        self.times.progress = now;
        self.outgoing.sent(count);
        if self.outgoing.is_complete() {
            self.times.sent = Some(now);
            connection.sent(self.id);
        }
    }

    /// The socket takes nothing now. What there is to receive, if anything, may not be told again.
    pub fn handle_send_blocked(&mut self) {
        self.send_blocked = true;
        self.receive_blocked = !self.is_readable;
    }

    /// Sending failed: the application closed its end. What it sent before may still be read.
    pub fn handle_send_failed(&mut self, now: Duration, errno: i32) {
        self.last_errno = errno;
        if self.outgoing.accepted() == 0 {
            let ended = if self.on_kept { Ended::Stale } else { Ended::Untouched };
            return self.repeat_or_fail(now, ended, Cause::Closed);
        }
        self.send_dead = true;
        self.receive_blocked = false;
        self.times.sent.get_or_insert(now);
    }

    // Receiving.

    /// The socket is ready as was waited for.
    pub fn handle_ready(&mut self, readable: bool, writable: bool) {
        match self.step {
            Step::Connecting if writable => self.step = Step::Connect,
            Step::Flow => {
                if readable {
                    self.receive_blocked = false;
                    self.is_readable = true;
                }
                if writable {
                    self.send_blocked = false;
                }
            }
            _ => {}
        }
    }

    /// There was nothing to receive.
    pub fn handle_nothing_received(&mut self) {
        self.is_readable = false;
        self.receive_blocked = true;
        self.has_waited = true;
    }

    /// The host takes no more of the response for now, or takes it again.
    pub fn handle_pause(&mut self, now: Duration, paused: bool) {
        self.paused = paused;
        if !paused {
            self.times.progress = now;
            self.receive_blocked = false;
        }
    }
}

#[cfg(test)]
mod tests;
