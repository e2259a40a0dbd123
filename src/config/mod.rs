//! Pools, balancers and routes as configured: parsed, merged, checked, frozen.

pub mod route;

pub use route::{RequestBody, RouteSettings};
