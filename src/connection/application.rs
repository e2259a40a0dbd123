//! The application's side of a connection: what a web server sends, bytes in, events out, and the
//! records of the answer. It owns no socket, as the client's side owns none.
//!
//! It is here because a protocol is best judged from its other end. Under [`Rules::Strict`] every
//! byte is held against what fcgate promises to send, which is narrower than the specification:
//! real applications break on padding, on pairs that cross records and on a missing empty STDIN,
//! so a client that emits them is at fault even where the specification lets it. Under
//! [`Rules::Specification`] the same code makes an application that any web server can talk to.

use std::collections::VecDeque;
use std::fmt;

use crate::protocol::name_value::encoded_len;
use crate::protocol::record::append_stream;
use crate::protocol::{
    BeginRequest, EndRequest, Header, Pairs, Part, ProtocolStatus, RecordReader, RecordType, Role,
    VersionMismatch,
};

/// The most bytes of params one request may have.
pub const MAX_PARAMS: usize = 16 << 20;
/// How many ids back a new request may not repeat: bytes that come late carry one of these.
const FRESH_IDS: usize = 4;
/// The params that describe a body or a script of its own, which an authorizer has not.
const NOT_FOR_AUTHORIZERS: [&[u8]; 4] = [b"CONTENT_LENGTH", b"PATH_INFO", b"PATH_TRANSLATED", b"SCRIPT_NAME"];

/// What the web server is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rules {
    /// What FastCGI 1.0 allows.
    #[default]
    Specification,
    /// What fcgate promises: no padding, whole pairs, exact lengths, fresh ids, no pipelining.
    Strict,
}

/// A breach by the web server: nothing more of the connection is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A record's version byte is not 1.
    Version(u8),
    /// A record with padding.
    Padding(RecordType, u8),
    /// A type that no web server sends, or one on an id it can't have.
    UnexpectedType(RecordType, u16),
    /// BEGIN_REQUEST not of 8 bytes, or ABORT_REQUEST not of 0.
    BodyLength(RecordType, u16),
    /// BEGIN_REQUEST with a flag other than KEEP_CONN, or reserved bytes other than 0.
    Reserved(u16),
    /// BEGIN_REQUEST for an id that is open.
    IdOpen(u16),
    /// BEGIN_REQUEST for an id that one of the last requests had.
    IdReused(u16),
    /// BEGIN_REQUEST (second) before the END_REQUEST of another id (first).
    Overlap(u16, u16),
    /// BEGIN_REQUEST although a request ended before its stdin did.
    AfterEarlyEnd(u16),
    /// A record of an id that was never opened.
    NotOpen(RecordType, u16),
    /// A stream before the one in front of it has ended, or one the role does not have.
    OutOfOrder(RecordType, u16),
    /// A record of a stream after its empty record.
    AfterStreamEnd(RecordType, u16),
    /// A pair that crosses the border of a PARAMS record.
    PairCrosses(u16),
    /// Params that are no pairs.
    Malformed(u16),
    /// A length that takes more bytes than it must.
    LongLength(u16),
    /// NUL in a param.
    Nul(u16),
    /// A param that the role does not have.
    NotForRole(u16),
    /// More than [`MAX_PARAMS`].
    TooManyParams(u16),
    /// The bytes of STDIN or DATA differ from the length declared for them.
    Length {
        /// STDIN or DATA.
        stream: RecordType,
        /// The request.
        id: u16,
        /// What the params said.
        declared: u64,
        /// What came; at the end of the stream or as soon as it is more.
        sent: u64,
    },
    /// Anything after ABORT_REQUEST, on an unshared connection or for the id.
    AfterAbort(u16),
    /// GET_VALUES other than with one name each, or on a connection that carries requests.
    GetValues,
    /// The web server closed only its sending side.
    HalfClose,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the web server broke the protocol: {self:?}")
    }
}

impl std::error::Error for Violation {}

impl From<VersionMismatch> for Violation {
    fn from(mismatch: VersionMismatch) -> Self {
        Self::Version(mismatch.0)
    }
}

