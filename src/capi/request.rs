//! The request: facts of an HTTP request, headers, params and a body.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{bytes, exclusive, guard, hand_out, release};
use super::error::{FCGATE_E_ARGUMENT, FCGATE_E_PANIC, FCGATE_OK};
use crate::drive::{Body, Fact, Request, Source};
use crate::os::address::source_address;
use crate::os::file::FileSlice;
use crate::protocol::Role;
use std::ffi::{c_char, c_void};

/// The application answers the request: what a web application does.
pub const FCGATE_RESPONDER: u32 = 1;
/// The application allows or denies the request.
pub const FCGATE_AUTHORIZER: u32 = 2;
/// The application answers the request with a file at hand.
pub const FCGATE_FILTER: u32 = 3;

/// The method: `GET`.
pub const FCGATE_METHOD: u32 = 1;
/// The request-target as it was received: `/a%20b.php?c=d`. REQUEST_URI comes from it, and path
/// and query where they are not stated.
pub const FCGATE_TARGET: u32 = 2;
/// The decoded path, if the server decoded or rewrote it.
pub const FCGATE_PATH: u32 = 3;
/// The query, as it is, without `?`.
pub const FCGATE_QUERY: u32 = 4;
/// `HTTP/1.1`.
pub const FCGATE_PROTOCOL: u32 = 5;
/// `http` or `https`.
pub const FCGATE_SCHEME: u32 = 6;
/// The server's name and version.
pub const FCGATE_SERVER_SOFTWARE: u32 = 7;
/// The server's name by its own policy.
pub const FCGATE_SERVER_NAME: u32 = 8;
/// The address that the client connected to.
pub const FCGATE_SERVER_ADDR: u32 = 9;
/// The port that the client connected to, in decimal.
pub const FCGATE_SERVER_PORT: u32 = 10;
/// The client's address.
pub const FCGATE_REMOTE_ADDR: u32 = 11;
/// The client's port, in decimal.
pub const FCGATE_REMOTE_PORT: u32 = 12;
/// The user, if the server itself authenticated the request; never from an unchecked header.
pub const FCGATE_REMOTE_USER: u32 = 13;
/// How the server authenticated the request: `Basic`.
pub const FCGATE_AUTH_TYPE: u32 = 14;
/// The root of the site's files.
pub const FCGATE_DOCUMENT_ROOT: u32 = 15;
/// The file that the server's own mapping of the path led to, what follows the script included unless
/// FCGATE_PATH_INFO is stated. Left out: document root and path.
pub const FCGATE_FILE: u32 = 16;
/// What of the path follows the script, if the server split it. Left out: split at `.php`.
pub const FCGATE_PATH_INFO: u32 = 17;
/// The status of an internal redirect, such as 404 for an error page.
pub const FCGATE_REDIRECT_STATUS: u32 = 18;
/// `on` over TLS; otherwise leave it out.
pub const FCGATE_HTTPS: u32 = 19;
/// `on` if FCGATE_FILE is a regular file, `off` if not, where the server has looked already. Left
/// out: fcgate looks.
pub const FCGATE_FILE_EXISTS: u32 = 20;
/// The prefix of the path by which the server chose the application: `/git`. Preset plain splits the
/// path at the next `/` behind it.
pub const FCGATE_PREFIX: u32 = 21;
/// `on` if header names with underscores are to pass, because the server was told so; otherwise leave it
/// out. One that makes the same param as another name then does not.
pub const FCGATE_UNDERSCORES: u32 = 22;

