//! What is still to be sent of a request: its head (BEGIN_REQUEST and PARAMS), the record headers
//! around the body's chunks, and the end of STDIN. The body's bytes stay where the host has them.

use crate::protocol::{BeginRequest, HEADER_LEN, Header, MAX_CONTENT, RecordType, Role};
use std::io::IoSlice;

/// STDIN records that one offered chunk may take.
const PIECES: usize = 16;
/// The most bytes of one chunk; of a longer one, the front is taken.
pub const CHUNK_MAX: usize = PIECES * MAX_CONTENT;
/// The most slices that [`Outgoing::slices`] fills.
pub const SLICES: usize = 2 * PIECES + 2;

/// The unsent part of one attempt.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// BEGIN_REQUEST, PARAMS, and, without a body, the empty STDIN.
    head: Vec<u8>,
    head_sent: usize,
    headers: [[u8; HEADER_LEN]; PIECES],
    chunk: usize,
    framed_sent: usize,
    tail: [u8; HEADER_LEN],
    tail_sent: usize,
    tail_due: bool,
    body_length: u64,
    body_offered: u64,
    id: u16,
    accepted: u64,
}

impl Outgoing {
    /// Prepares a request: `params` are PARAMS records of any id, with their empty one.
    /// STDIN follows unless there is no body; then its empty record belongs to the head.
    pub fn prepare(&mut self, role: Role, params: &[u8], body_length: u64) {
        self.head.clear();
        let begin = BeginRequest { role: role as u16, keep_conn: false };
        self.head
            .extend_from_slice(&Header::new(RecordType::BEGIN_REQUEST, 0, BeginRequest::LEN as u16).encode());
        self.head.extend_from_slice(&begin.encode());
        self.head.extend_from_slice(params);
        if body_length == 0 {
            self.head.extend_from_slice(&Header::new(RecordType::STDIN, 0, 0).encode());
        }
        self.body_length = body_length;
        self.rewind();
    }

    /// Back to the first byte, for another attempt.
    pub fn rewind(&mut self) {
        self.head_sent = 0;
        self.framed_sent = 0;
        self.tail_sent = 0;
        self.accepted = 0;
        self.chunk = 0;
        self.body_offered = 0;
        self.tail_due = false;
    }

    /// Fills the id into every record of the head, and the one flag of BEGIN_REQUEST.
    pub fn address(&mut self, id: u16, keep_conn: bool) {
        self.id = id;
        let id = id.to_be_bytes();
        let mut at = 0;
        while let Some(header) = self.head.get_mut(at..at + HEADER_LEN) {
            header[2..4].copy_from_slice(&id);
            at += HEADER_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
        }
        if let Some(flags) = self.head.get_mut(HEADER_LEN + 2) {
            *flags = u8::from(keep_conn);
        }
    }

    /// Frames the next chunk of the body and returns how much of it was taken: no more than
    /// [`CHUNK_MAX`], and no more than the length allows. Only after the chunk before is sent.
    pub fn offer(&mut self, length: usize) -> usize {
        debug_assert!(!self.is_pending() || self.chunk == 0);
        let room = self.body_length - self.body_offered;
        let taken = length.min(CHUNK_MAX).min(usize::try_from(room).unwrap_or(usize::MAX));
        self.chunk = taken;
        self.framed_sent = 0;
        self.body_offered += taken as u64;
        for (header, at) in self.headers.iter_mut().zip((0..taken).step_by(MAX_CONTENT)) {
            let length = (taken - at).min(MAX_CONTENT) as u16;
            *header = Header::new(RecordType::STDIN, self.id, length).encode();
        }
        self.tail_due = self.body_length > 0 && self.body_offered == self.body_length;
        self.tail = Header::new(RecordType::STDIN, self.id, 0).encode();
        taken
    }

    /// Body bytes that were not offered yet.
    pub fn body_left(&self) -> u64 {
        self.body_length - self.body_offered
    }

    /// Body bytes offered so far, sent or not.
    pub fn body_offered(&self) -> u64 {
        self.body_offered
    }

