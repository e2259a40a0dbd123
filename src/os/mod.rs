//! The operating system: addresses, sockets, clock, files.
//!
//! The only layer (with the C boundary) that holds `unsafe`: every system call that std does not
//! offer in the shape needed stands here, behind a safe function. Nothing here decides anything.

pub mod address;
pub mod clock;
pub mod event;
pub mod file;
pub mod random;
pub mod socket;
pub mod thread;

pub use address::{Address, AddressError, SocketAddress};
pub use event::Event;
pub use file::{FileSlice, SpoolFile, SystemFiles};
pub use socket::{Connect, Interest, Mode, Ready, Stream, client_gone, client_room, poll_two};
