//! What of the application's response belongs to the client: the head first, then the body as far
//! as its Content-Length and the request's method allow (RFC 9110, sections 8.6 and 9.3.2).

use crate::cgi::{HeadError, HeadLimits, ResponseHead};

/// The most body bytes that are read and thrown away for HEAD, 204 and 304 so that the
/// connection stays usable.
pub const DISCARD_MAX: u64 = 1 << 20;

/// What one piece of STDOUT brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Passed<'a> {
    /// The head is complete with this piece.
    pub head: bool,
    /// Body bytes for the client.
    pub body: &'a [u8],
    /// The response went beyond its end: nothing more is passed on.
    pub overrun: bool,
}

/// The response of one attempt.
#[derive(Debug, Default)]
pub struct Response {
    /// The head; complete once [`Response::has_head`] says so.
    pub head: ResponseHead,
    has_head: bool,
    is_head_request: bool,
    bodiless: bool,
    declared: Option<u64>,
    received: u64,
}

impl Response {
    /// Forgets everything, for another attempt or exchange.
    pub fn clear(&mut self, is_head_request: bool) {
        self.head.clear();
        self.has_head = false;
        self.is_head_request = is_head_request;
        self.bodiless = false;
        self.declared = None;
        self.received = 0;
    }

    /// Has the body read and thrown away.
    pub fn discard_body(&mut self) {
        self.bodiless = true;
        self.declared = None;
    }

    /// Whether the head is complete.
    pub fn has_head(&self) -> bool {
        self.has_head
    }

    /// Body bytes that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The Content-Length by which the body is judged.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Whether the body is shorter than its Content-Length.
    pub fn is_short(&self) -> bool {
        self.declared.is_some_and(|declared| self.received < declared)
    }

    /// Whether the client has all that belongs to it, whatever else comes.
    pub fn is_delivered(&self) -> bool {
        self.has_head && (self.bodiless || self.declared.is_some_and(|declared| self.received >= declared))
    }

    /// Whether so many bytes of STDOUT would all be body for the client.
    pub fn passes(&self, count: usize) -> bool {
        let room = |declared: u64| declared.saturating_sub(self.received) >= count as u64;
        self.has_head && !self.bodiless && self.declared.is_none_or(room)
    }

    /// Takes bytes of STDOUT.
    pub fn stdout<'a>(&mut self, bytes: &'a [u8], limits: &HeadLimits) -> Result<Passed<'a>, HeadError> {
        if self.has_head {
            return Ok(self.body(bytes));
        }
        let progress = self.head.push(bytes, limits)?;
        if !progress.complete {
            return Ok(Passed::default());
        }
        self.has_head = true;
        self.bodiless = self.is_head_request || matches!(self.head.status(), 204 | 304);
        self.declared = if self.bodiless { None } else { self.head.content_length() };
        Ok(Passed { head: true, ..self.body(&bytes[progress.taken..]) })
    }

    fn body<'a>(&mut self, bytes: &'a [u8]) -> Passed<'a> {
        let before = self.received;
        self.received += bytes.len() as u64;
        if self.bodiless {
            return Passed { overrun: self.received > DISCARD_MAX, ..Passed::default() };
        }
        let Some(declared) = self.declared else {
            return Passed { body: bytes, ..Passed::default() };
        };
        let room = usize::try_from(declared.saturating_sub(before)).unwrap_or(usize::MAX);
        let body = &bytes[..bytes.len().min(room)];
        Passed { head: false, body, overrun: self.received > declared }
    }
}
