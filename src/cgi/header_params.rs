//! HTTP header fields as params: `HTTP_NAME`, and which of them do not pass.

use super::environment::EnvironmentError;
use super::facts::{PairList, pairs};

/// What a field's name means for params.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `HTTP_` and its name.
    Plain,
    /// No param: a field of one hop, or one whose param would mean something else. `HTTP_PROXY` is a
    /// proxy to many applications, `HTTP_REDIRECT_STATUS` lets php-cgi run.
    Withheld,
    /// Computed.
    Host,
    ContentType,
    ContentLength,
    TransferEncoding,
    /// Passes where the server did not authenticate itself.
    Authorization,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            0 => Self::Withheld,
            2 if is(b"te") => Self::Withheld,
            4 if is(b"host") => Self::Host,
            7 if is(b"trailer") || is(b"upgrade") => Self::Withheld,
            10 if is(b"connection") || is(b"keep-alive") => Self::Withheld,
            12 if is(b"content-type") => Self::ContentType,
            13 if is(b"authorization") => Self::Authorization,
            14 if is(b"content-length") => Self::ContentLength,
            15 if is(b"redirect-status") => Self::Withheld,
            17 if is(b"transfer-encoding") => Self::TransferEncoding,
            _ if matches!(name, [b'p' | b'P', ..]) && is_for_a_proxy(name) => Self::Withheld,
            _ => Self::Plain,
        }
    }
}

/// `Proxy`, `Proxy-Authorization` and the like.
fn is_for_a_proxy(name: &[u8]) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"proxy"))
        && matches!(name.get(5), None | Some(b'-'))
}

fn has_underscore(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some()
}

/// Whether two names make the same param.
fn fold_alike(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| fold(*one) == fold(*other))
}

/// Slots in which names are looked for that stand there twice.
const SLOTS: usize = 4096;

/// Fields that are known by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Host.
    pub host: Option<&'a [u8]>,
    /// Content-Type.
    pub content_type: Option<&'a [u8]>,
}

/// Alike in all spellings of a name; the last eight bytes of a longer one overlap those before.
#[inline]
fn hash(name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let mut hash = name.len() as u64;
    if let Some(last) = name.last_chunk::<8>() {
        for word in name.as_chunks::<8>().0 {
            hash = (hash ^ (u64::from_le_bytes(*word) | LOWER)).wrapping_mul(FACTOR).rotate_left(23);
        }
        hash ^= u64::from_le_bytes(*last) | LOWER;
    } else {
        for byte in name {
            hash = hash << 8 ^ u64::from(*byte | 0x20);
        }
    }
    (hash.wrapping_mul(FACTOR) >> 32) as u32
}

/// Turns header fields into params; keeps its memory.
#[derive(Debug, Default)]
pub struct HeaderParams {
    name: Vec<u8>,
    value: Vec<u8>,
    /// What each field is, and the hash of its name.
    fields: Vec<(Kind, u32)>,
    /// Whether two fields have, or seem to have, the same name.
    repeated: bool,
    /// Whether names with underscores pass.
    underscores: bool,
}