    /// Bytes in the chunk that is being sent.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Bytes that a socket took in this attempt.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    fn framed_len(&self) -> usize {
        self.chunk + self.chunk.div_ceil(MAX_CONTENT) * HEADER_LEN
    }

    /// Whether there is something to send right now.
    pub fn is_pending(&self) -> bool {
        self.head_sent < self.head.len()
            || self.framed_sent < self.framed_len()
            || (self.tail_due && self.tail_sent < HEADER_LEN)
    }

    /// Whether every byte of the request was sent.
    pub fn is_complete(&self) -> bool {
        !self.is_pending() && self.body_left() == 0
    }

    /// Whether what was sent so far ends with a whole record, so that another may follow.
    pub fn at_boundary(&self) -> bool {
        if self.accepted == 0 {
            return false;
        }
        if self.head_sent < self.head.len() {
            let mut at = 0;
            while at < self.head_sent {
                let length = u16::from_be_bytes([self.head[at + 4], self.head[at + 5]]);
                at += HEADER_LEN + usize::from(length);
            }
            return at == self.head_sent;
        }
        let framed = self.framed_len();
        let in_piece = self.framed_sent % (MAX_CONTENT + HEADER_LEN);
        (self.framed_sent == framed || in_piece == 0) && self.tail_sent.is_multiple_of(HEADER_LEN)
    }

    /// The unsent bytes: of the head, of `chunk` with its record headers, of the end of STDIN.
    /// `chunk` is the one that was offered last. Returns how many slices were filled.
    pub fn slices<'a>(&'a self, chunk: &'a [u8], slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        let mut push = |bytes: &'a [u8]| {
            if !bytes.is_empty() {
                slices[count] = IoSlice::new(bytes);
                count += 1;
            }
        };
        push(&self.head[self.head_sent..]);
        let mut skip = self.framed_sent;
        for (header, piece) in
            self.headers.iter().zip(chunk[..self.chunk.min(chunk.len())].chunks(MAX_CONTENT))
        {
            for part in [&header[..], piece] {
                let skipped = skip.min(part.len());
                skip -= skipped;
                push(&part[skipped..]);
            }
        }
        if self.tail_due {
            push(&self.tail[self.tail_sent..]);
        }
        count
    }

    /// A socket took `count` bytes off the front.
    pub fn sent(&mut self, count: usize) {
        self.accepted += count as u64;
        let mut left = count;
        let mut advance = |sent: &mut usize, len: usize| {
            let step = left.min(len - *sent);
            *sent += step;
            left -= step;
        };
        let framed = self.framed_len();
        advance(&mut self.head_sent, self.head.len());
        advance(&mut self.framed_sent, framed);
        if self.tail_due {
            advance(&mut self.tail_sent, HEADER_LEN);
        }
        if self.framed_sent == framed {
            self.chunk = 0;
            self.framed_sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ParamsEncoder, Part, RecordReader};

    fn params() -> Vec<u8> {
        let mut params = Vec::new();
        let mut encoder = ParamsEncoder::default();
        encoder.pair(&mut params, b"A", &vec![b'x'; 40_000]).unwrap();
        encoder.pair(&mut params, b"B", &vec![b'y'; 40_000]).unwrap();
        encoder.finish(&mut params);
        params
    }

    /// Sends everything in steps of at most `step` bytes, the body in chunks of `chunk`.
    fn drain(outgoing: &mut Outgoing, body: &[u8], chunk: usize, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut offered = 0;
        let mut current: &[u8] = &[];
        while !outgoing.is_complete() {
            if !outgoing.is_pending() {
                let rest = &body[offered..];
                let taken = outgoing.offer(rest.len().min(chunk));
                current = &rest[..taken];
                offered += taken;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outgoing.slices(current, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let some = bytes.len().min(step);
            wire.extend_from_slice(&bytes[..some]);
            outgoing.sent(some);
        }
        wire
    }

    fn records(wire: &[u8]) -> Vec<(u8, u16, Vec<u8>)> {
        let mut reader = RecordReader::default();
        let mut input = wire;
        let mut records: Vec<(u8, u16, Vec<u8>)> = Vec::new();
        while let Some(part) = reader.next(&mut input).unwrap() {
            match part {
                Part::Header(header) => {
                    assert_eq!(header.padding_length, 0);
                    records.push((header.record_type.0, header.request_id, Vec::new()));
                }
                Part::Content(bytes) => records.last_mut().unwrap().2.extend_from_slice(bytes),
                Part::End => {}
            }
        }
        assert!(reader.at_boundary());
        records
    }

    /// E3: params and STDIN each end with one empty record, even without a body.
    #[test]
    fn a_request_without_a_body_ends_params_and_stdin() {
        let mut outgoing = Outgoing::default();
        outgoing.prepare(Role::Responder, &params(), 0);
        outgoing.address(513, true);
        let records = records(&drain(&mut outgoing, b"", 1, usize::MAX));
        let shape: Vec<(u8, u16, usize)> = records.iter().map(|r| (r.0, r.1, r.2.len())).collect();
        assert_eq!(shape, [(1, 513, 8), (4, 513, 40_006), (4, 513, 40_006), (4, 513, 0), (5, 513, 0)]);
        assert_eq!(records[0].2, [0, 1, 1, 0, 0, 0, 0, 0]);
    }

    /// E4, E9: a body of any size leaves as STDIN records of 1..65535 bytes, all of it and
    /// no more, whatever the chunks and however little a socket takes at a time.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_body_leaves_whole_whatever_the_chunks_and_sends() {
        for length in [1usize, 65_535, 65_536, 200_000, CHUNK_MAX + 7] {
            let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            for (chunk, step) in [(usize::MAX, usize::MAX), (1000, 4096), (70_000, 8191), (65_535, 65_543)] {
                let mut outgoing = Outgoing::default();
                outgoing.prepare(Role::Responder, &params(), length as u64);
                outgoing.address(7, false);
                let records = records(&drain(&mut outgoing, &body, chunk, step));
                let stdin: Vec<&(u8, u16, Vec<u8>)> = records.iter().filter(|r| r.0 == 5).collect();
                let (last, rest) = stdin.split_last().unwrap();
                assert!(last.2.is_empty());
                assert!(rest.iter().all(|r| !r.2.is_empty() && r.1 == 7));
                assert_eq!(rest.iter().flat_map(|r| r.2.iter().copied()).collect::<Vec<u8>>(), body);
            }
        }
    }

    /// E4: bytes of a body that look like records stay body, at every split of the sends.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn a_body_of_records_is_still_a_body() {
        let body = Header::new(RecordType::ABORT_REQUEST, 7, 0).encode().repeat(3);
        for step in 1..60 {
            let mut outgoing = Outgoing::default();
            outgoing.prepare(
                Role::Responder,
                &Header::new(RecordType::PARAMS, 0, 0).encode(),
                body.len() as u64,
            );
            outgoing.address(7, false);
            let records = records(&drain(&mut outgoing, &body, 10, step));
            assert!(records.iter().all(|r| r.0 != 2));
        }
    }

    /// E9: of more bytes than the length says, none is taken.
    #[test]
    fn no_byte_beyond_the_length_is_taken() {
        let mut outgoing = Outgoing::default();
        outgoing.prepare(Role::Responder, &[], 5);
        outgoing.address(1, false);
        let mut head = outgoing.head.len();
        while head > 0 {
            outgoing.sent(1);
            head -= 1;
        }
        assert_eq!(outgoing.offer(9), 5);
    }

    /// E13: an abort may be sent only where a record ends.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn record_boundaries_are_known_at_every_byte() {
        let body = vec![3; 70_000];
        let mut params = Vec::new();
        let mut encoder = ParamsEncoder::default();
        encoder.pair(&mut params, b"NAME", b"value").unwrap();
        encoder.finish(&mut params);
        let mut outgoing = Outgoing::default();
        outgoing.prepare(Role::Responder, &params, body.len() as u64);
        outgoing.address(1, false);
        let mut reader = RecordReader::default();
        let mut current = 0;
        assert!(!outgoing.at_boundary());
        while !outgoing.is_complete() {
            if !outgoing.is_pending() {
                current = outgoing.offer(body.len());
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outgoing.slices(&body[..current], &mut slices);
            assert!(count > 0);
            let byte = [slices[0][0]];
            let mut input = &byte[..];
            while reader.next(&mut input).unwrap().is_some() {}
            outgoing.sent(1);
            assert_eq!(outgoing.at_boundary(), reader.at_boundary());
        }
    }
}
