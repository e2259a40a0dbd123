//! One connection to an application: request ids, streams and the clean state, bytes in and out,
//! without its socket.
//!
//! A connection is written for several exchanges at once; where a pool does not multiplex, there
//! is just one. What keeps kept connections from poisoning one another is here: a fresh id for
//! every exchange, records of other ids never delivered, and [`Connection::is_clean`], the only
//! state from which a connection may be used again.

pub mod application;
pub mod values;

use crate::protocol::{EndRequest, Header, Part, RecordReader, RecordType, VersionMismatch};

/// A breach of the protocol by the application: nothing more of the connection is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A record's version byte is not 1.
    Version(u8),
    /// A type that only a web server sends, or an unknown one on id 0.
    UnexpectedType {
        /// The type byte.
        record_type: u8,
        /// The id it came on.
        request_id: u16,
    },
    /// END_REQUEST with a body of another length than 8.
    EndLength(u16),
    /// STDOUT or STDERR content after the stream's empty record.
    AfterStreamEnd(u8),
    /// Bytes although no exchange is open.
    Idle,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "a record of protocol version {version} instead of 1"),
            Self::UnexpectedType { record_type, request_id } => {
                write!(f, "a record of type {record_type} on id {request_id}, which no application may send")
            }
            Self::EndLength(length) => write!(f, "END_REQUEST with {length} bytes instead of 8"),
            Self::AfterStreamEnd(record_type) => {
                let stream = if *record_type == RecordType::STDOUT.0 { "STDOUT" } else { "STDERR" };
                write!(f, "{stream} content after the end of {stream}")
            }
            Self::Idle => f.write_str("bytes although no request was open"),
        }
    }
}

impl From<VersionMismatch> for Violation {
    fn from(mismatch: VersionMismatch) -> Self {
        Self::Version(mismatch.0)
    }
}

/// What arrived for an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes of the response, never empty.
    Stdout {
        /// The exchange's id.
        id: u16,
        /// The bytes, lent.
        bytes: &'a [u8],
    },
    /// The empty STDOUT: the response is whole.
    StdoutEnd {
        /// The exchange's id.
        id: u16,
    },
    /// Bytes of STDERR, never empty.
    Stderr {
        /// The exchange's id.
        id: u16,
        /// The bytes, lent.
        bytes: &'a [u8],
    },
    /// END_REQUEST. The id is free.
    End {
        /// The exchange's id.
        id: u16,
        /// What it said.
        end: EndRequest,
    },
}

#[derive(Clone, Debug)]
struct Stream {
    id: u16,
    /// We have sent the last byte of this exchange.
    sent: bool,
    /// We have sent ABORT_REQUEST: nothing of it is delivered any more.
    aborted: bool,
    stdout_ended: bool,
    stderr_ended: bool,
}

/// The content of the record that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Stdout,
    Stderr,
    End,
    Skip,
}

/// As many streams are looked through one by one.
const FEW: usize = 16;

/// The client's side of a connection.
///
/// Call [`open`](Self::open) for an id, send the request with it, say
/// [`sent`](Self::sent) after its last byte, and hand received bytes to [`next`](Self::next)
/// until it returns `None`.
#[derive(Clone, Debug)]
pub struct Connection {
    reader: RecordReader,
    record: Header,
    content: Content,
    end_body: [u8; EndRequest::LEN],
    end_have: u8,
    streams: Vec<Stream>,
    /// Of each id, the place of its stream plus one; empty while there are few streams.
    places: Vec<u16>,
    next_id: u16,
    opened: u32,
    tainted: bool,
    ignored: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            reader: RecordReader::default(),
            record: Header::new(RecordType::UNKNOWN_TYPE, 0, 0),
            content: Content::Skip,
            end_body: [0; EndRequest::LEN],
            end_have: 0,
            streams: Vec::new(),
            places: Vec::new(),
            next_id: 1,
            opened: 0,
            tainted: false,
            ignored: 0,
        }
    }
}

impl Connection {
    /// Opens an exchange and returns its id: one that no open exchange has, and another than
    /// the last ones on this connection.
    ///
    /// Returns `None` when all ids are taken.
    pub fn open(&mut self) -> Option<u16> {
        if self.streams.len() >= usize::from(u16::MAX) {
            return None;
        }
        while self.place(self.next_id).is_some() {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        }
        let id = self.next_id;
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.opened = self.opened.saturating_add(1);
        self.streams.push(Stream {
            id,
            sent: false,
            aborted: false,
            stdout_ended: false,
            stderr_ended: false,
        });
        if !self.places.is_empty() {
            self.places[usize::from(id)] = self.streams.len() as u16;
        } else if self.streams.len() > FEW {
            self.places.resize(1 << 16, 0);
            for (place, stream) in (1..).zip(&self.streams) {
                self.places[usize::from(stream.id)] = place;
            }
        }
        Some(id)
    }

