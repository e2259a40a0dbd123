//! The response head.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{bytes, guard, put, shared, text};
use super::error::{FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_PANIC, FCGATE_OK};
use super::request::FCGATE_LENGTH_UNKNOWN;
use crate::cgi::ResponseHead;
use std::ffi::c_char;

/// The head of a response: status and fields as they are to be passed on; hop-by-hop fields and
/// Status are taken out. Lent: in a callback until it returns, from fcgate_exchange_head until the
/// exchange is freed.
pub struct fcgate_head {
    _opaque: [u8; 0],
}

/// The head behind a handle.
///
/// # Safety
/// `head` is NULL or came from [`fcgate_head::of`] and is still lent.
unsafe fn behind<'a>(head: *const fcgate_head) -> Option<&'a ResponseHead> {
    // SAFETY: as this function's contract says; the pointer was one to a ResponseHead.
    unsafe { shared(head.cast()) }
}

impl fcgate_head {
    pub(super) fn of(head: &ResponseHead) -> *const fcgate_head {
        (&raw const *head).cast()
    }
}

/// The status: 200 to 599.
///
/// # Safety
/// `head` is NULL (the answer is 0) or a head that is still lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_status(head: *const fcgate_head) -> u32 {
    // SAFETY: as this function's contract says.
    guard(0, || unsafe { behind(head) }.map_or(0, |head| u32::from(head.status())))
}

/// The application's own reason phrase; often empty: then the host's own for the status is right.
/// Not NUL-terminated.
///
/// # Safety
/// `head` is NULL or a head that is still lent; `length` is NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_reason(head: *const fcgate_head, length: *mut usize) -> *const c_char {
    // SAFETY: as this function's contract says.
    let reason = guard(&b""[..], || unsafe { behind(head) }.map_or(&b""[..], |head| head.reason()));
    // SAFETY: as this function's contract says.
    unsafe { put(length, reason.len()) };
    reason.as_ptr().cast()
}

/// How many fields there are.
///
/// # Safety
/// `head` is NULL (the answer is 0) or a head that is still lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_field_count(head: *const fcgate_head) -> usize {
    // SAFETY: as this function's contract says.
    guard(0, || unsafe { behind(head) }.map_or(0, |head| head.len()))
}

/// The field at a place, in the application's order. Not NUL-terminated.
///
/// Errors: FCGATE_E_NAME beyond the last field.
///
/// # Safety
/// `head` is NULL or a head that is still lent; the other pointers are NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_field(
    head: *const fcgate_head,
    index: usize,
    name: *mut *const c_char,
    name_length: *mut usize,
    value: *mut *const c_char,
    value_length: *mut usize,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let Some(head) = (unsafe { behind(head) }) else { return FCGATE_E_ARGUMENT };
        let Some((own_name, own_value)) = head.field(index) else { return FCGATE_E_NAME };
        // SAFETY: as this function's contract says.
        unsafe {
            put(name, own_name.as_ptr().cast());
            put(name_length, own_name.len());
            put(value, own_value.as_ptr().cast());
            put(value_length, own_value.len());
        }
        FCGATE_OK
    })
}

/// The value of the first field of a name, in any case of letters. Not NUL-terminated.
///
/// Errors: FCGATE_E_NAME where there is none.
///
/// # Safety
/// `head` is NULL or a head that is still lent; the other pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_find(
    head: *const fcgate_head,
    name: *const c_char,
    value: *mut *const c_char,
    value_length: *mut usize,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let (Some(head), Some(name)) = (unsafe { behind(head) }, unsafe { text(name) }) else {
            return FCGATE_E_ARGUMENT;
        };
        let Some(own_value) = head.find(name.as_bytes()) else { return FCGATE_E_NAME };
        // SAFETY: as this function's contract says.
        unsafe {
            put(value, own_value.as_ptr().cast());
            put(value_length, own_value.len());
        }
        FCGATE_OK
    })
}

/// The Content-Length, or FCGATE_LENGTH_UNKNOWN.
///
/// # Safety
/// `head` is NULL (the answer is FCGATE_LENGTH_UNKNOWN) or a head that is still lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_content_length(head: *const fcgate_head) -> u64 {
    guard(FCGATE_LENGTH_UNKNOWN, || {
        // SAFETY: as this function's contract says.
        unsafe { behind(head) }.and_then(|head| head.content_length()).unwrap_or(FCGATE_LENGTH_UNKNOWN)
    })
}

/// Whether a response with this head to a request of this method has a body: not for HEAD, 204 and
/// 304. 1 or 0.
///
/// # Safety
/// `head` is NULL or a head that is still lent; `method` points to `method_length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_has_body(
    head: *const fcgate_head,
    method: *const c_char,
    method_length: usize,
) -> u32 {
    guard(0, || {
        // SAFETY: as this function's contract says.
        let (Some(head), Some(method)) =
            (unsafe { behind(head) }, unsafe { bytes(method.cast(), method_length) })
        else {
            return 0;
        };
        u32::from(method != b"HEAD" && !matches!(head.status(), 204 | 304))
    })
}

/// Whether the application wants what it sends passed on to the client at once, where the host would
/// hold it back: `text/event-stream`, `X-Accel-Buffering: no`. 1 or 0.
///
/// # Safety
/// `head` is NULL or a head that is still lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_head_is_stream(head: *const fcgate_head) -> u32 {
    guard(0, || {
        // SAFETY: as this function's contract says.
        unsafe { behind(head) }.map_or(0, |head| u32::from(head.is_stream()))
    })
}
