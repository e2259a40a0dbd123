//! What a web server sent, request by request, and what it did wrong.
//!
//! The recorder is a judge of its own: it frames records itself, sees every byte of a header, and
//! goes on after a breach, so that a test can show all of them and a script can answer even so.

use fcgate::protocol::name_value::encoded_len;
use fcgate::protocol::record::{HEADER_LEN, KEEP_CONN};
use fcgate::protocol::{BeginRequest, EndRequest, Header, Pairs, Part, RecordReader, RecordType, Role};
use std::net::SocketAddr;

/// A new request may not have an id that one of this many requests before it had (E8).
const FRESH_IDS: usize = 4;

/// A request as it arrived, as far as it has.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The connection it came on, counted from 0 in the order of accept.
    pub connection: usize,
    /// Where that came from; `None` for a unix socket.
    pub peer: Option<SocketAddr>,
    /// Its id.
    pub id: u16,
    /// The role number.
    pub role: u16,
    /// Whether the connection was to stay open.
    pub keep_conn: bool,
    /// The pairs, in order.
    pub params: Vec<(Vec<u8>, Vec<u8>)>,
    /// The empty PARAMS has come.
    pub params_ended: bool,
    /// The body; empty where the application was told to discard bodies.
    pub stdin: Vec<u8>,
    /// Bytes of the body.
    pub stdin_length: u64,
    /// The empty STDIN has come.
    pub stdin_ended: bool,
    /// A filter's second stream.
    pub data: Vec<u8>,
    /// The empty DATA has come.
    pub data_ended: bool,
    /// ABORT_REQUEST has come.
    pub aborted: bool,
    /// The application has sent END_REQUEST.
    pub ended: bool,
    /// What was wrong with it, each beginning with the mark of the rule.
    pub violations: Vec<String>,
    /// The params as bytes, for pairs that cross records.
    pub(crate) params_bytes: Vec<u8>,
}

