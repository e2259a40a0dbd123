//! Name-value pairs (FastCGI 1.0 specification, section 3.4): lengths of one or four bytes,
//! packed into PARAMS records so that no pair crosses a record's border, because php-fpm resets
//! a connection on which one does.

use super::record::{HEADER_LEN, Header, MAX_CONTENT, RecordType};
use std::borrow::Cow;

/// The largest length that takes one byte.
const SHORT_MAX: usize = 127;

fn length_size(length: usize) -> usize {
    if length <= SHORT_MAX { 1 } else { 4 }
}

fn append_length(out: &mut Vec<u8>, length: usize) {
    if length <= SHORT_MAX {
        out.push(length as u8);
    } else {
        out.extend_from_slice(&(length as u32 | 0x8000_0000).to_be_bytes());
    }
}

/// Bytes that a pair takes on the wire.
pub fn encoded_len(name: &[u8], value: &[u8]) -> usize {
    length_size(name.len()) + length_size(value.len()) + name.len() + value.len()
}

/// Appends one pair, lengths minimal.
pub fn append_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    append_length(out, name.len());
    append_length(out, value.len());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// A pair does not fit one PARAMS record; holds the bytes it would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairTooLong(pub usize);

/// Packs pairs into PARAMS records at the end of a buffer, whose last record is right once it is
/// finished. The records carry request id 0 until
/// the exchange knows its connection and fills the id in.
#[derive(Clone, Debug, Default)]
pub struct ParamsEncoder {
    /// Where the header of the record that is being filled stands, if there is one.
    open: Option<usize>,
    /// How long the buffer may grow before that record is full; 0 without one.
    full_at: usize,
    /// Let a pair that fits no record cross into the next ones.
    pub split_params: bool,
}

impl ParamsEncoder {
    /// An encoder at its start.
    pub fn new(split_params: bool) -> Self {
        Self { open: None, full_at: 0, split_params }
    }

    /// Appends a pair; a pair that does not fit the current record starts the next one.
    /// Lengths above 2^31 - 1 can't be told on the wire and are refused too.
    #[inline]
    pub fn pair(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), PairTooLong> {
        let lengths = name.len() | value.len();
        let length = 2 + name.len() + value.len();
        if lengths <= SHORT_MAX && out.len() + length <= self.full_at {
            out.reserve(length);
            out.extend_from_slice(&[name.len() as u8, value.len() as u8]);
            out.extend_from_slice(name);
            out.extend_from_slice(value);
            return Ok(());
        }
        self.pair_in_full(out, name, value)
    }

    fn pair_in_full(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), PairTooLong> {
        let size = encoded_len(name, value);
        if out.len() + size <= self.full_at {
            append_pair(out, name, value);
            return Ok(());
        }
        if size > MAX_CONTENT {
            if !self.split_params || name.len() > i32::MAX as usize || value.len() > i32::MAX as usize {
                return Err(PairTooLong(size));
            }
            self.close(out);
            let mut pair = Vec::with_capacity(size);
            append_pair(&mut pair, name, value);
            super::record::append_stream(out, RecordType::PARAMS, 0, &pair);
            return Ok(());
        }
        self.close(out);
        self.open = Some(out.len());
        self.full_at = out.len() + HEADER_LEN + MAX_CONTENT;
        out.extend_from_slice(&Header::new(RecordType::PARAMS, 0, 0).encode());
        append_pair(out, name, value);
        Ok(())
    }

