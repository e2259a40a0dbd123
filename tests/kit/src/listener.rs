//! The sockets of a scripted application, whatever their family.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::PathBuf;
use std::time::Duration;

/// Where an application listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Path(PathBuf),
    Abstract(String),
    Tcp(SocketAddr),
}

impl Address {
    /// As fcgate's settings spell it.
    pub(crate) fn spelling(&self) -> String {
        match self {
            Self::Path(path) => format!("unix:{}", path.display()),
            Self::Abstract(name) => format!("unix:@{name}"),
            Self::Tcp(address) => address.to_string(),
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Binds and listens; a port of 0 is filled in.
    pub(crate) fn bind(address: &mut Address, backlog: Option<i32>) -> io::Result<Self> {
        let listener = match address {
            Address::Path(path) => {
                let listener = UnixListener::bind(&*path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
                Self::Unix(listener)
            }
            Address::Abstract(name) => {
                Self::Unix(UnixListener::bind_addr(&UnixAddr::from_abstract_name(&*name)?)?)
            }
            Address::Tcp(to) => {
                let listener = TcpListener::bind(*to)?;
                *to = listener.local_addr()?;
                Self::Tcp(listener)
            }
        };
        if let Some(backlog) = backlog {
            // SAFETY: a plain call on a socket that is ours; listening again sets the backlog.
            check(unsafe { libc::listen(listener.fd(), backlog) })?;
        }
        match &listener {
            Self::Unix(socket) => socket.set_nonblocking(true)?,
            Self::Tcp(socket) => socket.set_nonblocking(true)?,
        }
        Ok(listener)
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::Unix(socket) => socket.as_raw_fd(),
            Self::Tcp(socket) => socket.as_raw_fd(),
        }
    }

    /// A connection, if one comes within `time`.
    pub(crate) fn accept(&self, time: Duration) -> Option<Socket> {
        poll(self.fd(), libc::POLLIN, time);
        let (fd, peer): (OwnedFd, _) = match self {
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().ok()?;
                stream.set_nonblocking(false).ok()?;
                (stream.into(), None)
            }
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().ok()?;
                stream.set_nonblocking(false).ok()?;
                stream.set_nodelay(true).ok()?;
                (stream.into(), Some(peer))
            }
        };
        Some(Socket { file: fd.into(), peer, unix: matches!(self, Self::Unix(_)) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Closing is not enough: a child of another test that was forked and does not run its program yet
        // has the socket too.
        // SAFETY: a plain call on a socket that is ours.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_RDWR) };
    }
}

/// Waits for events; returns those that came.
fn poll(fd: RawFd, events: i16, time: Duration) -> i16 {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, alive for the call.
    unsafe { libc::poll(&mut entry, 1, time.as_millis() as i32) };
    entry.revents
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An accepted connection; reads and writes through [`Socket::file`] block.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) file: File,
    pub(crate) peer: Option<SocketAddr>,
    unix: bool,
}

impl Socket {
    /// Ends both directions, so that whoever blocks on the socket wakes up.
    pub(crate) fn shut_down(&self) {
        self.shutdown(libc::SHUT_RDWR);
    }

    pub(crate) fn close_sending(&self) {
        self.shutdown(libc::SHUT_WR);
    }

    fn shutdown(&self, how: i32) {
        // SAFETY: a plain call on a socket that is ours.
        unsafe { libc::shutdown(self.file.as_raw_fd(), how) };
    }

    /// Makes the close that follows a reset.
    pub(crate) fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the option is of that type and size, and alive for the call.
        unsafe {
            libc::setsockopt(
                self.file.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size,
            )
        };
    }

    /// After the end of what the peer sends: whether it still receives. Only a unix socket can
    /// tell, because a TCP peer that closes looks at first like one that only stops sending.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.unix && poll(self.file.as_raw_fd(), 0, Duration::ZERO) & libc::POLLHUP == 0
    }

    /// Bytes that the peer has not read; over TCP, those that it has not acknowledged.
    pub(crate) fn unread(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the call writes one int, which is alive.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TIOCOUTQ, &mut count) };
        if result < 0 { 0 } else { count as usize }
    }
}

/// Connects to a unix socket without waiting, as long as its backlog takes it.
pub(crate) fn connect_unless_full(address: &Address) -> io::Result<OwnedFd> {
    let Address::Path(path) = address else {
        return Err(io::Error::other("only the backlog of a unix socket with a file can be filled"));
    };
    // SAFETY: all zeros are a valid sockaddr_un.
    let mut name: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    name.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_encoded_bytes();
    assert!(bytes.len() < name.sun_path.len(), "{} is too long", path.display());
    for (to, from) in name.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a plain call; what it returns is checked and owned at once.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    check(fd)?;
    // SAFETY: just made and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the name is of that size and alive for the call.
    check(unsafe { libc::connect(fd, (&raw const name).cast(), size) })?;
    Ok(socket)
}
