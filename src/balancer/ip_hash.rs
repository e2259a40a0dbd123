//! IP hash: clients of one network go to one pool, with the table of [`hash`](super::hash). A network
//! is an IPv4 address without its last byte, as in nginx, or the first half of an IPv6 address: what a
//! client's address usually keeps when it changes.

use std::net::IpAddr;

/// The network of an address in text; none where it is no address (a client on a unix socket).
pub fn network_of(address: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(address).ok()?;
    let address: IpAddr = text.split('%').next()?.parse().ok()?;
    Some(match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nginx's network of an IPv4 address, also of one that is written as IPv6.
    #[test]
    fn networks() {
        assert_eq!(network_of(b"192.0.2.17"), Some(vec![192, 0, 2]));
        assert_eq!(network_of(b"192.0.2.200"), network_of(b"::ffff:192.0.2.17"));
        assert_ne!(network_of(b"192.0.3.17"), network_of(b"192.0.2.17"));
        assert_eq!(network_of(b"2001:db8:1:2:3:4:5:6"), network_of(b"2001:db8:1:2::9"));
        assert_ne!(network_of(b"2001:db8:1:3::9"), network_of(b"2001:db8:1:2::9"));
        assert_eq!(network_of(b"fe80::1%eth0"), network_of(b"fe80::2"));
        for none in [&b""[..], b"unix:", b"1.2.3", b"\xff", b"localhost"] {
            assert_eq!(network_of(none), None);
        }
    }
}
