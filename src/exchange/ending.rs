//! How an exchange ends: its client is gone, its host gives it up, it is repeated, fails, or succeeds.

use super::retry::{Ended, Verdict};
use super::{Cause, Exchange, Failure, Step};
use std::time::Duration;

impl Exchange {
    /// The client closed its connection. One that has its whole answer leaves in order, and the
    /// application may end as it likes.
    pub fn handle_client_gone(&mut self, now: Duration) {
        let served = self.response.is_delivered() && !self.is_overridden();
        if self.step == Step::Flow && (self.ignore_client_abort || served || self.stdout_ended) {
            self.client_watched = false;
            return;
        }
        self.abort(now, Cause::ClientGone);
    }

    /// The exchange is over, but the host was not given all that came of the response, and will not be:
    /// its client is gone, it gave up, or what was held can't be read.
    pub fn handle_undelivered(&mut self, now: Duration, cause: Cause, errno: i32) {
        if self.step == Step::Finished && self.failure.is_none() {
            self.step = Step::Flow;
            self.last_errno = errno;
            self.fail(now, cause);
        }
    }

    /// No more of the response can be held for a client that takes it slowly, and its connection can't
    /// wait, because others share it.
    pub fn handle_client_slow(&mut self, now: Duration) {
        self.abort(now, Cause::ClientSlow);
    }

    /// The host gives the exchange up.
    pub fn handle_abort(&mut self, now: Duration) {
        self.abort(now, Cause::Aborted);
    }

    /// The application wrote a line to STDERR that fails the request.
    pub fn handle_caught_stderr(&mut self, now: Duration) {
        if !self.response.has_head() {
            self.abort(now, Cause::CaughtStderr);
        }
    }

    pub(super) fn abort(&mut self, now: Duration, cause: Cause) {
        if matches!(self.step, Step::Abort | Step::Finished) {
            return;
        }
        let tell = self.step == Step::Flow && !self.send_dead && self.outgoing.at_boundary();
        self.fail(now, cause);
        if tell {
            self.step = Step::Abort;
        }
    }

    pub(super) fn repeat_or_fail(&mut self, now: Duration, ended: Ended, cause: Cause) {
        let replayable = self.body_replayable || !self.consumed;
        let verdict = self.retry.judge(now, self.pool, ended, replayable);
        match verdict {
            Verdict::Now | Verdict::At(_) => self.begin_attempt(),
            Verdict::Never => return self.fail(now, cause),
        }
        if let Verdict::At(at) = verdict {
            self.step = Step::Pause(at);
        }
    }

    pub(super) fn fail(&mut self, now: Duration, cause: Cause) {
        self.fail_with(now, cause, String::new());
    }

    pub(super) fn fail_with(&mut self, now: Duration, cause: Cause, detail: String) {
        if self.step == Step::Finished {
            return;
        }
        let untouched =
            self.outgoing.accepted() == 0 || matches!(cause, Cause::Overloaded | Cause::CantMultiplex);
        self.failure = Some(Failure {
            cause,
            phase: self.phase(),
            errno: self.last_errno,
            elapsed: now.saturating_sub(self.times.start),
            retry_safe: !self.response_byte && (untouched || self.retry.is_idempotent()),
            detail,
        });
        self.finish(now, false);
    }

    pub(super) fn succeed(&mut self, now: Duration, keep: bool) {
        self.times.complete.get_or_insert(now);
        if self.is_overridden() {
            let detail = format!("status {}", self.response.head.status());
            self.fail_with(now, Cause::ErrorOverride, detail);
        }
        self.finish(now, keep);
    }

    pub(super) fn finish(&mut self, now: Duration, keep: bool) {
        self.times.finished = Some(now);
        self.keep = keep;
        self.step = Step::Finished;
    }
}
