//! What became of an exchange.
#![allow(non_camel_case_types)]

use super::error::{FCGATE_ERROR_POOL, copy_display, copy_text, failed, fcgate_error};
use crate::drive::{Engine, StartError, report};
use crate::exchange::{Cause, Exchange, Limits};
use std::ffi::c_char;
use std::time::Duration;

/// Times, counts and the pool of an exchange, also of one that went well. Set `struct_size` to
/// `sizeof(fcgate_info)` before the call. Times are microseconds since the start of the exchange, 0
/// for what did not happen.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct fcgate_info {
    /// sizeof(fcgate_info).
    pub struct_size: u32,
    /// Where it stands; see fcgate_phase_name.
    pub phase: u32,
    /// How often the request was tried again.
    pub retries: u32,
    /// 1 if it ran on a kept connection.
    pub reused: u32,
    /// 1 if END_REQUEST came; then the next two are what it said.
    pub has_end: u32,
    /// The application's own status.
    pub app_status: u32,
    /// The protocol status.
    pub protocol_status: u32,
    /// The response's status; 0 before its head.
    pub http_status: u32,
    /// Time spent in queues.
    pub queue_us: u64,
    /// When the connection was made.
    pub connect_us: u64,
    /// When the last byte of the request was sent.
    pub sent_us: u64,
    /// When the head was whole.
    pub head_us: u64,
    /// When the exchange was over.
    pub total_us: u64,
    /// Bytes that the application's socket took in the last attempt.
    pub bytes_sent: u64,
    /// Bytes of the response body that came in the last attempt.
    pub bytes_received: u64,
    /// The pool's address; NUL-terminated, cut if longer.
    pub pool: [c_char; FCGATE_ERROR_POOL],
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What is known of an exchange.
pub(super) fn of(exchange: &Exchange, address: &dyn std::fmt::Display) -> fcgate_info {
    let times = exchange.times();
    let since = |at: Option<Duration>| at.map_or(0, |at| micros(at.saturating_sub(times.start)));
    let end = exchange.end();
    let has_head = exchange.response.has_head();
    let mut info = fcgate_info {
        struct_size: size_of::<fcgate_info>() as u32,
        phase: exchange.phase() as u32,
        retries: exchange.retries(),
        reused: u32::from(exchange.is_on_kept_connection()),
        has_end: u32::from(end.is_some()),
        app_status: end.map_or(0, |end| end.app_status),
        protocol_status: end.map_or(0, |end| u32::from(end.protocol_status.to_wire())),
        http_status: if has_head { u32::from(exchange.response.head.status()) } else { 0 },
        queue_us: micros(times.queued),
        connect_us: since(times.connected),
        sent_us: since(times.sent),
        head_us: since(times.head),
        total_us: since(times.finished),
        bytes_sent: exchange.outgoing.accepted(),
        bytes_received: exchange.response.received(),
        pool: [0; FCGATE_ERROR_POOL],
    };
    copy_display(&mut info.pool, address);
    info
}

/// The error of an exchange that failed.
pub(super) fn error_of(
    exchange: &Exchange,
    engine: &Engine,
    route: crate::drive::Route,
    address: &dyn std::fmt::Display,
    script: impl Fn() -> String,
) -> Option<Box<fcgate_error>> {
    let failure = exchange.failure()?;
    let address = &address.to_string();
    let limits = Limits::from(engine.settings(route));
    let name = engine.balancer_name(route.balancer);
    let line = report::failure(failure, name, address, &script(), &limits, exchange.retries());
    let mut error = failed(failure.cause as i32, &line);
    error.sys_errno = failure.errno;
    error.phase = failure.phase as u32;
    let overridden = failure.cause == Cause::ErrorOverride;
    let status = if overridden { exchange.response.head.status() } else { failure.cause.http_status() };
    error.http_status = u32::from(status);
    error.retry_safe = u32::from(failure.retry_safe);
    error.elapsed_us = micros(failure.elapsed);
    error.bytes_sent = exchange.outgoing.accepted();
    error.bytes_received = exchange.response.received();
    copy_text(&mut error.pool, address);
    Some(error)
}

/// The error of a request that was not sent.
pub(super) fn not_started(error: &StartError) -> Box<fcgate_error> {
    use super::error::{
        FCGATE_E_BODY_SHORT, FCGATE_E_CLIENT_GONE, FCGATE_E_NOT_FOUND, FCGATE_E_PARAMS, FCGATE_E_REQUEST,
        FCGATE_E_RESOURCES, FCGATE_E_TOO_LARGE,
    };
    let http_status = error.http_status();
    let status = match (error, http_status) {
        (StartError::ClientGone, _) => FCGATE_E_CLIENT_GONE,
        (StartError::Body { .. }, _) => FCGATE_E_BODY_SHORT,
        (StartError::Spool(_), _) => FCGATE_E_RESOURCES,
        (_, 404) => FCGATE_E_NOT_FOUND,
        (_, 413) => FCGATE_E_TOO_LARGE,
        (_, 431) => FCGATE_E_PARAMS,
        _ => FCGATE_E_REQUEST,
    };
    let mut told = failed(status, &error.to_string());
    told.http_status = u32::from(http_status);
    if let StartError::Spool(error) = error {
        told.sys_errno = error.raw_os_error().unwrap_or(0);
    }
    told
}
