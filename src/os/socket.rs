//! Sockets to applications, and a glance at the client's.
//!
//! Every send is `MSG_NOSIGNAL | MSG_DONTWAIT`, in either mode: no SIGPIPE ever reaches the host
//! (std's vectored writes would raise it), and a full socket buffer is the caller's to wait for.
//! A blocking socket waits in `recv` and in `connect` only, for one slice each (`SO_RCVTIMEO`,
//! `SO_SNDTIMEO`): a passed slice is the caller's chance to look at its deadline and its client, so
//! that the common exchange needs two system calls and no `poll`. Interrupted calls are surfaced for
//! the same reason.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{offset_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::address::SocketAddress;

/// The most slices that one `sendmsg` takes (Linux: `UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;

/// Whether calls on a socket may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `connect` and `recv` wait one slice each: the blocking drive.
    Blocking,
    /// Nothing waits: the loop drive.
    NonBlocking,
}

/// How a connect went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Connected.
    Done,
    /// TCP: under way. When the socket is writable, `finish_connect` tells how it went.
    InProgress,
    /// The backlog of the unix socket is full. No event will come: call `connect` again, a blocking
    /// socket at once (it has waited a slice), any other after a moment.
    Again,
}

/// What to wait for on the application's socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Wake when there is something to receive, or the end.
    pub readable: bool,
    /// Wake when there is room to send.
    pub writable: bool,
    /// Wake when the client has closed its end, or its half of it.
    pub client_end: bool,
    /// Wake when there is room to send to the client.
    pub client_writable: bool,
}

/// What a wait brought; all false when the time has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Receiving from the application will not wait (bytes, the end, or an error).
    pub readable: bool,
    /// Sending to the application will not wait (room, or an error).
    pub writable: bool,
    /// The client has closed, or its connection failed.
    pub client_gone: bool,
    /// The client takes more.
    pub client_writable: bool,
}

/// One socket to an application; closed when dropped.
#[derive(Debug)]
pub enum Stream {
    /// A plain unix or TCP socket.
    Plain(OwnedFd),
}

impl Stream {
    /// A new socket of the family of this address, closed on exec from its creation. On TCP small
    /// records leave at once (`TCP_NODELAY`).
    pub fn new(address: &SocketAddress, mode: Mode) -> io::Result<Self> {
        let family = match address {
            SocketAddress::Unix(_) => libc::AF_UNIX,
            SocketAddress::Inet(SocketAddr::V4(_)) => libc::AF_INET,
            SocketAddress::Inet(SocketAddr::V6(_)) => libc::AF_INET6,
        };
        let wait = if mode == Mode::NonBlocking { libc::SOCK_NONBLOCK } else { 0 };
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | wait, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so `fd` is open and nobody else's.
        let stream = Self::Plain(unsafe { OwnedFd::from_raw_fd(fd) });
        if family != libc::AF_UNIX {
            stream.set_option(libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)?;
        }
        Ok(stream)
    }

