//! What can be set for a balancer.

use std::time::Duration;

/// What of a request the method `hash` goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A param, as the application gets it.
    Param(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
}

/// How a balancer chooses among its pools.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// In turn, by weight, evenly spread (smooth weighted round robin).
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way, by weight.
    LeastConnections,
    /// The one that answers soonest, by what it took of late and what is under way.
    LeastTime,
    /// The less busy one of two that are drawn at random, by weight.
    RandomTwo,
    /// By the network of the client.
    IpHash,
    /// By a key of the request.
    Hash(HashKey),
    /// The one that a cookie of this name says; without it in turn.
    Sticky(Box<str>),
    /// The first that can be had.
    Failover,
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
