//! Addresses of applications: as written in a configuration, and as given to `connect`.
//!
//! One spelling is canonical (what `Display` gives, what logs and metrics show); the spellings that
//! users of other servers type are either taken as the same or refused with the right one in the
//! message. Nothing is guessed: a bare path or a bare port is an error.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

/// The longest path of a unix socket: what `sockaddr_un` holds, less its NUL (Linux: 107 bytes).
pub const MAX_UNIX_PATH: usize = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

/// The longest host name (RFC 1035).
const MAX_HOST: usize = 253;

/// The address of an application, as configured. Two spellings of one address are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `unix:/path`: a socket in the file system.
    Unix(Box<str>),
    /// `unix:@name`: a socket in Linux's abstract namespace.
    Abstract(Box<str>),
    /// `127.0.0.1:9000`, `[::1]:9000`: TCP, no name to look up.
    Literal(SocketAddr),
    /// `host:port`: TCP to every address of a name, in the resolver's order.
    Name {
        /// The name, in lower case.
        host: Box<str>,
        /// The port, never 0.
        port: u16,
    },
}

/// Why a text is no address; `Display` names the right spelling where one can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

fn refuse<T>(message: String) -> Result<T, AddressError> {
    Err(AddressError(message))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_unix(text, path);
        }
        if text.starts_with('/') {
            return refuse(format!("\"{text}\" is no address; write \"unix:{text}\""));
        }
        let rest = text.strip_prefix("fcgi://").or_else(|| text.strip_prefix("tcp:")).unwrap_or(text);
        if let Some((scheme, _)) = rest.split_once("//") {
            return refuse(format!(
                "\"{text}\": \"{scheme}//\" is unknown; write \"host:port\" or \"unix:/path\""
            ));
        }
        if let Some((authority, _)) = rest.split_once('/') {
            return refuse(format!("\"{text}\": an address has no path; write \"{authority}\""));
        }
        parse_host_port(text, rest)
    }
}

fn parse_unix(text: &str, path: &str) -> Result<Address, AddressError> {
    if let Some((socket, _)) = path.split_once("|fcgi:") {
        return refuse(format!("\"{text}\": write \"unix:{socket}\" alone"));
    }
    if let Some(path) = path.strip_prefix("//") {
        return refuse(format!("\"{text}\" is no address; write \"unix:/{}\"", path.trim_start_matches('/')));
    }
    let (name, address): (_, fn(Box<str>) -> Address) = match path.strip_prefix('@') {
        Some(name) => (name, Address::Abstract),
        None if path.starts_with('/') => (path, Address::Unix),
        None => return refuse(format!("\"{text}\": the path of a unix socket begins with \"/\" or \"@\"")),
    };
    if cfg!(not(target_os = "linux")) && path.starts_with('@') {
        return refuse(format!("\"{text}\": abstract sockets exist on Linux only"));
    }
    if name.is_empty() {
        return refuse(format!("\"{text}\": the name of the socket is missing"));
    }
    if name.len() > MAX_UNIX_PATH {
        return refuse(format!(
            "\"{text}\": the path has {} bytes, a unix socket's at most {MAX_UNIX_PATH}",
            name.len()
        ));
    }
    if name.contains('\0') {
        return refuse(format!("\"{}\": a path cannot contain NUL", text.escape_default()));
    }
    Ok(address(name.into()))
}

