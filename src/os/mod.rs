//! The operating system: addresses, sockets, clock, files.
