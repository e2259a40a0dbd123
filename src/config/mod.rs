//! Pools, balancers and routes as configured: parsed, merged, checked, frozen.
//!
//! ```text
//! builder    what a host tells of its configuration, line by line
//! freeze     levels merged, the whole checked; immutable from then on
//! level      one level's lines, and which of several levels wins
//! check      what must hold beyond a single value
//! settings   the one table of settings, each line a setting
//! parse      values; line: a pool's line; suggest: the name that was meant
//! document   the table as Markdown and as a C header
//! ```

pub mod builder;
mod check;
pub mod document;
pub mod error;
pub mod freeze;
mod level;
pub mod line;
pub mod parse;
pub mod route;
pub mod setting;
pub mod settings;
pub mod suggest;

pub use builder::{BalancerId, Config, PoolId, RouteId};
pub use error::ConfigError;
pub use freeze::{BalancerConfig, Frozen, PoolConfig, RouteConfig};
pub use route::{Flush, RequestBody, ResponseBody, RouteSettings};
pub use setting::{Kind, Scope, Setting};
pub use settings::SETTINGS;
