//! All servers under load that is none of their fault: clients that hardly read, an application that hardly
//! does, events beside downloads, and clients that leave at any moment.
//!
//! Each has a short form, which proves by cause and effect, and a full one for `make proofs`, which measures.

mod events;
mod laid_aside;
mod leavers;
mod reader;
mod server;
mod slow;
mod uploads;
