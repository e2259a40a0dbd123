//! The timeouts and limits of an exchange, and when what happened in it.

use crate::cgi::HeadLimits;
use crate::config::RouteSettings;
use std::time::Duration;

/// The timeouts and limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest without progress while sending.
    pub send_timeout: Duration,
    /// The longest from the request's last byte to a whole head.
    pub head_timeout: Duration,
    /// The longest between two pieces of the body.
    pub read_timeout: Duration,
    /// The longest from the end of the response to END_REQUEST.
    pub end_timeout: Duration,
    /// The longest in all; zero is no limit.
    pub total_timeout: Duration,
    /// The limits of the response head.
    pub head: HeadLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&RouteSettings::default())
    }
}

impl From<&RouteSettings> for Limits {
    fn from(route: &RouteSettings) -> Self {
        Self {
            send_timeout: route.send_timeout,
            head_timeout: route.head_timeout,
            read_timeout: route.read_timeout,
            end_timeout: route.end_timeout,
            total_timeout: route.total_timeout,
            head: HeadLimits {
                max_bytes: usize::try_from(route.max_head_bytes).unwrap_or(usize::MAX),
                max_fields: usize::try_from(route.max_head_fields).unwrap_or(usize::MAX),
            },
        }
    }
}

/// When what happened, on the clock that is handed in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The exchange started.
    pub start: Duration,
    /// It began to wait in a queue.
    pub queue_since: Option<Duration>,
    /// Its wait in the queue ends.
    pub queue_until: Option<Duration>,
    /// Time spent in queues.
    pub queued: Duration,
    /// Connecting began; only while it lasts.
    pub connect_since: Option<Duration>,
    /// The last connection was made.
    pub connected: Option<Duration>,
    /// The last byte of the request was sent.
    pub sent: Option<Duration>,
    /// The head was complete.
    pub head: Option<Duration>,
    /// The response was whole.
    pub complete: Option<Duration>,
    /// The exchange was over.
    pub finished: Option<Duration>,
    /// The last progress either way.
    pub progress: Duration,
}

impl Times {
    pub(super) fn start(&mut self, now: Duration) {
        *self = Self { start: now, progress: now, ..Self::default() };
    }

    pub(super) fn chosen(&mut self, now: Duration) {
        if let Some(since) = self.queue_since.take() {
            self.queued += now.saturating_sub(since);
        }
        self.queue_until = None;
        self.sent = None;
    }

    pub(super) fn sent_or_start(&self) -> Duration {
        self.sent.unwrap_or(self.start)
    }
}