// cbindgen writes literals only, so that the numbers stand here and there; this keeps them one.
const _: () = {
    assert!(FCGATE_METHOD == Fact::Method as u32);
    assert!(FCGATE_TARGET == Fact::Target as u32);
    assert!(FCGATE_PATH == Fact::Path as u32);
    assert!(FCGATE_QUERY == Fact::Query as u32);
    assert!(FCGATE_PROTOCOL == Fact::Protocol as u32);
    assert!(FCGATE_SCHEME == Fact::Scheme as u32);
    assert!(FCGATE_SERVER_SOFTWARE == Fact::ServerSoftware as u32);
    assert!(FCGATE_SERVER_NAME == Fact::ServerName as u32);
    assert!(FCGATE_SERVER_ADDR == Fact::ServerAddr as u32);
    assert!(FCGATE_SERVER_PORT == Fact::ServerPort as u32);
    assert!(FCGATE_REMOTE_ADDR == Fact::RemoteAddr as u32);
    assert!(FCGATE_REMOTE_PORT == Fact::RemotePort as u32);
    assert!(FCGATE_REMOTE_USER == Fact::RemoteUser as u32);
    assert!(FCGATE_AUTH_TYPE == Fact::AuthType as u32);
    assert!(FCGATE_DOCUMENT_ROOT == Fact::DocumentRoot as u32);
    assert!(FCGATE_FILE == Fact::File as u32);
    assert!(FCGATE_PATH_INFO == Fact::PathInfo as u32);
    assert!(FCGATE_REDIRECT_STATUS == Fact::RedirectStatus as u32);
    assert!(FCGATE_HTTPS == Fact::Https as u32);
    assert!(FCGATE_FILE_EXISTS == Fact::FileExists as u32);
    assert!(FCGATE_PREFIX == Fact::Prefix as u32);
    assert!(FCGATE_UNDERSCORES == Fact::Underscores as u32);
};

/// fcgate_request_bind: the address may be another machine's (Linux, with the privilege CAP_NET_RAW).
pub const FCGATE_BIND_TRANSPARENT: u32 = 1;

/// A length that is not known beforehand.
pub const FCGATE_LENGTH_UNKNOWN: u64 = u64::MAX;

/// A request to be. One thread at a time. Everything handed in is copied. It may be used again
/// after fcgate_request_clear, which keeps its memory, and cleared or freed as soon as the call
/// that forwards it has returned (level A), the exchange is freed (B, C).
pub struct fcgate_request {
    pub(super) request: Request,
}

/// A new, empty request. Free it with fcgate_request_free.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_request_new() -> *mut fcgate_request {
    guard(std::ptr::null_mut(), || hand_out(fcgate_request { request: Request::default() }))
}

/// Frees a request. NULL is nothing.
///
/// # Safety
/// `request` is NULL or came from fcgate_request_new and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_free(request: *mut fcgate_request) {
    // SAFETY: as this function's contract says.
    guard((), || unsafe { release(request) });
}

/// Empties a request for the next use; keeps its memory.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_clear(request: *mut fcgate_request) {
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.clear()) };
}

/// Runs `body` with the request; says what the status is.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call.
unsafe fn change(request: *mut fcgate_request, body: impl FnOnce(&mut Request)) -> i32 {
    // SAFETY: as this function's contract says.
    guard(FCGATE_E_PANIC, || match unsafe { exclusive(request) } {
        Some(request) => {
            body(&mut request.request);
            FCGATE_OK
        }
        None => FCGATE_E_ARGUMENT,
    })
}

/// Sets the role. In this version only FCGATE_RESPONDER, the default, is built.
///
/// Errors: FCGATE_E_ARGUMENT for any other number.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_role(request: *mut fcgate_request, role: u32) -> i32 {
    let role = u16::try_from(role).ok().and_then(Role::from_wire);
    // The environments of the others are not made yet: better refused than sent wrong.
    let Some(role @ Role::Responder) = role else { return FCGATE_E_ARGUMENT };
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.role = role) }
}

/// States a fact of the HTTP request, by its number (FCGATE_METHOD …). The last statement holds.
///
/// Errors: FCGATE_E_ARGUMENT for an unknown number.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call; `value` points to
/// `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_fact(
    request: *mut fcgate_request,
    fact: u32,
    value: *const c_char,
    length: usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    let (Some(fact), Some(value)) = (Fact::from_number(fact), unsafe { bytes(value.cast(), length) }) else {
        return FCGATE_E_ARGUMENT;
    };
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.fact(fact, value)) }
}

/// Runs `add` with a pair of the caller's.
///
/// # Safety
/// As for [`fcgate_request_header`].
unsafe fn add_pair(
    request: *mut fcgate_request,
    name: (*const c_char, usize),
    value: (*const c_char, usize),
    add: impl FnOnce(&mut Request, &[u8], &[u8]),
) -> i32 {
    // SAFETY: as this function's contract says.
    let pair = unsafe { (bytes(name.0.cast(), name.1), bytes(value.0.cast(), value.1)) };
    let (Some(name), Some(value)) = pair else { return FCGATE_E_ARGUMENT };
    if name.is_empty() {
        return FCGATE_E_ARGUMENT;
    }
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| add(request, name, value)) }
}

