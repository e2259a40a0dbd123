//! Why an exchange failed: a stable number, the phase, and what to tell the client.

use std::time::Duration;

/// Where an exchange stands, or stood when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u32)]
pub enum Phase {
    /// A pool is being chosen.
    #[default]
    Choose = 0,
    /// Waiting for a connection to become free.
    Queue = 1,
    /// Connecting.
    Connect = 2,
    /// Sending the request.
    Send = 3,
    /// Waiting for the response head.
    Head = 4,
    /// Receiving the response body.
    Body = 5,
    /// The response is whole; waiting for END_REQUEST.
    End = 6,
    /// Over.
    Done = 7,
}

impl Phase {
    /// One word for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Choose => "choose",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Head => "head",
            Self::Body => "body",
            Self::End => "end",
            Self::Done => "done",
        }
    }
}

/// What went wrong. The numbers are part of the C API and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Cause {
    /// The pool's queue was full.
    QueueFull = 100,
    /// No connection came free within `queue_timeout`.
    QueueTimeout = 101,
    /// Connecting failed for longer than the restart window allows.
    Connect = 102,
    /// Connecting took longer than `connect_timeout`.
    ConnectTimeout = 103,
    /// Every pool of the balancer is marked down.
    NoPool = 104,
    /// The application closed the connection before it answered.
    Closed = 110,
    /// The application closed the connection inside the response head.
    ClosedInHead = 111,
    /// The application closed the connection before the response was whole.
    ClosedInBody = 112,
    /// The application broke the protocol.
    Protocol = 113,
    /// The application did not take the request within `send_timeout`.
    SendTimeout = 120,
    /// No response head within `head_timeout`.
    HeadTimeout = 121,
    /// No more of the response within `read_timeout`.
    ReadTimeout = 122,
    /// The exchange took longer than `total_timeout`.
    TotalTimeout = 123,
    /// The response head is not one.
    BadHead = 130,
    /// The application ended the request without a response head.
    NoHead = 131,
    /// The response body is shorter than its Content-Length.
    ShortBody = 132,
    /// The application said that it is overloaded.
    Overloaded = 140,
    /// The application refused to multiplex, twice.
    CantMultiplex = 141,
    /// The application does not know the role.
    UnknownRole = 142,
    /// The application ended the request with a protocol status of its own.
    UnknownStatus = 143,
    /// The client closed its connection.
    ClientGone = 150,
    /// The request body ended before its length.
    RequestBodyShort = 151,
    /// The request body could not be read.
    RequestBody = 152,
    /// The host gave the exchange up.
    Aborted = 153,
    /// The application wrote a line to STDERR that `catch_stderr` names.
    CaughtStderr = 154,
    /// The application answered with an error status, which `error_override` leaves to the host.
    ErrorOverride = 155,
    /// The client took too little of a response on a shared connection, which can't wait for it.
    ClientSlow = 156,
    /// Descriptors, memory or disk ran out here.
    Resources = 160,
}