/// What the web server sent; the number is the request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request opens.
    Begin {
        /// Its id.
        id: u16,
        /// The role, as it came: an unknown one is to be refused with UNKNOWN_ROLE.
        role: u16,
        /// Whether the connection is to stay open after the request.
        keep_conn: bool,
    },
    /// The params are whole; [`Application::params`] lends them.
    ParamsEnd(u16),
    /// Bytes of the request body, never empty.
    Stdin {
        /// The request.
        id: u16,
        /// The bytes, lent.
        bytes: &'a [u8],
    },
    /// The body is whole.
    StdinEnd(u16),
    /// Bytes of a filter's second stream, never empty.
    Data {
        /// The request.
        id: u16,
        /// The bytes, lent.
        bytes: &'a [u8],
    },
    /// The second stream is whole.
    DataEnd(u16),
    /// The web server gives the request up; it still wants its END_REQUEST.
    Abort(u16),
    /// The web server asks for limits; [`Application::asked`] lends the names.
    GetValues,
    /// A management record of a type that nobody knows: answer with UNKNOWN_TYPE.
    Unknown(RecordType),
}

/// The stream whose bytes come next; each begins when the one before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Params,
    Stdin,
    Data,
    Complete,
}

#[derive(Clone, Debug)]
struct Request {
    id: u16,
    role: Option<Role>,
    stage: Stage,
    params: Vec<u8>,
    stdin_declared: u64,
    data_declared: u64,
    received: u64,
    aborted: bool,
}

/// The application's side of a connection.
///
/// Hand received bytes to [`next`](Self::next) until it returns `None`; answer with records of
/// STDOUT and STDERR and with [`end`](Self::end), in any order that suits the application.
#[derive(Clone, Debug, Default)]
pub struct Application {
    rules: Rules,
    /// Whether several requests at once were agreed on.
    pub multiplex: bool,
    reader: RecordReader,
    record: Option<Header>,
    /// Content of a record that is judged as a whole: BEGIN_REQUEST or GET_VALUES.
    body: Vec<u8>,
    /// Where the params of the current record begin.
    record_start: usize,
    requests: Vec<Request>,
    last_ids: VecDeque<u16>,
    ended_early: Option<u16>,
    aborted: Option<u16>,
    begun: bool,
    asked: bool,
    failed: Option<Violation>,
}

