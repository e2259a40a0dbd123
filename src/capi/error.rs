//! Status numbers, names, and `fcgate_error`.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{guard, put};
use crate::exchange::Cause;
use std::ffi::c_char;

/// Done.
pub const FCGATE_OK: i32 = 0;
/// An argument is NULL, out of range, or not of the encoding that is asked for.
pub const FCGATE_E_ARGUMENT: i32 = 1;
/// An unknown setting, a value it does not take, or a scope it does not have.
pub const FCGATE_E_SETTING: i32 = 2;
/// An address that is not one.
pub const FCGATE_E_ADDRESS: i32 = 3;
/// No balancer, route or field of that name, or two of them.
pub const FCGATE_E_NAME: i32 = 4;
/// A call out of order: of an exchange that is over, of a config that is in use.
pub const FCGATE_E_STATE: i32 = 5;
/// A defect of fcgate was met. The exchange, request or loop it happened in can only be freed;
/// gateway and config stay usable.
pub const FCGATE_E_PANIC: i32 = 6;
/// The system refused something that was asked of it outside an exchange; see `sys_errno`.
pub const FCGATE_E_SYSTEM: i32 = 9;
/// The library's ABI is not the one the program was compiled for.
pub const FCGATE_E_ABI: i32 = 10;
/// The request is not one: HTTP status 400.
pub const FCGATE_E_REQUEST: i32 = 20;
/// The script does not exist: HTTP status 404.
pub const FCGATE_E_NOT_FOUND: i32 = 21;
/// The body is larger than `max_body_bytes`: HTTP status 413.
pub const FCGATE_E_TOO_LARGE: i32 = 22;
/// The params are larger than `max_params_bytes`, or one of them than a record: HTTP status 431.
pub const FCGATE_E_PARAMS: i32 = 23;
/// Nothing now; a callback will say when to call again.
pub const FCGATE_AGAIN: i32 = 40;
/// The pool's queue was full: HTTP status 503.
pub const FCGATE_E_QUEUE_FULL: i32 = 100;
/// No connection came free within `queue_timeout`: HTTP status 503.
pub const FCGATE_E_QUEUE_TIMEOUT: i32 = 101;
/// Connecting failed for longer than `restart_window`: HTTP status 502.
pub const FCGATE_E_CONNECT: i32 = 102;
/// Connecting took longer than `connect_timeout`: HTTP status 504.
pub const FCGATE_E_CONNECT_TIMEOUT: i32 = 103;
/// Every pool of the balancer is marked down: HTTP status 502.
pub const FCGATE_E_NO_POOL: i32 = 104;
/// The application closed the connection before it answered: HTTP status 502.
pub const FCGATE_E_CLOSED: i32 = 110;
/// The application closed the connection inside the response head: HTTP status 502.
pub const FCGATE_E_CLOSED_IN_HEAD: i32 = 111;
/// The application closed the connection before the response was whole: cut the client's response.
pub const FCGATE_E_CLOSED_IN_BODY: i32 = 112;
/// The application broke the protocol: HTTP status 502.
pub const FCGATE_E_PROTOCOL: i32 = 113;
/// The application did not take the request within `send_timeout`: HTTP status 504.
pub const FCGATE_E_SEND_TIMEOUT: i32 = 120;
/// No response head within `head_timeout`: HTTP status 504.
pub const FCGATE_E_HEAD_TIMEOUT: i32 = 121;
/// No more of the response within `read_timeout`: cut the client's response.
pub const FCGATE_E_READ_TIMEOUT: i32 = 122;
/// The exchange took longer than `total_timeout`: HTTP status 504.
pub const FCGATE_E_TOTAL_TIMEOUT: i32 = 123;
/// The response head is not one: HTTP status 502.
pub const FCGATE_E_BAD_HEAD: i32 = 130;
/// The application ended the request without a response head: HTTP status 502.
pub const FCGATE_E_NO_HEAD: i32 = 131;
/// The body is shorter than its Content-Length: cut the client's response.
pub const FCGATE_E_SHORT_BODY: i32 = 132;
/// The application said that it is overloaded: HTTP status 503.
pub const FCGATE_E_OVERLOADED: i32 = 140;
/// The application refused to multiplex, twice: HTTP status 502.
pub const FCGATE_E_CANT_MULTIPLEX: i32 = 141;
/// The application does not know the role: HTTP status 502.
pub const FCGATE_E_UNKNOWN_ROLE: i32 = 142;
/// The application ended the request with a protocol status of its own: HTTP status 502.
pub const FCGATE_E_UNKNOWN_STATUS: i32 = 143;
/// The client closed its connection: nobody is left to answer.
pub const FCGATE_E_CLIENT_GONE: i32 = 150;
/// The request body ended before its length: HTTP status 400.
pub const FCGATE_E_BODY_SHORT: i32 = 151;
/// The request body could not be read: HTTP status 400.
pub const FCGATE_E_BODY: i32 = 152;
/// The host gave the exchange up: a callback said so, or `fcgate_exchange_abort`.
pub const FCGATE_E_ABORTED: i32 = 153;
/// The application wrote a line to STDERR that `catch_stderr` names: HTTP status 500.
pub const FCGATE_E_CAUGHT_STDERR: i32 = 154;
/// The application answered with an error status, which `error_override` leaves to the host:
/// answer with `http_status`.
pub const FCGATE_E_ERROR_OVERRIDE: i32 = 155;
/// On a shared connection the client took too little of its response, beyond what may be held for it.
pub const FCGATE_E_CLIENT_SLOW: i32 = 156;
/// Descriptors, memory or disk ran out in this process: HTTP status 503.
pub const FCGATE_E_RESOURCES: i32 = 160;

