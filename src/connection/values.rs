//! FCGI_GET_VALUES (FastCGI 1.0 specification, section 4.1): what an application says of its limits,
//! asked on a connection of its own, and only where somebody wants to know: some applications answer
//! late, twice or never, and some die of the question.

use crate::protocol::{Header, Pairs, Part, RecordReader, RecordType, name_value};

/// The names that applications know, each asked once.
pub const NAMES: [&str; 3] = ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"];
/// The longest answer that is read.
const ANSWER_MAX: usize = 4096;

/// The question: one record for each name, then an empty one, on which libfcgi waits before it
/// answers.
pub fn question() -> Vec<u8> {
    let mut out = Vec::new();
    for name in NAMES {
        let mut pair = Vec::new();
        name_value::append_pair(&mut pair, name.as_bytes(), b"");
        out.extend_from_slice(&Header::new(RecordType::GET_VALUES, 0, pair.len() as u16).encode());
        out.extend_from_slice(&pair);
    }
    out.extend_from_slice(&Header::new(RecordType::GET_VALUES, 0, 0).encode());
    out
}

/// What an application answered, as far as it did.
#[derive(Clone, Debug, Default)]
pub struct Values {
    reader: RecordReader,
    is_result: bool,
    content: Vec<u8>,
    found: [Option<u32>; NAMES.len()],
}

impl Values {
    /// Takes bytes of the answer. After an error nothing more is believed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut input = bytes;
        loop {
            match self.reader.next(&mut input).map_err(|_| "a record of another protocol version")? {
                None => return Ok(()),
                Some(Part::Header(header)) => {
                    self.is_result =
                        header.record_type == RecordType::GET_VALUES_RESULT && header.request_id == 0;
                    self.content.clear();
                }
                Some(Part::Content(bytes)) if self.is_result => {
                    if self.content.len() + bytes.len() > ANSWER_MAX {
                        return Err("an answer that is far too long");
                    }
                    self.content.extend_from_slice(bytes);
                }
                Some(Part::Content(_)) => {}
                Some(Part::End) => self.take_pairs(),
            }
        }
    }

    fn take_pairs(&mut self) {
        for (name, value) in Pairs::new(&self.content) {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            if let Some(place) = NAMES.iter().position(|known| known.as_bytes() == name) {
                self.found[place] = self.found[place].or(number);
            }
        }
        self.content.clear();
    }

    /// What was said of one of [`NAMES`].
    pub fn get(&self, name: &str) -> Option<u32> {
        NAMES.iter().position(|known| *known == name).and_then(|place| self.found[place])
    }

    /// Whether every name was answered.
    pub fn is_complete(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E12: one name a record, each once, then an empty record; all on id 0.
    #[test]
    fn each_name_is_asked_once() {
        let question = question();
        let mut reader = RecordReader::default();
        let (mut input, mut names, mut records) = (&question[..], Vec::new(), 0);
        while let Some(part) = reader.next(&mut input).unwrap() {
            match part {
                Part::Header(header) => {
                    assert_eq!((header.record_type, header.request_id), (RecordType::GET_VALUES, 0));
                    records += 1;
                }
                Part::Content(bytes) => names.extend(Pairs::new(bytes).map(|(name, value)| {
                    assert!(value.is_empty());
                    String::from_utf8(name.to_vec()).unwrap()
                })),
                Part::End => {}
            }
        }
        assert!(reader.at_boundary());
        assert_eq!((names, records), (NAMES.map(String::from).to_vec(), NAMES.len() + 1));
    }

    fn answer(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut content = Vec::new();
        for (name, value) in pairs {
            name_value::append_pair(&mut content, name.as_bytes(), value.as_bytes());
        }
        let mut out = Header::new(RecordType::GET_VALUES_RESULT, 0, content.len() as u16).encode().to_vec();
        out.extend_from_slice(&content);
        out
    }

    /// E12: none, one or many results, at every split; what is no number is not believed.
    #[test]
    fn answers_are_read_at_every_split() {
        let bytes = [
            answer(&[("FCGI_MPXS_CONNS", "0"), ("UNKNOWN", "7")]),
            answer(&[]),
            answer(&[("FCGI_MAX_CONNS", "50"), ("FCGI_MAX_REQS", "many")]),
        ]
        .concat();
        for cut in 0..=bytes.len() {
            let mut values = Values::default();
            values.receive(&bytes[..cut]).unwrap();
            values.receive(&bytes[cut..]).unwrap();
            assert_eq!(NAMES.map(|name| values.get(name)), [Some(50), None, Some(0)]);
            assert!(!values.is_complete());
        }
        assert!(Values::default().receive(&[2; 8]).is_err());
        let endless = answer(&[("X", &"x".repeat(5000))]);
        assert!(Values::default().receive(&endless).is_err());
    }
}
