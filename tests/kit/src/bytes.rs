//! Any reply at the level of bytes, right or wrong.
//!
//! The engine's own encoders can't pad or claim a length that is not so; these can.

use fcgate::protocol::name_value::append_pair;
use fcgate::protocol::record::{HEADER_LEN, MAX_CONTENT, append_stream};
use fcgate::protocol::{BeginRequest, EndRequest, Header, ProtocolStatus, RecordType, Role};

/// A record of any type; content beyond 65535 bytes is cut into several.
pub fn record(record_type: RecordType, id: u16, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    append_stream(&mut out, record_type, id, content.as_ref());
    out
}

/// Bytes of the response; without any, the record that ends it.
pub fn stdout(id: u16, content: impl AsRef<[u8]>) -> Vec<u8> {
    record(RecordType::STDOUT, id, content)
}

/// Error messages; without any, the record that ends them.
pub fn stderr(id: u16, content: impl AsRef<[u8]>) -> Vec<u8> {
    record(RecordType::STDERR, id, content)
}

/// END_REQUEST.
pub fn end(id: u16, app_status: u32, protocol_status: ProtocolStatus) -> Vec<u8> {
    record(RecordType::END_REQUEST, id, EndRequest { app_status, protocol_status }.encode())
}

/// END_REQUEST of a request that went well.
pub fn end_ok(id: u16) -> Vec<u8> {
    end(id, 0, ProtocolStatus::RequestComplete)
}

/// A whole request to a responder, as a web server sends it; params must fit one record.
pub fn request(id: u16, keep_conn: bool, params: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let begin = BeginRequest { role: Role::Responder as u16, keep_conn }.encode();
    let mut pairs = Vec::new();
    for (name, value) in params {
        append_pair(&mut pairs, name.as_bytes(), value.as_bytes());
    }
    let streams = [(RecordType::PARAMS, &pairs[..]), (RecordType::STDIN, body.as_ref())];
    let mut out = record(RecordType::BEGIN_REQUEST, id, begin);
    for (stream, content) in streams {
        if !content.is_empty() {
            out.extend(record(stream, id, content));
        }
        out.extend(record(stream, id, ""));
    }
    out
}

/// The answer to GET_VALUES.
pub fn values(pairs: &[(String, String)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (name, value) in pairs {
        append_pair(&mut content, name.as_bytes(), value.as_bytes());
    }
    record(RecordType::GET_VALUES_RESULT, 0, content)
}

/// The same records, each with `padding` bytes of padding.
///
/// Panics if `records` are not whole records.
pub fn with_padding(records: &[u8], padding: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let header: &[u8; HEADER_LEN] = rest.first_chunk().expect("a record's header is cut");
        let mut header = Header::decode(header).expect("a record's version is not 1");
        let length = HEADER_LEN + usize::from(header.content_length);
        assert_eq!(header.padding_length, 0, "a record is padded already");
        header.padding_length = padding;
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&rest[HEADER_LEN..length]);
        out.extend(std::iter::repeat_n(0xEE, usize::from(padding)));
        rest = &rest[length..];
    }
    out
}

/// The largest STDOUT record there is: 65535 bytes of `fill` and 255 of padding.
pub fn largest(id: u16, fill: u8) -> Vec<u8> {
    with_padding(&stdout(id, vec![fill; MAX_CONTENT]), 255)
}

/// A header alone, whatever it claims: version, type, id, content length, padding length.
pub fn header(version: u8, record_type: u8, id: u16, content_length: u16, padding_length: u8) -> Vec<u8> {
    let mut bytes = Header::new(RecordType(record_type), id, content_length).encode();
    bytes[0] = version;
    bytes[6] = padding_length;
    bytes.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_on_every_record() {
        let plain = [stdout(7, "hi"), end_ok(7)].concat();
        let padded = with_padding(&plain, 3);
        assert_eq!(padded.len(), plain.len() + 6);
        assert_eq!(padded[..10], [1, 6, 0, 7, 0, 2, 3, 0, b'h', b'i']);
        assert_eq!(padded[13..21], [1, 3, 0, 7, 0, 8, 3, 0]);
        assert_eq!(with_padding(&plain, 0), plain);
        assert_eq!(largest(1, b'x').len(), 8 + 65535 + 255);
        assert_eq!(header(2, 99, 258, 3, 4), [2, 99, 1, 2, 0, 3, 4, 0]);
    }

    #[test]
    fn the_answer_to_get_values_is_pairs() {
        let bytes = values(&[("FCGI_MPXS_CONNS".into(), "0".into())]);
        assert_eq!(bytes[..10], [1, 10, 0, 0, 0, 18, 0, 0, 15, 1]);
    }
}
