//! The host's side of an exchange in tests.

// Each test crate uses some of it.
#![allow(dead_code)]

use fcgate::cgi::ResponseHead;
use fcgate::config::Config;
use fcgate::drive::{Client, GiveUp, Host};
use fcgate::gateway::Gateway;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A host that keeps what it is given.
#[derive(Default)]
pub struct Keep {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// How long the pieces were in which it came.
    pub lengths: Vec<usize>,
    /// Called with the head.
    pub on_head: Option<Box<dyn Fn()>>,
    /// How often the response was said to be whole.
    pub completes: usize,
    /// Watched for its end.
    pub client: Option<UnixStream>,
    /// What the body callback gives; `None`: it can't be read.
    pub pieces: Option<Vec<Vec<u8>>>,
}

impl Client for Keep {
    fn fd(&self) -> Option<RawFd> {
        self.client.as_ref().map(AsRawFd::as_raw_fd)
    }

    fn is_gone(&mut self) -> bool {
        false
    }
}

impl Host for Keep {
    fn body(&mut self, buffer: &mut [u8]) -> Result<usize, GiveUp> {
        let pieces = self.pieces.as_mut().ok_or(GiveUp::Aborted)?;
        let piece = if pieces.is_empty() { Vec::new() } else { pieces.remove(0) };
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }

    fn head(&mut self, head: &ResponseHead) -> Result<(), GiveUp> {
        self.status = head.status();
        self.on_head.iter().for_each(|call| call());
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), GiveUp> {
        self.body.extend_from_slice(bytes);
        self.lengths.push(bytes.len());
        Ok(())
    }

    fn wants_flush(&self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<(), GiveUp> {
        Ok(())
    }

    fn complete(&mut self) -> Result<(), GiveUp> {
        self.completes += 1;
        Ok(())
    }

    fn stderr_line(&mut self, _: &str) -> bool {
        true
    }
}

/// A gateway of one line of configuration, with one route.
pub fn gateway(line: &str) -> Gateway {
    let mut config = Config::from_line(line).unwrap();
    if config.route_count() == 0 {
        config.route("", None, Some("default")).unwrap();
    }
    Gateway::new(Arc::new(config.freeze().unwrap()), None).unwrap()
}
