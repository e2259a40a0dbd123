//! The bodies of the fuzz targets: each takes any bytes and panics when a promise is broken. They
//! stand here so that libFuzzer and the tests on stable run the same.

use fcgate::cgi::{
    Environment, EnvironmentSettings, Facts, Files, HeadLimits, Onoff, Preset, ResponseHead, script,
};
use fcgate::protocol::{HEADER_LEN, Pairs, ParamsEncoder, Part, RecordReader};

mod exchange;

pub use exchange::exchange;

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("records", records),
    ("name_value", name_value),
    ("head", head),
    ("environment", environment),
    ("script_path", script_path),
    ("exchange", exchange),
];

/// Takes a number below `limit` off the front; 0 at the end.
fn number(data: &mut &[u8], limit: usize) -> usize {
    let Some((bytes, rest)) = data.split_at_checked(2) else {
        *data = &[];
        return 0;
    };
    *data = rest;
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % limit.max(1)
}

fn parts(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>, bool) {
    let (mut seen, mut content) = (Vec::new(), Vec::new());
    let mut reader = RecordReader::default();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.next(&mut input) {
                Ok(Some(Part::Content(bytes))) => {
                    assert!(!bytes.is_empty());
                    content.extend_from_slice(bytes);
                }
                Ok(Some(part)) => seen.push(format!("{part:?} after {}", content.len())),
                Ok(None) => break,
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return (seen, content, false);
                }
            }
        }
        assert!(input.is_empty());
    }
    (seen, content, reader.at_boundary())
}

/// Records are the same at any split.
pub fn records(data: &[u8]) {
    let mut rest = data;
    let most = data.len() + 1;
    let cuts = [number(&mut rest, most), number(&mut rest, most)].map(|cut| cut.min(rest.len()));
    let (low, high) = (cuts[0].min(cuts[1]), cuts[0].max(cuts[1]));
    assert_eq!(parts(&[rest]), parts(&[&rest[..low], &rest[low..high], &rest[high..]]));
}

/// Pairs come back as they went in, and none crosses a record or reaches beyond its bytes.
pub fn name_value(data: &[u8]) {
    let mut pairs = Pairs::new(data);
    let mut total = 0;
    for (name, value) in pairs.by_ref() {
        total += name.len() + value.len() + 2;
    }
    assert!(total <= data.len() && (total > 0 || data.is_empty() || pairs.is_malformed()));
    let mut rest = data;
    let (mut encoder, mut encoded, mut expected) = (ParamsEncoder::default(), Vec::new(), Vec::new());
    while !rest.is_empty() && expected.len() < 50 {
        let repeat = number(&mut rest, 80) * number(&mut rest, 900);
        let length = number(&mut rest, 300).min(rest.len());
        let (name, tail) = rest.split_at(length);
        rest = tail;
        let value = vec![length as u8; repeat];
        if encoder.pair(&mut encoded, name, &value).is_ok() {
            expected.push((name.to_vec(), value));
        }
    }
    encoder.finish(&mut encoded);
    let mut found = Vec::new();
    for record in contents(&encoded) {
        let mut pairs = Pairs::new(record);
        found.extend(pairs.by_ref().map(|(name, value)| (name.to_vec(), value.to_vec())));
        assert!(!pairs.is_malformed());
    }
    assert!(found == expected);
}

/// The contents of well-formed records.
fn contents(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut contents = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        contents.push(&bytes[HEADER_LEN..HEADER_LEN + length]);
        bytes = &bytes[HEADER_LEN + length..];
    }
    contents
}

fn read_head(pieces: &[&[u8]]) -> String {
    let limits = HeadLimits { max_bytes: 2000, max_fields: 20 };
    let mut head = ResponseHead::default();
    let mut taken = 0;
    for piece in pieces {
        match head.push(piece, &limits) {
            Err(error) => return format!("{:?}", std::mem::discriminant(&error)),
            Ok(progress) => {
                assert!(
                    progress.taken <= piece.len() && (progress.complete || progress.taken == piece.len())
                );
                taken += progress.taken;
                if progress.complete {
                    break;
                }
            }
        }
    }
    assert!(head.status() == 0 || (200..600).contains(&head.status()));
    for (name, value) in head.fields() {
        assert!(!name.is_empty() && !name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b':'));
        assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
    }
    let fields: Vec<_> = head.fields().collect();
    format!("{taken} {} {:?} {:?} {fields:?}", head.status(), head.reason(), head.content_length())
}

