//! Sticky: a cookie that fcgate sets leads a client back to the pool that answered it before.
//!
//! The cookie holds a number made of the pool's address, so that it means the same in every process
//! and after every restart, and a pool that moved to another place of the configuration is found. It
//! chooses among configured pools and nothing else: whatever a client writes into it, it reaches none
//! that it could not have been given.

/// The ids of a balancer's pools, and the cookie that holds one.
#[derive(Debug)]
pub struct Sticky {
    cookie: Box<str>,
    ids: Box<[u64]>,
    members: Box<[(u64, u32)]>,
}

impl Sticky {
    /// Pools with these ids, which differ.
    pub fn new(cookie: &str, ids: &[u64]) -> Self {
        let mut members: Box<[_]> = ids.iter().copied().zip(0..).collect();
        members.sort_unstable();
        Self { cookie: cookie.into(), ids: ids.into(), members }
    }

    /// The pool of an id.
    pub fn find(&self, id: u64) -> Option<u32> {
        let place = self.members.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.members[place].1)
    }

    /// The Set-Cookie that binds to a pool, unless the request is bound to it already. `secure` keeps
    /// the cookie from going out in the clear.
    pub fn set_cookie(&self, member: u32, bound: Option<u64>, secure: bool) -> Option<String> {
        let id = *self.ids.get(member as usize)?;
        let secure = if secure { "; Secure" } else { "" };
        (bound != Some(id))
            .then(|| format!("{}={id:016x}; Path=/; HttpOnly; SameSite=Lax{secure}", self.cookie))
    }
}

/// The id that stands in a cookie.
pub fn id_of(value: &[u8]) -> Option<u64> {
    let is_ours = value.len() == 16 && value.iter().all(u8::is_ascii_hexdigit);
    is_ours.then(|| u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is set leads back, and is set once.
    #[test]
    fn cookie_leads_back() {
        let sticky = Sticky::new("pool", &[7, 3, 0xffff_ffff_ffff_ffff]);
        for member in 0..3 {
            let field = sticky.set_cookie(member, Some(9), false).unwrap();
            let value = field.strip_prefix("pool=").unwrap().split(';').next().unwrap();
            let id = id_of(value.as_bytes()).unwrap();
            assert_eq!(sticky.find(id), Some(member));
            assert_eq!(sticky.set_cookie(member, Some(id), false), None);
        }
        assert_eq!(sticky.find(9), None);
        let field = sticky.set_cookie(1, None, true).unwrap();
        assert_eq!(field, "pool=0000000000000003; Path=/; HttpOnly; SameSite=Lax; Secure");
    }
}