    /// Bounds every wait of a blocking socket: a `recv` or `connect` that takes longer comes back
    /// with `WouldBlock` (or `Connect::Again`, `Connect::InProgress`). Set once, before connecting.
    pub fn set_slice(&self, slice: Duration) -> io::Result<()> {
        // Zero would mean to wait forever.
        let slice = slice.max(Duration::from_micros(1));
        let time = libc::timeval {
            tv_sec: slice.as_secs() as libc::time_t,
            tv_usec: slice.subsec_micros() as libc::suseconds_t,
        };
        self.set_option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)?;
        self.set_option(libc::SOL_SOCKET, libc::SO_SNDTIMEO, &time)
    }

    fn set_option<T>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the pointer and length describe `value`; the descriptor is open.
        check(unsafe { libc::setsockopt(self.as_raw_fd(), level, name, (&raw const *value).cast(), length) })
    }

    /// Has a TCP socket come from this address, of a port of the system's choice if it has none; `foreign`:
    /// also from another machine's address (Linux). Before connecting.
    pub fn bind(&self, source: SocketAddr, foreign: bool) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            if foreign {
                let (level, name) = match source {
                    SocketAddr::V4(_) => (libc::SOL_IP, libc::IP_TRANSPARENT),
                    SocketAddr::V6(_) => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
                };
                self.set_option(level, name, &1i32)?;
            }
            // The port is chosen when the peer is known: so two connections to two peers may have one port.
            if source.port() == 0 {
                let _ = self.set_option(libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32);
            }
        }
        #[cfg(not(target_os = "linux"))]
        if foreign {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let raw = RawAddress::new(&SocketAddress::Inet(source))?;
        // SAFETY: pointer and length describe `raw`.
        check(unsafe { libc::bind(self.as_raw_fd(), raw.pointer(), raw.length) })
    }

    /// Has the system probe the connection while it is silent.
    pub fn keep_alive(&self) -> io::Result<()> {
        self.set_option(libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1i32)
    }

    /// Connects, or goes on connecting. `Interrupted` (unix only): a signal came first, call again.
    pub fn connect(&self, address: &SocketAddress) -> io::Result<Connect> {
        let raw = RawAddress::new(address)?;
        // SAFETY: pointer and length describe `raw`, a socket address of the socket's family.
        let status = check(unsafe { libc::connect(self.as_raw_fd(), raw.pointer(), raw.length) });
        let Err(error) = status else {
            return self.refuse_itself(address);
        };
        match (address, error.raw_os_error()) {
            (SocketAddress::Unix(_), Some(libc::EAGAIN)) => Ok(Connect::Again),
            // A TCP connect that a signal or the slice interrupted goes on in the kernel.
            (SocketAddress::Inet(_), Some(libc::EINPROGRESS | libc::EALREADY | libc::EINTR)) => {
                Ok(Connect::InProgress)
            }
            (_, Some(libc::EISCONN)) => Ok(Connect::Done),
            _ => Err(error),
        }
    }

    /// How a connect that was in progress went, once the socket is writable.
    pub fn finish_connect(&self, address: &SocketAddress) -> io::Result<Connect> {
        let mut code = 0i32;
        let mut length = size_of::<i32>() as libc::socklen_t;
        // SAFETY: `code` and `length` are valid to write and of matching size.
        check(unsafe {
            let value = (&raw mut code).cast();
            libc::getsockopt(self.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, value, &mut length)
        })?;
        match code {
            0 => self.refuse_itself(address),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// A TCP socket that connects to a port of its own machine where nobody listens can be given that
    /// very port as its own, and is then connected to itself: it would answer our request with our
    /// request, and hold the port against the application. That is a refusal.
    fn refuse_itself(&self, address: &SocketAddress) -> io::Result<Connect> {
        if let SocketAddress::Inet(peer) = address
            && self.local_address().is_some_and(|own| own == *peer)
        {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        Ok(Connect::Done)
    }

    /// The socket's own TCP address.
    fn local_address(&self) -> Option<SocketAddr> {
        // SAFETY: every bit pattern is a sockaddr_storage.
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: pointer and length describe `storage`.
        check(unsafe { libc::getsockname(self.as_raw_fd(), (&raw mut storage).cast(), &mut length) }).ok()?;
        match i32::from(storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that a sockaddr_in was written; storage is large and aligned enough.
                let found = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
                let ip = u32::from_be(found.sin_addr.s_addr);
                Some(SocketAddr::new(std::net::Ipv4Addr::from_bits(ip).into(), u16::from_be(found.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: as above, for sockaddr_in6.
                let found = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
                let ip = std::net::Ipv6Addr::from(found.sin6_addr.s6_addr);
                let (port, scope) = (u16::from_be(found.sin6_port), found.sin6_scope_id);
                Some(SocketAddr::V6(std::net::SocketAddrV6::new(ip, port, 0, scope)))
            }
            _ => None,
        }
    }

    /// Sends as much as the socket buffer takes at once; `WouldBlock` if nothing.
    pub fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(MAX_SLICES)];
        // SAFETY: every bit pattern is a msghdr; zero is "none" for all of its fields.
        let mut message: libc::msghdr = unsafe { zeroed() };
        // IoSlice is an iovec by contract, and sendmsg does not write to it.
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len() as _;
        // SAFETY: `message` names `slices`, whose bytes outlive the call.
        count(unsafe { libc::sendmsg(self.as_raw_fd(), &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) })
    }

    /// Receives what is there. 0 is the end; `WouldBlock` says that nothing is there, or that a
    /// blocking socket's slice has passed; `Interrupted` that a signal came first.
    pub fn receive(&self, buffer: &mut [u8], dont_wait: bool) -> io::Result<usize> {
        let flags = if dont_wait { libc::MSG_DONTWAIT } else { 0 };
        // SAFETY: the pointer and length describe `buffer`.
        count(unsafe { libc::recv(self.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) })
    }

    /// Receives what is there into the first of the buffers, what is more into the second. As
    /// [`receive`](Self::receive) without waiting.
    pub fn receive_in_two(&self, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        // SAFETY: every bit pattern is a msghdr; zero is "none" for all of its fields.
        let mut message: libc::msghdr = unsafe { zeroed() };
        // IoSliceMut is an iovec by contract.
        message.msg_iov = slices.as_mut_ptr().cast();
        message.msg_iovlen = slices.len() as _;
        // SAFETY: `message` names `slices`, whose bytes outlive the call.
        count(unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
    }

    /// Whether an idle connection is open and silent. Anything else (the end, an error, a stray byte)
    /// forbids its reuse.
    pub fn is_quiet(&self) -> bool {
        peek(self.as_raw_fd()).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether a connection in use is neither at its end nor broken, as far as can be seen.
    pub fn is_open(&self) -> bool {
        peek(self.as_raw_fd())
            .map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |count| count > 0)
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Plain(fd) => fd.as_raw_fd(),
        }
    }
}

/// Looks at the next byte without taking it or waiting for it.
fn peek(fd: RawFd) -> io::Result<usize> {
    let mut byte = 0u8;
    // SAFETY: one byte to write to; a wrong descriptor is an error.
    count(unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) })
}

