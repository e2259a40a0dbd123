//! Which deadline holds in which phase, and what its passing means.

use super::{Cause, Exchange, Notice, Phase};
use std::time::Duration;

impl Exchange {
    /// The deadline that comes first now, and what it would be the cause of.
    pub(super) fn deadline(&self) -> Option<(Duration, Cause)> {
        let waits_for_body = self.body_pending && !self.outgoing.is_pending();
        let of_phase = match self.phase() {
            Phase::Queue => self.times.queue_until.map(|at| (at, Cause::QueueTimeout)),
            Phase::Connect => {
                self.times.connect_since.map(|since| (since + self.connect_timeout, Cause::ConnectTimeout))
            }
            Phase::Choose if self.times.connect_since.is_some() => {
                self.times.connect_since.map(|since| (since + self.connect_timeout, Cause::ConnectTimeout))
            }
            Phase::Send if !waits_for_body => {
                Some((self.times.progress + self.limits.send_timeout, Cause::SendTimeout))
            }
            Phase::Head => Some((self.times.sent_or_start() + self.limits.head_timeout, Cause::HeadTimeout)),
            Phase::Body if !self.paused => {
                Some((self.times.progress + self.limits.read_timeout, Cause::ReadTimeout))
            }
            Phase::End => Some((self.times.progress + self.limits.end_timeout, Cause::NoHead)),
            _ => None,
        };
        let total = (!self.limits.total_timeout.is_zero() && !self.stdout_ended)
            .then(|| (self.times.start + self.limits.total_timeout, Cause::TotalTimeout));
        match (of_phase, total) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// Acts on a deadline that has passed.
    pub(super) fn judge_deadlines(&mut self, now: Duration) {
        let Some((at, cause)) = self.deadline() else { return };
        if now < at {
            return;
        }
        match cause {
            Cause::ConnectTimeout => self.handle_connect_failed(now, 0, true),
            Cause::NoHead if self.response.has_head() => {
                self.notice.get_or_insert(Notice::NoEnd);
                self.succeed(now, false);
            }
            Cause::SendTimeout | Cause::HeadTimeout | Cause::ReadTimeout | Cause::TotalTimeout
                if self.id != 0 =>
            {
                self.abort(now, cause);
            }
            _ => self.fail(now, cause),
        }
    }
}