/// Adds a header field as the client sent it; one call for each field line. Which of them become
/// params, and how, is fcgate's to decide.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call; the pointers point to as
/// many bytes as their lengths say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_header(
    request: *mut fcgate_request,
    name: *const c_char,
    name_length: usize,
    value: *const c_char,
    value_length: usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    unsafe { add_pair(request, (name, name_length), (value, value_length), |r, n, v| r.header(n, v)) }
}

/// Adds a variable of the server's own environment (SetEnv and its like). It yields to what the
/// route, the caller's params and the facts say. PHP_VALUE, PHP_ADMIN_VALUE and LD_* never pass.
///
/// # Safety
/// As for fcgate_request_header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_variable(
    request: *mut fcgate_request,
    name: *const c_char,
    name_length: usize,
    value: *const c_char,
    value_length: usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    unsafe { add_pair(request, (name, name_length), (value, value_length), |r, n, v| r.variable(n, v)) }
}

/// Adds a param, as it is; it goes before what facts, headers and the route say. A program that
/// speaks to an application without an HTTP request states all its params in this way.
///
/// # Safety
/// As for fcgate_request_header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_param(
    request: *mut fcgate_request,
    name: *const c_char,
    name_length: usize,
    value: *const c_char,
    value_length: usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    unsafe { add_pair(request, (name, name_length), (value, value_length), |r, n, v| r.param(n, v)) }
}

/// Has a param left out, whoever would set it. Of several statements of params about one name the
/// first holds.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call; `name` points to
/// `name_length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_param_unset(
    request: *mut fcgate_request,
    name: *const c_char,
    name_length: usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    unsafe { add_pair(request, (name, name_length), (name, 0), |r, n, _| r.unset(n)) }
}

/// Sets the body: these bytes, which are copied.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call; `body` points to `length`
/// bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_body(
    request: *mut fcgate_request,
    body: *const c_void,
    length: usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    let Some(body) = (unsafe { bytes(body.cast(), length) }) else { return FCGATE_E_ARGUMENT };
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.body = Body::Bytes(body.to_vec())) }
}

/// Sets the body: `length` bytes from `offset` of an open file. The descriptor stays the caller's
/// and must stay open until the exchange is over; its position is not moved.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_body_fd(
    request: *mut fcgate_request,
    fd: i32,
    offset: u64,
    length: u64,
) -> i32 {
    if fd < 0 || offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
        return FCGATE_E_ARGUMENT;
    }
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.body = Body::File(FileSlice::new(fd, offset, length))) }
}

/// Has the request's TCP connection come from this address, `192.0.2.1` or `192.0.2.1:7000`, in place of what
/// the pool's settings say. It gets a connection of its own, which serves no other. `flags` is 0 or
/// FCGATE_BIND_TRANSPARENT.
///
/// Errors: FCGATE_E_ARGUMENT for other flags and for what is no IP address.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call; `address` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_bind(
    request: *mut fcgate_request,
    address: *const c_char,
    length: usize,
    flags: u32,
) -> i32 {
    // SAFETY: as this function's contract says.
    let text = unsafe { bytes(address.cast(), length) }.and_then(|text| std::str::from_utf8(text).ok());
    let (Some(address), 0) = (text.and_then(source_address), flags & !FCGATE_BIND_TRANSPARENT) else {
        return FCGATE_E_ARGUMENT;
    };
    let transparent = flags & FCGATE_BIND_TRANSPARENT != 0;
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.source = Some(Source { address, transparent })) }
}