impl Recorded {
    /// The value of a param; `None` also where it is no UTF-8.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.param_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The bytes of a param.
    pub fn param_bytes(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|(have, _)| have == name.as_bytes()).map(|(_, value)| &value[..])
    }

    /// REQUEST_METHOD, or nothing.
    pub fn method(&self) -> &str {
        self.param("REQUEST_METHOD").unwrap_or("")
    }

    /// Whether every stream of its role has ended.
    pub fn is_complete(&self) -> bool {
        self.params_ended && self.stdin_ended && (!self.is(Role::Filter) || self.data_ended)
    }

    /// Whether it is of this role.
    pub fn is(&self, role: Role) -> bool {
        self.role == role as u16
    }

    fn breach(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    fn declared(&self, name: &str) -> u64 {
        self.param(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// Follows one connection; requests go into a log that all connections share.
#[derive(Debug)]
pub(crate) struct Recorder {
    connection: usize,
    /// Where the connection came from.
    pub(crate) peer: Option<SocketAddr>,
    keep_bodies: bool,
    multiplex: bool,
    pending: Vec<u8>,
    /// Places in the log of the requests that have had no END_REQUEST.
    open: Vec<usize>,
    last_ids: Vec<u16>,
    /// Something after which only the end of the connection may come.
    last_word: Option<&'static str>,
    asked: bool,
    begun: bool,
    /// Reads what the application sends, for its END_REQUESTs; `None` once that is no protocol.
    sent: Option<(RecordReader, Option<Header>)>,
    /// The framing is lost: nothing more can be told apart.
    lost: bool,
    /// Names of a GET_VALUES that waits for its answer.
    pub(crate) wanted: Vec<String>,
    /// Breaches that belong to no request.
    pub(crate) violations: Vec<String>,
}

impl Recorder {
    pub(crate) fn new(connection: usize, keep_bodies: bool, multiplex: bool) -> Self {
        Self {
            connection,
            peer: None,
            keep_bodies,
            multiplex,
            pending: Vec::new(),
            open: Vec::new(),
            last_ids: Vec::new(),
            last_word: None,
            asked: false,
            begun: false,
            sent: Some((RecordReader::default(), None)),
            lost: false,
            wanted: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// The places in the log of the requests that are open, oldest first.
    pub(crate) fn open(&self) -> &[usize] {
        &self.open
    }

    /// Takes received bytes.
    pub(crate) fn received(&mut self, bytes: &[u8], log: &mut Vec<Recorded>) {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let (false, Some(bytes)) = (self.lost, rest.first_chunk::<HEADER_LEN>()) {
            let Ok(header) = Header::decode(bytes) else {
                self.violations.push(format!("E1: version {}", bytes[0]));
                self.lost = true;
                break;
            };
            let content_end = HEADER_LEN + usize::from(header.content_length);
            let Some(content) = rest.get(HEADER_LEN..content_end) else { break };
            let Some(after) = rest.get(content_end + usize::from(header.padding_length)..) else { break };
            self.header(header, bytes[7]);
            self.record(header, content, log);
            rest = after;
        }
        self.pending = rest.to_vec();
    }

    /// Takes note of what the application sends.
    pub(crate) fn sent(&mut self, bytes: &[u8], log: &mut [Recorded]) {
        let Some((reader, current)) = &mut self.sent else { return };
        let mut ended = Vec::new();
        let mut input = bytes;
        let broken = loop {
            match reader.next(&mut input) {
                Ok(Some(Part::Header(header))) => *current = Some(header),
                Ok(Some(Part::Content(_))) => {}
                Ok(Some(Part::End)) => ended.extend(current.take().filter(|header| {
                    header.record_type == RecordType::END_REQUEST
                        && usize::from(header.content_length) == EndRequest::LEN
                })),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if broken {
            self.sent = None;
        }
        for header in ended {
            self.end(header.request_id, log);
        }
    }

    /// The web server sends no more; says what that cut off.
    pub(crate) fn finished(&mut self, half_closed: bool) {
        if half_closed {
            self.violations.push("E12: the connection was closed by half".into());
        }
    }

    fn end(&mut self, id: u16, log: &mut [Recorded]) {
        let Some(at) = self.open.iter().position(|index| log[*index].id == id) else { return };
        let request = &mut log[self.open.remove(at)];
        request.ended = true;
        if !request.is_complete() && !request.aborted {
            self.last_word = Some("A11: a request after one that ended before its stdin did");
        }
        self.last_ids.push(id);
        if self.last_ids.len() > FRESH_IDS {
            self.last_ids.remove(0);
        }
    }

    fn header(&mut self, header: Header, reserved: u8) {
        let kind = header.record_type.0;
        if header.padding_length > 0 {
            self.violations.push(format!("E1: {} bytes of padding on type {kind}", header.padding_length));
        }
        if reserved != 0 {
            self.violations.push(format!("E1: reserved byte {reserved} on type {kind}"));
        }
        let begins = header.record_type == RecordType::BEGIN_REQUEST;
        if let Some(text) = self.last_word.filter(|text| begins || text.starts_with("E13")) {
            self.violations.push(format!("{text} (type {kind})"));
        }
    }

    fn record(&mut self, header: Header, content: &[u8], log: &mut Vec<Recorded>) {
        let (kind, id) = (header.record_type, header.request_id);
        match kind {
            RecordType::BEGIN_REQUEST => return self.begin(id, content, log),
            RecordType::GET_VALUES if id == 0 => return self.get_values(content),
            RecordType::ABORT_REQUEST | RecordType::PARAMS | RecordType::STDIN | RecordType::DATA
                if id != 0 => {}
            _ => return self.violations.push(format!("E12: type {} on id {id}", kind.0)),
        }
        let Some(index) = self.open.iter().copied().find(|index| log[*index].id == id) else {
            return self.not_open(kind, id, log);
        };
        let request = &mut log[index];
        if kind == RecordType::ABORT_REQUEST {
            request.aborted = true;
            if !content.is_empty() {
                request.breach("E13: ABORT_REQUEST with content");
            }
            if !self.multiplex {
                self.last_word = Some("E13: bytes after ABORT_REQUEST");
            }
            return;
        }
        if request.aborted && self.multiplex {
            request.breach(format!("E13: type {} after ABORT_REQUEST", kind.0));
        }
        match kind {
            RecordType::PARAMS => params(request, content),
            RecordType::STDIN => stdin(request, content, self.keep_bodies),
            _ => data(request, content, self.keep_bodies),
        }
    }

    fn not_open(&mut self, kind: RecordType, id: u16, log: &[Recorded]) {
        let last = log.iter().rev().find(|past| past.connection == self.connection && past.id == id);
        match last {
            // It was on its way when the application ended the request.
            Some(past) if !past.is_complete() || kind == RecordType::ABORT_REQUEST => {}
            Some(_) => self.violations.push(format!("E8: type {} for id {id}, which has ended", kind.0)),
            None => self.violations.push(format!("E8: type {} for id {id}, never opened", kind.0)),
        }
    }

    fn begin(&mut self, id: u16, content: &[u8], log: &mut Vec<Recorded>) {
        let mut request =
            Recorded { connection: self.connection, peer: self.peer, id, ..Recorded::default() };
        match <&[u8; BeginRequest::LEN]>::try_from(content) {
            Ok(body) => {
                let begin = BeginRequest::decode(body);
                (request.role, request.keep_conn) = (begin.role, begin.keep_conn);
                if body[2] & !KEEP_CONN != 0 || body[3..] != [0; 5] {
                    request.breach("E2: a reserved bit is set in BEGIN_REQUEST");
                }
            }
            Err(_) => request.breach(format!("E2: BEGIN_REQUEST of {} bytes", content.len())),
        }
        if id == 0 {
            request.breach("E8: id 0");
        }
        if self.open.iter().any(|index| log[*index].id == id) {
            request.breach(format!("E8: id {id} is open"));
        } else if self.last_ids.contains(&id) {
            request.breach(format!("E8: id {id} again"));
        }
        if !self.multiplex && !self.open.is_empty() {
            request.breach(format!("E10: id {id} while another is open"));
        }
        if self.asked {
            request.breach("E12: a request after GET_VALUES");
        }
        self.begun = true;
        self.open.push(log.len());
        log.push(request);
    }

    fn get_values(&mut self, content: &[u8]) {
        self.asked = true;
        if self.begun {
            self.violations.push("E12: GET_VALUES among requests".into());
        }
        let mut pairs = Pairs::new(content);
        let names: Vec<_> =
            pairs.by_ref().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        if names.len() > 1 || pairs.is_malformed() {
            self.violations.push("E12: GET_VALUES of other than one name".into());
        }
        self.wanted.extend(names);
    }
}

fn params(request: &mut Recorded, content: &[u8]) {
    if request.params_ended {
        return request.breach("E3: PARAMS after the empty PARAMS");
    }
    if content.is_empty() {
        request.params_ended = true;
        // Pairs that cross records are a breach, unless a test has asked for them: then it wants them whole.
        let bytes = std::mem::take(&mut request.params_bytes);
        request.params = Pairs::new(&bytes).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        return;
    }
    request.params_bytes.extend_from_slice(content);
    let mut pairs = Pairs::new(content);
    let mut minimal = 0;
    for (name, value) in pairs.by_ref() {
        minimal += encoded_len(name, value);
        if name.contains(&0) || value.contains(&0) {
            request.breach(format!("E7: NUL in {}", name.escape_ascii()));
        }
        if request.params.iter().any(|(have, _)| have == name) {
            request.breach(format!("X1: {} twice", name.escape_ascii()));
        }
        let of_a_body: [&[u8]; 4] = [b"CONTENT_LENGTH", b"PATH_INFO", b"PATH_TRANSLATED", b"SCRIPT_NAME"];
        if request.is(Role::Authorizer) && of_a_body.contains(&name) {
            request.breach(format!("E11: {} for an authorizer", name.escape_ascii()));
        }
        request.params.push((name.to_vec(), value.to_vec()));
    }
    if pairs.is_malformed() {
        request.breach("E5: a pair crosses a PARAMS record");
    } else if minimal != content.len() {
        request.breach("E6: a length of four bytes where one does");
    }
}

fn stdin(request: &mut Recorded, content: &[u8], keep: bool) {
    if !request.params_ended {
        request.breach("E3: STDIN before the empty PARAMS");
    }
    if request.stdin_ended {
        return request.breach("E3: STDIN after the empty STDIN");
    }
    request.stdin_length += content.len() as u64;
    let (sent, declared) = (request.stdin_length, request.declared("CONTENT_LENGTH"));
    request.stdin_ended = content.is_empty();
    if (sent > declared && sent - content.len() as u64 <= declared) || request.stdin_ended && sent < declared
    {
        request.breach(format!("E9: {sent} bytes of stdin, {declared} declared"));
    }
    if keep {
        request.stdin.extend_from_slice(content);
    }
}

fn data(request: &mut Recorded, content: &[u8], keep: bool) {
    if !request.is(Role::Filter) || !request.stdin_ended {
        request.breach("E11: DATA out of turn");
    }
    if request.data_ended {
        return request.breach("E11: DATA after the empty DATA");
    }
    request.data_ended = content.is_empty();
    if keep {
        request.data.extend_from_slice(content);
        let (sent, declared) = (request.data.len() as u64, request.declared("FCGI_DATA_LENGTH"));
        if request.data_ended && sent != declared {
            request.breach(format!("E11: {sent} bytes of data, {declared} declared"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes;

    fn begin(id: u16, role: Role) -> Vec<u8> {
        let body = BeginRequest { role: role as u16, keep_conn: true }.encode();
        bytes::record(RecordType::BEGIN_REQUEST, id, body)
    }

    fn record(kind: RecordType, content: &[u8]) -> Vec<u8> {
        bytes::record(kind, 1, content)
    }

    fn whole(id: u16) -> Vec<u8> {
        let params = bytes::record(RecordType::PARAMS, id, b"\x0e\x01CONTENT_LENGTH2");
        let [params_end, stdin, stdin_end] =
            [(RecordType::PARAMS, ""), (RecordType::STDIN, "hi"), (RecordType::STDIN, "")]
                .map(|(kind, content)| bytes::record(kind, id, content));
        [begin(id, Role::Responder), params, params_end, stdin, stdin_end].concat()
    }

    fn violations(pieces: &[&[u8]]) -> Vec<String> {
        let (mut recorder, mut log) = (Recorder::new(0, true, false), Vec::new());
        for piece in pieces {
            recorder.received(piece, &mut log);
        }
        log.into_iter().flat_map(|request| request.violations).chain(recorder.violations).collect()
    }

    #[test]
    fn a_request_is_recorded_at_every_split() {
        let bytes = whole(9);
        for cut in 0..=bytes.len() {
            let (mut recorder, mut log) = (Recorder::new(3, true, false), Vec::new());
            recorder.received(&bytes[..cut], &mut log);
            recorder.received(&bytes[cut..], &mut log);
            assert_eq!((log[0].connection, log[0].id, &log[0].stdin[..]), (3, 9, &b"hi"[..]));
            assert!(log[0].is_complete() && log[0].keep_conn && log[0].violations.is_empty());
            recorder.sent(&bytes::end_ok(9), &mut log);
            assert!(log[0].ended && recorder.open().is_empty() && recorder.violations.is_empty());
        }
    }

    #[test]
    fn every_breach_is_named_by_its_mark() {
        let open = begin(1, Role::Responder);
        let authorizer =
            [begin(1, Role::Authorizer), record(RecordType::PARAMS, b"\x09\0PATH_INFO")].concat();
        let params = |content: &[u8]| [open.clone(), record(RecordType::PARAMS, content)].concat();
        let ended = params(b"");
        let then = |first: &[u8], kind, content: &[u8]| [first, &record(kind, content)].concat();
        let reserved = [&open[..7], &[1], &open[8..]].concat();
        let wanted = |content: &[u8]| bytes::record(RecordType::GET_VALUES, 0, content);
        for (bytes, mark) in [
            (vec![2, 1, 0, 1, 0, 0, 0, 0], "E1"),
            (reserved, "E1"),
            (bytes::with_padding(&open, 1), "E1"),
            (record(RecordType::BEGIN_REQUEST, b"short"), "E2"),
            (then(&open, RecordType::STDIN, b""), "E3"),
            (then(&ended, RecordType::PARAMS, b""), "E3"),
            (params(b"\x09\0PATH"), "E5"),
            (params(b"\x80\0\0\x01\0N"), "E6"),
            (params(b"\x01\x01N\0"), "E7"),
            (params(b"\x01\0N\x01\0N"), "X1"),
            (record(RecordType::STDIN, b""), "E8"),
            (then(&whole(1), RecordType::STDIN, b""), "E3"),
            (then(&ended, RecordType::STDIN, b"x"), "E9"),
            ([open.clone(), begin(2, Role::Responder)].concat(), "E10"),
            (authorizer, "E11"),
            (then(&ended, RecordType::DATA, b"x"), "E11"),
            (wanted(b"\x01\0A\x01\0B"), "E12"),
            (record(RecordType::STDOUT, b"x"), "E12"),
            (then(&then(&open, RecordType::ABORT_REQUEST, b""), RecordType::PARAMS, b""), "E13"),
        ] {
            let found = violations(&[&bytes]);
            assert!(found.len() == 1 && found[0].starts_with(&format!("{mark}:")), "{mark}: {found:?}");
        }
        assert!(violations(&[&wanted(b"\x01\0A"), &wanted(b"")]).is_empty());
    }

    #[test]
    fn ids_are_fresh_after_the_end_and_late_bytes_are_told_from_those_on_their_way() {
        let after = |first: &[u8], then: &[u8]| {
            let (mut recorder, mut log) = (Recorder::new(0, true, false), Vec::new());
            recorder.received(first, &mut log);
            recorder.sent(&bytes::end_ok(1), &mut log);
            recorder.received(then, &mut log);
            log.into_iter()
                .flat_map(|request| request.violations)
                .chain(recorder.violations)
                .collect::<Vec<_>>()
        };
        assert_eq!(after(&whole(1), &whole(2)), Vec::<String>::new());
        assert_eq!(after(&whole(1), &whole(1)), ["E8: id 1 again"]);
        assert_eq!(
            after(&whole(1), &record(RecordType::STDIN, b"")),
            ["E8: type 5 for id 1, which has ended"]
        );
        assert!(after(&begin(1, Role::Responder), &record(RecordType::STDIN, b"")).is_empty());
        let early = after(&begin(1, Role::Responder), &begin(2, Role::Responder));
        assert!(early.len() == 1 && early[0].starts_with("A11"), "{early:?}");
    }
}
