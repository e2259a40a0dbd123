//! The C API: checks, casts and the panic boundary; no logic. One file per C noun.
//!
//! `include/fcgate.h` is generated from these files and reads as documentation; what is said here of
//! ownership, threads and errors is said there.

pub mod boundary;
pub mod config;
pub mod error;
pub mod event_loop;
pub mod exchange;
pub mod forward;
pub mod gateway;
pub mod head;
pub mod info;
pub mod log;
pub mod request;
pub mod route;
pub mod settings;
pub mod status;
pub mod version;