impl Application {
    /// A fresh connection that holds the web server to `rules`.
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Takes bytes off the front of `input` and returns what they say, or `None` when `input` is
    /// used up. After an error every further call returns it again.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        let result = self.read(input);
        self.failed = result.err();
        result
    }

    /// The params of an open request so far.
    pub fn params(&self, id: u16) -> Pairs<'_> {
        Pairs::new(self.find(id).map_or(&[], |request| &request.params))
    }

    /// The pairs of the GET_VALUES that [`next`](Self::next) has just told of.
    pub fn asked(&self) -> Pairs<'_> {
        Pairs::new(&self.body)
    }

    /// Whether a request is open.
    pub fn is_open(&self, id: u16) -> bool {
        self.find(id).is_some()
    }

    /// Appends END_REQUEST and forgets the request.
    pub fn end(&mut self, out: &mut Vec<u8>, id: u16, app_status: u32, protocol_status: ProtocolStatus) {
        let body = EndRequest { app_status, protocol_status }.encode();
        append_stream(out, RecordType::END_REQUEST, id, &body);
        let Some(index) = self.requests.iter().position(|request| request.id == id) else { return };
        let request = self.requests.swap_remove(index);
        if request.stage != Stage::Complete && !request.aborted {
            self.ended_early = Some(id);
        }
        if self.last_ids.len() == FRESH_IDS {
            self.last_ids.pop_front();
        }
        self.last_ids.push_back(id);
    }

    /// The bytes are over: returns whether they left nothing open, no record and no request.
    /// `half_closed` says that the web server can still receive.
    pub fn finish(&self, half_closed: bool) -> Result<bool, Violation> {
        if half_closed && self.is_strict() {
            return Err(Violation::HalfClose);
        }
        Ok(self.reader.at_boundary() && self.requests.is_empty())
    }

    fn is_strict(&self) -> bool {
        self.rules == Rules::Strict
    }

    fn find(&self, id: u16) -> Option<&Request> {
        self.requests.iter().find(|request| request.id == id)
    }

    fn find_mut(&mut self, id: u16) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    fn read<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        while let Some(part) = self.reader.next(input)? {
            let event = match (part, self.record) {
                (Part::Header(header), _) => {
                    self.record = Some(header);
                    self.body.clear();
                    self.check_header(header)?;
                    None
                }
                (Part::Content(bytes), Some(header)) => self.content(header, bytes)?,
                (Part::End, Some(header)) => self.record_end(header)?,
                (_, None) => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Judges a record by its header, before its content.
    fn check_header(&mut self, header: Header) -> Result<(), Violation> {
        let Header { record_type: kind, request_id: id, content_length, padding_length } = header;
        let strict = self.is_strict();
        if strict && padding_length > 0 {
            return Err(Violation::Padding(kind, padding_length));
        }
        if strict
            && !self.multiplex
            && let Some(aborted) = self.aborted
        {
            return Err(Violation::AfterAbort(aborted));
        }
        match kind {
            RecordType::BEGIN_REQUEST if id == 0 => Err(Violation::UnexpectedType(kind, id)),
            RecordType::BEGIN_REQUEST if usize::from(content_length) != BeginRequest::LEN => {
                Err(Violation::BodyLength(kind, content_length))
            }
            RecordType::BEGIN_REQUEST => self.check_fresh(id),
            RecordType::ABORT_REQUEST if id != 0 && content_length == 0 => Ok(()),
            RecordType::ABORT_REQUEST if id != 0 => Err(Violation::BodyLength(kind, content_length)),
            RecordType::PARAMS | RecordType::STDIN | RecordType::DATA if id != 0 => self.check_stream(header),
            RecordType::GET_VALUES if id == 0 => Ok(()),
            RecordType(12..) | RecordType(0) if id == 0 && !strict => Ok(()),
            _ => Err(Violation::UnexpectedType(kind, id)),
        }
    }

    fn check_fresh(&self, id: u16) -> Result<(), Violation> {
        if self.find(id).is_some() {
            return Err(Violation::IdOpen(id));
        }
        if !self.is_strict() {
            return Ok(());
        }
        if let Some(early) = self.ended_early {
            return Err(Violation::AfterEarlyEnd(early));
        }
        if self.asked {
            return Err(Violation::GetValues);
        }
        if let (false, Some(open)) = (self.multiplex, self.requests.first()) {
            return Err(Violation::Overlap(open.id, id));
        }
        if self.last_ids.contains(&id) {
            return Err(Violation::IdReused(id));
        }
        Ok(())
    }

    fn check_stream(&mut self, header: Header) -> Result<(), Violation> {
        let (kind, id, strict) = (header.record_type, header.request_id, self.is_strict());
        let (early, known) = (self.ended_early == Some(id), self.last_ids.contains(&id));
        let Some(request) = self.find_mut(id) else {
            // What was on its way when the application ended the request is nobody's fault.
            return match known {
                _ if early || !strict => Ok(()),
                true => Err(Violation::AfterStreamEnd(kind, id)),
                false => Err(Violation::NotOpen(kind, id)),
            };
        };
        if request.aborted {
            return if strict { Err(Violation::AfterAbort(id)) } else { Ok(()) };
        }
        let stage = match kind {
            RecordType::PARAMS => Stage::Params,
            RecordType::STDIN => Stage::Stdin,
            _ => Stage::Data,
        };
        if stage == Stage::Data && request.role != Some(Role::Filter) || request.stage < stage {
            return Err(Violation::OutOfOrder(kind, id));
        }
        if request.stage > stage {
            return Err(Violation::AfterStreamEnd(kind, id));
        }
        let params = request.params.len();
        self.record_start = params;
        if kind == RecordType::PARAMS && params + usize::from(header.content_length) > MAX_PARAMS {
            return Err(Violation::TooManyParams(id));
        }
        Ok(())
    }

    fn content<'a>(&mut self, header: Header, bytes: &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        let (kind, id, strict) = (header.record_type, header.request_id, self.is_strict());
        match kind {
            RecordType::BEGIN_REQUEST | RecordType::GET_VALUES => self.body.extend_from_slice(bytes),
            RecordType::PARAMS => {
                if let Some(request) = self.find_mut(id).filter(|request| !request.aborted) {
                    request.params.extend_from_slice(bytes);
                }
            }
            RecordType::STDIN | RecordType::DATA => {
                let Some(request) = self.find_mut(id).filter(|request| !request.aborted) else {
                    return Ok(None);
                };
                request.received += bytes.len() as u64;
                if strict {
                    request.check_length(kind, false)?;
                }
                return Ok(Some(match kind {
                    RecordType::STDIN => Event::Stdin { id, bytes },
                    _ => Event::Data { id, bytes },
                }));
            }
            _ => {}
        }
        Ok(None)
    }

    fn record_end(&mut self, header: Header) -> Result<Option<Event<'static>>, Violation> {
        let (kind, id) = (header.record_type, header.request_id);
        match kind {
            RecordType::BEGIN_REQUEST => self.begin(id).map(Some),
            RecordType::ABORT_REQUEST => self.abort(id),
            RecordType::GET_VALUES => self.get_values(),
            RecordType::PARAMS | RecordType::STDIN | RecordType::DATA => {
                self.stream_record_end(kind, id, header.content_length == 0)
            }
            unknown => Ok(Some(Event::Unknown(unknown))),
        }
    }

    fn begin(&mut self, id: u16) -> Result<Event<'static>, Violation> {
        let Ok(body) = <[u8; BeginRequest::LEN]>::try_from(&self.body[..]) else {
            return Err(Violation::BodyLength(RecordType::BEGIN_REQUEST, self.body.len() as u16));
        };
        let BeginRequest { role, keep_conn } = BeginRequest::decode(&body);
        if self.is_strict() && body != (BeginRequest { role, keep_conn }).encode() {
            return Err(Violation::Reserved(id));
        }
        self.begun = true;
        self.last_ids.retain(|last| *last != id);
        self.requests.push(Request {
            id,
            role: Role::from_wire(role),
            stage: Stage::Params,
            params: Vec::new(),
            stdin_declared: 0,
            data_declared: 0,
            received: 0,
            aborted: false,
        });
        Ok(Event::Begin { id, role, keep_conn })
    }

    fn abort(&mut self, id: u16) -> Result<Option<Event<'static>>, Violation> {
        let crossed = !self.is_strict() || self.last_ids.contains(&id);
        self.aborted = Some(id);
        match self.find_mut(id) {
            Some(request) => request.aborted = true,
            // It may have crossed our END_REQUEST.
            None if crossed => return Ok(None),
            None => return Err(Violation::NotOpen(RecordType::ABORT_REQUEST, id)),
        }
        Ok(Some(Event::Abort(id)))
    }

    fn get_values(&mut self) -> Result<Option<Event<'static>>, Violation> {
        let ends = self.body.is_empty();
        if self.is_strict() {
            let mut pairs = Pairs::new(&self.body);
            let single = pairs.next().is_some_and(|(name, value)| !name.is_empty() && value.is_empty());
            if self.begun || !(ends || single && pairs.next().is_none() && !pairs.is_malformed()) {
                return Err(Violation::GetValues);
            }
        }
        self.asked = true;
        Ok((!ends).then_some(Event::GetValues))
    }

    fn stream_record_end(
        &mut self,
        kind: RecordType,
        id: u16,
        ends: bool,
    ) -> Result<Option<Event<'static>>, Violation> {
        let (strict, start) = (self.is_strict(), self.record_start);
        let Some(request) = self.find_mut(id).filter(|request| !request.aborted) else { return Ok(None) };
        if !ends {
            if strict && kind == RecordType::PARAMS {
                request.check_pairs(start)?;
            }
            return Ok(None);
        }
        if strict && kind != RecordType::PARAMS {
            request.check_length(kind, true)?;
        }
        request.received = 0;
        let (stage, event) = match kind {
            RecordType::PARAMS => {
                request.declare()?;
                (Stage::Stdin, Event::ParamsEnd(id))
            }
            RecordType::STDIN if request.role == Some(Role::Filter) => (Stage::Data, Event::StdinEnd(id)),
            RecordType::STDIN => (Stage::Complete, Event::StdinEnd(id)),
            _ => (Stage::Complete, Event::DataEnd(id)),
        };
        request.stage = stage;
        Ok(Some(event))
    }
}

