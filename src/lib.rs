//! fcgate: one FastCGI client engine for every C web server.
//!
//! The layers, each of which uses only what stands below it:
//!
//! ```text
//! capi         the C functions: checks, casts, the panic boundary; no logic
//! gateway      one process's live state: makes and owns what stands below
//! upkeep       idle expiry, name resolution, params files; one thread, started on first need
//! drive        blocking (the calling thread) and loop (a host's event loop): own every socket
//! exchange     the life of one request: decisions only, time is a parameter
//! connection   ids, streams, the clean state: bytes in and out of one connection, without its socket
//! config       the settings table; pools, balancers and routes as configured
//! balancer     methods over candidates
//! pool         permits, queue, health, idle stack
//! cgi          the environment (HTTP request to params), the response head, script paths
//! protocol     records and name-value pairs
//! os           sockets, clock, files: with drive and upkeep the only places that call the system
//! ```
//!
//! One exchange state machine serves both drives: it is asked for its next action and told what
//! came of it, and never acts itself.

pub mod balancer;
pub mod capi;

pub mod cgi;
pub mod config;
pub mod connection;
pub mod drive;
pub mod exchange;
pub mod gateway;
pub mod os;
pub mod pool;
pub mod protocol;
pub mod upkeep;