/// The event that tells of a peer's end even behind bytes that nobody has read.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
const PEER_CLOSED: i16 = libc::POLLRDHUP;
/// Where there is none, errors and hang-ups (which are always told) must do, and `peek`.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
const PEER_CLOSED: i16 = 0;

const GONE: i16 = PEER_CLOSED | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;

/// Whether the client of a complete request has closed or failed. Bytes that it sent meanwhile (a
/// pipelined request, TLS records) do not count.
pub fn client_gone(fd: RawFd) -> bool {
    let mut client = libc::pollfd { fd, events: PEER_CLOSED, revents: 0 };
    // SAFETY: one valid pollfd; does not wait.
    let ready = unsafe { libc::poll(&mut client, 1, 0) };
    (ready > 0 && client.revents & GONE != 0) || (PEER_CLOSED == 0 && matches!(peek(fd), Ok(0)))
}

/// Bytes that a client can be sent for certain whose socket says that it can be written to.
const LEAST_ROOM: usize = 512;

/// How many bytes a send to the client would take at once, by a cautious guess: without limit where it would
/// fail, 0 where it would wait.
pub fn client_room(fd: RawFd) -> usize {
    let mut client = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd; does not wait.
    if unsafe { libc::poll(&mut client, 1, 0) } <= 0 {
        return 0;
    }
    if client.revents & !libc::POLLOUT != 0 {
        return usize::MAX;
    }
    let mut memory = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut size = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the array lives as long as the call, and is as long as is said.
    let known = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, memory.as_mut_ptr().cast(), &mut size)
    } == 0;
    let of = |what: libc::c_int| memory[what as usize] as usize;
    let queued = of(libc::SK_MEMINFO_WMEM_ALLOC).max(of(libc::SK_MEMINFO_WMEM_QUEUED));
    let free = of(libc::SK_MEMINFO_SNDBUF).saturating_sub(queued);
    // The kernel counts what it needs for the bytes, too.
    if known { LEAST_ROOM.max(free / 2) } else { LEAST_ROOM }
}

/// Waits for the application's socket and for the client's end together, at most so long (rounded
/// up to a millisecond; `None`: as long as it takes). `Interrupted` when a signal came first.
pub fn poll_two(
    application: RawFd,
    interest: Interest,
    client: Option<RawFd>,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let mut events = 0;
    if interest.readable {
        events |= libc::POLLIN;
    }
    if interest.writable {
        events |= libc::POLLOUT;
    }
    let for_client = if interest.client_end { PEER_CLOSED } else { 0 }
        | if interest.client_writable { libc::POLLOUT } else { 0 };
    let mut entries = [
        libc::pollfd { fd: application, events, revents: 0 },
        // A negative descriptor is passed over.
        libc::pollfd { fd: client.unwrap_or(-1), events: for_client, revents: 0 },
    ];
    let timeout =
        timeout.map_or(-1, |time| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    // SAFETY: pointer and count describe `entries`.
    count(unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as _, timeout) } as isize)?;
    let [application, client] = entries.map(|entry| entry.revents);
    // An error ends both waits: the next send or receive will name it.
    let failed = application & (libc::POLLERR | libc::POLLNVAL) != 0;
    Ok(Ready {
        readable: failed || application & (libc::POLLIN | libc::POLLHUP) != 0,
        writable: failed || application & (libc::POLLOUT | libc::POLLHUP) != 0,
        client_gone: client & GONE != 0,
        // One whose connection failed takes everything: the next send to it will say so.
        client_writable: interest.client_writable
            && client & (libc::POLLOUT | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0,
    })
}