impl Request {
    /// Judges the pairs of one PARAMS record, which begins at `start`.
    fn check_pairs(&self, start: usize) -> Result<(), Violation> {
        let content = &self.params[start..];
        let mut pairs = Pairs::new(content);
        let mut minimal = 0;
        for (name, value) in pairs.by_ref() {
            minimal += encoded_len(name, value);
            if name.contains(&0) || value.contains(&0) {
                return Err(Violation::Nul(self.id));
            }
            if self.role == Some(Role::Authorizer) && NOT_FOR_AUTHORIZERS.contains(&name) {
                return Err(Violation::NotForRole(self.id));
            }
        }
        if pairs.is_malformed() {
            return Err(Violation::PairCrosses(self.id));
        }
        if minimal != content.len() {
            return Err(Violation::LongLength(self.id));
        }
        Ok(())
    }

    /// Takes from the params how long the other streams will be.
    fn declare(&mut self) -> Result<(), Violation> {
        let mut pairs = Pairs::new(&self.params);
        for (name, value) in pairs.by_ref() {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match name {
                b"CONTENT_LENGTH" => self.stdin_declared = number.unwrap_or(0),
                b"FCGI_DATA_LENGTH" => self.data_declared = number.unwrap_or(0),
                _ => {}
            }
        }
        if pairs.is_malformed() { Err(Violation::Malformed(self.id)) } else { Ok(()) }
    }

