//! FastCGI records (FastCGI 1.0 specification, section 3.3): headers, the fixed bodies, and a
//! reader that takes any split of bytes.
//!
//! The content length is a `u16` everywhere, so that no record can claim more than it may carry,
//! and the header encoder has no padding argument: fcgate never pads, because padding on empty
//! records breaks most applications.

/// The only protocol version there is (`FCGI_VERSION_1`).
pub const VERSION: u8 = 1;
/// Bytes in a record header.
pub const HEADER_LEN: usize = 8;
/// The most content bytes one record carries.
pub const MAX_CONTENT: usize = u16::MAX as usize;
/// `FCGI_KEEP_CONN`, the one flag of BEGIN_REQUEST.
pub const KEEP_CONN: u8 = 1;

/// The type byte of a record. Unknown types are kept as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordType(pub u8);

impl RecordType {
    /// Opens a request.
    pub const BEGIN_REQUEST: Self = Self(1);
    /// Asks the application to give a request up.
    pub const ABORT_REQUEST: Self = Self(2);
    /// Ends a request.
    pub const END_REQUEST: Self = Self(3);
    /// Name-value pairs of the request.
    pub const PARAMS: Self = Self(4);
    /// The request body.
    pub const STDIN: Self = Self(5);
    /// The response.
    pub const STDOUT: Self = Self(6);
    /// Error messages of the application.
    pub const STDERR: Self = Self(7);
    /// The second stream of a Filter.
    pub const DATA: Self = Self(8);
    /// Asks for the application's limits; id 0.
    pub const GET_VALUES: Self = Self(9);
    /// Answers GET_VALUES; id 0.
    pub const GET_VALUES_RESULT: Self = Self(10);
    /// Answers a management record of unknown type; id 0.
    pub const UNKNOWN_TYPE: Self = Self(11);
}

/// What the application is asked to be (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u16)]
pub enum Role {
    /// Answers an HTTP request.
    #[default]
    Responder = 1,
    /// Allows or denies an HTTP request.
    Authorizer = 2,
    /// Answers an HTTP request with a file at hand.
    Filter = 3,
}

impl Role {
    /// The role of a number on the wire.
    pub fn from_wire(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Responder),
            2 => Some(Self::Authorizer),
            3 => Some(Self::Filter),
            _ => None,
        }
    }
}

/// The protocolStatus of END_REQUEST (section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolStatus {
    /// The request is done.
    RequestComplete,
    /// The application does not multiplex.
    CantMultiplex,
    /// The application is out of some resource.
    Overloaded,
    /// The application does not know the role.
    UnknownRole,
    /// A number the specification does not name.
    Other(u8),
}

impl ProtocolStatus {
    /// The status of a number on the wire.
    pub fn from_wire(number: u8) -> Self {
        match number {
            0 => Self::RequestComplete,
            1 => Self::CantMultiplex,
            2 => Self::Overloaded,
            3 => Self::UnknownRole,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    pub fn to_wire(self) -> u8 {
        match self {
            Self::RequestComplete => 0,
            Self::CantMultiplex => 1,
            Self::Overloaded => 2,
            Self::UnknownRole => 3,
            Self::Other(number) => number,
        }
    }
}

/// A record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type of the record.
    pub record_type: RecordType,
    /// The request it belongs to, 0 for management records.
    pub request_id: u16,
    /// Content bytes that follow.
    pub content_length: u16,
    /// Padding bytes that follow the content.
    pub padding_length: u8,
}

/// The version byte of a record was not 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionMismatch(pub u8);

impl Header {
    /// A header without padding, as fcgate sends them.
    pub fn new(record_type: RecordType, request_id: u16, content_length: u16) -> Self {
        Self { record_type, request_id, content_length, padding_length: 0 }
    }

    /// The eight bytes on the wire; the reserved byte is 0.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let id = self.request_id.to_be_bytes();
        let length = self.content_length.to_be_bytes();
        [VERSION, self.record_type.0, id[0], id[1], length[0], length[1], self.padding_length, 0]
    }

    /// Reads eight bytes; the reserved byte is not looked at.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, VersionMismatch> {
        if bytes[0] != VERSION {
            return Err(VersionMismatch(bytes[0]));
        }
        Ok(Self {
            record_type: RecordType(bytes[1]),
            request_id: u16::from_be_bytes([bytes[2], bytes[3]]),
            content_length: u16::from_be_bytes([bytes[4], bytes[5]]),
            padding_length: bytes[6],
        })
    }
}

