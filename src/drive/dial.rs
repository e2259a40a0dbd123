//! A socket made ready for connecting, as its pool wants it.

use crate::os::SocketAddress;
use crate::os::socket::Stream;
use crate::pool::PoolSettings;
use std::io;

/// Does to a new socket what its pool's settings say. An error is one of this address, not of this
/// process: the next address may do.
pub fn prepare(stream: &Stream, address: &SocketAddress, settings: &PoolSettings) -> io::Result<()> {
    if !matches!(address, SocketAddress::Inet(_)) {
        return Ok(());
    }
    if settings.tcp_keepalive {
        stream.keep_alive()?;
    }
    match settings.bind {
        Some(source) => stream.bind(source, settings.bind_transparent),
        None => Ok(()),
    }
}
