//! Asks an application for its limits: on a connection of its own, within a timeout.

use super::dial::prepare;
use super::engine::Link;
use crate::connection::values::{Values, question};
use crate::os::clock;
use crate::os::socket::{Connect, Interest, Mode, Stream, poll_two};
use crate::pool::Pool;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Asks and waits for at most `timeout`. What was not answered by then, or before the application
/// closed the connection, is left open. Blocks.
pub fn ask(pool: &Pool<Link>, timeout: Duration) -> io::Result<Values> {
    let until = clock::now() + timeout;
    let stream = connect(pool, until)?;
    let question = question();
    // A new socket's buffer holds so few bytes at once.
    if stream.send(&[IoSlice::new(&question)])? < question.len() {
        return Err(ErrorKind::WriteZero.into());
    }
    let mut values = Values::default();
    let mut buffer = [0; 1024];
    while !values.is_complete() && wait(&stream, until, true)? {
        match stream.receive(&mut buffer, true) {
            Ok(0) => break,
            Ok(count) => {
                values
                    .receive(&buffer[..count])
                    .map_err(|text| io::Error::new(ErrorKind::InvalidData, text))?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(values)
}

fn connect(pool: &Pool<Link>, until: Duration) -> io::Result<Stream> {
    let address = pool.target().ok_or(ErrorKind::NotFound)?;
    let stream = Stream::new(&address, Mode::NonBlocking)?;
    prepare(&stream, &address, pool.settings(), None)?;
    match stream.connect(&address)? {
        Connect::Done => return Ok(stream),
        Connect::InProgress if wait(&stream, until, false)? => stream.finish_connect(&address)?,
        _ => return Err(ErrorKind::TimedOut.into()),
    };
    Ok(stream)
}

/// Waits for the socket; `false` when the time has come.
fn wait(stream: &Stream, until: Duration, readable: bool) -> io::Result<bool> {
    loop {
        let left = until.saturating_sub(clock::now());
        if left.is_zero() {
            return Ok(false);
        }
        let interest = Interest { readable, writable: !readable, ..Interest::default() };
        match poll_two(stream.as_raw_fd(), interest, None, Some(left)) {
            Ok(ready) if ready.readable || ready.writable => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
