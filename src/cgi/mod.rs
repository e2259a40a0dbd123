//! CGI over FastCGI: the environment (HTTP request to params), script paths, and the response
//! head (CGI to HTTP). No socket, no file, no clock.

pub mod settings;

pub use settings::{EnvironmentSettings, Onoff, ParamRule, Preset};
