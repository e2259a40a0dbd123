//! The request body on its way out: where its bytes come from, and the spool that takes a body
//! whole before the application is asked, so that a slow client holds no worker of it and the
//! body can be sent again.

use crate::os::file::{FileSlice, SpoolFile};
use std::io;
use std::ops::Range;
use std::path::Path;

/// Bytes of a body that are read at a time.
pub const PIECE: usize = 64 << 10;

/// A body as the host hands it in with its request.
#[derive(Debug, Default)]
pub enum Body {
    /// There is none.
    #[default]
    None,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A part of a file that the host holds open until the exchange is over.
    File(FileSlice),
    /// The host gives it piece by piece; its length, if known.
    Pieces(Option<u64>),
}

/// A body taken whole: in memory first, then in an unlinked file.
#[derive(Debug, Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<SpoolFile>,
}

impl Spool {
    /// Forgets the body; keeps a small buffer for the next.
    pub fn clear(&mut self) {
        self.memory.clear();
        self.memory.shrink_to(PIECE);
        self.file = None;
    }

    /// Bytes it holds.
    pub fn len(&self) -> u64 {
        self.file.as_ref().map_or(self.memory.len() as u64, SpoolFile::len)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes; beyond `in_memory` of them all go to a file in `directory`.
    pub fn append(&mut self, bytes: &[u8], in_memory: u64, directory: &Path) -> io::Result<()> {
        if self.file.is_none() {
            if (self.memory.len() + bytes.len()) as u64 <= in_memory {
                self.memory.extend_from_slice(bytes);
                return Ok(());
            }
            let mut file = SpoolFile::create(directory)?;
            file.append(&self.memory)?;
            self.memory.clear();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.append(bytes),
            None => Ok(()),
        }
    }
}

/// Where the next bytes of the body come from.
#[derive(Debug, Default)]
pub enum Source {
    /// There is no body.
    #[default]
    Empty,
    /// The bytes that the request holds.
    Request,
    /// A file of the host.
    File(FileSlice),
    /// What was spooled.
    Spooled,
    /// The host, piece by piece: it can't be had twice.
    Host,
}

/// The chunk that is being sent.
#[derive(Clone, Debug)]
enum Chunk {
    /// This part of the request's bytes.
    Request(Range<usize>),
    /// This part of the spool's memory.
    Spool(Range<usize>),
    /// So many bytes of the buffer.
    Buffer(usize),
}

/// Reads a body, one chunk at a time.
#[derive(Debug)]
pub struct BodyReader {
    source: Source,
    length: u64,
    position: u64,
    chunk: Chunk,
    buffer: Vec<u8>,
    /// The body taken whole.
    pub spool: Spool,
}

impl Default for BodyReader {
    fn default() -> Self {
        Self {
            source: Source::Empty,
            length: 0,
            position: 0,
            chunk: Chunk::Buffer(0),
            buffer: Vec::new(),
            spool: Spool::default(),
        }
    }
}

impl BodyReader {
    /// Starts with a body of this length.
    pub fn start(&mut self, source: Source, length: u64) {
        self.source = source;
        self.length = length;
        self.rewind();
    }

    /// Whether the body can be had again from its start.
    pub fn is_replayable(&self) -> bool {
        !matches!(self.source, Source::Host)
    }

    /// Whether the host gives the body piece by piece.
    pub fn is_from_host(&self) -> bool {
        matches!(self.source, Source::Host)
    }

    /// Back to the start.
    pub fn rewind(&mut self) {
        self.position = 0;
        self.chunk = Chunk::Buffer(0);
    }

    /// Reads the next chunk from what is at hand; 0 if there is no more of it.
    pub fn next(&mut self, request: &[u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let at = usize::try_from(self.position).unwrap_or(usize::MAX);
        match (&self.source, &self.spool.file) {
            (Source::Empty | Source::Host, _) => return Ok(0),
            (Source::Request, _) => {
                self.chunk = Chunk::Request(at..request.len().min(at.saturating_add(left)))
            }
            (Source::Spooled, None) => self.chunk = Chunk::Spool(at..self.spool.memory.len()),
            (Source::Spooled, Some(file)) => {
                self.buffer.resize(PIECE, 0);
                self.chunk = Chunk::Buffer(file.read_at(self.position, &mut self.buffer)?);
            }
            (Source::File(file), _) => {
                self.buffer.resize(PIECE, 0);
                self.chunk = Chunk::Buffer(file.read_at(self.position, &mut self.buffer)?);
            }
        }
        Ok(match &self.chunk {
            Chunk::Request(range) | Chunk::Spool(range) => range.len(),
            Chunk::Buffer(length) => *length,
        })
    }

    /// The buffer for a host's next piece.
    pub fn host_buffer(&mut self, most: usize) -> &mut [u8] {
        self.buffer.resize(PIECE, 0);
        &mut self.buffer[..most.min(PIECE)]
    }

    /// The host has put so many bytes into the buffer.
    pub fn host_filled(&mut self, length: usize) {
        self.chunk = Chunk::Buffer(length);
    }

    /// The exchange takes so many bytes of the chunk; the rest comes again.
    pub fn taken(&mut self, count: usize) {
        self.position += count as u64;
        match &mut self.chunk {
            Chunk::Request(range) | Chunk::Spool(range) => range.end = range.start + count,
            Chunk::Buffer(length) => *length = count,
        }
    }

    /// The bytes of the chunk.
    pub fn chunk<'a>(&'a self, request: &'a [u8]) -> &'a [u8] {
        match &self.chunk {
            Chunk::Request(range) => &request[range.clone()],
            Chunk::Spool(range) => &self.spool.memory[range.clone()],
            Chunk::Buffer(length) => &self.buffer[..*length],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut BodyReader, request: &[u8], step: usize) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let count = reader.next(request).unwrap().min(step);
            if count == 0 {
                return body;
            }
            reader.taken(count);
            body.extend_from_slice(reader.chunk(request));
        }
    }

    /// X11: a body goes to memory, then to a file, and comes back whole, as often as needed.
    #[test]
    fn a_spooled_body_comes_back_whole() {
        let body: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        for (length, in_memory) in [(10, 100), (100, 100), (101, 100), (300_000, 65_536), (300_000, 0)] {
            let mut reader = BodyReader::default();
            for piece in body[..length].chunks(7_001) {
                reader.spool.append(piece, in_memory, &std::env::temp_dir()).unwrap();
            }
            assert_eq!(reader.spool.file.is_some(), length as u64 > in_memory);
            assert_eq!(reader.spool.len(), length as u64);
            reader.start(Source::Spooled, length as u64);
            for step in [usize::MAX, 1000] {
                assert!(read(&mut reader, &[], step) == body[..length]);
                reader.rewind();
            }
        }
    }

    /// E9: of a request's own bytes each is sent once.
    #[test]
    fn a_body_in_the_request_is_read_in_steps() {
        let mut reader = BodyReader::default();
        reader.start(Source::Request, 11);
        assert_eq!(read(&mut reader, b"hello world", 3), b"hello world");
        assert!(reader.is_replayable());
    }
}
