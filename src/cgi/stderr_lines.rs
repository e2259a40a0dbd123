//! STDERR of an application, assembled to lines for a log: whole, escaped, and bounded.

use std::fmt::Write;

/// Most bytes of a line.
pub const LINE_MAX: usize = 4 << 10;
/// Most bytes of an exchange.
pub const EXCHANGE_MAX: usize = 64 << 10;

/// Assembles what comes on STDERR to lines. Control bytes are escaped, so that no application can
/// forge a log line; what is beyond the bounds is counted and told at the end.
#[derive(Clone, Debug, Default)]
pub struct StderrLines {
    line: Vec<u8>,
    text: String,
    given: usize,
    left_out: u64,
}

impl StderrLines {
    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.line.clear();
        self.given = 0;
        self.left_out = 0;
    }

    /// Takes bytes; `sink` is given each line that they complete.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            self.keep(&rest[..at]);
            self.give(&mut sink);
            rest = &rest[at + 1..];
        }
        self.keep(rest);
    }

    /// The exchange is over: the last line, if it has no end, and how much was left out.
    pub fn finish(&mut self, mut sink: impl FnMut(&str)) {
        self.give(&mut sink);
        if self.left_out > 0 {
            self.text.clear();
            let _ = write!(self.text, "({} more bytes of error messages were left out)", self.left_out);
            sink(&self.text);
        }
        self.clear();
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (LINE_MAX - self.line.len()).min(EXCHANGE_MAX - self.given);
        let kept = bytes.len().min(room);
        self.line.extend_from_slice(&bytes[..kept]);
        self.given += kept;
        self.left_out += (bytes.len() - kept) as u64;
    }

    fn give(&mut self, sink: &mut impl FnMut(&str)) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if !line.is_empty() {
            self.text.clear();
            for chunk in line.utf8_chunks() {
                for letter in chunk.valid().chars() {
                    match letter {
                        '\t' => self.text.push('\t'),
                        _ if letter.is_control() => drop(write!(self.text, "{}", letter.escape_default())),
                        _ => self.text.push(letter),
                    }
                }
                for byte in chunk.invalid() {
                    let _ = write!(self.text, "\\x{byte:02x}");
                }
            }
            sink(&self.text);
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut stderr = StderrLines::default();
        for piece in pieces {
            stderr.push(piece, |line| lines.push(line.to_owned()));
        }
        stderr.finish(|line| lines.push(line.to_owned()));
        lines
    }

    /// H10: lines are assembled whatever the split; control bytes are escaped.
    #[test]
    fn lines_are_assembled_and_escaped_at_every_split() {
        let bytes = "PHP Warning:  x\r\n\nforged\x1b[31m\x00 line\rhere\nschön\n\u{85}last".as_bytes();
        let bytes = [bytes, b"\xFF"].concat();
        let whole = ["PHP Warning:  x", "forged\\u{1b}[31m\\u{0} line\\rhere", "schön", "\\u{85}last\\xff"];
        for cut in 0..=bytes.len() {
            assert_eq!(lines(&[&bytes[..cut], &bytes[cut..]]), whole);
        }
        assert_eq!(lines(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }

    /// H10: at most 4 KiB a line and 64 KiB an exchange, then a count of what was left out.
    #[test]
    #[cfg_attr(miri, ignore = "too many rounds for Miri")]
    fn what_is_too_much_is_counted() {
        let long = [&vec![b'x'; LINE_MAX + 10][..], b"\nnext\n"].concat();
        let got = lines(&[&long]);
        assert_eq!((got[0].len(), got[1].as_str()), (LINE_MAX, "next"));
        assert!(got[2].contains("10 more bytes"));

        let many = b"0123456\n".repeat(20_000);
        let got = lines(&[&many]);
        let given: usize = got[..got.len() - 1].iter().map(String::len).sum();
        assert_eq!(given, EXCHANGE_MAX);
        assert!(got.last().unwrap().contains(&format!("{} more bytes", 20_000 * 7 - EXCHANGE_MAX)));
    }
}
