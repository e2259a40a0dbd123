//! Script paths: the decoded path of a request, the split between script and path info, and where
//! the application sees the script.
//!
//! Splitting is done on ASCII bytes of the buffer that was matched, and an extension counts only
//! where `/` or the end follows it: `/upload/a.jpg/x.php` is the script `x.php`, which does not
//! exist, and never runs `a.jpg`.

use super::environment::EnvironmentError;
use super::facts::Files;

/// The parts of a request-target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Target<'a> {
    /// The authority of an absolute-form target.
    pub authority: Option<&'a [u8]>,
    /// The path, still encoded; begins with `/`, or is `*`.
    pub path: &'a [u8],
    /// The query, raw.
    pub query: Option<&'a [u8]>,
    /// The target in origin-form.
    pub origin: &'a [u8],
}

/// Takes a request-target apart (RFC 9112, section 3.2).
pub fn split_target(target: &[u8]) -> Option<Target<'_>> {
    let (authority, origin) = if target.first() == Some(&b'/') || target == b"*" {
        (None, target)
    } else {
        let colon = memchr::memmem::find(target, b"://")?;
        let rest = &target[colon + 3..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        (Some(&rest[..end]), &rest[end..])
    };
    let question = memchr::memchr(b'?', origin);
    let path = &origin[..question.unwrap_or(origin.len())];
    Some(Target {
        authority,
        path: if path.is_empty() { b"/" } else { path },
        query: question.map(|at| &origin[at + 1..]),
        origin: if origin.is_empty() { b"/" } else { origin },
    })
}

/// Decodes a path into `out`, joins repeated slashes to one, as web servers do, and removes its dot segments
/// (RFC 3986, section 5.2.4).
pub fn decode_path(path: &[u8], out: &mut Vec<u8>) -> Result<(), EnvironmentError> {
    out.clear();
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        let decoded = if byte == b'%' {
            let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
            match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => {
                    return Err(EnvironmentError::bad_path("a % without two hexadecimal digits in the path"));
                }
            }
        } else {
            byte
        };
        if decoded != b'/' || out.last() != Some(&b'/') {
            out.push(decoded);
        }
    }
    remove_dot_segments(out)
}

fn remove_dot_segments(path: &mut Vec<u8>) -> Result<(), EnvironmentError> {
    if !path.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..") {
        return Ok(());
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let ends_in_dots = path.ends_with(b"/.") || path.ends_with(b"/..");
    for segment in path[1..].split(|byte| *byte == b'/') {
        match segment {
            b"." => {}
            b".." => match memchr::memrchr(b'/', &out) {
                Some(at) => out.truncate(at),
                None => return Err(EnvironmentError::bad_path("the path climbs above the root")),
            },
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if ends_in_dots || out.is_empty() {
        out.push(b'/');
    }
    *path = out;
    Ok(())
}

/// Refuses what no path may have in it: control bytes, and segments that climb.
pub fn check_path(path: &[u8]) -> Result<(), EnvironmentError> {
    if path.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == 0x7F)) {
        return Err(EnvironmentError::bad_path("a control byte in the path"));
    }
    if memchr::memmem::find(path, b"..").is_some()
        && path.split(|byte| *byte == b'/').any(|segment| segment == b"..")
    {
        return Err(EnvironmentError::bad_path("a path with .. in it"));
    }
    Ok(())
}

/// The places at which a path may be split after its script: each end of `extension` that is
/// followed by `/` or the end, in order.
pub fn script_ends<'a>(path: &'a [u8], extension: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let step = extension.len();
    (1..path.len() + 1).filter(move |end| {
        step > 0
            && *end > step
            && path[end - step..*end] == *extension
            && path[end - step - 1] != b'/'
            && (*end == path.len() || path[*end] == b'/')
    })
}

/// Whether a script stands somewhere in a path, before path info: a regular file, where files can be looked at.
pub fn has_script(
    path: &[u8],
    root: &[u8],
    extension: &[u8],
    files: Option<&dyn Files>,
    buffer: &mut Vec<u8>,
) -> bool {
    script_ends(path, extension).any(|end| {
        join(root, &path[..end], buffer);
        files.is_none_or(|files| files.is_regular_file(buffer))
    })
}

/// Splits a path after its script. Where files can be looked at, the first place that leads to a
/// regular file is taken, so that a directory named like a script does not catch; else the first.
/// A path without the extension is a script as a whole.
pub fn split_script<'a>(
    path: &'a [u8],
    root: &[u8],
    extension: &[u8],
    files: Option<&dyn Files>,
    buffer: &mut Vec<u8>,
) -> (&'a [u8], &'a [u8]) {
    let mut first = None;
    let mut ends = script_ends(path, extension).peekable();
    while let Some(end) = ends.next() {
        // Where there is no choice no file decides.
        let Some(files) = files.filter(|_| first.is_some() || ends.peek().is_some()) else {
            return path.split_at(first.unwrap_or(end));
        };
        join(root, &path[..end], buffer);
        if files.is_regular_file(buffer) {
            return path.split_at(end);
        }
        first.get_or_insert(end);
    }
    path.split_at(first.unwrap_or(path.len()))
}