impl HeaderParams {
    /// Looks at all fields, before [`each`](Self::each): finds those that are known by name, and refuses
    /// those that two readers could read in two ways: of each of Host, Content-Length, Content-Type and
    /// Authorization there may be one.
    pub fn look<'a>(
        &mut self,
        headers: &'a dyn PairList,
        underscores: bool,
    ) -> Result<Known<'a>, EnvironmentError> {
        self.underscores = underscores;
        let mut known = Known::default();
        let (mut length, mut authorization, mut transfer_encoding) = (None, None, false);
        let mut slots = [0_u64; SLOTS / 64];
        self.fields.clear();
        self.repeated = false;
        for (name, value) in pairs(headers) {
            let (kind, hash) =
                if underscores { self.look_folded(name) } else { (Kind::of(name), hash(name)) };
            let (slot, bit) = (&mut slots[hash as usize / 64 % (SLOTS / 64)], 1 << (hash % 64));
            self.repeated |= *slot & bit != 0;
            *slot |= bit;
            self.fields.push((kind, hash));
            let single = match kind {
                Kind::Host => &mut known.host,
                Kind::ContentType => &mut known.content_type,
                Kind::Authorization => &mut authorization,
                Kind::ContentLength => &mut length,
                Kind::TransferEncoding => {
                    transfer_encoding = true;
                    continue;
                }
                Kind::Plain | Kind::Withheld => continue,
            };
            if single.replace(value).is_some() {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                let text = format!("the field {name} stands there more than once");
                return Err(EnvironmentError::bad_request(text));
            }
        }
        if length.is_some() && transfer_encoding {
            let text = "content-length together with transfer-encoding";
            return Err(EnvironmentError::bad_request(text.to_owned()));
        }
        Ok(known)
    }

    /// What a name is where underscores pass: of a name that means something no other spelling does.
    fn look_folded(&mut self, name: &[u8]) -> (Kind, u32) {
        if !has_underscore(name) {
            return (Kind::of(name), hash(name));
        }
        self.name.clear();
        self.name.extend(name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }));
        let kind = if Kind::of(&self.name) == Kind::Plain { Kind::Plain } else { Kind::Withheld };
        (kind, hash(&self.name))
    }

    /// Whether a name with underscores yields to another that makes the same param: to one without them,
    /// wherever that stands, or to another spelling that stands before it. So a client can't put itself in
    /// place of a field that a proxy sets.
    fn yields(&self, headers: &dyn PairList, index: usize, name: &[u8]) -> bool {
        self.repeated
            && (0..self.fields.len()).any(|other| {
                let spelling = headers.pair(other).0;
                self.fields[other].1 == self.fields[index].1
                    && fold_alike(spelling, name)
                    && (!has_underscore(spelling) || other < index && !spelling.eq_ignore_ascii_case(name))
            })
    }

    /// Puts the param's name together; `false` where the field's has letters that may not pass.
    fn fold(&mut self, name: &[u8]) -> bool {
        self.name.clear();
        self.name.extend_from_slice(b"HTTP_");
        self.name.extend_from_slice(name);
        let mut passes = true;
        for byte in &mut self.name[5..] {
            let own = *byte;
            passes &= own.is_ascii_alphanumeric() | (own == b'-') | (self.underscores & (own == b'_'));
            *byte = if own == b'-' { b'_' } else { own.to_ascii_uppercase() };
        }
        passes
    }

    /// Gives `sink` each param that the fields make, which were looked at before, once: repeated fields
    /// joined, in the order in which the names first stand there.
    pub fn each(
        &mut self,
        headers: &dyn PairList,
        authorization: bool,
        mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), EnvironmentError>,
    ) -> Result<(), EnvironmentError> {
        for index in 0..self.fields.len() {
            let (kind, hash) = self.fields[index];
            if kind != Kind::Plain && (kind != Kind::Authorization || !authorization) {
                continue;
            }
            let (name, value) = headers.pair(index);
            if !self.fold(name) {
                continue;
            }
            if self.underscores && has_underscore(name) && self.yields(headers, index, name) {
                continue;
            }
            let is_same = |other: usize| {
                self.fields[other].1 == hash && headers.pair(other).0.eq_ignore_ascii_case(name)
            };
            let others = if self.repeated { self.fields.len() } else { 0 };
            if (0..index.min(others)).any(is_same) {
                continue;
            }
            let mut again = (index + 1..others).filter(|other| is_same(*other)).peekable();
            if again.peek().is_none() {
                sink(&self.name, value)?;
                continue;
            }
            let separator: &[u8] = if name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
            self.value.clear();
            self.value.extend_from_slice(value);
            for other in again {
                self.value.extend_from_slice(separator);
                self.value.extend_from_slice(headers.pair(other).1);
            }
            sink(&self.name, &self.value)?;
        }
        Ok(())
    }
}
