//! Exchanges: level B, and what levels B and C share.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{bytes, exclusive, fill, guard, hand_out, put, release, room, shared};
use super::config::{fcgate_route, route_of};
use super::error::{
    FCGATE_E_ARGUMENT, FCGATE_E_PANIC, FCGATE_E_STATE, FCGATE_OK, answer, answer_with, bad_argument, failed,
    fcgate_error,
};
use super::event_loop::Looped;
use super::gateway::fcgate_gateway;
use super::head::fcgate_head;
use super::info::{self, fcgate_info};
use super::request::fcgate_request;
use crate::drive::pull::{Pull, PullError};
use crate::drive::{Engine, Route};
use std::ffi::c_void;
use std::sync::Arc;

/// The request body, as a stream to write to.
pub const FCGATE_STDIN: u32 = 5;
/// The bytes written are the last.
pub const FCGATE_END: u32 = 1;

type Failed = Box<fcgate_error>;

/// One request on its way, of level B (fcgate_exchange_open) or C (fcgate_exchange_start). One
/// thread at a time. Free it with fcgate_exchange_free; freeing one that is not over gives it up.
pub struct fcgate_exchange {
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Pulled(Box<Pulled>),
    Looped(Looped),
    /// A panic was caught in it.
    Poisoned,
}

pub(super) struct Pulled {
    pull: Pull,
    engine: Arc<Engine>,
    route: Route,
}

impl Pulled {
    fn address(&self) -> String {
        let member = self.pull.exchange().map_or(0, |exchange| exchange.scratch.exchange.pool());
        self.engine.pool(self.route.balancer, member).address().to_string()
    }

    fn told(&self, error: PullError) -> Failed {
        match error {
            PullError::OutOfOrder(text) => failed(FCGATE_E_STATE, text),
            PullError::NotStarted(error) => info::not_started(&error),
            PullError::Failed => self
                .pull
                .exchange()
                .and_then(|own| {
                    let script = || String::from_utf8_lossy(own.scratch.environment.script()).into_owned();
                    info::error_of(&own.scratch.exchange, &self.engine, self.route, &self.address(), script)
                })
                .unwrap_or_else(|| failed(FCGATE_E_STATE, "the exchange was given up")),
        }
    }
}

/// Runs `body` with a pulled exchange; a panic poisons it.
///
/// # Safety
/// `exchange` is NULL or an exchange that nobody else uses meanwhile; `error` is NULL or may be
/// written to.
unsafe fn with_pulled(
    exchange: *mut fcgate_exchange,
    error: *mut fcgate_error,
    body: impl FnOnce(&mut Pulled) -> Result<(), Failed>,
) -> i32 {
    let run = || {
        // SAFETY: as this function's contract says.
        let exchange = unsafe { exclusive(exchange) }.ok_or_else(|| bad_argument("exchange is NULL"))?;
        match &mut exchange.kind {
            Kind::Pulled(pulled) => body(pulled),
            Kind::Looped(_) => Err(failed(FCGATE_E_STATE, "the exchange belongs to an event loop")),
            Kind::Poisoned => {
                Err(failed(FCGATE_E_PANIC, "a defect of fcgate was met in this exchange before"))
            }
        }
    };
    // SAFETY: as this function's contract says.
    let status = unsafe { answer(error, run) };
    if status == FCGATE_E_PANIC {
        // What panics while it is dropped is caught too.
        guard((), || {
            // SAFETY: as this function's contract says.
            if let Some(exchange) = unsafe { exclusive(exchange) } {
                exchange.kind = Kind::Poisoned;
            }
        });
    }
    status
}

/// Begins an exchange that the caller pulls, and sends the request, unless its body is still to be
/// written. The request is empty afterwards and may be used for another. `route` may be NULL: the
/// gateway's first. Returns NULL after an error.
///
/// Errors: FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_REQUEST, FCGATE_E_NOT_FOUND,
/// FCGATE_E_TOO_LARGE, FCGATE_E_PARAMS. Failures to reach the application are told by the first call
/// that waits for it.
///
/// # Safety
/// Pointers are NULL or as their types say; nobody else uses `request` meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_open(
    gateway: *const fcgate_gateway,
    route: *const fcgate_route,
    request: *mut fcgate_request,
    error: *mut fcgate_error,
) -> *mut fcgate_exchange {
    let body = || {
        // SAFETY: as this function's contract says.
        let gateway = unsafe { shared(gateway) }.ok_or_else(|| bad_argument("gateway is NULL"))?;
        // SAFETY: as this function's contract says.
        let request = unsafe { exclusive(request) }.ok_or_else(|| bad_argument("request is NULL"))?;
        let engine = gateway.gateway.engine();
        // SAFETY: as this function's contract says.
        let route = unsafe { route_of(&gateway.config, engine, route) }?;
        let request = std::mem::take(&mut request.request);
        let pull = Pull::open(engine, route, request).map_err(|error| info::not_started(&error))?;
        let kind = Kind::Pulled(Box::new(Pulled { pull, engine: Arc::clone(engine), route }));
        Ok(hand_out(fcgate_exchange { kind }))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

/// Writes `length` bytes of the body that fcgate_request_body_length announced; `stream` is
/// FCGATE_STDIN, `flags` 0 or FCGATE_END with the last of them. The bytes are borrowed until it
/// returns. `taken` is how many were taken: fewer only where the application answers so much that
/// the caller must read first.
///
/// Errors: FCGATE_E_STATE for more bytes than were announced or after the end; those from 100 on.
///
/// # Safety
/// `exchange` is NULL or an exchange that nobody else uses meanwhile; the other pointers are NULL
/// or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_write(
    exchange: *mut fcgate_exchange,
    stream: u32,
    data: *const c_void,
    length: usize,
    flags: u32,
    taken: *mut usize,
    error: *mut fcgate_error,
) -> i32 {
    let body = |pulled: &mut Pulled| {
        // SAFETY: as this function's contract says.
        let data = unsafe { bytes(data.cast(), length) }.ok_or_else(|| bad_argument("bytes is NULL"))?;
        if stream != FCGATE_STDIN || flags & !FCGATE_END != 0 {
            return Err(bad_argument("stream is not FCGATE_STDIN, or flags has unknown bits"));
        }
        let count = pulled.pull.write(data, flags & FCGATE_END != 0).map_err(|error| pulled.told(error))?;
        // SAFETY: as this function's contract says.
        unsafe { put(taken, count) };
        Ok(())
    };
    // SAFETY: as this function's contract says.
    unsafe { with_pulled(exchange, error, body) }
}

/// Waits for the response head. It is lent until the exchange is freed.
///
/// Errors: those from 100 on; FCGATE_E_STATE where an announced body has not been ended.
///
/// # Safety
/// As for fcgate_exchange_write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_head(
    exchange: *mut fcgate_exchange,
    head: *mut *const fcgate_head,
    error: *mut fcgate_error,
) -> i32 {
    let body = |pulled: &mut Pulled| {
        let result = pulled.pull.head().map(fcgate_head::of);
        let own = result.map_err(|error| pulled.told(error))?;
        // SAFETY: as this function's contract says.
        unsafe { put(head, own) };
        Ok(())
    };
    // SAFETY: as this function's contract says.
    unsafe { with_pulled(exchange, error, body) }
}