/// Splits a path at the first `/` behind a prefix. Under the prefix `/` all of it is path info.
pub fn split_prefix<'a>(path: &'a [u8], prefix: &[u8]) -> (&'a [u8], &'a [u8]) {
    match path.strip_prefix(prefix) {
        Some(rest) if prefix != b"/" => {
            let name = memchr::memchr(b'/', rest).map_or(path.len(), |at| prefix.len() + at);
            path.split_at(name)
        }
        _ => path.split_at(0),
    }
}

/// How much of a path follows its script, where the server has mapped the path to `file`. That may
/// lie anywhere, as an alias has it; what follows the script ends path and file alike. Files decide
/// as in [`split_script`].
pub fn split_mapped(path: &[u8], file: &[u8], extension: &[u8], files: Option<&dyn Files>) -> usize {
    let mut first = None;
    let scripts = script_ends(path, extension).filter_map(|end| {
        let script = file.strip_suffix(&path[end..]).filter(|script| script.ends_with(extension))?;
        Some((path.len() - end, script))
    });
    let mut scripts = scripts.peekable();
    while let Some((info, script)) = scripts.next() {
        // Where there is no choice no file decides.
        let Some(files) = files.filter(|_| first.is_some() || scripts.peek().is_some()) else {
            return first.unwrap_or(info);
        };
        if files.is_regular_file(script) {
            return info;
        }
        first.get_or_insert(info);
    }
    first.unwrap_or(0)
}

/// Puts root and path, which begins with `/`, together.
pub fn join(root: &[u8], path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(root.strip_suffix(b"/").unwrap_or(root));
    out.extend_from_slice(path);
}

