//! Cookies, as far as a login needs them.

use crate::http::Response;

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

/// Keeps the cookies of one site; knows paths and removal by `Max-Age`, no dates and no domains.
#[derive(Clone, Debug, Default)]
pub struct Jar {
    cookies: Vec<Cookie>,
}

impl Jar {
    /// Takes over what a response sets and removes.
    pub fn take(&mut self, response: &Response) {
        for field in response.fields("Set-Cookie") {
            self.set(field);
        }
    }

    /// The Cookie field of a request, if there is something for its target.
    pub fn field(&self, target: &str) -> Option<String> {
        let path = target.split('?').next().unwrap_or("/");
        let of_path = self.cookies.iter().filter(|cookie| covers(&cookie.path, path));
        let pairs: Vec<_> = of_path.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of a cookie.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|cookie| cookie.name == name).map(|cookie| &cookie.value[..])
    }

    fn set(&mut self, field: &str) {
        let mut parts = field.split(';').map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.trim(), value.trim())
        });
        let Some((name, value)) = parts.next() else { return };
        let mut cookie = Cookie { name: name.to_owned(), value: value.to_owned(), path: "/".to_owned() };
        let mut removed = false;
        for (name, value) in parts {
            match name.to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "max-age" => removed = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                _ => {}
            }
        }
        self.cookies.retain(|old| old.name != cookie.name || old.path != cookie.path);
        if !removed {
            self.cookies.push(cookie);
        }
    }
}

/// Whether a cookie of `path` goes along with a request for `target`.
fn covers(path: &str, target: &str) -> bool {
    target
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_set_replaced_and_removed() {
        let mut jar = Jar::default();
        jar.set("session=one; path=/; HttpOnly");
        jar.set("admin=a=b; Path=/wiki");
        assert_eq!(jar.field("/").as_deref(), Some("session=one"));
        assert_eq!(jar.field("/wiki/x?y").as_deref(), Some("session=one; admin=a=b"));
        assert_eq!(jar.field("/wikis").as_deref(), Some("session=one"));
        jar.set("session=two");
        assert_eq!(jar.get("session"), Some("two"));
        jar.set("session=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0");
        assert_eq!((jar.get("session"), jar.field("/")), (None, None));
    }
}