    /// Where the stream of an id stands.
    fn place(&self, id: u16) -> Option<usize> {
        if self.places.is_empty() {
            return self.streams.iter().position(|stream| stream.id == id);
        }
        usize::from(self.places[usize::from(id)]).checked_sub(1)
    }

    fn stream(&mut self, id: u16) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.streams.get_mut(place)
    }

    fn remove(&mut self, place: usize) -> Stream {
        let stream = self.streams.swap_remove(place);
        if !self.places.is_empty() {
            self.places[usize::from(stream.id)] = 0;
            if let Some(moved) = self.streams.get(place) {
                self.places[usize::from(moved.id)] = place as u16 + 1;
            }
        }
        stream
    }

    /// Whether the exchange of an id has not ended yet.
    pub fn is_open(&self, id: u16) -> bool {
        self.place(id).is_some()
    }

    /// The exchange is given up while others go on: nothing of it is delivered any more, and its id stays
    /// taken until its END_REQUEST. ABORT_REQUEST was sent, or will be.
    pub fn set_aside(&mut self, id: u16) {
        if let Some(stream) = self.stream(id) {
            stream.aborted = true;
            stream.sent = true;
        }
    }

    /// The exchange is given up, and no byte of it was sent.
    pub fn withdraw(&mut self, id: u16) {
        if let Some(place) = self.place(id) {
            self.remove(place);
        }
    }

    /// The last byte of the exchange's request has been sent.
    pub fn sent(&mut self, id: u16) {
        if let Some(stream) = self.stream(id) {
            stream.sent = true;
        }
    }

    /// The exchange is given up: nothing of it is delivered any more, its id stays taken until
    /// its END_REQUEST, and a connection that has no other exchange is never clean again.
    pub fn abort(&mut self, id: u16) {
        if let Some(stream) = self.stream(id) {
            stream.aborted = true;
            self.tainted = true;
        }
    }

    /// How many exchanges were opened on this connection.
    pub fn opened(&self) -> u32 {
        self.opened
    }

    /// How many exchanges are open.
    pub fn active(&self) -> usize {
        self.streams.len()
    }

    /// Records of unknown type that were ignored.
    pub fn ignored_records(&self) -> u32 {
        self.ignored
    }

    /// Whether something came on this connection that belongs to no exchange, or an exchange on
    /// it ended before its request was sent: it serves its open exchanges and is dropped then.
    pub fn is_tainted(&self) -> bool {
        self.tainted
    }

    /// Whether the connection may be used for another exchange: none is open, the last one ended
    /// in order, and not a byte came beyond it.
    pub fn is_clean(&self) -> bool {
        self.streams.is_empty() && !self.tainted && self.reader.at_boundary()
    }

    /// Of the STDOUT record at hand, its length and how much of it has not come yet.
    pub fn stdout_record(&self) -> Option<(usize, usize)> {
        let length = usize::from(self.record.content_length);
        (self.content == Content::Stdout).then(|| (length, self.reader.content_left()))
    }

    /// Whether the bytes that come next begin another record of the response of this exchange, or its end.
    pub fn goes_on(&self, id: u16, input: &[u8]) -> bool {
        self.reader.next_header(input).is_some_and(|header| {
            header.request_id == id
                && matches!(header.record_type, RecordType::STDOUT | RecordType::END_REQUEST)
        })
    }

    /// Takes bytes off the front of `input` and returns the next event, or `None` when the input
    /// is used up. After a violation the connection must be dropped.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        if self.streams.is_empty() && self.reader.at_boundary() && !input.is_empty() {
            self.tainted = true;
            return Err(Violation::Idle);
        }
        while let Some(part) = self.reader.next(input)? {
            let event = match part {
                Part::Header(header) => self.begin_record(header)?,
                Part::Content(bytes) => self.take_content(bytes),
                Part::End => self.end_record(),
            };
            if event.is_some() {
                return Ok(event);
            }
            if self.streams.is_empty() && self.reader.at_boundary() && !input.is_empty() {
                self.tainted = true;
                return Err(Violation::Idle);
            }
        }
        Ok(None)
    }

    fn begin_record(&mut self, header: Header) -> Result<Option<Event<'static>>, Violation> {
        self.record = header;
        self.content = Content::Skip;
        let id = header.request_id;
        let unexpected = Violation::UnexpectedType { record_type: header.record_type.0, request_id: id };
        match header.record_type {
            RecordType::GET_VALUES_RESULT | RecordType::UNKNOWN_TYPE if id == 0 => return Ok(None),
            _ if id == 0 => return Err(unexpected),
            RecordType::BEGIN_REQUEST
            | RecordType::ABORT_REQUEST
            | RecordType::PARAMS
            | RecordType::STDIN
            | RecordType::DATA
            | RecordType::GET_VALUES => return Err(unexpected),
            _ => {}
        }
        let Some(place) = self.place(id) else {
            self.tainted = true;
            return Ok(None);
        };
        let stream = &mut self.streams[place];
        let length = header.content_length;
        match header.record_type {
            RecordType::STDOUT | RecordType::STDERR => {
                let is_stdout = header.record_type == RecordType::STDOUT;
                let ended = if is_stdout { &mut stream.stdout_ended } else { &mut stream.stderr_ended };
                if *ended && length > 0 {
                    return Err(Violation::AfterStreamEnd(header.record_type.0));
                }
                let first_end = length == 0 && !*ended;
                *ended |= length == 0;
                if stream.aborted {
                    return Ok(None);
                }
                self.content = if is_stdout { Content::Stdout } else { Content::Stderr };
                Ok((first_end && is_stdout).then_some(Event::StdoutEnd { id }))
            }
            RecordType::END_REQUEST => {
                if usize::from(length) != EndRequest::LEN {
                    return Err(Violation::EndLength(length));
                }
                self.content = Content::End;
                self.end_have = 0;
                Ok(None)
            }
            _ => {
                self.ignored = self.ignored.saturating_add(1);
                Ok(None)
            }
        }
    }

    fn take_content<'a>(&mut self, bytes: &'a [u8]) -> Option<Event<'a>> {
        let id = self.record.request_id;
        match self.content {
            Content::Stdout => Some(Event::Stdout { id, bytes }),
            Content::Stderr => Some(Event::Stderr { id, bytes }),
            Content::End => {
                let have = usize::from(self.end_have);
                self.end_body[have..have + bytes.len()].copy_from_slice(bytes);
                self.end_have += bytes.len() as u8;
                None
            }
            Content::Skip => None,
        }
    }

    fn end_record(&mut self) -> Option<Event<'static>> {
        if self.content != Content::End {
            return None;
        }
        self.content = Content::Skip;
        let id = self.record.request_id;
        let stream = self.remove(self.place(id)?);
        if !stream.sent {
            self.tainted = true;
        }
        (!stream.aborted).then_some(Event::End { id, end: EndRequest::decode(&self.end_body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ProtocolStatus;

    fn record(record_type: RecordType, id: u16, content: &[u8], padding: u8) -> Vec<u8> {
        let mut header = Header::new(record_type, id, content.len() as u16);
        header.padding_length = padding;
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + usize::from(padding), 0);
        bytes
    }

    fn end(id: u16) -> Vec<u8> {
        let end = EndRequest { app_status: 0, protocol_status: ProtocolStatus::RequestComplete };
        record(RecordType::END_REQUEST, id, &end.encode(), 0)
    }

    fn open() -> Connection {
        let mut connection = Connection::default();
        assert_eq!(connection.open(), Some(1));
        connection.sent(1);
        connection
    }

    /// Feeds bytes and returns stdout, stderr, how many ends of STDOUT and of the request came.
    fn feed(
        connection: &mut Connection,
        pieces: &[&[u8]],
    ) -> Result<(Vec<u8>, Vec<u8>, usize, usize), Violation> {
        let (mut out, mut err, mut stdout_ends, mut ends) = (Vec::new(), Vec::new(), 0, 0);
        for piece in pieces {
            let mut input = *piece;
            while let Some(event) = connection.next(&mut input)? {
                match event {
                    Event::Stdout { bytes, .. } => out.extend_from_slice(bytes),
                    Event::Stderr { bytes, .. } => err.extend_from_slice(bytes),
                    Event::StdoutEnd { .. } => stdout_ends += 1,
                    Event::End { .. } => ends += 1,
                }
            }
        }
        Ok((out, err, stdout_ends, ends))
    }

    /// E8: ids run on, never 0, and skip those that are open.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn every_exchange_has_an_id_of_its_own() {
        let mut connection = Connection::default();
        let held = connection.open().unwrap();
        for expected in (2..=u16::MAX).chain(2..10) {
            let id = connection.open().unwrap();
            assert_eq!(id, expected);
            assert_ne!(id, held);
            connection.sent(id);
            feed(&mut connection, &[&end(id)]).unwrap();
        }
    }

    /// E8: an aborted id is not used again before its END_REQUEST.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn an_aborted_id_stays_taken() {
        let mut connection = open();
        connection.abort(1);
        for _ in 0..u16::MAX {
            let id = connection.open().unwrap();
            assert_ne!(id, 1);
            connection.sent(id);
            feed(&mut connection, &[&end(id)]).unwrap();
        }
        assert!(!connection.is_clean());
    }

    /// A1: any split of bytes, padding on every type, both streams in any order.
    #[test]
    fn a_response_is_read_at_every_split() {
        let bytes = [
            record(RecordType::STDERR, 1, b"oops", 255),
            record(RecordType::STDOUT, 1, b"Status: 200\r\n\r\n", 1),
            record(RecordType::STDERR, 1, b"", 3),
            record(RecordType::STDOUT, 1, b"body", 4),
            record(RecordType::STDOUT, 1, b"", 8),
            record(RecordType::END_REQUEST, 1, &[0; 8], 7),
        ]
        .concat();
        for cut in 0..=bytes.len() {
            let mut connection = open();
            let got = feed(&mut connection, &[&bytes[..cut], &bytes[cut..]]).unwrap();
            assert_eq!(got, (b"Status: 200\r\n\r\nbody".to_vec(), b"oops".to_vec(), 1, 1), "cut at {cut}");
            assert!(connection.is_clean());
        }
        let mut connection = open();
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(feed(&mut connection, &singles).unwrap().2, 1);
        assert!(connection.is_clean());
    }

    /// A9: clean only after END_REQUEST and the last byte of its padding.
    #[test]
    fn a_connection_is_clean_only_after_the_padding_of_the_end() {
        let bytes = record(RecordType::END_REQUEST, 1, &[0; 8], 5);
        let mut connection = open();
        for byte in &bytes[..bytes.len() - 1] {
            feed(&mut connection, &[&[*byte]]).unwrap();
            assert!(!connection.is_clean());
        }
        feed(&mut connection, &[&bytes[bytes.len() - 1..]]).unwrap();
        assert!(connection.is_clean());
    }

    /// A9: any byte after END_REQUEST, and any byte on an idle connection, soils it for good.
    #[test]
    fn a_byte_beyond_the_end_is_a_violation() {
        for late in [&[1u8][..], &[0], &end(1), &record(RecordType::STDOUT, 1, b"late", 0)] {
            let mut connection = open();
            assert_eq!(feed(&mut connection, &[&end(1), late]), Err(Violation::Idle));
            assert!(!connection.is_clean());
            let mut connection = open();
            let joined = [&end(1)[..], late].concat();
            assert_eq!(feed(&mut connection, &[&joined]), Err(Violation::Idle));
            assert!(!connection.is_clean());
            let mut connection = open();
            let padded = [&record(RecordType::END_REQUEST, 1, &[0; 8], 2)[..], late].concat();
            let _ = feed(&mut connection, &[&padded]);
            assert!(!connection.is_clean());
        }
    }

    /// A3: STDOUT content after the empty STDOUT.
    #[test]
    fn content_after_the_end_of_its_stream_is_a_violation() {
        for record_type in [RecordType::STDOUT, RecordType::STDERR] {
            let mut connection = open();
            let bytes = [record(record_type, 1, b"", 0), record(record_type, 1, b"x", 0)].concat();
            assert_eq!(feed(&mut connection, &[&bytes]), Err(Violation::AfterStreamEnd(record_type.0)));
        }
    }

    /// A6: END_REQUEST of another length, another version, types only a web server sends.
    #[test]
    fn what_no_application_may_send_is_a_violation() {
        for length in (0..40).filter(|length| *length != 8) {
            let bytes = record(RecordType::END_REQUEST, 1, &vec![0; length], 0);
            assert_eq!(feed(&mut open(), &[&bytes]), Err(Violation::EndLength(length as u16)));
        }
        for record_type in [1, 2, 4, 5, 8, 9] {
            for request_id in [0, 1, 7] {
                let bytes = record(RecordType(record_type), request_id, b"", 0);
                let expected = Violation::UnexpectedType { record_type, request_id };
                assert_eq!(feed(&mut open(), &[&bytes]), Err(expected));
            }
        }
        let mut bytes = end(1);
        bytes[0] = 2;
        assert_eq!(feed(&mut open(), &[&bytes]), Err(Violation::Version(2)));
    }

    /// A7: on id 0 only GET_VALUES_RESULT and UNKNOWN_TYPE, swallowed; an unknown type on an
    /// active id is ignored and counted.
    #[test]
    fn management_answers_and_unknown_types_are_swallowed() {
        let mut connection = open();
        let bytes = [
            record(RecordType::GET_VALUES_RESULT, 0, b"\x01\x01ab", 3),
            record(RecordType::UNKNOWN_TYPE, 0, &[0; 8], 0),
            record(RecordType(77), 1, b"what", 2),
            end(1),
        ]
        .concat();
        assert_eq!(feed(&mut connection, &[&bytes]).unwrap(), (vec![], vec![], 0, 1));
        assert_eq!(connection.ignored_records(), 1);
        assert!(connection.is_clean());
        for record_type in [3, 6, 7, 12, 200] {
            let bytes = record(RecordType(record_type), 0, &[0; 8], 0);
            assert_eq!(
                feed(&mut open(), &[&bytes]),
                Err(Violation::UnexpectedType { record_type, request_id: 0 })
            );
        }
    }

    /// A8: a record for an id that is not active is delivered to nobody, and the connection is
    /// not used again.
    #[test]
    fn a_record_of_another_id_is_never_delivered() {
        for id in [2, 300, 65535] {
            let mut connection = open();
            let bytes = [record(RecordType::STDOUT, id, b"not yours", 0), end(id), end(1)].concat();
            assert_eq!(feed(&mut connection, &[&bytes]).unwrap(), (vec![], vec![], 0, 1));
            assert!(connection.is_tainted() && !connection.is_clean());
        }
    }

    /// A11: an END_REQUEST before our last byte was sent leaves the connection unusable.
    #[test]
    fn an_early_end_soils_the_connection() {
        let mut connection = Connection::default();
        let id = connection.open().unwrap();
        feed(&mut connection, &[&end(id)]).unwrap();
        assert!(!connection.is_clean());
    }

    /// E13: after an abort nothing of the exchange is delivered.
    #[test]
    fn nothing_of_an_aborted_exchange_is_delivered() {
        let mut connection = open();
        connection.abort(1);
        let bytes = [record(RecordType::STDOUT, 1, b"late", 0), end(1)].concat();
        assert_eq!(feed(&mut connection, &[&bytes]).unwrap(), (vec![], vec![], 0, 0));
        assert!(!connection.is_clean());
    }

    /// A4: exchanges of one connection are told apart by their ids.
    #[test]
    fn two_exchanges_are_kept_apart() {
        let mut connection = Connection::default();
        let (first, second) = (connection.open().unwrap(), connection.open().unwrap());
        connection.sent(first);
        connection.sent(second);
        let bytes = [
            record(RecordType::STDOUT, second, b"two", 0),
            record(RecordType::STDOUT, first, b"one", 0),
            end(second),
        ]
        .concat();
        let mut input = &bytes[..];
        assert_eq!(connection.next(&mut input), Ok(Some(Event::Stdout { id: second, bytes: b"two" })));
        assert_eq!(connection.next(&mut input), Ok(Some(Event::Stdout { id: first, bytes: b"one" })));
        assert!(matches!(connection.next(&mut input), Ok(Some(Event::End { id, .. })) if id == second));
        assert_eq!(connection.active(), 1);
        feed(&mut connection, &[&end(first)]).unwrap();
        assert!(connection.is_clean());
    }

    /// E8, E13: among many exchanges each record finds its own, ids that were set aside stay taken until
    /// their END_REQUEST, and one of which nothing was sent is free at once.
    #[test]
    fn many_exchanges_share_a_connection() {
        let mut connection = Connection::default();
        for round in 0..3_u16 {
            let ids: Vec<u16> = (0..100).map(|_| connection.open().unwrap()).collect();
            assert_eq!(ids[0], round * 100 + 1);
            for id in &ids {
                match id % 4 {
                    0 => connection.withdraw(*id),
                    1 => connection.set_aside(*id),
                    _ => connection.sent(*id),
                }
            }
            assert_eq!(connection.active(), 75);
            for id in ids.iter().rev().filter(|id| *id % 4 != 0) {
                assert!(connection.is_open(*id));
                let bytes = [record(RecordType::STDOUT, *id, b"x", 0), end(*id)].concat();
                let mut input = &bytes[..];
                let mut events = 0;
                while let Some(event) = connection.next(&mut input).unwrap() {
                    let of = match event {
                        Event::Stdout { id, .. } | Event::End { id, .. } => id,
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(of, *id);
                    events += 1;
                }
                assert_eq!(events, if id % 4 == 1 { 0 } else { 2 });
                assert!(!connection.is_open(*id));
            }
            assert!(connection.is_clean());
        }
    }
}
