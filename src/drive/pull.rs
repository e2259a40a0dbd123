//! Level B: a blocking exchange that the host pulls. While the host writes, early bytes of the
//! response are kept aside, so that an application that answers while it reads is no deadlock.

use super::attempt::Attempt;
use super::blocking::{Blocking, NoClient, Progress};
use super::engine::Engine;
use super::forward::{log_stderr, report_end, report_start};
use super::request::Request;
use super::routes::Route;
use super::scratch::Lease;
use super::start::{self, StartError};
use crate::os::clock;
use std::ops::Range;
use std::sync::Arc;

/// STDERR that is kept for the host.
const STDERR_MAX: usize = 64 << 10;

/// Why a call can't be answered.
#[derive(Debug)]
pub enum PullError {
    /// The exchange failed; it says why.
    Failed,
    /// It never started.
    NotStarted(StartError),
    /// The call does not fit the state the exchange is in.
    OutOfOrder(&'static str),
}

#[derive(Debug)]
enum State {
    /// The body is being laid aside; nothing was sent.
    Taking(Lease),
    /// On its way.
    Running(Box<Blocking>),
    /// Over before it began.
    Dead,
}

/// A blocking exchange that the host pulls.
#[derive(Debug)]
pub struct Pull {
    engine: Arc<Engine>,
    route: Route,
    request: Request,
    state: State,
    /// Body bytes of the response that came while the host wrote.
    kept: Vec<u8>,
    kept_read: usize,
    /// Body bytes lent by the last receive.
    lent: Range<usize>,
    stderr: Vec<u8>,
    body_ended: bool,
    head_seen: bool,
    complete: bool,
    reported: bool,
}

impl Pull {
    /// Begins: connects and sends, unless the body is to be taken whole first.
    pub fn open(engine: &Arc<Engine>, route: Route, request: Request) -> Result<Self, StartError> {
        let mut lease = engine.scratches.take();
        if let Err(error) = start::check(engine, route, &request, &mut lease) {
            report_start(engine, route, &request, &error, &engine.log);
            return Err(error);
        }
        let spooled = start::needs_spool(&request, engine.settings(route));
        let mut pull = Self {
            engine: Arc::clone(engine),
            route,
            request,
            state: State::Taking(lease),
            kept: Vec::new(),
            kept_read: 0,
            lent: 0..0,
            stderr: Vec::new(),
            body_ended: false,
            head_seen: false,
            complete: false,
            reported: false,
        };
        if !spooled {
            pull.begin(false)?;
        }
        Ok(pull)
    }

    fn begin(&mut self, spooled: bool) -> Result<(), StartError> {
        let State::Taking(mut lease) = std::mem::replace(&mut self.state, State::Dead) else { return Ok(()) };
        let now = clock::now();
        start::start(&self.engine, self.route, &self.request, &mut lease, spooled, now).inspect_err(
            |error| report_start(&self.engine, self.route, &self.request, error, &self.engine.log),
        )?;
        let body = self.request.lend_body();
        let engine = Arc::clone(&self.engine);
        let attempt = Attempt::new(self.route.balancer, self.request.source);
        let exchange = Blocking::new(engine, attempt, lease, body, now, false);
        self.state = State::Running(Box::new(exchange));
        Ok(())
    }

    /// The exchange, once it is on its way.
    pub fn exchange(&self) -> Option<&Blocking> {
        match &self.state {
            State::Running(exchange) => Some(exchange),
            _ => None,
        }
    }

    /// Writes body bytes and returns how many were taken: fewer than offered only when the
    /// application answers so much meanwhile that the host must read first. `end` says that these
    /// are the last.
    pub fn write(&mut self, bytes: &[u8], end: bool) -> Result<usize, PullError> {
        if self.body_ended && (!bytes.is_empty() || !end) {
            return Err(PullError::OutOfOrder("the body has ended already"));
        }
        let settings = self.engine.settings(self.route);
        match &mut self.state {
            State::Dead => return Err(PullError::OutOfOrder("the exchange never started")),
            State::Taking(lease) => {
                if let Err(error) = start::spool(lease, settings, bytes) {
                    self.state = State::Dead;
                    report_start(&self.engine, self.route, &self.request, &error, &self.engine.log);
                    return Err(PullError::NotStarted(error));
                }
                if end {
                    self.body_ended = true;
                    self.begin(true).map_err(PullError::NotStarted)?;
                }
                return Ok(bytes.len());
            }
            State::Running(exchange) => {
                if bytes.len() as u64 > exchange.host_body_left() {
                    return Err(PullError::OutOfOrder("more body bytes than the announced length"));
                }
            }
        }
        let most = usize::try_from(settings.response_memory).unwrap_or(usize::MAX);
        let mut taken = 0;
        while taken < bytes.len() && self.kept.len() - self.kept_read < most {
            match self.step(true)? {
                Step::Body => {
                    let State::Running(exchange) = &mut self.state else { break };
                    let rest = &bytes[taken..];
                    exchange.host_body(|buffer| {
                        let count = rest.len().min(buffer.len());
                        buffer[..count].copy_from_slice(&rest[..count]);
                        taken += count;
                        Ok(count)
                    });
                }
                Step::Finished => {
                    // An application that answers early needs no more of the body.
                    return self.outcome().map(|()| bytes.len());
                }
                Step::Given => {}
            }
        }
        if taken == bytes.len() && end {
            self.body_ended = true;
        }
        Ok(taken)
    }

