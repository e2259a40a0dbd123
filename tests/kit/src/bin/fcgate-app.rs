//! A small FastCGI application to try a web server with: it shows what it was sent.
//!
//! ```text
//! fcgate-app unix:/run/fcgate-app.sock
//! fcgate-app 127.0.0.1:9000
//! ```
//!
//! It serves `/` (a page of the params), `/echo` (the body back), `/count` (requests so far),
//! `/large?bytes=N`, `/slow?ms=N`, `/stderr` and `/status?code=N`. A thread serves each
//! connection, one request after the other; it is a demonstration and has no limits to speak of.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fcgate::connection::application::{Application, Event, Rules};
use fcgate::protocol::record::append_stream;
use fcgate::protocol::{ProtocolStatus, RecordType, Role};

const USAGE: &str = "usage: fcgate-app unix:/path | host:port";
/// The most that is kept of a body.
const MAX_BODY: usize = 64 << 20;
/// The most bytes that `/large` gives, and milliseconds that `/slow` takes.
const MAX_NUMBER: u64 = 1 << 40;

static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Err(error) = listen(&address) {
        eprintln!("fcgate-app: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn listen(address: &str) -> io::Result<()> {
    if let Some(path) = address.strip_prefix("unix:") {
        remove_stale(path)?;
        for stream in UnixListener::bind(path)?.incoming() {
            accept(stream);
        }
    } else {
        for stream in TcpListener::bind(address)?.incoming() {
            accept(stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)));
        }
    }
    Ok(())
}

/// Removes what an earlier run left behind, but no socket that somebody listens on and no file.
fn remove_stale(path: &str) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn accept<S: Read + Write + Send + 'static>(stream: io::Result<S>) {
    let started = stream.and_then(|mut stream| {
        let serve = move || {
            if let Err(error) = serve(&mut stream) {
                eprintln!("fcgate-app: {error}");
            }
        };
        thread::Builder::new().spawn(serve).map(drop)
    });
    if let Err(error) = started {
        eprintln!("fcgate-app: {error}");
        // Out of descriptors or threads: some will come free, and a tight loop would not help.
        thread::sleep(Duration::from_millis(100));
    }
}

/// A request as it comes in.
#[derive(Default)]
struct Request {
    id: u16,
    role: u16,
    keep_conn: bool,
    params: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(have, _)| have == name.as_bytes());
        found.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or("")
    }

    /// The path below where the application is mounted, if the web server tells that apart.
    fn path(&self) -> &str {
        match (self.param("PATH_INFO"), self.param("SCRIPT_NAME")) {
            ("", "") => "/",
            ("", script) if script.ends_with("/index.php") => "/",
            ("", script) => script.rfind('/').map_or(script, |slash| &script[slash..]),
            (path, _) => path,
        }
    }

    /// A number of the query.
    fn number(&self, name: &str) -> Option<u64> {
        let query = self.param("QUERY_STRING");
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        value.parse().ok().map(|number: u64| number.min(MAX_NUMBER))
    }
}

fn serve(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut connection = Application::new(Rules::Specification);
    // Their requests may come interleaved even so; each is answered when it is whole.
    let mut requests: Vec<Request> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut out = Vec::new();
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The web server may reset a connection that it has given up.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut input = &buffer[..count];
        while let Some(event) = connection.next(&mut input).map_err(io::Error::other)? {
            let Some(whole) = take(&connection, event, &mut requests, &mut out) else { continue };
            let Some(index) = requests.iter().position(|request| request.id == whole) else { continue };
            let request = requests.swap_remove(index);
            let mut status = ProtocolStatus::UnknownRole;
            if request.role == Role::Responder as u16 {
                answer(stream, &mut out, &request)?;
                status = ProtocolStatus::RequestComplete;
            }
            connection.end(&mut out, request.id, 0, status);
            stream.write_all(&out)?;
            out.clear();
            if !request.keep_conn {
                return Ok(());
            }
        }
        stream.write_all(&out)?;
        out.clear();
    }
}

/// Takes an event in; returns the id of a request that is to be answered now.
fn take(
    connection: &Application,
    event: Event<'_>,
    requests: &mut Vec<Request>,
    out: &mut Vec<u8>,
) -> Option<u16> {
    let find = |requests: &mut Vec<Request>, id| requests.iter().position(|request| request.id == id);
    match event {
        Event::Begin { id, role, keep_conn } => {
            requests.push(Request { id, role, keep_conn, ..Request::default() });
            // One of a role it does not know is refused without waiting for its streams.
            return (role != Role::Responder as u16).then_some(id);
        }
        Event::ParamsEnd(id) => {
            let pairs = connection.params(id).map(|(name, value)| (name.to_vec(), value.to_vec()));
            let index = find(requests, id)?;
            requests[index].params = pairs.collect();
        }
        Event::Stdin { id, bytes } => {
            let index = find(requests, id)?;
            let body = &mut requests[index].body;
            body.extend_from_slice(&bytes[..bytes.len().min(MAX_BODY - body.len())]);
        }
        Event::StdinEnd(id) | Event::Abort(id) => return Some(id),
        Event::GetValues => append_stream(out, RecordType::GET_VALUES_RESULT, 0, b"\x0f\x01FCGI_MPXS_CONNS0"),
        Event::Unknown(kind) => {
            append_stream(out, RecordType::UNKNOWN_TYPE, 0, &[kind.0, 0, 0, 0, 0, 0, 0, 0])
        }
        Event::Data { .. } | Event::DataEnd(_) => {}
    }
    None
}

