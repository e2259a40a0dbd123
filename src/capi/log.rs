//! The log callback.
#![allow(unsafe_code, non_camel_case_types)]

use crate::drive::{Level, Sink};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// A request failed.
pub const FCGATE_LOG_ERROR: u32 = 1;
/// Something is wrong, but no request failed by it.
pub const FCGATE_LOG_WARNING: u32 = 2;
/// Worth knowing; also what applications write to STDERR.
pub const FCGATE_LOG_NOTICE: u32 = 3;

// cbindgen writes literals only, so that the numbers stand here and there; this keeps them one.
const _: () = {
    assert!(FCGATE_LOG_ERROR == Level::Error as u32);
    assert!(FCGATE_LOG_WARNING == Level::Warning as u32);
    assert!(FCGATE_LOG_NOTICE == Level::Notice as u32);
};

/// Takes a log line of `length` bytes of UTF-8, without NUL and newline. Called by any thread that
/// uses the gateway, several at once; it must not throw or longjmp, and must not free the gateway.
pub type fcgate_log =
    Option<unsafe extern "C" fn(user: *mut c_void, level: u32, text: *const c_char, length: usize)>;

/// A pointer of the host's that is handed back to its callbacks.
#[derive(Clone, Copy)]
struct User(*mut c_void);

// SAFETY: it is never dereferenced here; the header tells the host that its log callback is called
// from any thread.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// The host's callback as the way to the log.
pub(super) fn sink(log: fcgate_log, user: *mut c_void) -> Option<Arc<Sink>> {
    let (log, user) = (log?, User(user));
    Some(Arc::new(move |level: Level, text: &str| {
        // SAFETY: the host gave a function of this type, and its pointer with it.
        unsafe { log(user.get(), level as u32, text.as_ptr().cast(), text.len()) }
    }))
}