fn parse_host_port(text: &str, rest: &str) -> Result<Address, AddressError> {
    let Some((host, port)) = rest.rsplit_once(':') else {
        if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
            return refuse(format!("\"{text}\": the host is missing; write \"127.0.0.1:{rest}\""));
        }
        return refuse(format!("\"{text}\" is no address; write \"host:port\" or \"unix:/path\""));
    };
    if rest.parse::<std::net::Ipv6Addr>().is_ok() {
        return refuse(format!("\"{text}\": an IPv6 address stands in brackets; write \"[::1]:9000\""));
    }
    let port = parse_port(text, port)?;
    if let Some(inner) = host.strip_prefix('[') {
        // SocketAddrV6 reads a numeric scope too: [fe80::1%2].
        let Ok(address) = SocketAddrV6::from_str(&format!("{host}:{port}")) else {
            let inner = inner.trim_end_matches(']');
            return refuse(format!("\"{text}\": \"{inner}\" is no IPv6 address"));
        };
        return Ok(Address::Literal(SocketAddr::V6(address)));
    }
    if host.contains(':') {
        return refuse(format!("\"{text}\": an IPv6 address stands in brackets; write \"[{host}]:{port}\""));
    }
    if let Ok(ip) = Ipv4Addr::from_str(host) {
        return Ok(Address::Literal(SocketAddr::new(IpAddr::V4(ip), port)));
    }
    if host.is_empty() {
        return refuse(format!("\"{text}\": the host is missing; write \"127.0.0.1:{port}\""));
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.len() > MAX_HOST || !host.bytes().all(named) {
        return refuse(format!("\"{}\": no host has this name", text.escape_default()));
    }
    Ok(Address::Name { host: host.to_ascii_lowercase().into(), port })
}

/// An address to come from: `192.0.2.1`, `192.0.2.1:7000`, `::1`, `[::1]`, `[::1]:7000`; without a port it is 0.
pub fn source_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map_or_else(|_| text.parse().ok(), |address| Some(SocketAddr::new(address, 0)))
}

