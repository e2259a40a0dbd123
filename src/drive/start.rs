//! The start of an exchange, alike for both drives: where the body comes from, the params, the plan.

use super::body::{Body, Source};
use super::engine::Engine;
use super::request::{Fact, Request};
use super::routes::Route;
use super::scratch::Lease;
use crate::cgi::{EnvironmentError, Files};
use crate::config::{RequestBody, RouteSettings};
use crate::exchange::{Limits, Plan};
use crate::os::clock;
use crate::os::file::SystemFiles;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why a request is not sent to any application.
#[derive(Debug)]
pub enum StartError {
    /// The environment can't be made.
    Environment(EnvironmentError),
    /// The body is larger than the route allows: this many bytes.
    TooLarge(u64),
    /// The body can't be laid aside.
    Spool(io::Error),
    /// The client went away while it sent the body.
    ClientGone,
    /// The host could not give the body, or gave less than its length.
    Body {
        /// Bytes that came.
        came: u64,
        /// Bytes that were announced, if they were.
        announced: Option<u64>,
    },
}

impl StartError {
    /// The status for the client.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Environment(error) => error.http_status(),
            Self::TooLarge(_) => 413,
            Self::Spool(error) if is_full(error) => 507,
            Self::Spool(_) => 503,
            Self::ClientGone => 499,
            Self::Body { .. } => 400,
        }
    }
}

/// Whether there is no room for more: on the disk, in a quota, in a file.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(error) => error.fmt(f),
            Self::TooLarge(most) => {
                write!(f, "the request body is larger than max_body_bytes ({most} bytes)")
            }
            Self::Spool(error) => {
                write!(f, "the request body can't be laid aside: {error}; see spool_directory")
            }
            Self::ClientGone => write!(f, "the client closed its connection while it sent the body"),
            Self::Body { came, announced: Some(announced) } => {
                write!(f, "the request body ended after {came} of {announced} bytes")
            }
            Self::Body { came, announced: None } => {
                write!(f, "the request body could not be read beyond {came} bytes")
            }
        }
    }
}

impl From<EnvironmentError> for StartError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

impl Files for SystemFiles {
    fn is_regular_file(&self, path: &[u8]) -> bool {
        self.is_regular_file(path)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.is_directory(path)
    }

    fn resolve(&self, path: &[u8], out: &mut Vec<u8>) -> bool {
        self.resolve(path, out)
    }
}

/// Whether the body is to be taken whole before the application is asked.
pub fn needs_spool(request: &Request, route: &RouteSettings) -> bool {
    match request.body {
        Body::Pieces(None) => true,
        Body::Pieces(Some(length)) => length > 0 && route.request_body == RequestBody::Spool,
        _ => false,
    }
}

/// Judges what can be judged before a body is taken: its announced length, and the request itself.
pub fn check(engine: &Engine, route: Route, request: &Request, lease: &mut Lease) -> Result<(), StartError> {
    if let Some(length) = request.body_length() {
        check_length(length, engine.settings(route))?;
    }
    build(engine, route, request, lease, request.body_length())
}

fn build(
    engine: &Engine,
    route: Route,
    request: &Request,
    lease: &mut Lease,
    body_length: Option<u64>,
) -> Result<(), StartError> {
    let more = engine.file_params(route, clock::now());
    let more = more.as_ref().map(|rules| &rules[..]).unwrap_or_default();
    let settings = &engine.settings(route).environment;
    request.with_facts(|facts| lease.environment.build(settings, more, facts, &SystemFiles, body_length))?;
    Ok(())
}

fn check_length(length: u64, route: &RouteSettings) -> Result<(), StartError> {
    if route.max_body_bytes > 0 && length > route.max_body_bytes {
        return Err(StartError::TooLarge(route.max_body_bytes));
    }
    Ok(())
}

/// Lays a piece of the body aside.
pub fn spool(lease: &mut Lease, route: &RouteSettings, piece: &[u8]) -> Result<(), StartError> {
    let spool = &mut lease.body.spool;
    check_length(spool.len() + piece.len() as u64, route)?;
    spool.append(piece, route.request_memory, Path::new(&route.spool_directory)).map_err(StartError::Spool)
}

/// Starts the exchange, after [`check`]. `spooled` says that the body was laid aside whole.
pub fn start(
    engine: &Engine,
    route: Route,
    request: &Request,
    lease: &mut Lease,
    spooled: bool,
    now: Duration,
) -> Result<(), StartError> {
    let settings = engine.settings(route);
    let (source, length) = match &request.body {
        _ if spooled => (Source::Spooled, lease.body.spool.len()),
        Body::None => (Source::Empty, 0),
        Body::Bytes(bytes) => (Source::Request, bytes.len() as u64),
        Body::File(file) => (Source::File(*file), file.len()),
        Body::Pieces(length) => (Source::Host, length.unwrap_or(0)),
    };
    if spooled && let Some(announced) = request.body_length().filter(|announced| *announced != length) {
        return Err(StartError::Body { came: length, announced: Some(announced) });
    }
    check_length(length, settings)?;
    // Without a spooled body, `check` has made the params already.
    if spooled {
        build(engine, route, request, lease, Some(length))?;
    }
    let scratch = &mut **lease;
    scratch.stderr.clear();
    scratch.body.start(source, length);
    let method = request.method();
    let safe = matches!(method, b"GET" | b"HEAD" | b"OPTIONS");
    let plan = Plan {
        role: request.role,
        params: scratch.environment.encoded(),
        body_length: length,
        body_replayable: scratch.body.is_replayable(),
        idempotent: safe || settings.retry_non_idempotent,
        may_reuse: safe || settings.reuse_non_idempotent,
        is_head_request: method == b"HEAD",
        key: engine.balancer(route.balancer).key_of(|name| scratch.environment.param(name)),
        pools: engine.pool_count(route.balancer),
        restart_window: engine.config.balancers[route.balancer].settings.restart_window,
        max_tries: if settings.retry { settings.max_tries } else { 1 },
        retry_timeout: settings.retry_timeout,
        ignore_client_abort: settings.ignore_client_abort,
        error_override: settings.error_override,
        limits: Limits::from(settings),
    };
    scratch.exchange.start(now, &plan);
    Ok(())
}

/// The script that the request led to, for a person to read.
pub fn script(lease: &Lease, request_target: Option<&[u8]>) -> String {
    let script = lease.environment.script();
    let bytes = if script.is_empty() { request_target.unwrap_or_default() } else { script };
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

/// The request's target, kept for error texts after the request itself is gone.
pub fn target(request: &Request) -> Option<&[u8]> {
    request.get(Fact::Target).or_else(|| request.get(Fact::Path))
}