/// A socket address in the kernel's shape.
struct RawAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl RawAddress {
    fn new(address: &SocketAddress) -> io::Result<Self> {
        // SAFETY: every bit pattern is a sockaddr_storage.
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        let length = match address {
            SocketAddress::Unix(path) => {
                // SAFETY: sockaddr_storage is as large and as aligned as any socket address.
                let raw = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_un>() };
                raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
                // An abstract name is as long as it says and may fill the whole; a path ends with a NUL.
                let terminator = usize::from(path.first() != Some(&0));
                if path.len() + terminator > raw.sun_path.len() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                for (to, from) in raw.sun_path.iter_mut().zip(path) {
                    *to = *from as libc::c_char;
                }
                offset_of!(libc::sockaddr_un, sun_path) + path.len() + terminator
            }
            SocketAddress::Inet(SocketAddr::V4(address)) => {
                // SAFETY: as above.
                let raw = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = address.port().to_be();
                raw.sin_addr.s_addr = address.ip().to_bits().to_be();
                size_of::<libc::sockaddr_in>()
            }
            SocketAddress::Inet(SocketAddr::V6(address)) => {
                // SAFETY: as above.
                let raw = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = address.port().to_be();
                raw.sin6_addr.s6_addr = address.ip().octets();
                raw.sin6_scope_id = address.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
        };
        Ok(Self { storage, length: length as libc::socklen_t })
    }

    fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }
}

