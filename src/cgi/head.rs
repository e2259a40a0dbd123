//! The response head: what a CGI application prints before its body, turned into status and fields
//! (RFC 3875, section 6.3; RFC 9110, section 5).
//!
//! Bytes arrive split anywhere. They are collected up to the empty line, each looked at once, and
//! then judged as a whole: a head that could mean two things to two readers is refused rather than
//! repaired, because what stands behind a web server trusts what it passes on.

use std::fmt;
use std::ops::Range;

/// The limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Most bytes, its empty line included.
    pub max_bytes: usize,
    /// Most fields.
    pub max_fields: usize,
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadProgress {
    /// How many of the bytes belong to the head; what follows is the body.
    pub taken: usize,
    /// The head is whole.
    pub complete: bool,
}

/// Why a head is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More bytes than `max_head_bytes`; the name of the largest field.
    TooLarge {
        /// The limit.
        limit: usize,
        /// The largest field's name.
        largest: String,
    },
    /// More fields than `max_head_fields`.
    TooManyFields {
        /// The limit.
        limit: usize,
        /// The largest field's name.
        largest: String,
    },
    /// A line that is no field.
    BadLine(String),
    /// A control byte in a field's value.
    BadValue(String),
    /// No field at all.
    Empty,
    /// Not a status of three digits from 200 to 599.
    BadStatus(String),
    /// Two statuses that differ.
    TwoStatuses,
    /// Not one length of digits.
    BadLength(String),
    /// 101 where no upgrade is allowed.
    Upgrade,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit, largest } => {
                write!(f, "it is larger than max_head_bytes ({limit}); its largest field is {largest}")
            }
            Self::TooManyFields { limit, largest } => {
                write!(f, "it has more fields than max_head_fields ({limit}); its largest field is {largest}")
            }
            Self::BadLine(line) => write!(f, "the line \"{line}\" is no field"),
            Self::BadValue(name) => write!(f, "the value of {name} has a control byte in it"),
            Self::Empty => f.write_str("it has no field"),
            Self::BadStatus(status) => write!(f, "the status \"{status}\" is not one of 200 to 599"),
            Self::TwoStatuses => f.write_str("it has two Status fields that differ"),
            Self::BadLength(length) => write!(f, "the Content-Length \"{length}\" is not one number"),
            Self::Upgrade => f.write_str("status 101, but upgrade is not switched on"),
        }
    }
}

/// Something that was put right, and that a person should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadWarning {
    /// Transfer-Encoding was removed; the body passes as the bytes it is.
    TransferEncoding,
    /// A second, other Content-Type was dropped.
    ContentType,
}

impl fmt::Display for HeadWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TransferEncoding => {
                "the application sent Transfer-Encoding, which is the web server's: it was removed, the body passed as it is"
            }
            Self::ContentType => "the application sent two Content-Types that differ: the first one was passed on",
        })
    }
}

const HOP_BY_HOP: [&[u8]; 8] = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// A response head, as it comes in and as it is passed on. Reusable.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    bytes: Vec<u8>,
    /// Where the line that is being collected starts.
    line: usize,
    fields: Vec<(Range<usize>, Range<usize>)>,
    status: u16,
    reason: Range<usize>,
    content_length: Option<u64>,
    warnings: Vec<HeadWarning>,
}

