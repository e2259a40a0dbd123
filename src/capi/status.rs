//! What a gateway knows of its pools.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{fill, guard, shared};
use super::error::{
    FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_PANIC, FCGATE_ERROR_POOL, FCGATE_OK, copy_text,
};
use super::gateway::fcgate_gateway;
use crate::gateway::status::{self, Format, State};
use std::ffi::{c_char, c_void};

/// The pool answers.
pub const FCGATE_POOL_UP: u32 = 1;
/// The pool failed a moment ago; other pools come first.
pub const FCGATE_POOL_SUSPECT: u32 = 2;
/// The pool failed for longer than `restart_window`; one request at a time tries it.
pub const FCGATE_POOL_DOWN: u32 = 3;
/// The pool takes no new clients.
pub const FCGATE_POOL_DRAINING: u32 = 4;
/// Nothing is here: a place for an address that the pool's name does not have.
pub const FCGATE_POOL_ABSENT: u32 = 5;

/// A page for a person: `text/html`.
pub const FCGATE_STATUS_HTML: u32 = 1;
/// An object for a program: `application/json`.
pub const FCGATE_STATUS_JSON: u32 = 2;
/// Metrics for Prometheus: `text/plain; version=0.0.4`.
pub const FCGATE_STATUS_PROMETHEUS: u32 = 3;

// cbindgen writes literals only, so that the numbers stand here and there; this keeps them one.
const _: () = {
    assert!(FCGATE_POOL_UP == State::Up as u32);
    assert!(FCGATE_POOL_SUSPECT == State::Suspect as u32);
    assert!(FCGATE_POOL_DOWN == State::Down as u32);
    assert!(FCGATE_POOL_DRAINING == State::Draining as u32);
    assert!(FCGATE_POOL_ABSENT == State::Absent as u32);
    assert!(FCGATE_STATUS_HTML == Format::Html as u32);
    assert!(FCGATE_STATUS_JSON == Format::Json as u32);
    assert!(FCGATE_STATUS_PROMETHEUS == Format::Prometheus as u32);
};

/// What a gateway knows of one pool; its counts are those of this process since the gateway was made.
/// Set `struct_size` to `sizeof(fcgate_pool_status)` before the call.
#[repr(C)]
pub struct fcgate_pool_status {
    /// sizeof(fcgate_pool_status).
    pub struct_size: u32,
    /// FCGATE_POOL_UP, FCGATE_POOL_SUSPECT, FCGATE_POOL_DOWN, FCGATE_POOL_DRAINING or FCGATE_POOL_ABSENT.
    pub state: u32,
    /// 1 if it is asked only while no other can be reached.
    pub backup: u32,
    /// Its share of the requests.
    pub weight: u32,
    /// The most connections; 0 is no limit.
    pub max_connections: u32,
    /// 0.
    pub reserved: u32,
    /// Requests under way.
    pub active: u64,
    /// Kept connections that wait for a request.
    pub idle: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Requests sent to it.
    pub requests: u64,
    /// Connections made.
    pub connects: u64,
    /// Requests that got a kept connection.
    pub reuses: u64,
    /// Attempts that were repeated.
    pub retries: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Its balancer's name; NUL-terminated, cut if longer.
    pub balancer: [c_char; FCGATE_ERROR_POOL],
    /// Its address; NUL-terminated, cut if longer.
    pub pool: [c_char; FCGATE_ERROR_POOL],
}

/// How many pools a gateway has, all balancers' together. A pool that is a name has `max_addresses`.
///
/// # Safety
/// `gateway` is NULL (the answer is 0) or a gateway.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_pool_count(gateway: *const fcgate_gateway) -> usize {
    // SAFETY: as this function's contract says.
    guard(0, || unsafe { shared(gateway) }.map_or(0, |gateway| gateway.gateway.engine().pools().len()))
}

/// What is known of the pool at a place, from 0. Any thread.
///
/// Errors: FCGATE_E_NAME beyond the last; FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0.
///
/// # Safety
/// `gateway` is NULL or a gateway; `pool` is NULL or may be written to for its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_pool_at(
    gateway: *const fcgate_gateway,
    index: usize,
    pool: *mut fcgate_pool_status,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let Some(gateway) = (unsafe { shared(gateway) }) else { return FCGATE_E_ARGUMENT };
        let Some(known) = status::pool(gateway.gateway.engine(), index) else { return FCGATE_E_NAME };
        let mut told = fcgate_pool_status {
            struct_size: size_of::<fcgate_pool_status>() as u32,
            state: known.state as u32,
            backup: u32::from(known.backup),
            weight: known.weight,
            max_connections: known.max_connections,
            reserved: 0,
            active: known.active,
            idle: known.idle,
            waiting: known.waiting,
            requests: known.requests,
            connects: known.connects,
            reuses: known.reuses,
            retries: known.retries,
            failures: known.failures,
            balancer: [0; FCGATE_ERROR_POOL],
            pool: [0; FCGATE_ERROR_POOL],
        };
        copy_text(&mut told.balancer, &known.balancer);
        copy_text(&mut told.pool, &known.address);
        // SAFETY: as this function's contract says.
        if unsafe { fill(pool, &told) } { FCGATE_OK } else { FCGATE_E_ARGUMENT }
    })
}

/// Has the pool at a place, from 0, take no new clients (`drain` is 1), or take them again (0). What is
/// under way there goes on, and clients that a sticky cookie binds to it still come. Holds for this
/// gateway, that is, for this process. Any thread.
///
/// Errors: FCGATE_E_NAME beyond the last; FCGATE_E_ARGUMENT for NULL.
///
/// # Safety
/// `gateway` is NULL or a gateway.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_pool_drain(
    gateway: *const fcgate_gateway,
    index: usize,
    drain: u32,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let Some(gateway) = (unsafe { shared(gateway) }) else { return FCGATE_E_ARGUMENT };
        if gateway.gateway.engine().drain(index, drain != 0) { FCGATE_OK } else { FCGATE_E_NAME }
    })
}

/// Writes what a gateway knows of its pools as text, for a server's status page: `format` is
/// FCGATE_STATUS_HTML, FCGATE_STATUS_JSON or FCGATE_STATUS_PROMETHEUS. `write` is called once, before
/// this returns, with the bytes lent until it returns. Any thread.
///
/// Errors: FCGATE_E_ARGUMENT for NULL and other formats.
///
/// # Safety
/// `gateway` is NULL or a gateway; `write` may be called with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_status(
    gateway: *const fcgate_gateway,
    format: u32,
    write: Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, length: usize)>,
    user: *mut c_void,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        let format = match format {
            FCGATE_STATUS_HTML => Format::Html,
            FCGATE_STATUS_JSON => Format::Json,
            FCGATE_STATUS_PROMETHEUS => Format::Prometheus,
            _ => return FCGATE_E_ARGUMENT,
        };
        // SAFETY: as this function's contract says.
        let (Some(gateway), Some(write)) = (unsafe { shared(gateway) }, write) else {
            return FCGATE_E_ARGUMENT;
        };
        let text = status::text(gateway.gateway.engine(), format);
        // SAFETY: as this function's contract says; the text is lent until it returns.
        unsafe { write(user, text.as_ptr().cast(), text.len()) };
        FCGATE_OK
    })
}
