//! A FastCGI application that answers with its params, one `NAME=value` a line, on descriptor 0: as a web
//! server starts applications of its own (FastCGI 1.0 specification, section 2.2).

use fcgate::connection::application::{Application, Event, Rules};
use fcgate::protocol::record::append_stream;
use fcgate::protocol::{ProtocolStatus, RecordType};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

fn main() -> io::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    for stream in listener.incoming() {
        // A web server that goes away in the middle is its own affair.
        let _ = serve(stream?);
    }
    Ok(())
}

fn serve(mut stream: UnixStream) -> io::Result<()> {
    let mut application = Application::new(Rules::Specification);
    let mut buffer = vec![0; 64 << 10];
    let mut out = Vec::new();
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut input = &buffer[..count];
        while let Some(event) = application.next(&mut input).map_err(io::Error::other)? {
            if let Event::StdinEnd(id) = event {
                let mut text = b"Content-Type: text/plain\r\n\r\n".to_vec();
                for (name, value) in application.params(id) {
                    text.extend_from_slice(&[name, b"=", value, b"\n"].concat());
                }
                append_stream(&mut out, RecordType::STDOUT, id, &text);
                append_stream(&mut out, RecordType::STDOUT, id, b"");
                application.end(&mut out, id, 0, ProtocolStatus::RequestComplete);
                stream.write_all(&out)?;
                out.clear();
                return Ok(());
            }
        }
    }
}
