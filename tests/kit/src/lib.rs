//! The tests' kit: a scripted FastCGI application, launchers of real ones, and an HTTP client.
//!
//! What the kit says of the engine must not rest on the engine: of fcgate it uses the bytes of
//! records and pairs and nothing more, and judges what arrives with rules of its own. Nothing
//! here sleeps to let something happen: a test waits for what it wants to see, and a wait that
//! is in vain ends with a panic that tells what was seen instead.
//!
//! ```no_run
//! use fcgate_kit::{Application, Reply};
//!
//! let application = Application::unix().reply(Reply::new().stdout("Status: 200\r\n\r\nhi").end()).start();
//! // ... a request to application.address() ...
//! let request = application.request(0);
//! assert_eq!(request.param("REQUEST_METHOD"), Some("GET"));
//! application.assert_no_violations();
//! ```

pub mod apache;
pub mod application;
pub mod builder;
pub mod bytes;
pub mod cases;
pub mod cookies;
pub mod directory;
pub mod form;
pub mod fuzz;
pub mod http;
pub mod lighttpd;
mod listener;
pub mod load;
pub mod nginx;
pub mod php_fpm;
mod player;
pub mod poll_loop;
pub mod process;
pub mod recorder;
mod sanitizers;
pub mod script;
pub mod unix_sockets;
pub mod usage;
pub mod valgrind;

pub use apache::{Apache, Mpm};
pub use application::Application;
pub use builder::{Builder, Closing};
pub use directory::{Directory, free_port};
pub use http::{Client, Ending, Request, Response};
pub use lighttpd::Lighttpd;
pub use nginx::Nginx;
pub use php_fpm::PhpFpm;
pub use poll_loop::{Outcome, PollLoop};
pub use process::Process;
pub use recorder::Recorded;
pub use script::{Gate, Moment, Reply, Step, interleave};