impl ResponseHead {
    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.line = 0;
        self.fields.clear();
        self.status = 0;
        self.reason = 0..0;
        self.content_length = None;
        self.warnings.clear();
    }

    /// The status: 200 unless the application says otherwise, 302 with a Location.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The application's own reason phrase, of visible ASCII and spaces; often empty.
    pub fn reason(&self) -> &[u8] {
        &self.bytes[self.reason.clone()]
    }

    /// How many fields are passed on.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether no field is passed on.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field, by its place: name and value.
    pub fn field(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let (name, value) = self.fields.get(index)?;
        Some((&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }

    /// The fields that are passed on, in order, without Status and hop-by-hop fields.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }

    /// The value of the first field of this name, in any case of letters.
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether the application wants what it sends passed on at once.
    pub fn is_stream(&self) -> bool {
        let is = |name, value: &[u8]| {
            let own = self.find(name).and_then(|own| own.split(|byte| *byte == b';').next());
            own.is_some_and(|own| own.trim_ascii().eq_ignore_ascii_case(value))
        };
        is(b"Content-Type", b"text/event-stream") || is(b"X-Accel-Buffering", b"no")
    }

    /// Adds a field of fcgate's own to a head that is whole.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        let middle = start + name.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.fields.push((start..middle, middle..self.bytes.len()));
    }

    /// The Content-Length, if there is one.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// What was put right.
    pub fn warnings(&self) -> impl Iterator<Item = HeadWarning> {
        self.warnings.iter().copied()
    }

    /// Takes bytes of the head. Heads of status 100 and 103 are swallowed.
    pub fn push(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<HeadProgress, HeadError> {
        let mut taken = 0;
        while let Some(at) = memchr::memchr(b'\n', &bytes[taken..]) {
            self.bytes.extend_from_slice(&bytes[taken..=taken + at]);
            taken += at + 1;
            self.check_size(limits)?;
            let line = &self.bytes[self.line..self.bytes.len() - 1];
            let is_last = line.is_empty() || line == b"\r";
            self.line = self.bytes.len();
            if is_last {
                self.judge(limits)?;
                if !matches!(self.status, 100 | 103) {
                    return Ok(HeadProgress { taken, complete: true });
                }
                self.clear();
            }
        }
        self.bytes.extend_from_slice(&bytes[taken..]);
        self.check_size(limits)?;
        Ok(HeadProgress { taken: bytes.len(), complete: false })
    }

    fn check_size(&self, limits: &HeadLimits) -> Result<(), HeadError> {
        if self.bytes.len() <= limits.max_bytes {
            return Ok(());
        }
        Err(HeadError::TooLarge { limit: limits.max_bytes, largest: self.largest() })
    }

    /// The largest line's name, for an error text.
    fn largest(&self) -> String {
        let line = self.bytes.split(|byte| *byte == b'\n').max_by_key(|line| line.len()).unwrap_or_default();
        printable(line.split(|byte| *byte == b':').next().unwrap_or_default())
    }

    fn judge(&mut self, limits: &HeadLimits) -> Result<(), HeadError> {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        let mut status: Option<(u16, Range<usize>)> = None;
        let mut at = 0;
        let mut first = true;
        while let Some(end) = memchr::memchr(b'\n', &self.bytes[at..]) {
            let mut line = at..at + end;
            at += end + 1;
            if line.end > line.start && self.bytes[line.end - 1] == b'\r' {
                line.end -= 1;
            }
            if line.is_empty() {
                break;
            }
            let is_first = std::mem::replace(&mut first, false);
            if is_first && self.bytes[line.clone()].starts_with(b"HTTP/") {
                let rest = memchr::memchr(b' ', &self.bytes[line.clone()])
                    .ok_or_else(|| HeadError::BadStatus(printable(&self.bytes[line.clone()])))?;
                status = Some(self.parse_status(line.start + rest + 1..line.end)?);
                continue;
            }
            if matches!(self.bytes[line.start], b' ' | b'\t') {
                let Some((_, value)) = fields.last_mut() else {
                    return Err(HeadError::BadLine(printable(&self.bytes[line])));
                };
                self.unfold(value, line);
                continue;
            }
            if fields.len() >= limits.max_fields {
                return Err(HeadError::TooManyFields { limit: limits.max_fields, largest: self.largest() });
            }
            fields.push(self.parse_field(line)?);
        }
        if fields.is_empty() && status.is_none() {
            return Err(HeadError::Empty);
        }
        self.fields = fields;
        self.settle(status)
    }

    fn parse_field(&self, line: Range<usize>) -> Result<(Range<usize>, Range<usize>), HeadError> {
        let bytes = &self.bytes[line.clone()];
        let bad = || HeadError::BadLine(printable(bytes));
        let colon = memchr::memchr(b':', bytes).ok_or_else(bad)?;
        let name = &bytes[..colon];
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(bad());
        }
        // What the value may hold is judged once it is unfolded.
        let value = self.trim(line.start + colon + 1..line.end);
        Ok((line.start..line.start + colon, value))
    }

    fn trim(&self, mut range: Range<usize>) -> Range<usize> {
        let is_blank = |at: usize| matches!(self.bytes[at], b' ' | b'\t');
        while range.start < range.end && is_blank(range.start) {
            range.start += 1;
        }
        while range.start < range.end && is_blank(range.end - 1) {
            range.end -= 1;
        }
        range
    }

    /// Joins a folded line to the value before it, by one space.
    fn unfold(&mut self, value: &mut Range<usize>, line: Range<usize>) {
        let more = self.trim(line);
        if value.start == value.end {
            *value = more;
        } else if !more.is_empty() {
            self.bytes[value.end] = b' ';
            let length = more.len();
            self.bytes.copy_within(more, value.end + 1);
            value.end += 1 + length;
        }
    }

    fn parse_status(&self, range: Range<usize>) -> Result<(u16, Range<usize>), HeadError> {
        let range = self.trim(range);
        let bytes = &self.bytes[range.clone()];
        let bad = || HeadError::BadStatus(printable(bytes));
        let digits = bytes.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or_else(bad)?;
        if bytes.get(3).is_some_and(|byte| *byte != b' ') {
            return Err(bad());
        }
        let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        let reason = self.trim((range.start + 4).min(range.end)..range.end);
        let visible = self.bytes[reason.clone()].iter().all(|byte| matches!(byte, b' '..=b'~'));
        Ok((status, if visible { reason } else { 0..0 }))
    }

    /// Decides about status, length and the fields that are passed on.
    fn settle(&mut self, first_line: Option<(u16, Range<usize>)>) -> Result<(), HeadError> {
        let fields = std::mem::take(&mut self.fields);
        let mut status = first_line;
        let mut kept = 0;
        let mut fields_out = fields;
        let (mut content_type, mut length): (Option<Range<usize>>, Option<Range<usize>>) = (None, None);
        let mut has_location = false;
        for index in 0..fields_out.len() {
            let (name, value) = fields_out[index].clone();
            let lower = |known: &[u8]| self.bytes[name.clone()].eq_ignore_ascii_case(known);
            if has_control(&self.bytes[value.clone()]) {
                return Err(HeadError::BadValue(printable(&self.bytes[name])));
            }
            if lower(b"status") {
                let found = self.parse_status(value)?;
                match &status {
                    Some((number, _)) if *number != found.0 => return Err(HeadError::TwoStatuses),
                    Some(_) => {}
                    None => status = Some(found),
                }
                continue;
            }
            if HOP_BY_HOP.iter().any(|known| lower(known)) {
                if lower(b"transfer-encoding") && !self.warnings.contains(&HeadWarning::TransferEncoding) {
                    self.warnings.push(HeadWarning::TransferEncoding);
                }
                continue;
            }
            let same = |other: &Range<usize>| self.bytes[other.clone()] == self.bytes[value.clone()];
            if lower(b"content-length") {
                match &length {
                    Some(other) if same(other) => continue,
                    Some(_) => return Err(HeadError::BadLength("two that differ".into())),
                    None => length = Some(value.clone()),
                }
            } else if lower(b"content-type") {
                match &content_type {
                    Some(other) => {
                        if !same(other) && !self.warnings.contains(&HeadWarning::ContentType) {
                            self.warnings.push(HeadWarning::ContentType);
                        }
                        continue;
                    }
                    None => content_type = Some(value.clone()),
                }
            }
            has_location |= lower(b"location");
            fields_out.swap(kept, index);
            kept += 1;
        }
        fields_out.truncate(kept);
        self.fields = fields_out;
        if let Some(length) = length {
            self.content_length = Some(self.parse_length(length)?);
        }
        let (status, reason) = status.unwrap_or((if has_location { 302 } else { 200 }, 0..0));
        match status {
            100 | 103 | 200..=599 => {}
            101 => return Err(HeadError::Upgrade),
            other => return Err(HeadError::BadStatus(format!("{other:03}"))),
        }
        self.status = status;
        self.reason = reason;
        Ok(())
    }

    fn parse_length(&self, range: Range<usize>) -> Result<u64, HeadError> {
        let bytes = &self.bytes[range];
        let bad = || HeadError::BadLength(printable(bytes));
        if bytes.is_empty() || bytes.len() > 20 {
            return Err(bad());
        }
        bytes.iter().try_fold(0u64, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0')).ok_or_else(bad)?;
            number.checked_mul(10).and_then(|number| number.checked_add(digit)).ok_or_else(bad)
        })
    }
}