fn parse_port(text: &str, port: &str) -> Result<u16, AddressError> {
    // u16's own parser would take a sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok(number),
        _ => refuse(format!("\"{}\": the port is a number from 1 to 65535", text.escape_default())),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Literal(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Address {
    /// The socket address, where none needs to be looked up.
    pub fn literal(&self) -> Option<SocketAddress> {
        match self {
            Self::Unix(path) => Some(SocketAddress::Unix(path.as_bytes().into())),
            Self::Abstract(name) => {
                let mut path = Vec::with_capacity(name.len() + 1);
                path.push(0);
                path.extend_from_slice(name.as_bytes());
                Some(SocketAddress::Unix(path.into()))
            }
            Self::Literal(address) => Some(SocketAddress::Inet(*address)),
            Self::Name { .. } => None,
        }
    }

    /// Every socket address, in the order to try them, none twice. Looking up a name blocks.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddress>> {
        if let Some(address) = self.literal() {
            return Ok(vec![address]);
        }
        let mut addresses = Vec::new();
        if let Self::Name { host, port } = self {
            for address in (&**host, *port).to_socket_addrs()? {
                let address = SocketAddress::Inet(address);
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }
}

/// An address ready for `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketAddress {
    /// The bytes of `sun_path`, without a final NUL; an abstract name begins with NUL.
    Unix(Box<[u8]>),
    /// TCP over IPv4 or IPv6.
    Inet(SocketAddr),
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => match path.split_first() {
                Some((0, name)) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
                _ => write!(f, "unix:{}", String::from_utf8_lossy(path)),
            },
            Self::Inet(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        text.parse::<Address>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    fn error(text: &str) -> String {
        text.parse::<Address>().expect_err(text).to_string()
    }

    /// X12: every spelling of an address has one canonical form.
    #[test]
    fn spellings_have_one_canonical_form() {
        for (text, form) in [
            ("unix:/run/php/fpm.sock", "unix:/run/php/fpm.sock"),
            ("unix:@name", "unix:@name"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("tcp:127.0.0.1:9000", "127.0.0.1:9000"),
            ("fcgi://127.0.0.1:9000", "127.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("tcp:[0:0::1]:9000", "[::1]:9000"),
            ("fcgi://[::1]:9000", "[::1]:9000"),
            ("[fe80::1%2]:9000", "[fe80::1%2]:9000"),
            ("App2.Example.NET:1", "app2.example.net:1"),
            ("my_app:65535", "my_app:65535"),
            ("localhost:09000", "localhost:9000"),
        ] {
            assert_eq!(canonical(text), form, "{text}");
            assert_eq!(canonical(form), form);
        }
    }

    /// X12: a spelling that is wrong is refused with the right one in the message.
    #[test]
    fn refusals_name_the_right_spelling() {
        for (text, part) in [
            ("/run/fpm.sock", "write \"unix:/run/fpm.sock\""),
            ("unix:///run/fpm.sock", "write \"unix:/run/fpm.sock\""),
            ("unix:/run/fpm.sock|fcgi://localhost/", "write \"unix:/run/fpm.sock\" alone"),
            ("unix:run/fpm.sock", "begins with"),
            ("unix:", "begins with"),
            ("unix:@", "missing"),
            ("9000", "write \"127.0.0.1:9000\""),
            (":9000", "write \"127.0.0.1:9000\""),
            ("::1", "write \"[::1]:9000\""),
            ("::1:9000", "write \"[::1]:9000\""),
            ("fe80::1:2:x:9000", "write \"[fe80::1:2:x]:9000\""),
            ("[::1]", "port"),
            ("[::g]:9000", "no IPv6 address"),
            ("[::1:9000", "no IPv6 address"),
            ("fcgi://localhost:9000/", "write \"localhost:9000\""),
            ("http://localhost:9000", "\"http://\" is unknown"),
            ("localhost", "write \"host:port\""),
            ("", "write \"host:port\""),
            ("a b:9000", "no host"),
            ("a\nb:9000", "no host"),
            ("*:9000", "no host"),
        ] {
            let message = error(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    /// X12: a port is 1 to 65535, digits only.
    #[test]
    fn ports_are_1_to_65535() {
        for port in ["", "0", "65536", "-1", "+80", "80a", " 80", "99999999999"] {
            let message = error(&format!("localhost:{port}"));
            assert!(message.contains("1 to 65535"), "{port}: {message}");
        }
    }

    /// X12: a unix path of 107 bytes is taken, one of 108 refused with both numbers.
    #[test]
    fn unix_paths_have_a_longest_length() {
        let longest = format!("unix:/{}", "x".repeat(MAX_UNIX_PATH - 1));
        assert_eq!(canonical(&longest), longest);
        let message = error(&format!("{longest}x"));
        assert!(message.contains(&(MAX_UNIX_PATH + 1).to_string()), "{message}");
        assert!(message.contains(&MAX_UNIX_PATH.to_string()), "{message}");
        assert!(error(&format!("unix:@{}", "x".repeat(MAX_UNIX_PATH + 1))).contains("at most"));
        assert!(error("unix:/a\0b").contains("NUL"));
    }

    /// F13: literals and unix sockets resolve to themselves; a name to each of its addresses once.
    #[test]
    fn resolving_gives_each_address_once() {
        let unix: Address = "unix:/run/x".parse().unwrap();
        assert_eq!(unix.resolve().unwrap(), [SocketAddress::Unix(b"/run/x"[..].into())]);
        let hidden: Address = "unix:@x".parse().unwrap();
        assert_eq!(hidden.resolve().unwrap(), [SocketAddress::Unix(b"\0x"[..].into())]);
        assert_eq!(hidden.resolve().unwrap()[0].to_string(), "unix:@x");
        let name: Address = "localhost:9000".parse().unwrap();
        assert_eq!(name.literal(), None);
        let addresses = name.resolve().unwrap();
        for (index, address) in addresses.iter().enumerate() {
            assert!(!addresses[..index].contains(address));
            assert!(address.to_string().ends_with(":9000"));
        }
    }

    proptest! {
        /// X12: no text panics the parser, and what it takes it takes again from its canonical form.
        #[test]
        fn any_text_parses_or_is_refused(text in "(unix:|tcp:|fcgi://)?[@/a-z0-9:.\\[\\]%]{0,20}|\\PC{0,20}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
