//! Pools, balancers and routes as configured: parsed, merged, checked, frozen.

pub mod error;
pub mod line;
pub mod parse;
pub mod route;
pub mod setting;
pub mod settings;
pub mod suggest;

pub use error::ConfigError;
pub use route::{RequestBody, RouteSettings};
pub use setting::{Kind, Scope, Setting};
pub use settings::SETTINGS;
