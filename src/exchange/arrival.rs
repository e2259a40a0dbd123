//! What comes of the application: events of its records, breaches of the protocol, the end of its
//! connection.

use super::retry::Ended;
use super::{Cause, Closed, Exchange, Given, Notice, Step};
use crate::connection::{Event, Violation};
use crate::protocol::{EndRequest, ProtocolStatus};
use std::time::Duration;

impl Exchange {
    /// Something arrived for this exchange. What it brings for the host is returned.
    pub fn handle_event<'a>(&mut self, now: Duration, event: Event<'a>) -> Given<'a> {
        if self.step != Step::Flow {
            return Given::default();
        }
        let given = match event {
            Event::Stdout { bytes, .. } => self.handle_stdout(now, bytes),
            Event::Stderr { bytes, .. } => {
                self.response_byte = true;
                Given { stderr: bytes, ..Given::default() }
            }
            Event::StdoutEnd { .. } => {
                self.times.progress = now;
                self.response_byte = true;
                Given { complete: self.end_of_stdout(now), ..Given::default() }
            }
            Event::End { end, .. } => Given { complete: self.handle_end(now, end), ..Given::default() },
        };
        if self.is_overridden() { Given { stderr: given.stderr, ..Given::default() } } else { given }
    }

    /// Whether the response is an error that the host answers in its place. A 401 is nothing without
    /// its challenge, which is the application's.
    pub(super) fn is_overridden(&self) -> bool {
        let status = self.response.head.status();
        self.error_override && self.response.has_head() && status >= 400 && status != 401
    }

    fn handle_stdout<'a>(&mut self, now: Duration, bytes: &'a [u8]) -> Given<'a> {
        self.response_byte = true;
        self.times.progress = now;
        let passed = match self.response.stdout(bytes, &self.limits.head) {
            Ok(passed) => passed,
            Err(error) => {
                self.fail_with(now, Cause::BadHead, error.to_string());
                return Given::default();
            }
        };
        if passed.head {
            self.times.head = Some(now);
            if self.is_overridden() {
                self.response.discard_body();
            }
        }
        if passed.overrun {
            if let Some(declared) = self.response.declared() {
                self.notice = Some(Notice::BodyCut { declared, came: self.response.received() });
            }
            self.succeed(now, false);
        }
        Given { stderr: &[], head: passed.head, body: passed.body, complete: passed.overrun }
    }

    /// STDOUT is over: with its empty record, or with END_REQUEST. Returns whether the response
    /// is whole.
    fn end_of_stdout(&mut self, now: Duration) -> bool {
        self.stdout_ended = true;
        if !self.response.has_head() {
            return false;
        }
        if self.response.is_short() {
            let detail = format!(
                "Content-Length {} but {} bytes came",
                self.response.declared().unwrap_or(0),
                self.response.received()
            );
            self.fail_with(now, Cause::ShortBody, detail);
            return false;
        }
        self.times.complete = Some(now);
        true
    }

    fn handle_end(&mut self, now: Duration, end: EndRequest) -> bool {
        self.end = Some(end);
        self.ended = true;
        let refused = match end.protocol_status {
            ProtocolStatus::RequestComplete => {
                let complete = !self.stdout_ended && self.end_of_stdout(now);
                if self.step != Step::Flow {
                    return false;
                }
                if !self.response.has_head() {
                    let detail = format!("application status {}", end.app_status);
                    self.fail_with(now, Cause::NoHead, detail);
                    return false;
                }
                if !self.outgoing.is_complete() {
                    self.notice.get_or_insert(Notice::EarlyEnd);
                }
                let keep = self.outgoing.is_complete();
                self.succeed(now, keep);
                return complete;
            }
            ProtocolStatus::CantMultiplex => (Some(Ended::CantMultiplex), Cause::CantMultiplex),
            ProtocolStatus::Overloaded => (Some(Ended::Overloaded), Cause::Overloaded),
            ProtocolStatus::UnknownRole => (None, Cause::UnknownRole),
            ProtocolStatus::Other(_) => (None, Cause::UnknownStatus),
        };
        match refused {
            _ if self.stdout_ended && self.response.has_head() => self.succeed(now, false),
            (Some(ended), cause) if !self.response_byte => self.repeat_or_fail(now, ended, cause),
            (_, cause) => {
                let detail = format!("protocol status {}", end.protocol_status.to_wire());
                self.fail_with(now, cause, detail);
            }
        }
        false
    }

    /// The application broke the protocol.
    pub fn handle_violation(&mut self, now: Duration, violation: Violation) {
        if self.step == Step::Finished {
            self.keep = false;
        } else if self.stdout_ended && self.response.has_head() {
            // The client has its answer; only the connection is lost.
            self.notice = Some(Notice::Violation(violation));
            self.succeed(now, false);
        } else {
            self.fail_with(now, Cause::Protocol, violation.to_string());
        }
    }

    /// The connection was closed by the application.
    pub fn handle_closed(&mut self, now: Duration, closed: Closed, errno: i32) {
        self.last_errno = errno;
        if self.stdout_ended && self.response.has_head() {
            self.notice.get_or_insert(Notice::NoEnd);
            return self.succeed(now, false);
        }
        if self.response.has_head() {
            return self.fail(now, Cause::ClosedInBody);
        }
        if self.response_byte {
            return self.fail(now, Cause::ClosedInHead);
        }
        let ended = match closed {
            _ if self.on_kept => Ended::Reused,
            Closed::Reset => Ended::Unread,
            Closed::End => Ended::Fresh,
        };
        self.repeat_or_fail(now, ended, Cause::Closed);
    }

    // The end.
}