    /// Compares what a stream brought with what was declared; less is a breach only at its end.
    fn check_length(&self, stream: RecordType, ended: bool) -> Result<(), Violation> {
        let declared = if stream == RecordType::STDIN { self.stdin_declared } else { self.data_declared };
        if self.received > declared || ended && self.received < declared {
            return Err(Violation::Length { stream, id: self.id, declared, sent: self.received });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ParamsEncoder;

    fn record(kind: RecordType, id: u16, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_stream(&mut out, kind, id, content);
        out
    }

    fn begin(id: u16, role: Role) -> Vec<u8> {
        record(RecordType::BEGIN_REQUEST, id, &BeginRequest { role: role as u16, keep_conn: true }.encode())
    }

    fn params(id: u16, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = ParamsEncoder::default();
        for (name, value) in pairs {
            encoder.pair(&mut out, name.as_bytes(), value.as_bytes()).unwrap();
        }
        encoder.finish(&mut out);
        for start in (0..out.len()).filter(|i| out[*i..].starts_with(&[1, 4, 0, 0])).collect::<Vec<_>>() {
            out[start + 2..start + 4].copy_from_slice(&id.to_be_bytes());
        }
        out
    }

    fn post(id: u16, body: &str) -> Vec<u8> {
        let length = body.len().to_string();
        let stdin = record(RecordType::STDIN, id, body.as_bytes());
        let pairs = params(id, &[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", &length)]);
        [begin(id, Role::Responder), pairs, stdin, record(RecordType::STDIN, id, b"")].concat()
    }

    /// All events of the pieces as text, the bytes of one stream joined.
    fn events(application: &mut Application, pieces: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let mut told: Vec<String> = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(event) = application.next(&mut input)? {
                let (label, bytes) = match event {
                    Event::Stdin { id, bytes } => (format!("stdin {id}: "), bytes),
                    Event::Data { id, bytes } => (format!("data {id}: "), bytes),
                    other => (format!("{other:?}"), &b""[..]),
                };
                match told.last_mut().filter(|last| !bytes.is_empty() && last.starts_with(&label)) {
                    Some(last) => last.push_str(std::str::from_utf8(bytes).unwrap()),
                    None => told.push(label + std::str::from_utf8(bytes).unwrap()),
                }
            }
        }
        Ok(told)
    }

    fn strict(bytes: &[u8]) -> Result<Vec<String>, Violation> {
        events(&mut Application::new(Rules::Strict), &[bytes])
    }

    /// A1, E3, E9: what a request says is the same at every split, and one byte at a time.
    #[test]
    fn a_request_is_read_at_every_split() {
        let bytes = post(7, "a=1&b=22");
        let whole = strict(&bytes).unwrap();
        assert_eq!(whole[1..], ["ParamsEnd(7)", "stdin 7: a=1&b=22", "StdinEnd(7)"]);
        for cut in 0..=bytes.len() {
            let mut application = Application::new(Rules::Strict);
            assert_eq!(events(&mut application, &[&bytes[..cut], &bytes[cut..]]).as_ref(), Ok(&whole));
            assert_eq!(application.params(7).nth(1), Some((&b"CONTENT_LENGTH"[..], &b"8"[..])));
            assert_eq!(application.finish(false), Ok(false));
        }
        let mut application = Application::new(Rules::Strict);
        assert_eq!(events(&mut application, &bytes.chunks(1).collect::<Vec<_>>()), Ok(whole));
    }

    /// E11: a filter's DATA follows its STDIN; an authorizer has no body and no path.
    #[test]
    fn each_role_has_its_streams() {
        let data = record(RecordType::DATA, 1, b"file");
        let declared = params(1, &[("FCGI_DATA_LENGTH", "4")]);
        let [stdin_end, data_end] = [RecordType::STDIN, RecordType::DATA].map(|kind| record(kind, 1, b""));
        let filter = [begin(1, Role::Filter), declared.clone(), stdin_end.clone(), data.clone(), data_end];
        assert_eq!(strict(&filter.concat()).unwrap()[2..4], ["StdinEnd(1)", "data 1: file"]);
        let early = [begin(1, Role::Filter), declared.clone(), data.clone()].concat();
        assert_eq!(strict(&early), Err(Violation::OutOfOrder(RecordType::DATA, 1)));
        let responder = [begin(1, Role::Responder), declared, stdin_end, data].concat();
        assert_eq!(strict(&responder), Err(Violation::OutOfOrder(RecordType::DATA, 1)));
        for name in NOT_FOR_AUTHORIZERS.map(|name| std::str::from_utf8(name).unwrap()) {
            let bytes = [begin(1, Role::Authorizer), params(1, &[(name, "x")])].concat();
            assert_eq!(strict(&bytes), Err(Violation::NotForRole(1)));
        }
    }

    /// E1, E2, E3, E5, E6, E7, E9, E12: each breach has its name.
    #[test]
    fn breaches_are_told_apart() {
        let (open, stdin) = (begin(1, Role::Responder), RecordType::STDIN);
        let pairs = |content: &[u8]| [open.clone(), record(RecordType::PARAMS, 1, content)].concat();
        let body = |declared, bytes: &[u8], end: &[u8]| {
            let declared = params(1, &[("CONTENT_LENGTH", declared)]);
            [open.clone(), declared, record(stdin, 1, bytes), end.to_vec()].concat()
        };
        let length = |declared, sent| Violation::Length { stream: stdin, id: 1, declared, sent };
        let end = record(stdin, 1, b"");
        let reserved = [&open[..10], &[3], &open[11..]].concat();
        let two_names = record(RecordType::GET_VALUES, 0, b"\x01\x00a\x01\x00b");
        for (bytes, violation) in [
            (vec![2, 1, 0, 1, 0, 8, 0, 0], Violation::Version(2)),
            (vec![1, 1, 0, 1, 0, 8, 1, 0], Violation::Padding(RecordType::BEGIN_REQUEST, 1)),
            (vec![1, 1, 0, 1, 0, 7, 0, 0], Violation::BodyLength(RecordType::BEGIN_REQUEST, 7)),
            (reserved, Violation::Reserved(1)),
            (vec![1, 6, 0, 1, 0, 0, 0, 0], Violation::UnexpectedType(RecordType::STDOUT, 1)),
            (vec![1, 77, 0, 0, 0, 0, 0, 0], Violation::UnexpectedType(RecordType(77), 0)),
            (end.clone(), Violation::NotOpen(stdin, 1)),
            ([open.clone(), end.clone()].concat(), Violation::OutOfOrder(stdin, 1)),
            (pairs(b"\x04\x00NA"), Violation::PairCrosses(1)),
            (pairs(b"\x80\x00\x00\x01\x00N"), Violation::LongLength(1)),
            (pairs(b"\x01\x01N\x00"), Violation::Nul(1)),
            (body("2", b"abc", b""), length(2, 3)),
            (body("3", b"ab", &end), length(3, 2)),
            ([post(1, "a"), end.clone()].concat(), Violation::AfterStreamEnd(stdin, 1)),
            (two_names, Violation::GetValues),
            ([post(1, "a"), record(RecordType::GET_VALUES, 0, b"")].concat(), Violation::GetValues),
        ] {
            assert_eq!(strict(&bytes), Err(violation), "{bytes:?}");
        }
        let half_closed = Application::new(Rules::Strict).finish(true);
        assert_eq!(half_closed, Err(Violation::HalfClose));
    }

    /// E8, E10, E13, A11: ids stay fresh, requests do not overlap, an abort is the last word.
    #[test]
    fn ids_and_requests_keep_apart() {
        let abort = record(RecordType::ABORT_REQUEST, 1, b"");
        let overlap = [begin(1, Role::Responder), begin(2, Role::Responder)].concat();
        assert_eq!(strict(&overlap), Err(Violation::Overlap(1, 2)));
        let mut shared = Application { multiplex: true, ..Application::new(Rules::Strict) };
        assert_eq!(events(&mut shared, &[&overlap]).unwrap().len(), 2);
        assert_eq!(events(&mut shared, &[&begin(2, Role::Responder)]), Err(Violation::IdOpen(2)));
        let aborted = [begin(1, Role::Responder), abort, record(RecordType::PARAMS, 1, b"")].concat();
        assert_eq!(strict(&aborted), Err(Violation::AfterAbort(1)));

        let ended = |first: &[u8], then: &[u8]| {
            let mut application = Application::new(Rules::Strict);
            events(&mut application, &[first])?;
            application.end(&mut Vec::new(), 1, 0, ProtocolStatus::RequestComplete);
            events(&mut application, &[then])
        };
        let (whole, part) = (post(1, "a"), begin(1, Role::Responder));
        assert_eq!(ended(&whole, &begin(1, Role::Responder)), Err(Violation::IdReused(1)));
        assert_eq!(ended(&whole, &begin(2, Role::Responder)).unwrap().len(), 1);
        assert_eq!(ended(&part, &record(RecordType::STDIN, 1, b"on its way")), Ok(vec![]));
        assert_eq!(ended(&part, &begin(2, Role::Responder)), Err(Violation::AfterEarlyEnd(1)));
    }

    /// Under the specification alone, padding, split pairs and other lengths are fine.
    #[test]
    fn another_web_server_may_do_more() {
        let bytes = b"\x01\x01\0\x01\0\x08\x02\0\0\x01\0\0\0\0\0\0PP\
            \x01\x04\0\x01\0\x03\0\0\x01\x01N\x01\x04\0\x01\0\x01\0\0V\
            \x01\x04\0\x01\0\0\0\0\x01\x05\0\x01\0\x01\0\0x\x01\x05\0\x01\0\0\0\0";
        let mut application = Application::default();
        assert_eq!(events(&mut application, &[bytes]).unwrap().len(), 4);
        assert_eq!(application.params(1).collect::<Vec<_>>(), [(&b"N"[..], &b"V"[..])]);
        assert_eq!(application.finish(true), Ok(false));
    }
}