fn check(status: i32) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::random;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{self, UnixListener, UnixStream};

    const BOTH: Interest =
        Interest { readable: true, writable: true, client_end: true, client_writable: false };
    const READ: Interest = Interest { writable: false, ..BOTH };
    const SLICE: Duration = Duration::from_millis(1);

    fn abstract_listener() -> (UnixListener, SocketAddress) {
        let name = format!("fcgate-test-{:016x}", random::bits());
        let listener = UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let address = format!("unix:@{name}").parse::<super::super::Address>().unwrap();
        (listener, address.literal().unwrap())
    }

    fn unix_pair(mode: Mode) -> (Stream, UnixStream) {
        let (listener, address) = abstract_listener();
        let stream = Stream::new(&address, mode).unwrap();
        stream.set_slice(SLICE).unwrap();
        assert_eq!(stream.connect(&address).unwrap(), Connect::Done);
        (stream, listener.accept().unwrap().0)
    }

    fn finish(stream: &Stream, address: &SocketAddress) -> io::Result<Connect> {
        match stream.connect(address)? {
            Connect::InProgress => {
                let interest = Interest { writable: true, ..Interest::default() };
                assert!(poll_two(stream.as_raw_fd(), interest, None, None).unwrap().writable);
                stream.finish_connect(address)
            }
            other => Ok(other),
        }
    }

    /// E4: bytes go both ways over unix, IPv4 and IPv6, in both modes, from sockets closed on exec.
    #[test]
    fn connects_and_carries_bytes() {
        for mode in [Mode::Blocking, Mode::NonBlocking] {
            let (stream, mut peer) = unix_pair(mode);
            assert_eq!(stream.send(&[IoSlice::new(b"ab"), IoSlice::new(b"c")]).unwrap(), 3);
            let mut got = [0; 3];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"abc");
            peer.write_all(b"xyz").unwrap();
            assert_eq!(stream.receive(&mut got, false).unwrap(), 3);
            for local in ["127.0.0.1:0", "[::1]:0"] {
                let Ok(listener) = TcpListener::bind(local) else { continue };
                let address = SocketAddress::Inet(listener.local_addr().unwrap());
                let stream = Stream::new(&address, mode).unwrap();
                assert_eq!(finish(&stream, &address).unwrap(), Connect::Done);
                let (mut peer, from) = listener.accept().unwrap();
                assert_eq!(stream.local_address(), Some(from));
                assert_eq!(stream.send(&[IoSlice::new(b"abc")]).unwrap(), 3);
                peer.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"abc");
                // SAFETY: F_GETFD takes no pointer.
                let flags = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFD) };
                assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            }
        }
    }

    /// E4: a path of the greatest length connects, in the file system too.
    #[test]
    fn connects_by_the_longest_path() {
        let directory = std::env::temp_dir();
        let mut path = directory.join(format!("fcgate-{:016x}", random::bits())).into_os_string();
        while path.len() < super::super::address::MAX_UNIX_PATH {
            path.push("x");
        }
        let listener = UnixListener::bind(&path).unwrap();
        let address = SocketAddress::Unix(path.as_encoded_bytes().into());
        let stream = Stream::new(&address, Mode::Blocking).unwrap();
        assert_eq!(stream.connect(&address).unwrap(), Connect::Done);
        std::fs::remove_file(&path).unwrap();
        drop(listener);
        let too_long = SocketAddress::Unix(vec![b'/'; 108].into());
        assert_eq!(stream.connect(&too_long).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    /// F1: a refused port and a missing socket file are told apart from every other failure.
    #[test]
    fn refused_and_missing_are_named() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            SocketAddress::Inet(listener.local_addr().unwrap())
        };
        for mode in [Mode::Blocking, Mode::NonBlocking] {
            let stream = Stream::new(&address, mode).unwrap();
            let error = finish(&stream, &address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let missing = SocketAddress::Unix(b"/nonexistent/socket"[..].into());
            let stream = Stream::new(&missing, mode).unwrap();
            assert_eq!(stream.connect(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    /// F1: a TCP socket that met itself is refused, not taken for the application.
    #[test]
    fn meeting_oneself_is_a_refusal() {
        let any = SocketAddress::Inet("127.0.0.1:0".parse().unwrap());
        let stream = Stream::new(&any, Mode::Blocking).unwrap();
        let raw = RawAddress::new(&any).unwrap();
        // SAFETY: pointer and length describe `raw`.
        check(unsafe { libc::bind(stream.as_raw_fd(), raw.pointer(), raw.length) }).unwrap();
        let own = SocketAddress::Inet(stream.local_address().unwrap());
        assert_eq!(stream.connect(&own).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    /// A TCP socket comes from the address that it is bound to, and not from another machine's.
    #[test]
    fn a_socket_comes_from_where_it_is_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = SocketAddress::Inet(listener.local_addr().unwrap());
        let stream = Stream::new(&address, Mode::Blocking).unwrap();
        stream.keep_alive().unwrap();
        stream.bind("127.0.0.7:0".parse().unwrap(), false).unwrap();
        assert_eq!(finish(&stream, &address).unwrap(), Connect::Done);
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), "127.0.0.7");
        assert_eq!(stream.local_address(), Some(peer));

        let stream = Stream::new(&address, Mode::Blocking).unwrap();
        let error = stream.bind("192.0.2.77:0".parse().unwrap(), false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(stream.bind("[::1]:0".parse().unwrap(), false).is_err(), "of another family");
    }

    /// F2: a full unix backlog says so in both modes, and one more place lets the same socket in.
    #[test]
    fn full_unix_backlog_can_be_tried_again() {
        let (listener, address) = abstract_listener();
        // SAFETY: no pointers. A backlog of 0 holds one connection on Linux.
        check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
        let first = Stream::new(&address, Mode::NonBlocking).unwrap();
        assert_eq!(first.connect(&address).unwrap(), Connect::Done);
        for mode in [Mode::Blocking, Mode::NonBlocking] {
            let waiting = Stream::new(&address, mode).unwrap();
            waiting.set_slice(SLICE).unwrap();
            assert_eq!(waiting.connect(&address).unwrap(), Connect::Again);
            assert_eq!(waiting.connect(&address).unwrap(), Connect::Again);
            listener.accept().unwrap();
            assert_eq!(waiting.connect(&address).unwrap(), Connect::Done);
        }
    }

    /// F6: a slice that passes without bytes gives the caller its turn.
    #[test]
    fn passed_slice_would_block() {
        for mode in [Mode::Blocking, Mode::NonBlocking] {
            let (stream, _peer) = unix_pair(mode);
            for dont_wait in [false, true] {
                let error = stream.receive(&mut [0; 8], dont_wait).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
            stream.set_slice(Duration::ZERO).unwrap();
            assert_eq!(stream.receive(&mut [0; 8], false).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    /// S2: sending to a closed peer is an error and never a signal.
    #[test]
    fn closed_peer_is_epipe_without_a_signal() {
        let (stream, peer) = unix_pair(Mode::Blocking);
        drop(peer);
        let error = stream.send(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    /// F14: sending never waits and takes what fits, however many slices there are.
    #[test]
    fn full_socket_buffer_never_waits() {
        let (stream, mut peer) = unix_pair(Mode::Blocking);
        let slices: Vec<_> = (0..2000).map(|_| IoSlice::new(b"0123456789")).collect();
        let mut sent = 0;
        let error = loop {
            match stream.send(&slices) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let interest = Interest { writable: true, ..Interest::default() };
        let ready = poll_two(stream.as_raw_fd(), interest, None, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, Ready::default());
        drop(stream);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent);
    }

    /// A9: an idle connection is reusable only while it is open and silent.
    #[test]
    fn closed_or_noisy_connections_are_not_quiet() {
        let (stream, mut peer) = unix_pair(Mode::Blocking);
        assert!(stream.is_quiet());
        peer.write_all(b"x").unwrap();
        assert!(!stream.is_quiet());
        assert_eq!(stream.receive(&mut [0; 8], true).unwrap(), 1);
        assert!(stream.is_quiet());
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(!stream.is_quiet());
    }

    /// A12: what a client is said to take at once it takes at once.
    #[test]
    fn a_client_takes_what_it_has_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let tcp = listener.accept().unwrap().0;
        tcp.set_nonblocking(true).unwrap();
        let (unix, near) = UnixStream::pair().unwrap();
        unix.set_nonblocking(true).unwrap();
        let fill = |to: &dyn AsRawFd, write: &mut dyn FnMut(&[u8]) -> usize| {
            let mut rounds = 0;
            while let room @ 1.. = client_room(to.as_raw_fd()) {
                assert_eq!(write(&vec![0; room]), room);
                rounds += 1;
            }
            assert!(rounds > 0);
        };
        fill(&tcp, &mut |bytes| (&tcp).write(bytes).unwrap());
        fill(&unix, &mut |bytes| (&unix).write(bytes).unwrap());
        assert_eq!(client_room(unix.as_raw_fd()), 0);
        drop((far, near));
        assert_eq!(client_room(unix.as_raw_fd()), usize::MAX);
    }

    /// F7: an end of file or a reset counts as gone, behind unread bytes too; waiting bytes do not.
    #[test]
    fn client_is_gone_when_it_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let wait = |fd: RawFd| {
            let mut entry = libc::pollfd { fd, events: PEER_CLOSED | libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd.
            unsafe { libc::poll(&mut entry, 1, -1) };
        };
        let (mut client, server) = connect();
        assert!(!client_gone(server.as_raw_fd()));
        client.write_all(b"GET / HTTP/1.1").unwrap();
        wait(server.as_raw_fd());
        assert!(!client_gone(server.as_raw_fd()));
        client.shutdown(Shutdown::Write).unwrap();
        let (stream, mut peer) = unix_pair(Mode::Blocking);
        let ready = poll_two(stream.as_raw_fd(), READ, Some(server.as_raw_fd()), None).unwrap();
        assert_eq!(ready, Ready { client_gone: true, ..Ready::default() });
        assert!(client_gone(server.as_raw_fd()));
        let interest = Interest { client_writable: true, ..READ };
        let ready = poll_two(stream.as_raw_fd(), interest, Some(server.as_raw_fd()), None).unwrap();
        assert_eq!(ready, Ready { client_gone: true, client_writable: true, ..Ready::default() });
        assert!(client_room(server.as_raw_fd()) > 0);
        // Who does not ask for a client's end, because it changes nothing, is not woken by it.
        let interest = Interest { client_end: false, ..READ };
        let ready =
            poll_two(stream.as_raw_fd(), interest, Some(server.as_raw_fd()), Some(Duration::from_millis(20)));
        assert_eq!(ready.unwrap(), Ready::default());

        let (client, server) = connect();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: pointer and length describe `linger`.
        check(unsafe {
            let length = size_of::<libc::linger>() as libc::socklen_t;
            let value = (&raw const linger).cast();
            libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length)
        })
        .unwrap();
        drop(client);
        wait(server.as_raw_fd());
        assert!(client_gone(server.as_raw_fd()));

        peer.write_all(b"x").unwrap();
        let ready = poll_two(stream.as_raw_fd(), BOTH, None, None).unwrap();
        assert_eq!(ready, Ready { readable: true, writable: true, ..Ready::default() });
        drop(peer);
        assert!(poll_two(stream.as_raw_fd(), READ, None, None).unwrap().readable);
    }
}