/// Reads bytes of the response body. FCGATE_OK with `got` 0 is its end, and the true end.
///
/// Errors: those from 100 on: what came before is not the whole response.
///
/// # Safety
/// As for fcgate_exchange_write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_read(
    exchange: *mut fcgate_exchange,
    buffer: *mut c_void,
    capacity: usize,
    got: *mut usize,
    error: *mut fcgate_error,
) -> i32 {
    let body = |pulled: &mut Pulled| {
        // SAFETY: as this function's contract says.
        let buffer = unsafe { room(buffer.cast(), capacity) }
            .filter(|buffer| !buffer.is_empty())
            .ok_or_else(|| bad_argument("buffer is NULL or has no room"))?;
        let count = pulled.pull.read(buffer).map_err(|error| pulled.told(error))?;
        // SAFETY: as this function's contract says.
        unsafe { put(got, count) };
        Ok(())
    };
    // SAFETY: as this function's contract says.
    unsafe { with_pulled(exchange, error, body) }
}

/// Takes bytes that the application wrote to STDERR so far, as they came; the first 64 KiB are kept.
/// Does not wait.
///
/// # Safety
/// As for fcgate_exchange_write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_read_error(
    exchange: *mut fcgate_exchange,
    buffer: *mut c_void,
    capacity: usize,
    got: *mut usize,
) -> i32 {
    let body = |pulled: &mut Pulled| {
        // SAFETY: as this function's contract says.
        let buffer =
            unsafe { room(buffer.cast(), capacity) }.ok_or_else(|| bad_argument("buffer is NULL"))?;
        // SAFETY: as this function's contract says.
        unsafe { put(got, pulled.pull.read_stderr(buffer)) };
        Ok(())
    };
    // SAFETY: as this function's contract says.
    unsafe { with_pulled(exchange, std::ptr::null_mut(), body) }
}

/// What is known of an exchange by now.
///
/// Errors: FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0; FCGATE_E_STATE before the request is
/// on its way.
///
/// # Safety
/// `exchange` is NULL or an exchange that nobody else uses meanwhile; `info` is NULL or may be
/// written to for its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_info(
    exchange: *const fcgate_exchange,
    info: *mut fcgate_info,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let Some(exchange) = (unsafe { shared(exchange) }) else { return FCGATE_E_ARGUMENT };
        let known = match &exchange.kind {
            Kind::Pulled(pulled) => {
                pulled.pull.exchange().map(|own| info::of(&own.scratch.exchange, &pulled.address()))
            }
            Kind::Looped(looped) => looped.info(),
            Kind::Poisoned => None,
        };
        let Some(known) = known else { return FCGATE_E_STATE };
        // SAFETY: as this function's contract says.
        if unsafe { fill(info, &known) } { FCGATE_OK } else { FCGATE_E_ARGUMENT }
    })
}

/// Gives an exchange up: the application is told, where that is possible, and the connection is
/// closed. In level C its `end` is still called, with FCGATE_E_ABORTED.
///
/// # Safety
/// `exchange` is NULL or an exchange that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_abort(exchange: *mut fcgate_exchange) {
    guard((), || {
        // SAFETY: as this function's contract says. A shared reference is enough for level C, whose
        // callbacks may come meanwhile and use the exchange too.
        if let Some(Kind::Looped(looped)) = unsafe { shared(exchange) }.map(|exchange| &exchange.kind) {
            return looped.abort();
        }
        // SAFETY: as this function's contract says.
        if let Some(Kind::Pulled(pulled)) = unsafe { exclusive(exchange) }.map(|exchange| &mut exchange.kind)
        {
            pulled.pull.abort();
        }
    });
}

/// Frees an exchange; one that is not over is given up. Nothing is called for it any more. NULL is
/// nothing. In level C it may be called from within the exchange's own callbacks.
///
/// # Safety
/// `exchange` is NULL or an exchange that is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_free(exchange: *mut fcgate_exchange) {
    guard((), || {
        // SAFETY: as this function's contract says.
        if let Some(Kind::Looped(looped)) = unsafe { shared(exchange) }.map(|exchange| &exchange.kind) {
            looped.free();
        }
        // SAFETY: as this function's contract says.
        unsafe { release(exchange) };
    });
}
