//! A balancer: a named choice among pools.

pub mod settings;

pub use settings::{BalancerSettings, Method};
