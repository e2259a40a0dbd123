//! A thread of our own inside somebody else's process.
#![allow(unsafe_code)]

use std::io;
use std::mem::zeroed;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that takes none of the process's signals: they are the host's, and its handlers
/// expect to run on its own threads.
pub fn spawn_quiet(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // SAFETY: every bit pattern is a sigset_t; both are initialized by the calls that take them.
    let (mut all, mut before) = unsafe { (zeroed::<libc::sigset_t>(), zeroed::<libc::sigset_t>()) };
    // A thread inherits the mask of the one that starts it: block, start, restore.
    // SAFETY: the pointers are to valid sets.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    let thread = Builder::new().name(name.to_owned()).stack_size(256 << 10).spawn(body);
    // SAFETY: `before` was filled by the first call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    thread
}