/// Bytes of [`fcgate_error::pool`].
pub const FCGATE_ERROR_POOL: usize = 128;
/// Bytes of [`fcgate_error::text`].
pub const FCGATE_ERROR_TEXT: usize = 640;

/// What went wrong. Yours: put it on the stack, hand in its address, or NULL if you do not care.
/// Filled by each call that takes one, also with success. 1024 bytes for ever.
#[repr(C)]
pub struct fcgate_error {
    /// The status that the call returned.
    pub status: i32,
    /// The system's error number, or 0.
    pub sys_errno: i32,
    /// Where the exchange stood; see fcgate_phase_name.
    pub phase: u32,
    /// The HTTP status to answer with, as long as no head has been passed on; 0 with success.
    pub http_status: u32,
    /// 1 if the same request may be sent again without harm.
    pub retry_safe: u32,
    /// 0.
    pub reserved0: u32,
    /// Microseconds since the start of the exchange.
    pub elapsed_us: u64,
    /// Bytes that the application's socket took in the last attempt.
    pub bytes_sent: u64,
    /// Bytes of the response body that came in the last attempt.
    pub bytes_received: u64,
    /// The pool's address; NUL-terminated, cut if longer.
    pub pool: [c_char; FCGATE_ERROR_POOL],
    /// What happened, where, and what to look at; NUL-terminated, cut if longer.
    pub text: [c_char; FCGATE_ERROR_TEXT],
    /// 0.
    pub reserved: [u8; 208],
}

const _: () = assert!(size_of::<fcgate_error>() == 1024);

// cbindgen writes literals only, so that the numbers stand here and there; this keeps them one.
const _: () = {
    assert!(FCGATE_E_QUEUE_FULL == Cause::QueueFull as i32);
    assert!(FCGATE_E_QUEUE_TIMEOUT == Cause::QueueTimeout as i32);
    assert!(FCGATE_E_CONNECT == Cause::Connect as i32);
    assert!(FCGATE_E_CONNECT_TIMEOUT == Cause::ConnectTimeout as i32);
    assert!(FCGATE_E_NO_POOL == Cause::NoPool as i32);
    assert!(FCGATE_E_CLOSED == Cause::Closed as i32);
    assert!(FCGATE_E_CLOSED_IN_HEAD == Cause::ClosedInHead as i32);
    assert!(FCGATE_E_CLOSED_IN_BODY == Cause::ClosedInBody as i32);
    assert!(FCGATE_E_PROTOCOL == Cause::Protocol as i32);
    assert!(FCGATE_E_SEND_TIMEOUT == Cause::SendTimeout as i32);
    assert!(FCGATE_E_HEAD_TIMEOUT == Cause::HeadTimeout as i32);
    assert!(FCGATE_E_READ_TIMEOUT == Cause::ReadTimeout as i32);
    assert!(FCGATE_E_TOTAL_TIMEOUT == Cause::TotalTimeout as i32);
    assert!(FCGATE_E_BAD_HEAD == Cause::BadHead as i32);
    assert!(FCGATE_E_NO_HEAD == Cause::NoHead as i32);
    assert!(FCGATE_E_SHORT_BODY == Cause::ShortBody as i32);
    assert!(FCGATE_E_OVERLOADED == Cause::Overloaded as i32);
    assert!(FCGATE_E_CANT_MULTIPLEX == Cause::CantMultiplex as i32);
    assert!(FCGATE_E_UNKNOWN_ROLE == Cause::UnknownRole as i32);
    assert!(FCGATE_E_UNKNOWN_STATUS == Cause::UnknownStatus as i32);
    assert!(FCGATE_E_CLIENT_GONE == Cause::ClientGone as i32);
    assert!(FCGATE_E_BODY_SHORT == Cause::RequestBodyShort as i32);
    assert!(FCGATE_E_BODY == Cause::RequestBody as i32);
    assert!(FCGATE_E_ABORTED == Cause::Aborted as i32);
    assert!(FCGATE_E_CAUGHT_STDERR == Cause::CaughtStderr as i32);
    assert!(FCGATE_E_ERROR_OVERRIDE == Cause::ErrorOverride as i32);
    assert!(FCGATE_E_CLIENT_SLOW == Cause::ClientSlow as i32);
    assert!(FCGATE_E_RESOURCES == Cause::Resources as i32);
};