impl Cause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 28] = [
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Connect,
        Self::ConnectTimeout,
        Self::NoPool,
        Self::Closed,
        Self::ClosedInHead,
        Self::ClosedInBody,
        Self::Protocol,
        Self::SendTimeout,
        Self::HeadTimeout,
        Self::ReadTimeout,
        Self::TotalTimeout,
        Self::BadHead,
        Self::NoHead,
        Self::ShortBody,
        Self::Overloaded,
        Self::CantMultiplex,
        Self::UnknownRole,
        Self::UnknownStatus,
        Self::ClientGone,
        Self::RequestBodyShort,
        Self::RequestBody,
        Self::Aborted,
        Self::CaughtStderr,
        Self::ErrorOverride,
        Self::ClientSlow,
        Self::Resources,
    ];

    /// The status for the client, where no head has been passed on yet.
    pub fn http_status(self) -> u16 {
        match self {
            Self::QueueFull | Self::QueueTimeout | Self::Overloaded | Self::Resources => 503,
            Self::ConnectTimeout
            | Self::SendTimeout
            | Self::HeadTimeout
            | Self::ReadTimeout
            | Self::TotalTimeout => 504,
            Self::ClientGone | Self::Aborted => 499,
            Self::RequestBodyShort | Self::RequestBody => 400,
            Self::CaughtStderr => 500,
            _ => 502,
        }
    }

    /// The name in the C API, in logs and in docs.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoPool => "no_pool",
            Self::Closed => "closed",
            Self::ClosedInHead => "closed_in_head",
            Self::ClosedInBody => "closed_in_body",
            Self::Protocol => "protocol",
            Self::SendTimeout => "send_timeout",
            Self::HeadTimeout => "head_timeout",
            Self::ReadTimeout => "read_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::BadHead => "bad_head",
            Self::NoHead => "no_head",
            Self::ShortBody => "short_body",
            Self::Overloaded => "overloaded",
            Self::CantMultiplex => "cant_multiplex",
            Self::UnknownRole => "unknown_role",
            Self::UnknownStatus => "unknown_status",
            Self::ClientGone => "client_gone",
            Self::RequestBodyShort => "request_body_short",
            Self::RequestBody => "request_body",
            Self::Aborted => "aborted",
            Self::CaughtStderr => "caught_stderr",
            Self::ErrorOverride => "error_override",
            Self::ClientSlow => "client_slow",
            Self::Resources => "resources",
        }
    }

    /// What a person should look at.
    pub fn hint(self) -> &'static str {
        match self {
            Self::QueueFull | Self::QueueTimeout => {
                "all connections of the pool are busy: look for slow requests, or raise max_connections together with the application's workers"
            }
            Self::Connect | Self::NoPool => {
                "is the application running, is its socket at this address, and may this process open it?"
            }
            Self::ConnectTimeout => {
                "the application's listen backlog is full or its host does not answer: look at its workers and at the network"
            }
            Self::Closed | Self::ClosedInHead | Self::ClosedInBody => {
                "a worker of the application ended in the middle of a request: look at the application's error log"
            }
            Self::Protocol => "is it a FastCGI application that listens at this address?",
            Self::SendTimeout => "the application does not read its request: look whether its workers hang",
            Self::HeadTimeout | Self::ReadTimeout | Self::TotalTimeout => {
                "the script takes long: look at the application's slow log, or raise the timeout for this route"
            }
            Self::BadHead | Self::NoHead => {
                "look at the application's error log and at what the script prints first"
            }
            Self::ShortBody => "the script sent less than the Content-Length it announced",
            Self::Overloaded => "the application has no worker left: raise their number",
            Self::CantMultiplex => "set multiplex=off for this pool",
            Self::UnknownRole => "the application does not answer requests of this role",
            Self::UnknownStatus => "look at the application's error log",
            Self::ClientGone => "nothing is wrong here: the client closed its connection",
            Self::RequestBodyShort | Self::RequestBody => "the client did not send the whole body",
            Self::Aborted => "the web server gave the request up",
            Self::CaughtStderr => "look at the application's error log",
            Self::ErrorOverride => "nothing is wrong here: error_override leaves the page to the web server",
            Self::ClientSlow => {
                "a client takes its response slowly: set response_body=spool, or raise response_memory or response_file"
            }
            Self::Resources => "look at this process's limits on open files and memory, and at the disk",
        }
    }
}

/// Every cause with its number, the client's status and what to look at, as a page of the docs.
/// `what` says in words what happened.
pub fn markdown(what: impl Fn(Cause) -> String) -> String {
    let mut text = String::new();
    for cause in Cause::ALL {
        let status = match (cause, cause.http_status()) {
            (Cause::ErrorOverride, _) => "that of the application".into(),
            (Cause::ClosedInBody | Cause::ReadTimeout | Cause::ShortBody | Cause::ClientSlow, _) => {
                "none: its response is cut".to_owned()
            }
            (_, 499) => "none: nobody is left to answer".into(),
            (_, status) => status.to_string(),
        };
        text.push_str(&format!(
            "### {}\n\n{}.\n\n| | |\n|---|---|\n| Number | {} |\n| The client gets | {status} |\n\
             | Look at | {} |\n\n",
            cause.name(),
            what(cause),
            cause as i32,
            cause.hint()
        ));
    }
    text
}

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub cause: Cause,
    /// Where.
    pub phase: Phase,
    /// The system's error number, or 0.
    pub errno: i32,
    /// Since the start of the exchange.
    pub elapsed: Duration,
    /// Whether the same request may be sent again without harm: no application can have seen it,
    /// or its method is idempotent.
    pub retry_safe: bool,
    /// More words, where there are any: which limit, which field.
    pub detail: String,
}