/// Puts the answer into `out`, and sends what is large on the way.
fn answer(stream: &mut impl Write, out: &mut Vec<u8>, request: &Request) -> io::Result<()> {
    let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    let mut say = |head: &str, body: &[u8]| {
        append_stream(out, RecordType::STDOUT, request.id, format!("{head}\r\n\r\n").as_bytes());
        if !body.is_empty() {
            append_stream(out, RecordType::STDOUT, request.id, body);
        }
    };
    let text = "Content-Type: text/plain; charset=utf-8";
    match request.path() {
        "/" => say("Content-Type: text/html; charset=utf-8", page(request).as_bytes()),
        "/echo" => say("Content-Type: application/octet-stream", &request.body),
        "/count" => say(text, format!("{count}\n").as_bytes()),
        "/large" => {
            let mut left = request.number("bytes").unwrap_or(1 << 20);
            say(&format!("Content-Type: application/octet-stream\r\nContent-Length: {left}"), b"");
            let piece = [b'x'; 32 << 10];
            while left > 0 {
                let length = left.min(piece.len() as u64);
                append_stream(out, RecordType::STDOUT, request.id, &piece[..length as usize]);
                left -= length;
                stream.write_all(out)?;
                out.clear();
            }
        }
        "/slow" => {
            let time = request.number("ms").unwrap_or(1000);
            thread::sleep(Duration::from_millis(time));
            say(text, format!("after {time} ms\n").as_bytes());
        }
        "/stderr" => {
            say(text, b"see the web server's log\n");
            append_stream(out, RecordType::STDERR, request.id, b"fcgate-app: a message for the log\n");
        }
        "/status" => {
            let code = request.number("code").unwrap_or(200);
            say(&format!("Status: {code}\r\n{text}"), format!("status {code}\n").as_bytes());
        }
        _ => say(&format!("Status: 404 Not Found\r\n{text}"), b"there is nothing here\n"),
    }
    append_stream(out, RecordType::STDOUT, request.id, b"");
    Ok(())
}

fn page(request: &Request) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><title>fcgate</title>\
         <style>body{font:16px sans-serif;margin:2em}td{padding:.2em 1em;font-family:monospace}</style>\
         <h1>It works</h1><p>A FastCGI application answers through your web server. It was sent:</p><table>",
    );
    for (name, value) in &request.params {
        let _ = write!(html, "<tr><td>{}<td>{}", escape(name), escape(value));
    }
    html.push_str("</table>\n");
    html
}

/// Text that means nothing to a browser but itself.
fn escape(bytes: &[u8]) -> String {
    let mut safe = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcgate_kit::bytes;
    use std::os::unix::net::UnixStream;

    /// Sends requests over one connection, each after the answer to the one before it.
    fn ask(requests: &[(&str, &str, &str)]) -> Vec<String> {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || serve(&mut server));
        let mut answers = Vec::new();
        for (index, (path, query, body)) in requests.iter().enumerate() {
            let id = index as u16 + 1;
            let params = [("PATH_INFO", *path), ("QUERY_STRING", *query), ("HTTP_X", "<b>\"'&")];
            client.write_all(&bytes::request(id, index + 1 < requests.len(), &params, body)).unwrap();
            let end = bytes::end_ok(id);
            let mut answer = Vec::new();
            while !answer.ends_with(&end) {
                let mut piece = [0; 4096];
                let count = client.read(&mut piece).unwrap();
                assert!(count > 0, "no end of {path}");
                answer.extend_from_slice(&piece[..count]);
            }
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        thread.join().unwrap().unwrap();
        answers
    }

    #[test]
    fn every_path_answers_on_a_kept_connection() {
        let answers = ask(&[
            ("/", "", ""),
            ("/echo", "", "the body"),
            ("/count", "", ""),
            ("/large", "a=1&bytes=100000", ""),
            ("/slow", "ms=0", ""),
            ("/stderr", "", ""),
            ("/status", "code=418", ""),
            ("/nothing", "", ""),
        ]);
        assert!(answers[0].contains("<td>HTTP_X<td>&lt;b&gt;&quot;&#39;&amp;"), "{}", answers[0]);
        for (answer, expected) in answers[1..].iter().zip([
            "the body",
            "text/plain",
            "Content-Length: 100000",
            "after 0 ms",
            "a message for the log",
            "Status: 418",
            "Status: 404",
        ]) {
            assert!(answer.contains(expected), "{expected}: {answer}");
        }
        assert_eq!(answers[3].matches('x').count(), 100_000);
    }

    #[test]
    fn another_role_is_refused() {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || serve(&mut server));
        client.write_all(&[1, 1, 0, 9, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, bytes::end(9, 0, ProtocolStatus::UnknownRole));
        thread.join().unwrap().unwrap();
    }
}