/// Tells a path beneath `from` as one beneath `to`; others stay as they are.
pub fn map_root(path: &mut Vec<u8>, from: &str, to: &str) {
    let from = from.trim_end_matches('/').as_bytes();
    if let Some(rest) = path.strip_prefix(from).filter(|rest| rest.is_empty() || rest[0] == b'/') {
        let rest = rest.to_vec();
        path.clear();
        path.extend_from_slice(to.trim_end_matches('/').as_bytes());
        path.extend_from_slice(&rest);
        if path.is_empty() {
            path.push(b'/');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Tree(&'static [&'static str]);

    impl Files for Tree {
        fn is_regular_file(&self, path: &[u8]) -> bool {
            self.0.iter().any(|file| file.as_bytes() == path)
        }

        fn is_directory(&self, _: &[u8]) -> bool {
            true
        }

        fn resolve(&self, _: &[u8], _: &mut Vec<u8>) -> bool {
            false
        }
    }

    fn split<'a>(path: &'a str, files: Option<&dyn Files>) -> (&'a str, &'a str) {
        let (script, info) = split_script(path.as_bytes(), b"/srv", b".php", files, &mut Vec::new());
        (std::str::from_utf8(script).unwrap(), std::str::from_utf8(info).unwrap())
    }

    /// X6: repeated slashes are one, also those that were encoded, before dot segments are removed.
    #[test]
    fn repeated_slashes_are_one() {
        for (path, decoded) in
            [("//a///b.php", "/a/b.php"), ("/a%2F/%2fb//", "/a/b/"), ("/a//../b", "/b"), ("//", "/")]
        {
            let mut out = Vec::new();
            decode_path(path.as_bytes(), &mut out).unwrap();
            assert_eq!(std::str::from_utf8(&out).unwrap(), decoded, "{path}");
        }
    }

    /// X6: path info that ends in a slash has its script; a directory that is named like one has none.
    #[test]
    fn a_script_before_path_info_is_found() {
        let tree = Tree(&["/srv/x.php", "/srv/dir.php/index.php"]);
        let has = |path: &str, files: Option<&dyn Files>| {
            has_script(path.as_bytes(), b"/srv", b".php", files, &mut Vec::new())
        };
        assert!(has("/x.php/a/", Some(&tree)) && has("/x.php/", Some(&tree)) && has("/any.php/", None));
        assert!(!has("/dir.php/", Some(&tree)) && !has("/dir/", None) && !has("/", Some(&tree)));
    }

    /// X8: the extension must be followed by `/` or the end.
    #[test]
    fn a_path_is_split_only_behind_the_extension() {
        for (path, script) in [
            ("/a.php", "/a.php"),
            ("/a.php/b/c", "/a.php"),
            ("/a.phpx/b.php", "/a.phpx/b.php"),
            ("/a.php.jpg", "/a.php.jpg"),
            ("/a.PHP/b", "/a.PHP/b"),
            ("/.php/x", "/.php/x"),
            ("/a/b", "/a/b"),
            ("/a.php/b.php/c", "/a.php"),
        ] {
            assert_eq!(split(path, None), (script, &path[script.len()..]), "{path}");
        }
    }

    /// X9: where files can be looked at, a directory named like a script does not catch, and a
    /// path behind an uploaded file never runs that file.
    #[test]
    fn files_decide_where_to_split() {
        let tree = Tree(&["/srv/dir.php/index.php", "/srv/upload/a.jpg"]);
        assert_eq!(split("/dir.php/index.php/x", Some(&tree)), ("/dir.php/index.php", "/x"));
        assert_eq!(split("/upload/a.jpg/x.php", Some(&tree)), ("/upload/a.jpg/x.php", ""));
        assert_eq!(split("/none.php/x", Some(&tree)), ("/none.php", "/x"));
    }

    /// X8, X9: a mapped path is split where its file is, wherever that lies.
    #[test]
    fn a_mapped_path_is_split_as_its_file() {
        let tree = Tree(&["/srv/dir.php/index.php", "/lib/wiki/doku.php", "/lib/wiki/a.jpg"]);
        for (path, file, info) in [
            ("/wiki/doku.php", "/lib/wiki/doku.php", ""),
            ("/wiki/doku.php/x/y", "/lib/wiki/doku.php/x/y", "/x/y"),
            ("/dir.php/index.php/x", "/srv/dir.php/index.php/x", "/x"),
            ("/wiki/a.jpg/x.php", "/lib/wiki/a.jpg/x.php", ""),
            ("/none.php/x", "/srv/none.php/x", "/x"),
            ("/none.php/x", "/srv/one/fixed", ""),
            ("/none.php/x", "/srv/fixed/x", ""),
        ] {
            let (path, file) = (path.as_bytes(), file.as_bytes());
            let split = |files| split_mapped(path, file, b".php", files);
            assert_eq!(split(Some(&tree as &dyn Files)), info.len(), "{}", String::from_utf8_lossy(path));
        }
        assert_eq!(split_mapped(b"/a/b.php/c.php/d", b"/x/b.php/c.php/d", b".php", None), "/c.php/d".len());
    }

    /// X6: targets are taken apart; absolute-form gives the authority.
    #[test]
    fn targets_are_taken_apart() {
        let target = split_target(b"/a%20b?c=d?e").unwrap();
        assert_eq!((target.path, target.query), (&b"/a%20b"[..], Some(&b"c=d?e"[..])));
        let target = split_target(b"http://example.org:80?x").unwrap();
        assert_eq!(
            (target.authority, target.path, target.query),
            (Some(&b"example.org:80"[..]), &b"/"[..], Some(&b"x"[..]))
        );
        assert_eq!(split_target(b"*").unwrap().path, b"*");
        assert_eq!(split_target(b"nonsense"), None);
    }

    /// X8: bad escapes, climbing paths and control bytes are refused.
    #[test]
    fn bad_paths_are_refused() {
        let mut out = Vec::new();
        for (path, decoded) in [
            ("/a%2Fb%41", "/a/bA"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("//x", "/x"),
        ] {
            decode_path(path.as_bytes(), &mut out).unwrap();
            assert_eq!(out, decoded.as_bytes(), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/..", "/a/../../b", "/%2e%2e/x"] {
            assert!(decode_path(path.as_bytes(), &mut out).is_err(), "{path}");
        }
        for byte in (0..0x20).chain([0x7F]) {
            assert!(check_path(&[b'/', byte]).is_err());
        }
        assert!(check_path("/ä b".as_bytes()).is_ok());
    }

    /// X6: an application below a prefix has the prefix for its name, and the rest is path info.
    #[test]
    fn a_path_is_split_behind_its_prefix() {
        for (path, prefix, name) in [
            ("/git/a.git/info", "/git", "/git"),
            ("/git", "/git", "/git"),
            ("/gitweb/x", "/git", "/gitweb"),
            ("/cgi/a/b", "/cgi/", "/cgi/a"),
            ("/a/b", "/", ""),
            ("/a/b", "", ""),
            ("/other", "/git", ""),
        ] {
            let split = split_prefix(path.as_bytes(), prefix.as_bytes());
            assert_eq!(split, (name.as_bytes(), &path.as_bytes()[name.len()..]), "{path} {prefix}");
        }
    }

    /// X10: a root is mapped at the border of a path component only.
    #[test]
    fn roots_are_mapped_at_components() {
        for (path, mapped) in [
            ("/srv/app/x", "/var/www/x"),
            ("/srv/app", "/var/www"),
            ("/srv/apple", "/srv/apple"),
            ("/other", "/other"),
        ] {
            let mut path = path.as_bytes().to_vec();
            map_root(&mut path, "/srv/app/", "/var/www");
            assert_eq!(path, mapped.as_bytes());
        }
    }

    proptest! {
        /// X8: whatever the path, script and path info are the path again, and a decoded path
        /// never climbs.
        #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
        fn splitting_loses_nothing(path in "(/|\\.|p|h|%|2|e|a|\\.php|\u{e4}){0,20}") {
            let path = format!("/{path}");
            let (script, info) = split(&path, None);
            prop_assert_eq!(format!("{script}{info}"), path.clone());
            prop_assert!(info.is_empty() || info.starts_with('/'));
            let mut out = Vec::new();
            if decode_path(path.as_bytes(), &mut out).is_ok() {
                prop_assert!(out.starts_with(b"/"));
                prop_assert!(!out.split(|byte| *byte == b'/').any(|segment| segment == b".."));
            }
        }
    }
}
