//! A descriptor that one thread makes readable to wake another's event loop.
//!
//! An eventfd where the system has one (one descriptor, eight bytes of kernel memory), else a pipe.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A wake-up: readable from `notify` until `clear`.
#[derive(Debug)]
pub struct Event(Inner);

#[derive(Debug)]
enum Inner {
    #[cfg(target_os = "linux")]
    Counter(OwnedFd),
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    Pipe { reader: OwnedFd, writer: OwnedFd },
}

impl Event {
    /// A new event that is not readable.
    pub fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: no pointers; the result is checked before it is owned.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call succeeded, so `fd` is open and nobody else's.
            Ok(Self(Inner::Counter(unsafe { OwnedFd::from_raw_fd(fd) })))
        }
        #[cfg(not(target_os = "linux"))]
        Self::pipe()
    }

    #[cfg(any(test, not(target_os = "linux")))]
    fn pipe() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        for end in [&reader, &writer] {
            // SAFETY: `end` is open; F_SETFL takes an integer.
            if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self(Inner::Pipe { reader, writer }))
    }

    /// Makes the event readable. Never blocks, never fails: an event that is full is readable.
    pub fn notify(&self) {
        let writer = match &self.0 {
            #[cfg(target_os = "linux")]
            Inner::Counter(fd) => fd,
            Inner::Pipe { writer, .. } => writer,
        };
        let one = 1u64.to_ne_bytes();
        // SAFETY: the pointer and length describe `one`; the descriptor is open and does not block.
        unsafe { libc::write(writer.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes every notification up to now.
    pub fn clear(&self) {
        let mut bytes = [0u8; 512];
        // One read empties a counter; a pipe is empty when a read is short.
        loop {
            // SAFETY: the pointer and length describe `bytes`; the descriptor does not block.
            let got = unsafe { libc::read(self.fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
            if got < bytes.len() as isize {
                return;
            }
        }
    }

    /// The descriptor to watch for readability.
    pub fn fd(&self) -> RawFd {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Inner::Counter(fd) => fd.as_raw_fd(),
            Inner::Pipe { reader, .. } => reader.as_raw_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(event: &Event) -> bool {
        let mut entry = libc::pollfd { fd: event.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; does not wait.
        unsafe { libc::poll(&mut entry, 1, 0) == 1 }
    }

    /// F10: a notification is seen until it is cleared, however many there were.
    #[test]
    fn readable_from_notify_until_clear() {
        for event in [Event::new().unwrap(), Event::pipe().unwrap()] {
            assert!(!readable(&event));
            for count in [1, 2, 100_000] {
                for _ in 0..count {
                    event.notify();
                }
                assert!(readable(&event));
                event.clear();
                assert!(!readable(&event));
            }
        }
    }
}
