//! A FastCGI application that is never what a measurement waits for: one read and one write for a small
//! request, answers made beforehand.
//!
//! ```text
//! fcgate-responder unix:/path      a thread for each connection
//! fcgate-responder                 connections of descriptor 0, one after the other, as a web server
//!                                  starts its own applications
//! ```
//!
//! The query says what is answered: `bytes=N`; a body is read to its end first.

use fcgate::protocol::record::append_stream;
use fcgate::protocol::{EndRequest, HEADER_LEN, Header, ProtocolStatus, RecordType};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

/// Received at once.
const ROOM: usize = 256 << 10;

fn main() -> io::Result<()> {
    match std::env::args().nth(1) {
        Some(address) => {
            let path = address.trim_start_matches("unix:");
            let _ = fs::remove_file(path);
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        }
        None => {
            let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
            for stream in listener.incoming() {
                serve(stream?);
            }
        }
    }
    Ok(())
}

/// A whole answer for request id 0: where its headers stand, and its bytes.
struct Answer {
    headers: Vec<usize>,
    bytes: Vec<u8>,
}

impl Answer {
    fn new(bytes: usize) -> Self {
        let mut out = Vec::new();
        let head = b"Content-Type: text/plain\r\n\r\n";
        let mut content = head.to_vec();
        content.resize(head.len() + bytes, b'x');
        for piece in content.chunks(65_528) {
            append_stream(&mut out, RecordType::STDOUT, 0, piece);
        }
        append_stream(&mut out, RecordType::STDOUT, 0, b"");
        let end = EndRequest { app_status: 0, protocol_status: ProtocolStatus::RequestComplete };
        append_stream(&mut out, RecordType::END_REQUEST, 0, &end.encode());
        let mut headers = Vec::new();
        let mut at = 0;
        while let Some(Ok(header)) = out.get(at..).and_then(|rest| rest.first_chunk()).map(Header::decode) {
            headers.push(at);
            at += HEADER_LEN + usize::from(header.content_length) + usize::from(header.padding_length);
        }
        Self { headers, bytes: out }
    }

    fn to(&mut self, id: u16) -> &[u8] {
        for at in &self.headers {
            self.bytes[at + 2..at + 4].copy_from_slice(&id.to_be_bytes());
        }
        &self.bytes
    }
}

fn wanted(params: &[u8]) -> usize {
    let Some(at) = params.windows(6).position(|window| window == b"bytes=") else { return 100 };
    let digits = params[at + 6..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

fn serve(mut stream: UnixStream) {
    let mut answers: HashMap<usize, Answer> = HashMap::new();
    let mut room = vec![0; ROOM];
    // Requests that come together are answered together.
    let mut out: Vec<u8> = Vec::new();
    let mut last = false;
    let (mut start, mut end) = (0, 0);
    let (mut keep, mut bytes, mut asked) = (false, 100, false);
    loop {
        while let Some(Ok(header)) = room[start..end].first_chunk().map(Header::decode) {
            let length = HEADER_LEN + usize::from(header.content_length) + usize::from(header.padding_length);
            if end - start < length {
                break;
            }
            let content = &room[start + HEADER_LEN..start + HEADER_LEN + usize::from(header.content_length)];
            match header.record_type {
                RecordType::BEGIN_REQUEST => (keep, asked) = (content[2] & 1 != 0, false),
                RecordType::PARAMS if !content.is_empty() && !asked => {
                    bytes = wanted(content);
                    asked = true;
                }
                RecordType::STDIN if content.is_empty() => {
                    let answer = answers.entry(bytes).or_insert_with(|| Answer::new(bytes));
                    out.extend_from_slice(answer.to(header.request_id));
                    last |= !keep;
                }
                _ => {}
            }
            start += length;
        }
        if !out.is_empty() && (stream.write_all(&out).is_err() || last) {
            return;
        }
        out.clear();
        room.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        match stream.read(&mut room[end..]) {
            Ok(count) if count > 0 => end += count,
            _ => return,
        }
    }
}