/// The bytes of a field's name (RFC 9110, section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Without an early end: so the compiler looks at many bytes at once.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte < 0x20 && *byte != b'\t') | (*byte == 0x7F))
}

/// At most 60 bytes, as a person can read them in a log.
fn printable(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(60)];
    let text = String::from_utf8_lossy(cut).escape_debug().to_string();
    if cut.len() < bytes.len() { text + "…" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { max_bytes: 1000, max_fields: 10 };

    type Parsed = (u16, String, Vec<(String, String)>, usize);

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn parse_pieces(pieces: &[&[u8]]) -> Result<Option<Parsed>, HeadError> {
        let mut head = ResponseHead::default();
        let mut total = 0;
        for piece in pieces {
            let progress = head.push(piece, &LIMITS)?;
            total += progress.taken;
            if progress.complete {
                let fields = head.fields().map(|(n, v)| (text(n), text(v))).collect();
                return Ok(Some((head.status(), text(head.reason()), fields, total)));
            }
        }
        Ok(None)
    }

    /// Parses at every split, and byte by byte: the answer must be the same.
    fn parse(bytes: &[u8]) -> Result<Option<Parsed>, HeadError> {
        let whole = parse_pieces(&[bytes]);
        for cut in 0..=bytes.len() {
            assert_eq!(parse_pieces(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse_pieces(&singles), whole);
        whole
    }

    fn status(head: &str) -> Result<u16, HeadError> {
        parse(format!("{head}\r\n\r\n").as_bytes()).map(|parsed| parsed.expect("incomplete").0)
    }

    /// H9: what an application says of passing on at once.
    #[test]
    fn streams_are_known() {
        for (fields, stream) in [
            ("Content-Type: text/event-stream", true),
            ("content-type: Text/Event-Stream; charset=utf-8", true),
            ("Content-Type: text/html\r\nX-Accel-Buffering: no", true),
            ("X-Accel-Buffering: yes", false),
            ("Content-Type: text/event-streams", false),
        ] {
            let mut head = ResponseHead::default();
            assert!(head.push(format!("{fields}\r\n\r\n").as_bytes(), &LIMITS).unwrap().complete);
            assert_eq!(head.is_stream(), stream, "{fields}");
        }
    }

    /// H1: split anywhere; CRLF and LF both end a line; what follows is the body.
    #[test]
    fn a_head_ends_at_the_empty_line() {
        for end in ["\r\n", "\n"] {
            let head = format!("Content-Type: text/html{end}X-A:b{end}{end}");
            let (status, _, fields, taken) =
                parse(format!("{head}body\n\nmore").as_bytes()).unwrap().unwrap();
            assert_eq!((status, taken), (200, head.len()));
            assert_eq!(fields, [("Content-Type".into(), "text/html".into()), ("X-A".into(), "b".into())]);
        }
        assert_eq!(parse(b"Content-Type: text/html\r\n"), Ok(None));
    }

    /// H1: over a limit, the limit and the largest field are named.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_limit_is_named_with_the_largest_field() {
        let large = format!("A: b\nX-Large: {}\n\n", "x".repeat(1000));
        let error = parse(large.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("max_head_bytes (1000)") && error.contains("X-Large"), "{error}");
        let many = "X-Many: 1\n".repeat(11) + "\n";
        let error = parse(many.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("max_head_fields (10)") && error.contains("X-Many"), "{error}");
        assert!(parse(("X-Many: 1\n".repeat(10) + "\n").as_bytes()).is_ok());
    }

    /// H2: what is not a head is refused.
    #[test]
    fn what_is_no_head_is_refused() {
        assert_eq!(parse(b"\r\n\r\n"), Err(HeadError::Empty));
        for line in ["no colon", ": empty", "A B: c", "A : c", " folded: first", "Ä: b", "A\0: b"] {
            assert!(matches!(status(line), Err(HeadError::BadLine(_))), "{line:?}");
        }
        for value in ["a\0b", "a\rb", "a\x01b", "\x7f"] {
            assert!(matches!(status(&format!("A: {value}")), Err(HeadError::BadValue(_))), "{value:?}");
        }
    }

    /// H2: a folded line is unfolded to one space; 8-bit values and tabs pass; no type is added.
    #[test]
    fn folded_and_8_bit_values_pass() {
        let (_, _, fields, _) = parse(b"A: one\r\n \t two\r\nB: \xE4\tx\r\nC:\n d\n\n").unwrap().unwrap();
        assert_eq!(fields[0], ("A".into(), "one two".into()));
        assert_eq!(fields[1].1, text(b"\xE4\tx"));
        assert_eq!(fields[2], ("C".into(), "d".into()));
        assert!(matches!(parse(b"A: one\n t\x00wo\n\n"), Err(HeadError::BadValue(_))));
    }

    /// H3: a status is three digits from 200 to 599, from Status or from a first line of HTTP.
    #[test]
    fn a_status_has_three_digits() {
        assert_eq!(status("Status: 404 Not Found"), Ok(404));
        assert_eq!(status("Status: 200"), Ok(200));
        assert_eq!(status("HTTP/1.1 503 Gone Fishing\r\nA: b"), Ok(503));
        assert_eq!(status("HTTP/1.0 204"), Ok(204));
        assert_eq!(status("Status: 200\r\nStatus: 200 OK"), Ok(200));
        assert_eq!(status("Status: 200\r\nStatus: 404"), Err(HeadError::TwoStatuses));
        for bad in ["", "20", "2000", "abc", "199", "600", "099", "200OK", "-20"] {
            assert!(matches!(status(&format!("Status: {bad}")), Err(HeadError::BadStatus(_))), "{bad}");
        }
        assert_eq!(status("Status: 101 Switching Protocols"), Err(HeadError::Upgrade));
        let (_, reason, _, _) = parse(b"Status: 418 I'm a teapot\n\n").unwrap().unwrap();
        assert_eq!(reason, "I'm a teapot");
        let (_, reason, _, _) = parse("Status: 200 schön\n\n".as_bytes()).unwrap().unwrap();
        assert_eq!(reason, "");
    }

    /// H3: 100 and 103 are swallowed, and the head after them holds.
    #[test]
    fn interim_heads_are_swallowed() {
        let head = b"Status: 103\nLink: x\n\nStatus: 100\n\nStatus: 201\nA: b\n\nbody";
        let (status, _, fields, taken) = parse(head).unwrap().unwrap();
        assert_eq!((status, fields.len(), taken), (201, 1, head.len() - 4));
    }

    /// H4: Location without Status is a 302, with one it is not.
    #[test]
    fn a_location_makes_a_302() {
        assert_eq!(status("Location: /there"), Ok(302));
        assert_eq!(status("Location: /there\r\nStatus: 201"), Ok(201));
    }

    /// H5: one Content-Length of digits; identical ones collapse, others are refused.
    #[test]
    fn a_content_length_is_one_number() {
        let mut head = ResponseHead::default();
        head.push(b"Content-Length: 42\ncontent-length: 42\n\n", &LIMITS).unwrap();
        assert_eq!((head.content_length(), head.len()), (Some(42), 1));
        for bad in ["", "-1", "+1", "1 2", "0x10", "1,1", "99999999999999999999", "1\r\nContent-Length: 2"] {
            assert!(
                matches!(status(&format!("Content-Length: {bad}")), Err(HeadError::BadLength(_))),
                "{bad}"
            );
        }
        let mut head = ResponseHead::default();
        head.push(b"Content-Length: 18446744073709551615\n\n", &LIMITS).unwrap();
        assert_eq!(head.content_length(), Some(u64::MAX));
    }

    /// H6: Transfer-Encoding and hop-by-hop fields are removed, one Content-Type is kept, cookies
    /// stay in order, Date stays.
    #[test]
    fn fields_of_one_hop_do_not_pass() {
        let bytes = b"Transfer-Encoding: chunked\nConnection: close\nKeep-Alive: 1\nUpgrade: h2c\nTE: x\nTrailer: y\n\
            Content-Type: a/b\nContent-Type: c/d\nContent-Type: a/b\nDate: Sun, 06 Nov 1994 08:49:37 GMT\n\n";
        let mut head = ResponseHead::default();
        head.push(bytes, &LIMITS).unwrap();
        let fields: Vec<String> =
            head.fields().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        assert_eq!(fields, ["Content-Type=a/b", "Date=Sun, 06 Nov 1994 08:49:37 GMT"]);
        let warnings: Vec<HeadWarning> = head.warnings().collect();
        assert_eq!(warnings, [HeadWarning::TransferEncoding, HeadWarning::ContentType]);
        let (_, _, fields, _) = parse(b"Set-Cookie: a=1\nX: y\nSet-Cookie: b=2\n\n").unwrap().unwrap();
        assert_eq!(fields.iter().map(|field| field.1.as_str()).collect::<Vec<_>>(), ["a=1", "y", "b=2"]);
    }

    proptest! {
        /// H1, H2: nothing that passes has a control byte or a bad name in it, whatever comes.
        #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
        fn what_passes_is_clean(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), Just(b' '), Just(b'\r'), any::<u8>(), b'a'..b'f'], 0..80)) {
            let mut head = ResponseHead::default();
            if let Ok(progress) = head.push(&bytes, &LIMITS) {
                prop_assert!(progress.taken <= bytes.len());
                if progress.complete {
                    prop_assert!((200..600).contains(&head.status()));
                    for (name, value) in head.fields() {
                        prop_assert!(!name.is_empty() && name.iter().all(|byte| is_token(*byte)));
                        prop_assert!(!has_control(value));
                    }
                }
            }
        }
    }
}
