//! HTTP header fields as params: `HTTP_NAME`, and which of them do not pass.

use super::environment::EnvironmentError;
use super::facts::{PairList, pairs};

/// Fields of one hop, and fields whose params would mean something else: `HTTP_PROXY` is a proxy to
/// many applications, `HTTP_REDIRECT_STATUS` lets php-cgi run. `HTTP_HOST` is computed.
const WITHHELD: [&[u8]; 10] = [
    b"host",
    b"connection",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"redirect-status",
    b"content-length",
    b"content-type",
];

/// How a byte of a field's name stands in a param's; 0 where it may not.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let own = byte as u8;
        table[byte] = match own {
            b'-' => b'_',
            _ if own.is_ascii_alphanumeric() => own.to_ascii_uppercase(),
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Slots in which names are looked for that stand there twice.
const SLOTS: usize = 256;

/// Fields that are known by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Host.
    pub host: Option<&'a [u8]>,
    /// Content-Type.
    pub content_type: Option<&'a [u8]>,
}

/// A slot for a name, alike in all spellings of it.
fn slot(name: &[u8]) -> usize {
    let at = |index: usize| usize::from(name.get(index).copied().unwrap_or_default() | 0x20);
    (name.len() * 31 + at(0) * 7 + at(name.len() / 2) * 3 + at(name.len().saturating_sub(1)) * 13) % SLOTS
}

fn passes(name: &[u8], authorization: bool) -> bool {
    let is_known = |known: &[u8]| name.eq_ignore_ascii_case(known);
    !name.is_empty()
        && !WITHHELD.iter().any(|known| is_known(known))
        && !name
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"proxy") && (name.len() == 5 || name[5] == b'-'))
        && (authorization || !is_known(b"authorization"))
}

/// Turns header fields into params; keeps its memory.
#[derive(Debug)]
pub struct HeaderParams {
    name: Vec<u8>,
    value: Vec<u8>,
    /// How many fields have their name in a slot, up to two: one of them is alone of its name.
    slots: [u8; SLOTS],
}

impl Default for HeaderParams {
    fn default() -> Self {
        Self { name: Vec::new(), value: Vec::new(), slots: [0; SLOTS] }
    }
}

impl HeaderParams {
    /// Looks at all fields, before [`each`](Self::each): finds those that are known by name, and refuses
    /// those that two readers could read in two ways: of each of Host, Content-Length, Content-Type and
    /// Authorization there may be one.
    pub fn look<'a>(&mut self, headers: &'a dyn PairList) -> Result<Known<'a>, EnvironmentError> {
        let mut known = Known::default();
        let (mut length, mut authorization, mut transfer_encoding) = (None, None, false);
        self.slots.fill(0);
        for (name, value) in pairs(headers) {
            let slot = &mut self.slots[slot(name)];
            *slot = (*slot + 1).min(2);
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            let single = match name.len() {
                4 if is(b"host") => &mut known.host,
                12 if is(b"content-type") => &mut known.content_type,
                13 if is(b"authorization") => &mut authorization,
                14 if is(b"content-length") => &mut length,
                17 if is(b"transfer-encoding") => {
                    transfer_encoding = true;
                    continue;
                }
                _ => continue,
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

    /// Puts the param's name together; `false` where the field's has letters that may not pass.
    fn fold(&mut self, name: &[u8]) -> bool {
        self.name.clear();
        self.name.extend_from_slice(b"HTTP_");
        self.name.extend(name.iter().map(|byte| FOLDED[usize::from(*byte)]));
        !self.name.contains(&0)
    }

    /// Gives `sink` each param that the fields make, which were looked at before, once: repeated fields
    /// joined, in the order in which the names first stand there.
    pub fn each(
        &mut self,
        headers: &dyn PairList,
        authorization: bool,
        mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), EnvironmentError>,
    ) -> Result<(), EnvironmentError> {
        for index in 0..headers.count() {
            let (name, value) = headers.pair(index);
            if !passes(name, authorization) || !self.fold(name) {
                continue;
            }
            if self.slots[slot(name)] < 2 {
                sink(&self.name, value)?;
                continue;
            }
            let is_same = |(other, _): &(&[u8], &[u8])| other.eq_ignore_ascii_case(name);
            if (0..index).map(|earlier| headers.pair(earlier)).any(|pair| is_same(&pair)) {
                continue;
            }
            let again = (index + 1..headers.count()).map(|later| headers.pair(later)).filter(is_same);
            let separator: &[u8] = if name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
            self.value.clear();
            self.value.extend_from_slice(value);
            for (_, more) in again {
                self.value.extend_from_slice(separator);
                self.value.extend_from_slice(more);
            }
            sink(&self.name, &self.value)?;
        }
        Ok(())
    }
}
