//! What can be set for a pool.

use std::net::SocketAddr;
use std::time::Duration;

/// Whether connections are kept after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeepConn {
    /// Keep while the pool's capacity is known (`max_connections`), else close: an idle kept
    /// connection occupies a whole worker of php-fpm and its like.
    #[default]
    Auto,
    /// Keep.
    On,
    /// One exchange a connection.
    Off,
}

/// The settings of one pool, beside its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Share of the requests, against the other pools of the balancer.
    pub weight: u32,
    /// Chosen only while no other pool can be had.
    pub backup: bool,
    /// New clients go elsewhere.
    pub drain: bool,
    /// After a failure its part grows to the full one within this time; zero: at once.
    pub slow_start: Duration,
    /// After a failure it is left alone for this time while others are up; zero: as long as its
    /// backoff says.
    pub disable_time: Duration,
    /// The most connections at once, idle ones included; 0 is no limit.
    pub max_connections: u32,
    /// The most idle connections that are kept.
    pub max_idle: u32,
    /// An idle connection is closed after this time.
    pub idle_timeout: Duration,
    /// Exchanges on a connection before it is closed; 0 is no limit.
    pub max_requests: u32,
    /// A connection older than this is closed after its exchange; zero is no limit.
    pub max_age: Duration,
    /// Whether connections are kept.
    pub keep_conn: KeepConn,
    /// Several exchanges on a connection at once (loop drives only).
    pub multiplex: bool,
    /// The most requests that wait for a connection.
    pub queue_length: u32,
    /// The longest that a request waits for a connection.
    pub queue_timeout: Duration,
    /// The most addresses of its name that are used at once.
    pub max_addresses: u32,
    /// A name is looked up again after this time.
    pub resolve_interval: Duration,
    /// The longest that connecting to one address may take.
    pub connect_timeout: Duration,
    /// The address that TCP connections come from; its port may be 0.
    pub bind: Option<SocketAddr>,
    /// That address may be another machine's.
    pub bind_transparent: bool,
    /// The system probes silent TCP connections.
    pub tcp_keepalive: bool,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            weight: 1,
            backup: false,
            drain: false,
            slow_start: Duration::ZERO,
            disable_time: Duration::ZERO,
            max_connections: 0,
            max_idle: 64,
            idle_timeout: Duration::from_secs(10),
            max_requests: 0,
            max_age: Duration::ZERO,
            keep_conn: KeepConn::Auto,
            multiplex: false,
            queue_length: 1024,
            queue_timeout: Duration::from_secs(10),
            max_addresses: 8,
            resolve_interval: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            bind: None,
            bind_transparent: false,
            tcp_keepalive: false,
        }
    }
}

impl PoolSettings {
    /// Whether a connection may be kept after its exchange: what BEGIN_REQUEST says.
    pub fn keeps_connections(&self) -> bool {
        match self.keep_conn {
            KeepConn::Auto => self.max_connections > 0 || self.multiplex,
            KeepConn::On => true,
            KeepConn::Off => false,
        }
    }
}