/// What is told where nothing went wrong.
pub(super) static NO_ERROR: fcgate_error = fcgate_error::none();

impl fcgate_error {
    const fn none() -> Self {
        Self {
            status: FCGATE_OK,
            sys_errno: 0,
            phase: 0,
            http_status: 0,
            retry_safe: 0,
            reserved0: 0,
            elapsed_us: 0,
            bytes_sent: 0,
            bytes_received: 0,
            pool: [0; FCGATE_ERROR_POOL],
            text: [0; FCGATE_ERROR_TEXT],
            reserved: [0; 208],
        }
    }
}

impl Default for fcgate_error {
    fn default() -> Self {
        Self::none()
    }
}

/// Copies a text into a NUL-terminated field, cut at a character if it is too long.
pub(super) fn copy_text(field: &mut [c_char], text: &str) {
    let Some(room) = field.len().checked_sub(1) else { return };
    let mut length = text.len().min(room);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    for (to, from) in field.iter_mut().zip(&text.as_bytes()[..length]) {
        *to = *from as c_char;
    }
    field[length] = 0;
}

/// As [`copy_text`], without a text in between: allocates nothing.
pub(super) fn copy_display(field: &mut [c_char], value: &dyn std::fmt::Display) {
    struct Field<'a>(&'a mut [c_char], usize);
    impl std::fmt::Write for Field<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            copy_text(&mut self.0[self.1..], text);
            self.1 = (self.1 + text.len()).min(self.0.len() - 1);
            Ok(())
        }
    }
    let _ = std::fmt::Write::write_fmt(&mut Field(field, 0), format_args!("{value}"));
}

impl fcgate_error {
    /// An error outside an exchange.
    pub(super) fn of(status: i32, text: &str) -> Self {
        let http_status = match status {
            FCGATE_OK => 0,
            FCGATE_E_REQUEST => 400,
            FCGATE_E_NOT_FOUND => 404,
            FCGATE_E_TOO_LARGE => 413,
            FCGATE_E_PARAMS => 431,
            _ => 500,
        };
        let mut error = Self { status, http_status, ..Self::default() };
        copy_text(&mut error.text, text);
        error
    }

    /// Fills the caller's error, if there is one, and returns the status.
    ///
    /// # Safety
    /// `out` is NULL or may be written to.
    pub(super) unsafe fn put(self, out: *mut fcgate_error) -> i32 {
        let status = self.status;
        // SAFETY: as this function's contract says.
        unsafe { put(out, self) };
        status
    }
}

/// Runs `body` behind the panic boundary and fills the caller's error with what came of it.
///
/// # Safety
/// `out` is NULL or may be written to.
pub(super) unsafe fn answer(
    out: *mut fcgate_error,
    body: impl FnOnce() -> Result<(), Box<fcgate_error>>,
) -> i32 {
    let result = guard(None, || Some(body())).unwrap_or_else(|| Err(panicked()));
    let error = result.err().map_or_else(fcgate_error::default, |error| *error);
    // SAFETY: as this function's contract says.
    unsafe { error.put(out) }
}