    /// Tells the record that is being filled how long it is.
    fn close(&mut self, out: &mut [u8]) {
        self.full_at = 0;
        if let Some(start) = self.open.take() {
            let length = (out.len() - start - HEADER_LEN) as u16;
            out[start + 4..start + 6].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Ends the params: one empty record, even if there were no pairs.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(&Header::new(RecordType::PARAMS, 0, 0).encode());
    }
}

/// The value of a param in PARAMS records as [`ParamsEncoder`] makes them.
pub fn find_param<'a>(mut records: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    while let Some((content, rest)) = take_record(records) {
        let mut pairs = Pairs::new(content);
        if let Some((_, value)) = pairs.find(|(own, _)| *own == name) {
            return Some(Cow::Borrowed(value));
        }
        records = rest;
        if pairs.is_malformed() {
            // A pair that fits no record: it begins this one and ends one of the next.
            let mut whole = content.to_vec();
            while let Some((content, rest)) =
                take_record(records).filter(|_| Pairs::new(&whole).next().is_none())
            {
                whole.extend_from_slice(content);
                records = rest;
            }
            if let Some((own, value)) = Pairs::new(&whole).next()
                && own == name
            {
                return Some(Cow::Owned(value.to_vec()));
            }
        }
    }
    None
}

fn take_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = records.split_first_chunk::<HEADER_LEN>()?;
    let length = usize::from(Header::decode(header).ok()?.content_length);
    rest.split_at_checked(length)
}

