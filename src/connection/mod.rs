//! x

pub mod application;
