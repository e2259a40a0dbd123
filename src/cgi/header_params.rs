//! HTTP header fields as params: `HTTP_NAME`, and which of them do not pass.

use super::environment::EnvironmentError;
use super::facts::{PairList, pairs};

/// Fields of one hop, and fields whose params would mean something else: `HTTP_PROXY` is a proxy to
/// many applications, `HTTP_REDIRECT_STATUS` lets php-cgi run.
const WITHHELD: [&[u8]; 9] = [
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

/// Fields of which two would mean two things.
const SINGLE: [&[u8]; 4] = [b"host", b"content-length", b"content-type", b"authorization"];

/// The value of the first field of this name, given in lower case.
pub fn find<'a>(headers: &'a dyn PairList, name: &[u8]) -> Option<&'a [u8]> {
    pairs(headers).find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Refuses fields that two readers could read in two ways.
pub fn check(headers: &dyn PairList) -> Result<(), EnvironmentError> {
    for single in SINGLE {
        if pairs(headers).filter(|(name, _)| name.eq_ignore_ascii_case(single)).count() > 1 {
            let name = String::from_utf8_lossy(single);
            return Err(EnvironmentError::bad_request(format!(
                "the field {name} stands there more than once"
            )));
        }
    }
    if find(headers, b"content-length").is_some() && find(headers, b"transfer-encoding").is_some() {
        return Err(EnvironmentError::bad_request(
            "content-length together with transfer-encoding".to_owned(),
        ));
    }
    Ok(())
}

fn passes(name: &[u8], authorization: bool) -> bool {
    let is_known = |known: &[u8]| name.eq_ignore_ascii_case(known);
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !WITHHELD.iter().any(|known| is_known(known))
        && !name
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"proxy") && (name.len() == 5 || name[5] == b'-'))
        && (authorization || !is_known(b"authorization"))
}

/// Turns header fields into params; keeps its memory.
#[derive(Debug, Default)]
pub struct HeaderParams {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl HeaderParams {
    /// Gives `sink` each param that the fields make: repeated fields joined, in the order in which
    /// the names first stand there. A name may be given again for its repetitions; the first counts.
    pub fn each(
        &mut self,
        headers: &dyn PairList,
        authorization: bool,
        mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), EnvironmentError>,
    ) -> Result<(), EnvironmentError> {
        for index in 0..headers.count() {
            let (name, value) = headers.pair(index);
            if !passes(name, authorization) {
                continue;
            }
            self.name.clear();
            self.name.extend_from_slice(b"HTTP_");
            self.name
                .extend(name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
            let mut again = (index + 1..headers.count())
                .map(|later| headers.pair(later))
                .filter(|(other, _)| other.len() == name.len() && other.eq_ignore_ascii_case(name))
                .peekable();
            if again.peek().is_none() {
                sink(&self.name, value)?;
                continue;
            }
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
