//! A client at the end of a narrow line: small segments, a small window, and it reads as it is told to.
#![allow(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What a line of Ethernet carries. With the segments of the loopback the kernel would take megabytes.
const SEGMENT: libc::c_int = 1400;
const WINDOW: libc::c_int = 8 << 10;

/// The bytes of a body, of any length.
pub fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

pub struct Reader {
    stream: TcpStream,
    head: Vec<u8>,
    /// How much of the body has come.
    pub received: usize,
    /// Whether it was cut, or ended with what is not the body.
    pub wrong: Option<String>,
}

/// Sets an option of a socket.
pub fn set(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value lives as long as the call, and is as long as is said.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

fn connect(address: SocketAddr) -> TcpStream {
    // SAFETY: a plain call; what it makes has no other owner.
    let socket = unsafe {
        OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))
    };
    set(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, SEGMENT);
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, WINDOW);
    let SocketAddr::V4(address) = address else { panic!("servers listen on 127.0.0.1") };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address lives as long as the call, and is as long as is said.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    TcpStream::from(socket)
}

impl Reader {
    /// Asks for this, and reads nothing.
    pub fn get(address: SocketAddr, target: &str) -> Self {
        let mut stream = connect(address);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("a request can be sent");
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        Self { stream, head: Vec::new(), received: 0, wrong: None }
    }

    /// Reads so much at the most, if it is there; false when no more will come.
    pub fn read(&mut self, most: usize) -> bool {
        let mut piece = [0; 16 << 10];
        let most = most.min(piece.len());
        let count = match self.stream.read(&mut piece[..most]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return true;
            }
            Err(error) => {
                self.wrong = Some(error.to_string());
                return false;
            }
            Ok(count) => count,
        };
        let mut piece = &piece[..count];
        if !self.head.ends_with(b"\r\n\r\n") {
            let end = piece.windows(4).position(|four| four == b"\r\n\r\n").map_or(piece.len(), |at| at + 4);
            self.head.extend_from_slice(&piece[..end]);
            piece = &piece[end..];
        }
        for byte in piece {
            if usize::from(*byte) != self.received % 251 {
                self.wrong = Some(format!(
                    "byte {} is wrong behind {}",
                    self.received,
                    String::from_utf8_lossy(&self.head)
                ));
                return false;
            }
            self.received += 1;
        }
        count > 0
    }

    /// Waits for so many bytes of anything, or the end.
    pub fn wait_for(&mut self, count: usize) {
        self.stream.set_nonblocking(false).expect("a socket can block");
        while self.head.len() + self.received < count && self.read(usize::MAX) {}
    }

    /// Reads all of it, however long that takes.
    pub fn finish(&mut self) {
        self.stream.set_nonblocking(false).expect("a socket can block");
        while self.read(usize::MAX) {}
    }

    /// That it has come whole, as a 200.
    pub fn assert_whole(&self, length: usize) {
        let head = String::from_utf8_lossy(&self.head);
        assert_eq!((&self.wrong, self.received), (&None, length), "{head}");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
}
