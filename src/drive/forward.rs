//! Level A: one blocking call that takes the request's body from the host and gives it the response.

use super::attempt::Attempt;
use super::blocking::{Blocking, Client, Progress};
use super::engine::Engine;
use super::held::Held;
use super::log::{Level, Lines};
use super::report;
use super::request::Request;
use super::routes::Route;
use super::start::{self, StartError};
use crate::cgi::ResponseHead;
use crate::config::{Flush, ResponseBody};
use crate::exchange::{Cause, Exchange, Limits};
use crate::os::{client_room, clock};
use std::io;
use std::sync::Arc;

/// Why the host goes on no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// It gives the exchange up.
    Aborted,
    /// Its client is gone: with `ignore_client_abort` the application may finish.
    ClientGone,
}

/// The host's side of an exchange.
pub trait Host: Client {
    /// Puts the next bytes of the request's body into the buffer and returns how many; 0 at the end.
    fn body(&mut self, buffer: &mut [u8]) -> Result<usize, GiveUp>;
    /// The response head.
    fn head(&mut self, head: &ResponseHead) -> Result<(), GiveUp>;
    /// Bytes of the response body.
    fn data(&mut self, bytes: &[u8]) -> Result<(), GiveUp>;
    /// Whether `flush` is wanted.
    fn wants_flush(&self) -> bool;
    /// The application pauses: what is held back should go out.
    fn flush(&mut self) -> Result<(), GiveUp>;
    /// The last bytes of the response body, which is whole with them.
    fn last(&mut self, bytes: &[u8]) -> Result<(), GiveUp> {
        self.data(bytes)?;
        self.complete()
    }
    /// The response is whole. The exchange may still wait a moment for END_REQUEST.
    fn complete(&mut self) -> Result<(), GiveUp>;
    /// A line of STDERR, escaped; `false` if it should go to the log instead.
    fn stderr_line(&mut self, line: &str) -> bool;
}

/// Forwards a request and waits for its end. The exchange that is returned is over and says how it
/// went; an error says why it was never sent.
pub fn forward(
    engine: &Arc<Engine>,
    route: Route,
    request: &mut Request,
    host: &mut dyn Host,
) -> Result<Blocking, StartError> {
    let mut lease = engine.scratches.take();
    let settings = engine.settings(route);
    let spooled = start::needs_spool(request, settings);
    let begun = start::check(engine, route, request, &mut lease).and_then(|()| {
        if spooled {
            take_body(engine, request, route, &mut lease, host)?;
        }
        let now = clock::now();
        start::start(engine, route, request, &mut lease, spooled, now).map(|()| now)
    });
    let now = match begun {
        Ok(now) => now,
        Err(error) => {
            report_start(engine, route, request, &error, &engine.log);
            return Err(error);
        }
    };
    let body = request.lend_body();
    let wants_pauses = host.wants_flush() && settings.flush != Flush::Off;
    let attempt = Attempt::new(route.balancer, request.source);
    let mut exchange = Blocking::new(Arc::clone(engine), attempt, lease, body, now, wants_pauses);
    run(&mut exchange, host, route, request);
    request.take_back_body(exchange.return_body());
    let script = || start::script(&exchange.scratch, start::target(request));
    report_end(engine, route, &exchange.scratch.exchange, script, &engine.log);
    Ok(exchange)
}

