//! CGI over FastCGI: the environment (HTTP request to params), script paths, and the response
//! head (CGI to HTTP). No socket, no file, no clock.

pub mod environment;
pub mod facts;
pub mod head;
mod header_params;
mod name_index;
pub mod param_file;
pub mod script;
pub mod settings;
pub mod stderr_lines;

pub use environment::{Environment, EnvironmentError, check_param_name};
pub use facts::{Facts, Files, PairList};
pub use head::{HeadError, HeadLimits, HeadProgress, HeadWarning, ResponseHead};
pub use settings::{EnvironmentSettings, Onoff, ParamRule, Preset};
pub use stderr_lines::StderrLines;
