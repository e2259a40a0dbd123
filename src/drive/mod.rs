//! The drives: they own every socket and perform what the exchange decides.

pub mod attempt;
pub mod blocking;
pub mod body;
mod dial;
pub mod engine;
pub mod event_loop;
pub mod forward;
mod held;
pub mod log;
pub mod param_files;
pub mod pull;
pub mod report;
pub mod request;
pub mod routes;
mod scratch;
pub mod start;
pub mod values;

pub use blocking::{Blocking, Client, NoClient, Progress};
pub use body::Body;
pub use dial::Source;
pub use engine::{Engine, Link};
pub use forward::{GiveUp, Host, forward};
pub use log::{Level, Log, Sink};
pub use request::{Fact, Request};
pub use routes::Route;
pub use scratch::Scratch;
pub use start::StartError;
