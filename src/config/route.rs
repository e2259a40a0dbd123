//! The settings of a route: one location's timeouts, bodies, retries and environment.

use crate::cgi::EnvironmentSettings;
use std::time::Duration;

/// What happens to a response that the client does not take as fast as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResponseBody {
    /// The application waits once so much of it is held in memory.
    #[default]
    Stream,
    /// It goes on to an unlinked file, so that a slow client does not hold a worker of the application.
    Spool,
}

/// What happens to a request body whose length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RequestBody {
    /// Taken whole first, in memory and then in an unlinked file, so that a slow client does not
    /// hold a worker of the application.
    #[default]
    Spool,
    /// Passed on as it comes.
    Stream,
}

/// When what has come of a response goes out to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Flush {
    /// Whenever the application pauses.
    #[default]
    Auto,
    /// After each piece.
    On,
    /// As the host's own buffers have it.
    Off,
}

/// The settings of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// The longest without progress while the request is sent.
    pub send_timeout: Duration,
    /// The longest until the response head is complete.
    pub head_timeout: Duration,
    /// The longest between two pieces of the response body.
    pub read_timeout: Duration,
    /// The longest wait for END_REQUEST after the response is complete.
    pub end_timeout: Duration,
    /// The longest a whole exchange may take; zero is no limit.
    pub total_timeout: Duration,
    /// What happens to a body of known length.
    pub request_body: RequestBody,
    /// Bytes of a spooled body that stay in memory before a file is used.
    pub request_memory: u64,
    /// The directory of spool files.
    pub spool_directory: String,
    /// The largest request body; 0 is no limit.
    pub max_body_bytes: u64,
    /// Response bytes kept aside while the host still writes the request (level B).
    pub response_memory: u64,
    /// Where what goes beyond that is kept.
    pub response_body: ResponseBody,
    /// How much of a response may lie in a file.
    pub response_file: u64,
    /// Largest response head.
    pub max_head_bytes: u64,
    /// Most fields in a response head.
    pub max_head_fields: u64,
    /// A request is tried again where that does no harm.
    pub retry: bool,
    /// The most attempts; 0 is no limit.
    pub max_tries: u32,
    /// After this time nothing is tried again; zero is no limit.
    pub retry_timeout: Duration,
    /// A method that is not idempotent may be repeated as if it were.
    pub retry_non_idempotent: bool,
    /// A method that is not idempotent may use an idle connection.
    pub reuse_non_idempotent: bool,
    /// The request is finished even if its client is gone.
    pub ignore_client_abort: bool,
    /// An error status of the application is answered by the host.
    pub error_override: bool,
    /// When the host is asked to flush.
    pub flush: Flush,
    /// An application that writes a line containing this to STDERR has failed the request (empty: never).
    pub catch_stderr: String,
    /// A file of further params, one `NAME value` a line (empty: none).
    pub params_file: String,
    /// A directory of further params, one file for each (empty: none).
    pub params_directory: String,
    /// What shapes the environment.
    pub environment: EnvironmentSettings,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            send_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            end_timeout: Duration::from_secs(1),
            total_timeout: Duration::ZERO,
            request_body: RequestBody::Spool,
            request_memory: 64 << 10,
            spool_directory: "/tmp".into(),
            max_body_bytes: 0,
            response_memory: 1 << 20,
            response_body: ResponseBody::Stream,
            response_file: 1 << 30,
            max_head_bytes: 64 << 10,
            max_head_fields: 1000,
            retry: true,
            max_tries: 0,
            retry_timeout: Duration::ZERO,
            retry_non_idempotent: false,
            reuse_non_idempotent: false,
            ignore_client_abort: false,
            error_override: false,
            flush: Flush::Auto,
            catch_stderr: String::new(),
            params_file: String::new(),
            params_directory: String::new(),
            environment: EnvironmentSettings::default(),
        }
    }
}