/// The body of BEGIN_REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginRequest {
    /// The role number, as it came: an unknown one is for the application to refuse.
    pub role: u16,
    /// Whether the application is to leave the connection open after the request.
    pub keep_conn: bool,
}

impl BeginRequest {
    /// Bytes of the body.
    pub const LEN: usize = 8;

    /// The eight bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let role = self.role.to_be_bytes();
        [role[0], role[1], if self.keep_conn { KEEP_CONN } else { 0 }, 0, 0, 0, 0, 0]
    }

    /// Reads eight bytes.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        Self { role: u16::from_be_bytes([bytes[0], bytes[1]]), keep_conn: bytes[2] & KEEP_CONN != 0 }
    }
}

/// The body of END_REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// What the application would have given to `exit`.
    pub app_status: u32,
    /// How the protocol's side of the request went.
    pub protocol_status: ProtocolStatus,
}

impl EndRequest {
    /// Bytes of the body.
    pub const LEN: usize = 8;

    /// The eight bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let status = self.app_status.to_be_bytes();
        [status[0], status[1], status[2], status[3], self.protocol_status.to_wire(), 0, 0, 0]
    }

    /// Reads eight bytes.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            app_status: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            protocol_status: ProtocolStatus::from_wire(bytes[4]),
        }
    }
}

/// Appends a record of at most [`MAX_CONTENT`] bytes; what is longer is cut into several.
/// An empty `content` appends one empty record, which ends a stream.
pub fn append_stream(out: &mut Vec<u8>, record_type: RecordType, id: u16, content: &[u8]) {
    if content.is_empty() {
        out.extend_from_slice(&Header::new(record_type, id, 0).encode());
    }
    for piece in content.chunks(MAX_CONTENT) {
        out.extend_from_slice(&Header::new(record_type, id, piece.len() as u16).encode());
        out.extend_from_slice(piece);
    }
}

/// What a [`RecordReader`] found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A record starts.
    Header(Header),
    /// Some of its content, never empty; a record's content comes in one or more of these.
    Content(&'a [u8]),
    /// The record is over, its padding included.
    End,
}

#[derive(Clone, Copy, Debug)]
enum ReaderState {
    Header,
    Content,
    Padding,
}

/// Cuts a stream of bytes into records, whatever the pieces it comes in. Padding is swallowed.
/// Holds no buffer: content is handed out as slices of what was handed in.
#[derive(Clone, Debug)]
pub struct RecordReader {
    header: [u8; HEADER_LEN],
    header_have: u8,
    content_left: u16,
    padding_left: u8,
    state: ReaderState,
}

impl Default for RecordReader {
    fn default() -> Self {
        Self {
            header: [0; HEADER_LEN],
            header_have: 0,
            content_left: 0,
            padding_left: 0,
            state: ReaderState::Header,
        }
    }
}

impl RecordReader {
    /// Takes bytes off the front of `input` and returns the next part, or `None` when `input`
    /// ends before there is one.
    #[inline]
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, VersionMismatch> {
        loop {
            match self.state {
                ReaderState::Header => {
                    if !self.fill_header(input) {
                        return Ok(None);
                    }
                    let header = Header::decode(&self.header)?;
                    self.header_have = 0;
                    self.content_left = header.content_length;
                    self.padding_left = header.padding_length;
                    self.state = ReaderState::Content;
                    return Ok(Some(Part::Header(header)));
                }
                ReaderState::Content if self.content_left == 0 => self.state = ReaderState::Padding,
                ReaderState::Content => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let content = take(input, usize::from(self.content_left));
                    self.content_left -= content.len() as u16;
                    return Ok(Some(Part::Content(content)));
                }
                ReaderState::Padding => {
                    self.padding_left -= take(input, usize::from(self.padding_left)).len() as u8;
                    if self.padding_left > 0 {
                        return Ok(None);
                    }
                    self.state = ReaderState::Header;
                    return Ok(Some(Part::End));
                }
            }
        }
    }

    /// Whether all bytes so far make whole records, padding included.
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, ReaderState::Header) && self.header_have == 0
    }

    /// Content bytes of the record at hand that have not come yet.
    pub fn content_left(&self) -> usize {
        if matches!(self.state, ReaderState::Content) { usize::from(self.content_left) } else { 0 }
    }

    /// The header of the record after the one at hand, if all up to its end is in `input`, which comes next.
    pub fn next_header(&self, input: &[u8]) -> Option<Header> {
        if self.content_left > 0 || self.header_have > 0 {
            return None;
        }
        let header = input.get(usize::from(self.padding_left)..)?.first_chunk()?;
        Header::decode(header).ok()
    }

    fn fill_header(&mut self, input: &mut &[u8]) -> bool {
        if self.header_have == 0
            && let Some((header, rest)) = input.split_first_chunk()
        {
            self.header = *header;
            *input = rest;
            return true;
        }
        let have = usize::from(self.header_have);
        let piece = take(input, HEADER_LEN - have);
        self.header[have..have + piece.len()].copy_from_slice(piece);
        self.header_have += piece.len() as u8;
        usize::from(self.header_have) == HEADER_LEN
    }
}