/// Reads pairs out of bytes. Every bound comes from the slice; a claimed length that reaches
/// beyond it ends the reading with [`Pairs::is_malformed`], and nothing is ever allocated.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Pairs<'a> {
    /// Reads the pairs of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, malformed: false }
    }

    /// Whether reading ended before the bytes did.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    fn length(bytes: &mut &'a [u8]) -> Option<usize> {
        let first = *bytes.first()?;
        let (length, size) = if first & 0x80 == 0 {
            (usize::from(first), 1)
        } else {
            let four: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
            ((u32::from_be_bytes(four) & 0x7FFF_FFFF) as usize, 4)
        };
        *bytes = &bytes[size..];
        Some(length)
    }

    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let mut rest = self.rest;
        let name_length = Self::length(&mut rest)?;
        let value_length = Self::length(&mut rest)?;
        let name = rest.get(..name_length)?;
        let rest = &rest[name_length..];
        let value = rest.get(..value_length)?;
        self.rest = &rest[value_length..];
        Some((name, value))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.malformed {
            return None;
        }
        let pair = self.pair();
        self.malformed = pair.is_none();
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::{Part, RecordReader};
    use proptest::prelude::*;

    fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = RecordReader::default();
        let mut input = bytes;
        let mut records = Vec::new();
        while let Some(part) = reader.next(&mut input).unwrap() {
            match part {
                Part::Header(header) => {
                    assert_eq!(header.record_type, RecordType::PARAMS);
                    assert_eq!(header.padding_length, 0);
                    records.push(Vec::new());
                }
                Part::Content(bytes) => records.last_mut().unwrap().extend_from_slice(bytes),
                Part::End => {}
            }
        }
        records
    }

    /// E6: lengths minimal, for names and values alike.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn lengths_take_one_byte_up_to_127_and_four_beyond() {
        for (length, size) in [(0, 1), (1, 1), (127, 1), (128, 4), (65000, 4)] {
            let text = vec![b'x'; length];
            let mut out = Vec::new();
            append_pair(&mut out, &text, b"");
            assert_eq!(out.len(), size + 1 + length);
            let mut out = Vec::new();
            append_pair(&mut out, b"", &text);
            assert_eq!(out.len(), 1 + size + length);
            assert_eq!(Pairs::new(&out).collect::<Vec<_>>(), [(&b""[..], &text[..])]);
        }
    }

    /// E3: one empty PARAMS ends params, even if there are none.
    #[test]
    fn params_end_with_one_empty_record() {
        let mut out = Vec::new();
        ParamsEncoder::default().finish(&mut out);
        assert_eq!(records(&out), [Vec::new()]);
    }

    /// E5: no pair crosses a record; one that does not fit starts the next.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_pair_that_does_not_fit_starts_the_next_record() {
        for room in 0..40usize {
            let mut out = Vec::new();
            let mut encoder = ParamsEncoder::default();
            let filler = vec![b'v'; MAX_CONTENT - 5 - room];
            encoder.pair(&mut out, b"", &filler).unwrap();
            encoder.pair(&mut out, b"NAME", b"value").unwrap();
            encoder.finish(&mut out);
            let records = records(&out);
            assert_eq!(records.len(), if room >= 11 { 2 } else { 3 }, "room {room}");
            for record in &records {
                let mut pairs = Pairs::new(record);
                assert!(pairs.by_ref().count() <= 2 && !pairs.is_malformed());
            }
        }
    }

    /// E5: the largest pair fills a record exactly; one byte more is refused, never truncated.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_pair_beyond_65535_is_refused_unless_split() {
        let mut out = Vec::new();
        let mut encoder = ParamsEncoder::default();
        let value = vec![1; MAX_CONTENT - 6];
        encoder.pair(&mut out, b"N", &value).unwrap();
        let before = out.clone();
        let value = vec![1; MAX_CONTENT - 5];
        assert_eq!(encoder.pair(&mut out, b"N", &value), Err(PairTooLong(MAX_CONTENT + 1)));
        assert_eq!(out, before);
        encoder.split_params = true;
        encoder.pair(&mut out, b"N", &value).unwrap();
        encoder.pair(&mut out, b"A", b"b").unwrap();
        encoder.finish(&mut out);
        let records = records(&out);
        let lengths: Vec<usize> = records.iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_CONTENT, MAX_CONTENT, 1, 4, 0]);
        let joined: Vec<u8> = records.concat();
        assert_eq!(Pairs::new(&joined).count(), 3);
    }

    /// A10: bounds from the slice only, whatever length is claimed.
    #[test]
    fn a_claimed_length_beyond_the_bytes_is_malformed() {
        for bytes in [
            &[1u8][..],
            &[5, 0, b'a'],
            &[0x80, 0, 0],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0],
            &[1, 0xFF, 0xFF, 0xFF, 0xFF, b'a'],
        ] {
            let mut pairs = Pairs::new(bytes);
            assert_eq!(pairs.next(), None);
            assert!(pairs.is_malformed());
            assert_eq!(pairs.next(), None);
        }
    }

    /// E5: a param is found whatever record it stands in, also one that fills several.
    #[test]
    fn params_are_found() {
        let mut out = Vec::new();
        let mut encoder = ParamsEncoder::new(true);
        let long = vec![b'x'; 200_000];
        let inner = [b"\x01\x01AB".as_slice(), &vec![7; 65_000]].concat();
        for (name, value) in [("A", &b"1"[..]), ("LONG", &long), ("INNER", &inner), ("B", b""), ("C", b"3")] {
            encoder.pair(&mut out, name.as_bytes(), value).unwrap();
        }
        encoder.finish(&mut out);
        let find = |name: &str| find_param(&out, name.as_bytes()).map(Cow::into_owned);
        assert_eq!(find("A"), Some(b"1".to_vec()));
        assert_eq!(find("LONG"), Some(long));
        assert_eq!(find("INNER"), Some(inner));
        assert_eq!([find("B"), find("C"), find("D")], [Some(vec![]), Some(b"3".to_vec()), None]);
        assert_eq!(find_param(&out[..300], b"C"), None);
    }

    proptest! {
        /// E5, E6, A10: whatever goes in comes out, in order, and every cut of it is noticed.
        #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
        fn pairs_come_back_as_they_went_in(
            pairs in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut out = Vec::new();
            let mut encoder = ParamsEncoder::default();
            for (name, value) in &pairs {
                encoder.pair(&mut out, name, value).unwrap();
            }
            encoder.finish(&mut out);
            let joined: Vec<u8> = records(&out).concat();
            let back: Vec<(Vec<u8>, Vec<u8>)> =
                Pairs::new(&joined).map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&back, &pairs);
            let cut = cut.index(joined.len() + 1);
            let mut some = Pairs::new(&joined[..cut]);
            let count = some.by_ref().count();
            prop_assert!(count <= pairs.len());
            prop_assert!(count == pairs.len() || some.is_malformed() || Pairs::new(&joined[..cut]).map(|(n, v)| encoded_len(n, v)).sum::<usize>() == cut);
        }
    }
}
