//! A socket made ready for connecting, as its pool wants it.

use crate::os::SocketAddress;
use crate::os::socket::Stream;
use crate::pool::PoolSettings;
use std::io;
use std::net::SocketAddr;

/// Where the connection for one request comes from, in place of what its pool's settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address; its port may be 0.
    pub address: SocketAddr,
    /// It may be another machine's.
    pub transparent: bool,
}

/// Does to a new socket what its pool's settings say, and the request itself. An error is one of this
/// address, not of this process: the next address may do.
pub fn prepare(
    stream: &Stream,
    address: &SocketAddress,
    settings: &PoolSettings,
    own: Option<Source>,
) -> io::Result<()> {
    if !matches!(address, SocketAddress::Inet(_)) {
        return Ok(());
    }
    if settings.tcp_keepalive {
        stream.keep_alive()?;
    }
    let of_pool = || settings.bind.map(|address| Source { address, transparent: settings.bind_transparent });
    match own.or_else(of_pool) {
        Some(source) => stream.bind(source.address, source.transparent),
        None => Ok(()),
    }
}