    /// Waits for the response head.
    pub fn head(&mut self) -> Result<&crate::cgi::ResponseHead, PullError> {
        while !self.head_seen {
            match self.step(true)? {
                Step::Body => self.body_missing(),
                Step::Finished => {
                    self.outcome()?;
                    break;
                }
                Step::Given => {}
            }
        }
        match &self.state {
            State::Running(exchange) if self.head_seen => Ok(&exchange.scratch.exchange.response.head),
            _ => Err(PullError::OutOfOrder("the exchange is not on its way: end the body first")),
        }
    }

    /// Reads body bytes of the response; 0 is its end, and the true end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PullError> {
        loop {
            if self.kept_read < self.kept.len() {
                let count = buffer.len().min(self.kept.len() - self.kept_read);
                buffer[..count].copy_from_slice(&self.kept[self.kept_read..self.kept_read + count]);
                self.kept_read += count;
                if self.kept_read == self.kept.len() {
                    self.kept.clear();
                    self.kept_read = 0;
                }
                return Ok(count);
            }
            let State::Running(exchange) = &self.state else {
                return Err(PullError::OutOfOrder("the exchange is not on its way: end the body first"));
            };
            if !self.lent.is_empty() {
                let count = buffer.len().min(self.lent.len());
                let start = self.lent.start;
                buffer[..count].copy_from_slice(&exchange.scratch.received[start..start + count]);
                self.lent.start += count;
                return Ok(count);
            }
            if buffer.is_empty() {
                return Ok(0);
            }
            match self.step(false)? {
                Step::Body => self.body_missing(),
                Step::Finished => return self.outcome().map(|()| 0),
                Step::Given => {}
            }
        }
    }

    /// STDERR that came, as it came; the first 64 KiB.
    pub fn read_stderr(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.stderr.len());
        buffer[..count].copy_from_slice(&self.stderr[..count]);
        self.stderr.drain(..count);
        count
    }

    /// The host reads although it has not written the whole body: nothing more will come.
    fn body_missing(&mut self) {
        if let State::Running(exchange) = &mut self.state {
            exchange.host_body(|_| Ok(0));
        }
    }

    fn outcome(&mut self) -> Result<(), PullError> {
        self.report();
        match &self.state {
            State::Running(exchange) if exchange.scratch.exchange.failure().is_none() => Ok(()),
            _ => Err(PullError::Failed),
        }
    }

    fn step(&mut self, keep: bool) -> Result<Step, PullError> {
        let State::Running(exchange) = &mut self.state else {
            return Err(PullError::OutOfOrder("the exchange is not on its way: end the body first"));
        };
        if !self.lent.is_empty() {
            self.kept.extend_from_slice(&exchange.scratch.received[self.lent.clone()]);
            self.lent = 0..0;
        }
        match exchange.advance(&mut NoClient) {
            Progress::Given { stderr, head, body, complete } => {
                self.head_seen |= head;
                self.complete |= complete;
                if !stderr.is_empty() {
                    let room = STDERR_MAX.saturating_sub(self.stderr.len()).min(stderr.len());
                    let (engine, balancer, request) = (&self.engine, exchange.balancer(), &self.request);
                    let scratch = &mut *exchange.scratch;
                    self.stderr.extend_from_slice(&scratch.received[stderr.start..stderr.start + room]);
                    scratch.stderr.push(&scratch.received[stderr], |line| {
                        log_stderr(engine, balancer, request, line, &engine.log)
                    });
                }
                if keep {
                    self.kept.extend_from_slice(&exchange.scratch.received[body]);
                } else {
                    self.lent = body;
                }
                Ok(Step::Given)
            }
            Progress::Body => Ok(Step::Body),
            Progress::Pause => Ok(Step::Given),
            Progress::Finished => Ok(Step::Finished),
        }
    }

    fn report(&mut self) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let State::Running(exchange) = &mut self.state else { return };
        let (engine, balancer, request) = (&self.engine, exchange.balancer(), &self.request);
        exchange.scratch.stderr.finish(|line| log_stderr(engine, balancer, request, line, &engine.log));
        let scratch = &exchange.scratch;
        let script = || start::script(scratch, start::target(request));
        report_end(engine, self.route, &scratch.exchange, script, &engine.log);
    }

    /// Gives the exchange up, if it is not over.
    pub fn abort(&mut self) {
        match &mut self.state {
            State::Running(exchange) => {
                exchange.abort();
                self.report();
            }
            state => *state = State::Dead,
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.abort();
    }
}

enum Step {
    Given,
    Body,
    Finished,
}
