//! The tests' kit.