/// Announces a body that comes piece by piece: by the body callback (level A) or by writing
/// (levels B and C). FCGATE_LENGTH_UNKNOWN where its length is not known: then it is taken whole
/// before the application is asked, because FastCGI applications need its length.
///
/// # Safety
/// `request` is NULL or a request that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_request_body_length(request: *mut fcgate_request, length: u64) -> i32 {
    let length = (length != FCGATE_LENGTH_UNKNOWN).then_some(length);
    // SAFETY: as this function's contract says.
    unsafe { change(request, |request| request.body = Body::Pieces(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a connection is to come from is an IP address, and is forgotten with the rest.
    #[test]
    fn a_source_is_an_address() {
        let request = fcgate_request_new();
        let bind = |text: &[u8], flags| {
            // SAFETY: the pointers are valid for the call.
            unsafe { fcgate_request_bind(request, text.as_ptr().cast(), text.len(), flags) }
        };
        for text in [&b"localhost"[..], b"", b"\xff", b"127.0.0.1:x"] {
            assert_eq!(bind(text, 0), FCGATE_E_ARGUMENT);
        }
        assert_eq!(bind(b"127.0.0.2", 2), FCGATE_E_ARGUMENT);
        // SAFETY: the request is ours.
        unsafe {
            assert_eq!((*request).request.source, None);
            assert_eq!(bind(b"[::1]:7", FCGATE_BIND_TRANSPARENT), FCGATE_OK);
            let source = Source { address: "[::1]:7".parse().unwrap(), transparent: true };
            assert_eq!((*request).request.source, Some(source));
            fcgate_request_clear(request);
            assert_eq!((*request).request.source, None);
            fcgate_request_free(request);
        }
    }

    /// What C hands in is copied: it may be gone when the request is used.
    #[test]
    fn what_is_handed_in_is_copied() {
        let request = fcgate_request_new();
        // SAFETY: the pointers are valid for each call.
        unsafe {
            {
                let value = b"GET".to_vec();
                assert_eq!(fcgate_request_fact(request, FCGATE_METHOD, value.as_ptr().cast(), 3), FCGATE_OK);
                let (name, value) = (b"X-A".to_vec(), b"b".to_vec());
                let (n, v) = (name.as_ptr().cast(), value.as_ptr().cast());
                assert_eq!(fcgate_request_header(request, n, 3, v, 1), FCGATE_OK);
                assert_eq!(fcgate_request_param(request, n, 3, v, 1), FCGATE_OK);
                assert_eq!(fcgate_request_variable(request, n, 3, v, 0), FCGATE_OK);
                assert_eq!(fcgate_request_header(request, n, 0, v, 1), FCGATE_E_ARGUMENT);
                assert_eq!(fcgate_request_body(request, name.as_ptr().cast(), 3), FCGATE_OK);
            }
            assert_eq!(fcgate_request_param_unset(request, c"B".as_ptr(), 1), FCGATE_OK);
            assert_eq!(fcgate_request_param(request, c"B".as_ptr(), 1, c"b".as_ptr(), 1), FCGATE_OK);
            assert_eq!((*request).request.get_param(b"B"), None);
            assert_eq!((*request).request.method(), b"GET");
            assert_eq!((*request).request.get_param(b"X-A"), Some(&b"b"[..]));
            assert_eq!((*request).request.body_length(), Some(3));
            fcgate_request_clear(request);
            assert_eq!((*request).request.method(), b"GET");
            assert_eq!((*request).request.body_length(), Some(0));
            fcgate_request_free(request);
        }
    }

    /// NULL and numbers out of range are refused, never followed.
    #[test]
    fn bad_pointers_and_numbers_are_refused() {
        let null = std::ptr::null_mut();
        let request = fcgate_request_new();
        // SAFETY: the pointers are NULL or valid.
        unsafe {
            assert_eq!(fcgate_request_fact(null, FCGATE_METHOD, c"x".as_ptr(), 1), FCGATE_E_ARGUMENT);
            assert_eq!(fcgate_request_fact(request, FCGATE_METHOD, std::ptr::null(), 1), FCGATE_E_ARGUMENT);
            assert_eq!(fcgate_request_fact(request, 99, c"x".as_ptr(), 1), FCGATE_E_ARGUMENT);
            assert_eq!(fcgate_request_role(request, 70_000), FCGATE_E_ARGUMENT);
            assert_eq!(fcgate_request_body_fd(request, 0, u64::MAX, 2), FCGATE_E_ARGUMENT);
            assert_eq!(fcgate_request_body(request, std::ptr::null(), 0), FCGATE_OK);
            fcgate_request_clear(null);
            fcgate_request_free(null);
            fcgate_request_free(request);
        }
    }
}
