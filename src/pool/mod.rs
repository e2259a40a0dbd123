//! A pool: one FastCGI application as a target. Its permits, queue, health and idle connections.

pub mod settings;

pub use settings::{KeepConn, PoolSettings};
