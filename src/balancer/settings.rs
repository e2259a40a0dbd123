//! What can be set for a balancer.

use std::time::Duration;

/// How a balancer chooses among its pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// In turn, by weight, evenly spread (smooth weighted round robin).
    #[default]
    RoundRobin,
}

/// The settings of one balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerSettings {
    /// How a pool is chosen.
    pub method: Method,
    /// How long a request waits and tries again while the application restarts.
    pub restart_window: Duration,
}

impl Default for BalancerSettings {
    fn default() -> Self {
        Self { method: Method::RoundRobin, restart_window: Duration::from_secs(5) }
    }
}
