//! What came of a response while its host took nothing: in memory first, then, where the route says so,
//! in a file without a name; given in the order in which it came (behaviour A12).

use crate::config::{ResponseBody, RouteSettings};
use crate::os::file::SpoolFile;
use std::io;
use std::path::Path;

/// Bytes that are given at once.
const PIECE: usize = 64 << 10;

/// A part of a response that its host has not taken yet.
#[derive(Debug, Default)]
pub struct Held {
    /// The head has come and was not told.
    pub head: bool,
    /// The response is whole, which was not told.
    pub complete: bool,
    /// What came first.
    memory: Vec<u8>,
    /// How much of `memory` has been given.
    given: usize,
    /// What came next.
    file: Option<SpoolFile>,
    /// How much of the file has been given.
    read: u64,
    /// What came last, because the file takes no more.
    rest: Vec<u8>,
    piece: Vec<u8>,
}

impl Held {
    /// Whether nothing is held, neither bytes nor news.
    pub fn is_empty(&self) -> bool {
        !self.head && !self.complete && !self.has_bytes()
    }

    fn has_bytes(&self) -> bool {
        self.given < self.memory.len() || self.in_file() > 0 || !self.rest.is_empty()
    }

    fn in_file(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.len() - self.read)
    }

    /// Whether nothing more is to be received until some of it is taken.
    pub fn is_full(&self, settings: &RouteSettings) -> bool {
        if !self.rest.is_empty() {
            true
        } else if spools(settings) {
            // What was given of a file still takes its place on the disk.
            self.file.as_ref().is_some_and(|file| file.len() >= settings.response_file)
        } else {
            (self.memory.len() - self.given) as u64 >= settings.response_memory
        }
    }

    /// Lays bytes aside. An error says why the file took them not; they are held in memory then.
    pub fn push(&mut self, bytes: &[u8], settings: &RouteSettings) -> io::Result<()> {
        let in_memory = (self.memory.len() - self.given + bytes.len()) as u64;
        let fits = in_memory <= settings.response_memory || !spools(settings);
        if fits && self.in_file() == 0 && self.rest.is_empty() {
            // What was given takes no more room than what is held, also where never all of it is given.
            if self.given >= self.memory.len() - self.given {
                self.memory.drain(..self.given);
                self.given = 0;
            }
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let kept = if self.rest.is_empty() {
            self.append(bytes, Path::new(&settings.spool_directory))
        } else {
            Ok(false)
        };
        if !matches!(kept, Ok(true)) {
            self.rest.extend_from_slice(bytes);
        }
        kept.map(drop)
    }

    fn append(&mut self, bytes: &[u8], directory: &Path) -> io::Result<bool> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(SpoolFile::create(directory)?),
        };
        file.append(bytes).map(|()| true)
    }

    /// The next piece, of so many bytes at the most, if there is one; it counts as given. After an error what the
    /// file holds is lost.
    pub fn next(&mut self, most: usize) -> io::Result<Option<&[u8]>> {
        let most = most.min(PIECE);
        if self.given == self.memory.len() {
            self.given = 0;
            // What the file did not take comes after what it holds.
            self.memory = if self.in_file() == 0 { std::mem::take(&mut self.rest) } else { Vec::new() };
        }
        if self.given < self.memory.len() {
            let start = self.given;
            self.given = self.memory.len().min(start + most);
            return Ok(Some(&self.memory[start..self.given]));
        }
        let Some(file) = self.file.as_mut().filter(|file| file.len() > self.read) else { return Ok(None) };
        self.piece.resize(most, 0);
        let count = file.read_at(self.read, &mut self.piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += count as u64;
        if self.read == file.len() {
            file.clear()?;
            self.read = 0;
        }
        Ok(Some(&self.piece[..count]))
    }
}

fn spools(settings: &RouteSettings) -> bool {
    settings.response_body == ResponseBody::Spool && settings.response_file > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(response_body: ResponseBody, response_file: u64) -> RouteSettings {
        RouteSettings {
            response_body,
            response_memory: 100,
            response_file,
            spool_directory: std::env::temp_dir().to_string_lossy().into_owned(),
            ..RouteSettings::default()
        }
    }

    fn drain(held: &mut Held) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = held.next(usize::MAX).unwrap() {
            all.extend_from_slice(piece);
        }
        all
    }

    proptest! {
        /// A12: whatever comes and goes, bytes are given once and in order, and what is held beyond the
        /// bounds is one piece at the most.
        #[test]
        fn bytes_are_given_in_order(
            spool in any::<bool>(),
            steps in prop::collection::vec((1_usize..90, 0_usize..3), 0..60),
        ) {
            let body = if spool { ResponseBody::Spool } else { ResponseBody::Stream };
            let settings = settings(body, 300);
            let (mut held, mut came, mut given) = (Held::default(), Vec::new(), Vec::new());
            for (length, takes) in steps {
                if !held.is_full(&settings) {
                    let piece: Vec<u8> = (0..length).map(|at| (came.len() + at) as u8).collect();
                    came.extend_from_slice(&piece);
                    held.push(&piece, &settings).unwrap();
                }
                let most = if spool { 400 + 90 } else { 100 + 90 };
                prop_assert!(came.len() - given.len() <= most);
                for _ in 0..takes {
                    given.extend_from_slice(held.next(length).unwrap().unwrap_or_default());
                }
            }
            given.extend_from_slice(&drain(&mut held));
            prop_assert_eq!(&came, &given);
            prop_assert!(held.is_empty());
            prop_assert!(!held.is_full(&settings));
        }
    }

    /// A12, F9: a client that takes bytes as fast as they come, but never all of them, has no more of them held than
    /// it has not taken.
    #[test]
    fn what_was_given_is_let_go() {
        let settings = settings(ResponseBody::Stream, 0);
        let mut held = Held::default();
        held.push(&[0; 50], &settings).unwrap();
        for _ in 0..10_000 {
            held.push(&[1; 40], &settings).unwrap();
            assert_eq!(held.next(40).unwrap().unwrap().len(), 40);
            assert!(!held.is_empty() && held.memory.capacity() < 1000, "{}", held.memory.capacity());
        }
        assert_eq!(drain(&mut held).len(), 50);
    }

    /// A12: where no file can be made, nothing is lost, and no more is taken until all is given.
    #[test]
    fn a_full_disk_pauses() {
        let nowhere = RouteSettings { spool_directory: "/proc".into(), ..settings(ResponseBody::Spool, 300) };
        let mut held = Held::default();
        held.push(&[1; 80], &nowhere).unwrap();
        assert!(!held.is_full(&nowhere));
        assert!(held.push(&[2; 80], &nowhere).is_err());
        assert!(held.is_full(&nowhere));
        assert_eq!(drain(&mut held), [[1; 80], [2; 80]].concat());
        assert!(!held.is_full(&nowhere));
    }
}