/// Takes at most `most` bytes off the front.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (piece, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E1: version 1, reserved byte 0, padding 0.
    #[test]
    fn a_header_is_version_1_without_padding() {
        let bytes = Header::new(RecordType::STDIN, 0x0102, 0x0304).encode();
        assert_eq!(bytes, [1, 5, 1, 2, 3, 4, 0, 0]);
        assert_eq!(Header::decode(&bytes), Ok(Header::new(RecordType::STDIN, 0x0102, 0x0304)));
    }

    /// E2: eight bytes, bit 0 is KEEP_CONN, the rest 0.
    #[test]
    fn begin_request_is_eight_bytes_with_one_flag() {
        let kept = BeginRequest { role: Role::Responder as u16, keep_conn: true };
        assert_eq!(kept.encode(), [0, 1, 1, 0, 0, 0, 0, 0]);
        let closed = BeginRequest { role: Role::Filter as u16, keep_conn: false };
        assert_eq!(closed.encode(), [0, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(BeginRequest::decode(&kept.encode()), kept);
    }

    /// E4: a stream leaves in records of 1..65535 bytes and ends with one empty record.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_stream_is_cut_at_65535() {
        let mut out = Vec::new();
        append_stream(&mut out, RecordType::STDIN, 9, &vec![7; MAX_CONTENT + 1]);
        append_stream(&mut out, RecordType::STDIN, 9, &[]);
        let mut lengths = Vec::new();
        let mut reader = RecordReader::default();
        let mut input = &out[..];
        while let Some(part) = reader.next(&mut input).unwrap() {
            if let Part::Header(header) = part {
                lengths.push(header.content_length);
            }
        }
        assert_eq!(lengths, [65535, 1, 0]);
        assert!(reader.at_boundary());
    }

    fn read_all(pieces: &[&[u8]]) -> Vec<(Header, Vec<u8>)> {
        let mut reader = RecordReader::default();
        let mut records: Vec<(Header, Vec<u8>)> = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(part) = reader.next(&mut input).unwrap() {
                match part {
                    Part::Header(header) => records.push((header, Vec::new())),
                    Part::Content(bytes) => records.last_mut().unwrap().1.extend_from_slice(bytes),
                    Part::End => {}
                }
            }
            assert!(input.is_empty());
        }
        assert!(reader.at_boundary());
        records
    }

    /// A1: any split of bytes, padding 0..255 on every type, 65535 + 255.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn records_are_read_at_every_split() {
        let mut bytes = Vec::new();
        for (record_type, length, padding) in [(6, 5, 0), (7, 0, 255), (6, 0, 0), (3, 8, 3), (99, 1, 1)] {
            let mut header = Header::new(RecordType(record_type), 300, length);
            header.padding_length = padding;
            bytes.extend_from_slice(&header.encode());
            bytes.extend((0..length).map(|i| i as u8));
            bytes.extend(std::iter::repeat_n(0xEE, usize::from(padding)));
        }
        let whole = read_all(&[&bytes]);
        assert_eq!(whole.len(), 5);
        for cut in 0..=bytes.len() {
            assert_eq!(read_all(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_all(&singles), whole);

        let mut largest = Header::new(RecordType::STDOUT, 1, 65535);
        largest.padding_length = 255;
        let mut bytes = largest.encode().to_vec();
        bytes.resize(HEADER_LEN + 65535 + 255, 1);
        assert_eq!(read_all(&[&bytes])[0].1.len(), 65535);
    }

    /// A6: a version other than 1 is an error.
    #[test]
    fn another_version_is_refused() {
        for version in (0..=255).filter(|v| *v != 1) {
            let mut reader = RecordReader::default();
            assert_eq!(reader.next(&mut &[version, 6, 0, 1, 0, 0, 0, 0][..]), Err(VersionMismatch(version)));
        }
    }

    #[test]
    fn end_request_keeps_status_and_reason() {
        for number in 0..=255 {
            let end =
                EndRequest { app_status: 0x01020304, protocol_status: ProtocolStatus::from_wire(number) };
            assert_eq!(EndRequest::decode(&end.encode()), end);
        }
    }
}
