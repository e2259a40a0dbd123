//! What goes between an exchange and its drive: the plan at the start, the actions, what they bring.

use super::timing::Limits;
use crate::connection::Violation;
use crate::protocol::Role;
use std::time::Duration;

/// What is to be sent, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The role.
    pub role: Role,
    /// PARAMS records with their empty one.
    pub params: &'a [u8],
    /// Bytes of the body; 0 for none.
    pub body_length: u64,
    /// Whether the whole body can be had again from its start.
    pub body_replayable: bool,
    /// GET, HEAD or OPTIONS, or the route says that everything may be repeated.
    pub idempotent: bool,
    /// Whether a kept connection may serve the first attempt.
    pub may_reuse: bool,
    /// The method is HEAD.
    pub is_head_request: bool,
    /// What its pool is chosen by, where the balancer goes by something of the request.
    pub key: Option<u64>,
    /// How many pools the balancer has.
    pub pools: usize,
    /// How long the application's restart is waited out.
    pub restart_window: Duration,
    /// The most attempts, the first included; 0 is no bound.
    pub max_tries: u32,
    /// After this time nothing is repeated; zero is no bound.
    pub retry_timeout: Duration,
    /// The client's going away does not end the exchange.
    pub ignore_client_abort: bool,
    /// A response with an error status is the host's to answer.
    pub error_override: bool,
    /// Timeouts and limits.
    pub limits: Limits,
}

/// What to wait for; whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Wait {
    /// The application's socket becomes readable.
    pub readable: bool,
    /// The application's socket becomes writable.
    pub writable: bool,
    /// A connection or a permit comes free.
    pub permit: bool,
    /// The client goes away.
    pub client: bool,
    /// The host has more of the request's body.
    pub body: bool,
    /// This time comes.
    pub until: Option<Duration>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Choose a pool and take a connection or a permit from it. Answer with `handle_kept`,
    /// `handle_permit`, `handle_queued`, `handle_queue_full` or `handle_no_pool`.
    Acquire {
        /// Whether an idle connection will do.
        reuse: bool,
    },
    /// Connect, or go on with it. Answer with `handle_connected`, `handle_connecting`,
    /// `handle_backlog_full` or `handle_connect_failed`.
    Connect,
    /// Set the body back to its start. Answer with `handle_rewound`.
    Rewind,
    /// Get the next chunk of the request's body. Answer with `handle_body`,
    /// `handle_body_pending` or `handle_body_failed`.
    Body,
    /// Send what `outgoing` holds, without blocking. Answer with `handle_sent` or
    /// `handle_send_failed`.
    Transmit,
    /// Receive. Answer with events, `handle_nothing_received` or `handle_closed`.
    Receive {
        /// Whether to block for a while when nothing is there: there is nothing to send.
        may_block: bool,
    },
    /// Wait. Answer with `handle_ready`, or poll again when the time has come.
    Wait(Wait),
    /// Send ABORT_REQUEST, as far as it goes without blocking, and poll again.
    Abort,
    /// The exchange is over; see [`Exchange::failure`](super::Exchange::failure).
    Finish {
        /// The connection may be kept, if it is clean and its pool allows it.
        keep: bool,
    },
}

/// What one event brought for the host, to be passed on in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Given<'a> {
    /// Bytes of STDERR.
    pub stderr: &'a [u8],
    /// The response head is complete.
    pub head: bool,
    /// Bytes of the response body.
    pub body: &'a [u8],
    /// The response is whole.
    pub complete: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// In order: end of file.
    End,
    /// Reset: the application went away with bytes unread.
    Reset,
}

/// What a person should know of an exchange that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The body was longer than its Content-Length and was cut there.
    BodyCut {
        /// The Content-Length.
        declared: u64,
        /// Bytes that came, as far as they were counted.
        came: u64,
    },
    /// The application never said END_REQUEST.
    NoEnd,
    /// The application answered before it had the whole request.
    EarlyEnd,
    /// The application broke the protocol after its response was whole.
    Violation(Violation),
}