/// As [`answer`], for functions that return a handle, NULL after an error.
///
/// # Safety
/// `out` is NULL or may be written to.
pub(super) unsafe fn answer_with<T>(
    out: *mut fcgate_error,
    body: impl FnOnce() -> Result<*mut T, Box<fcgate_error>>,
) -> *mut T {
    match guard(None, || Some(body())).unwrap_or_else(|| Err(panicked())) {
        Ok(handle) => {
            // SAFETY: as this function's contract says.
            unsafe { fcgate_error::default().put(out) };
            handle
        }
        Err(error) => {
            // SAFETY: as this function's contract says.
            unsafe { error.put(out) };
            std::ptr::null_mut()
        }
    }
}

pub(super) fn panicked() -> Box<fcgate_error> {
    failed(FCGATE_E_PANIC, "a defect of fcgate was met (a panic was caught); please report it")
}

pub(super) fn failed(status: i32, text: &str) -> Box<fcgate_error> {
    Box::new(fcgate_error::of(status, text))
}

pub(super) fn bad_argument(text: &str) -> Box<fcgate_error> {
    failed(FCGATE_E_ARGUMENT, text)
}

/// The name of a status, as logs have it: `ok`, `connect`, `head_timeout`. Never NULL; static.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_status_name(status: i32) -> *const c_char {
    let name = match status {
        FCGATE_OK => c"ok",
        FCGATE_E_ARGUMENT => c"argument",
        FCGATE_E_SETTING => c"setting",
        FCGATE_E_ADDRESS => c"address",
        FCGATE_E_NAME => c"name",
        FCGATE_E_STATE => c"state",
        FCGATE_E_PANIC => c"panic",
        FCGATE_E_SYSTEM => c"system",
        FCGATE_E_ABI => c"abi",
        FCGATE_E_REQUEST => c"request",
        FCGATE_E_NOT_FOUND => c"not_found",
        FCGATE_E_TOO_LARGE => c"too_large",
        FCGATE_E_PARAMS => c"params",
        FCGATE_AGAIN => c"again",
        FCGATE_E_QUEUE_FULL => c"queue_full",
        FCGATE_E_QUEUE_TIMEOUT => c"queue_timeout",
        FCGATE_E_CONNECT => c"connect",
        FCGATE_E_CONNECT_TIMEOUT => c"connect_timeout",
        FCGATE_E_NO_POOL => c"no_pool",
        FCGATE_E_CLOSED => c"closed",
        FCGATE_E_CLOSED_IN_HEAD => c"closed_in_head",
        FCGATE_E_CLOSED_IN_BODY => c"closed_in_body",
        FCGATE_E_PROTOCOL => c"protocol",
        FCGATE_E_SEND_TIMEOUT => c"send_timeout",
        FCGATE_E_HEAD_TIMEOUT => c"head_timeout",
        FCGATE_E_READ_TIMEOUT => c"read_timeout",
        FCGATE_E_TOTAL_TIMEOUT => c"total_timeout",
        FCGATE_E_BAD_HEAD => c"bad_head",
        FCGATE_E_NO_HEAD => c"no_head",
        FCGATE_E_SHORT_BODY => c"short_body",
        FCGATE_E_OVERLOADED => c"overloaded",
        FCGATE_E_CANT_MULTIPLEX => c"cant_multiplex",
        FCGATE_E_UNKNOWN_ROLE => c"unknown_role",
        FCGATE_E_UNKNOWN_STATUS => c"unknown_status",
        FCGATE_E_CLIENT_GONE => c"client_gone",
        FCGATE_E_BODY_SHORT => c"request_body_short",
        FCGATE_E_BODY => c"request_body",
        FCGATE_E_ABORTED => c"aborted",
        FCGATE_E_CAUGHT_STDERR => c"caught_stderr",
        FCGATE_E_ERROR_OVERRIDE => c"error_override",
        FCGATE_E_CLIENT_SLOW => c"client_slow",
        FCGATE_E_RESOURCES => c"resources",
        _ => c"unknown",
    };
    name.as_ptr()
}

/// The name of a phase of an exchange: `queue`, `connect`, `send`, `head`, `body`, `end`. Never
/// NULL; static.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_phase_name(phase: u32) -> *const c_char {
    let name = match phase {
        0 => c"choose",
        1 => c"queue",
        2 => c"connect",
        3 => c"send",
        4 => c"head",
        5 => c"body",
        6 => c"end",
        7 => c"done",
        _ => c"unknown",
    };
    name.as_ptr()
}