/// A head is the same at any split, and what passes is clean.
pub fn head(data: &[u8]) {
    let mut rest = data;
    let cut = number(&mut rest, data.len() + 1).min(rest.len());
    assert_eq!(read_head(&[rest]), read_head(&[&rest[..cut], &rest[cut..]]));
}

struct NoFiles;

impl Files for NoFiles {
    fn is_regular_file(&self, path: &[u8]) -> bool {
        !path.len().is_multiple_of(3)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        path.len().is_multiple_of(2)
    }

    fn resolve(&self, _: &[u8], _: &mut Vec<u8>) -> bool {
        false
    }
}

/// What fcgate computes from a request; all else that a client can cause begins with HTTP_.
const META: [&[u8]; 14] = [
    b"CONTENT_TYPE",
    b"DOCUMENT_ROOT",
    b"GATEWAY_INTERFACE",
    b"PATH_INFO",
    b"PATH_TRANSLATED",
    b"QUERY_STRING",
    b"REDIRECT_STATUS",
    b"REQUEST_METHOD",
    b"REQUEST_SCHEME",
    b"REQUEST_URI",
    b"SCRIPT_FILENAME",
    b"SCRIPT_NAME",
    b"SERVER_NAME",
    b"CONTENT_LENGTH",
];

/// A client makes no param of its own, and each name stands there once.
pub fn environment(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let (choice, target) = first.split_first().map_or((0, first), |(choice, target)| (*choice, target));
    let headers: Vec<(&[u8], &[u8])> = lines
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            (&line[..colon], line.get(colon + 1..).unwrap_or_default())
        })
        .collect();
    let settings = EnvironmentSettings {
        preset: [Preset::Php, Preset::Plain, Preset::Script][usize::from(choice % 3)],
        script_exists: [Onoff::Auto, Onoff::On, Onoff::Off][usize::from(choice / 3 % 3)],
        document_root: "/srv/www".into(),
        map_root: (choice & 64 != 0).then(|| ("/srv".into(), "/app".into())),
        ..EnvironmentSettings::default()
    };
    let underscores = choice & 128 != 0;
    let facts = Facts {
        method: Some(b"GET"),
        target: Some(target),
        headers: &headers,
        underscores,
        ..Facts::default()
    };
    let mut environment = Environment::default();
    if environment.build(&settings, &[], &facts, &NoFiles, Some(u64::from(choice))).is_err() {
        return;
    }
    let mut names = std::collections::HashSet::new();
    for record in contents(environment.encoded()) {
        let mut pairs = Pairs::new(record);
        for (name, value) in pairs.by_ref() {
            assert!(names.insert(name.to_vec()), "{} stands there twice", String::from_utf8_lossy(name));
            assert!(!value.contains(&0));
            let is_header = name.strip_prefix(b"HTTP_").is_some_and(|rest| {
                !rest.starts_with(b"PROXY_")
                    && rest != b"PROXY"
                    && rest
                        .iter()
                        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
            });
            assert!(is_header || META.contains(&name), "{}", String::from_utf8_lossy(name));
        }
        assert!(!pairs.is_malformed());
    }
}

/// A split path is the whole path, a decoded one never climbs, a mapped one stays beneath.
pub fn script_path(data: &[u8]) {
    let mut decoded = Vec::new();
    if let Some(target) = script::split_target(data)
        && target.path.first() == Some(&b'/')
        && script::decode_path(target.path, &mut decoded).is_ok()
        && script::check_path(&decoded).is_ok()
    {
        assert_eq!(decoded.first(), Some(&b'/'));
        assert!(!decoded.split(|byte| *byte == b'/').any(|segment| segment == b".." || segment == b"."));
        for files in [None, Some(&NoFiles as &dyn Files)] {
            let (name, info) = script::split_script(&decoded, b"/srv", b".php", files, &mut Vec::new());
            assert_eq!([name, info].concat(), decoded);
            assert!(info.is_empty() || info[0] == b'/' && name.ends_with(b".php"));
        }
        let mut mapped = [b"/srv", &decoded[..]].concat();
        script::map_root(&mut mapped, "/srv", "/app");
        assert_eq!(mapped, [b"/app", &decoded[..]].concat());
    }
}