/// Takes the body whole before the application is asked.
fn take_body(
    engine: &Engine,
    request: &Request,
    route: Route,
    lease: &mut super::scratch::Lease,
    host: &mut dyn Host,
) -> Result<(), StartError> {
    let announced = request.body_length();
    let mut piece = std::mem::take(&mut lease.spare);
    piece.resize(super::body::PIECE, 0);
    let result = loop {
        let left = announced.map_or(u64::MAX, |length| length - lease.body.spool.len());
        if left == 0 {
            break Ok(());
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let got = host.body(&mut piece[..most]).map(|got| got.min(most));
        match got {
            Ok(0) if announced.is_none() => break Ok(()),
            Err(GiveUp::ClientGone) => break Err(StartError::ClientGone),
            Ok(0) | Err(GiveUp::Aborted) => {
                break Err(StartError::Body { came: lease.body.spool.len(), announced });
            }
            Ok(got) => {
                if let Err(error) = start::spool(lease, engine.settings(route), &piece[..got]) {
                    break Err(error);
                }
            }
        }
    };
    lease.spare = piece;
    result
}

fn run(exchange: &mut Blocking, host: &mut dyn Host, route: Route, request: &Request) {
    let engine = Arc::clone(exchange.engine());
    let settings = engine.settings(route);
    let flushes = host.wants_flush() && settings.flush == Flush::On;
    let spools = settings.response_body == ResponseBody::Spool && host.fd().is_some();
    let mut held = Held::default();
    let mut client_gone = false;
    loop {
        let progress = exchange.advance(&mut AsClient(host));
        let holds = !held.is_empty();
        let mut result = Ok(());
        match progress {
            Progress::Finished if held.is_empty() || client_gone => break,
            Progress::Finished => result = give_held(&mut held, host, |_, _| usize::MAX),
            Progress::Given { stderr, .. } if client_gone => {
                take_stderr(exchange, stderr, host, route, request);
            }
            Progress::Pause if client_gone => {}
            Progress::Pause => {
                result = give_held(&mut held, host, |_, host| room(host));
                // A flush waits for the client, and the application would wait with it.
                if result.is_ok() && (held.is_empty() || room(host) > 0) {
                    result = host.flush();
                }
            }
            Progress::Body => {
                exchange.host_body(|buffer| host.body(buffer));
            }
            Progress::Given { stderr, head, body, complete } => {
                take_stderr(exchange, stderr, host, route, request);
                let scratch = &exchange.scratch;
                let head = head.then_some(&scratch.exchange.response.head);
                let body = &scratch.received[body];
                let at_once = match spools {
                    true if !held.is_empty() => 0,
                    true if !body.is_empty() => body.len().min(room(host)),
                    _ => body.len(),
                };
                result = if at_once < body.len() || !held.is_empty() {
                    let (first, rest) = body.split_at(at_once);
                    if let Err(error) = held.push(rest, settings) {
                        log_unspooled(&engine, route.balancer, &error, &engine.log);
                    }
                    held.complete |= complete;
                    give(host, head, first, false, flushes).and_then(|()| {
                        give_held(
                            &mut held,
                            host,
                            |held, _| if held.is_full(settings) { usize::MAX } else { 0 },
                        )
                    })
                } else {
                    give(host, head, body, complete, flushes)
                };
            }
        }
        exchange.set_client_blocked(!held.is_empty());
        match result {
            Ok(()) => {}
            Err(GiveUp::ClientGone) => {
                client_gone = true;
                held = Held::default();
                exchange.client_gone();
                if holds {
                    exchange.undelivered(Cause::ClientGone);
                }
            }
            Err(GiveUp::Aborted) => {
                exchange.abort();
                if holds {
                    exchange.undelivered(Cause::Aborted);
                }
                break;
            }
        }
    }
    let balancer = exchange.balancer();
    exchange.scratch.stderr.finish(|line| give_line(&engine, balancer, host, request, line));
}

/// How many bytes the client takes at once.
fn room(host: &dyn Host) -> usize {
    host.fd().map_or(usize::MAX, client_room)
}

/// Gives the host what is held for it, piece by piece, no larger than what it is to get then; 0 is enough.
fn give_held(
    held: &mut Held,
    host: &mut dyn Host,
    most: impl Fn(&Held, &dyn Host) -> usize,
) -> Result<(), GiveUp> {
    while !held.is_empty() {
        let most = most(held, host);
        if most == 0 {
            break;
        }
        match held.next(most) {
            Ok(Some(piece)) => host.data(piece)?,
            // Its file can't be read.
            Err(_) => return Err(GiveUp::Aborted),
            Ok(None) => {
                *held = Held::default();
                host.complete()?;
            }
        }
    }
    Ok(())
}

/// Gives the host what has come of the response.
fn give(
    host: &mut dyn Host,
    head: Option<&ResponseHead>,
    body: &[u8],
    complete: bool,
    flushes: bool,
) -> Result<(), GiveUp> {
    head.map_or(Ok(()), |head| host.head(head))?;
    match (body.is_empty(), complete) {
        (false, true) => host.last(body),
        (true, true) => host.complete(),
        (true, false) => Ok(()),
        (false, false) => {
            host.data(body)?;
            if flushes { host.flush() } else { Ok(()) }
        }
    }
}

/// Hosts are clients too; a trait object of one can't be had from the other on older compilers.
struct AsClient<'a>(&'a mut dyn Host);

