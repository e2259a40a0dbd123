//! What of a request its pool is chosen by, as a number: the same in every process, every server and
//! every version, so that all of them agree.

use super::settings::{HashKey, Method};
use super::{ip_hash, sticky};
use crate::os::random::mix;
use std::borrow::Cow;

/// The number of some bytes (FNV-1a, its bits spread).
pub fn number_of(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

/// The value of a cookie in a Cookie field.
fn cookie<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

/// What a request goes by under a method; none where it has nothing of the kind. `param` finds a param
/// as the application gets it.
pub fn key_of<'a>(method: &Method, param: impl Fn(&[u8]) -> Option<Cow<'a, [u8]>>) -> Option<u64> {
    let cookies = || param(b"HTTP_COOKIE");
    match method {
        Method::IpHash => ip_hash::network_of(&param(b"REMOTE_ADDR")?).map(|network| number_of(&network)),
        Method::Hash(HashKey::Param(name)) => {
            param(name.as_bytes()).filter(|value| !value.is_empty()).map(|value| number_of(&value))
        }
        Method::Hash(HashKey::Cookie(name)) => {
            cookie(&cookies()?, name).filter(|value| !value.is_empty()).map(number_of)
        }
        Method::Sticky(name) => cookie(&cookies()?, name).and_then(sticky::id_of),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(method: &Method, name: &'static str, value: &'static str) -> Option<u64> {
        key_of(method, |asked| (asked == name.as_bytes()).then_some(Cow::Borrowed(value.as_bytes())))
    }

    /// The numbers are part of what several machines agree on: they never change.
    #[test]
    fn numbers_are_for_good() {
        assert_eq!(number_of(b""), 0xc381_7c01_6ba4_ff30);
        assert_eq!(number_of(b"/index.php"), number_of(b"/index.php"));
        assert_ne!(number_of(b"a"), number_of(b"b"));
    }

    /// A param or a cookie is the key, and an empty one is none.
    #[test]
    fn params_and_cookies() {
        let uri = Method::Hash(HashKey::Param("REQUEST_URI".into()));
        assert_eq!(key(&uri, "REQUEST_URI", "/a"), Some(number_of(b"/a")));
        assert_eq!(key(&uri, "REQUEST_URI", ""), None);
        assert_eq!(key(&uri, "HTTP_COOKIE", "REQUEST_URI=/a"), None);
        let id = Method::Hash(HashKey::Cookie("id".into()));
        for (field, value) in [
            ("id=7", Some("7")),
            ("a=1; id=7; b=2", Some("7")),
            ("xid=1;id=7=8", Some("7=8")),
            ("idx=1; id=", None),
            ("id", None),
            ("", None),
        ] {
            assert_eq!(
                key(&id, "HTTP_COOKIE", field),
                value.map(|value| number_of(value.as_bytes())),
                "{field}"
            );
        }
        assert_eq!(key(&Method::RoundRobin, "HTTP_COOKIE", "id=7"), None);
    }

    /// What a sticky cookie says is the pool itself, or nothing.
    #[test]
    fn sticky_cookie() {
        let method = Method::Sticky("fcgate".into());
        assert_eq!(key(&method, "HTTP_COOKIE", "x=1; fcgate=00000000000000ff"), Some(255));
        assert_eq!(key(&method, "HTTP_COOKIE", "fcgate=ff"), None);
        assert_eq!(key(&method, "HTTP_COOKIE", "fcgate=+0000000000000ff"), None);
    }
}