impl Client for AsClient<'_> {
    fn fd(&self) -> Option<std::os::fd::RawFd> {
        self.0.fd()
    }

    fn is_gone(&mut self) -> bool {
        self.0.is_gone()
    }
}

fn take_stderr(
    exchange: &mut Blocking,
    range: std::ops::Range<usize>,
    host: &mut dyn Host,
    route: Route,
    request: &Request,
) {
    if range.is_empty() {
        return;
    }
    let (engine, balancer) = (Arc::clone(exchange.engine()), exchange.balancer());
    let caught = &engine.settings(route).catch_stderr;
    let mut found = false;
    let scratch = &mut *exchange.scratch;
    scratch.stderr.push(&scratch.received[range], |line| {
        found |= !caught.is_empty() && line.contains(caught.as_str());
        give_line(&engine, balancer, host, request, line);
    });
    if found {
        exchange.caught_stderr();
    }
}

fn give_line(engine: &Engine, balancer: usize, host: &mut dyn Host, request: &Request, line: &str) {
    if !host.stderr_line(line) {
        log_stderr(engine, balancer, request, line, &engine.log);
    }
}

/// Writes a line of STDERR to the log.
pub(super) fn log_stderr(engine: &Engine, balancer: usize, request: &Request, line: &str, log: &dyn Lines) {
    let target =
        String::from_utf8_lossy(start::target(request).unwrap_or_default()).escape_debug().to_string();
    log.write(
        Level::Notice,
        &format!("{}: application: {line}; request {target}", engine.balancer_name(balancer)),
    );
}

/// Writes to the log why a response waits in spite of `response_body=spool`.
pub(super) fn log_unspooled(engine: &Engine, balancer: usize, error: &io::Error, log: &dyn Lines) {
    let name = engine.balancer_name(balancer);
    log.write(
        Level::Warning,
        &format!(
            "{name}: a response can't be laid aside: {error}; the application waits for its client; see spool_directory"
        ),
    );
}

/// Writes to the log why a request was not sent.
pub(super) fn report_start(
    engine: &Engine,
    route: Route,
    request: &Request,
    error: &StartError,
    log: &dyn Lines,
) {
    let target =
        String::from_utf8_lossy(start::target(request).unwrap_or_default()).escape_debug().to_string();
    let level = match error {
        StartError::ClientGone => Level::Notice,
        _ => Level::Error,
    };
    log.write(level, &format!("{}: {error}; request {target}", engine.balancer_name(route.balancer)));
}

/// Counts the end of an exchange and writes to the log what a person should know of it. `script`
/// tells the script, where that is needed.
pub(super) fn report_end(
    engine: &Engine,
    route: Route,
    exchange: &Exchange,
    script: impl Fn() -> String,
    log: &dyn Lines,
) {
    let pool = engine.pool(route.balancer, exchange.pool());
    pool.counters().retries.add(u64::from(exchange.retries()));
    let name = engine.balancer_name(route.balancer);
    if let Some(failure) = exchange.failure().filter(|failure| failure.cause != Cause::ErrorOverride) {
        pool.counters().failures.add(1);
        // A client that goes away is an everyday thing.
        let level = if failure.cause == Cause::ClientGone { Level::Notice } else { Level::Error };
        let address = pool.address().to_string();
        let limits = Limits::from(engine.settings(route));
        let line = report::failure(failure, name, &address, &script(), &limits, exchange.retries());
        log.write(level, &line);
    } else if let Some(notice) = exchange.notice() {
        let address = pool.address().to_string();
        log.write(Level::Warning, &report::notice(notice, name, &address, &script()));
    }
    for warning in exchange.response.head.warnings() {
        log.write(Level::Warning, &format!("{name}: {warning}; script {}", script()));
    }
}
