//! An HTTP/1.1 client that sees a cut response for what it is.
//!
//! Libraries hide what tests of a gateway are about: whether the response was whole, which of two
//! equal fields came first, that half a body was sent. This one reads a response as far as it
//! goes and says how it ended.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::cookies::Jar;
use crate::form::{Form, urlencoded};

/// How long the client waits for the next bytes, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The largest head it takes.
const MAX_HEAD: usize = 1 << 20;

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    None,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
}

impl Request {
    /// A request of any method.
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, version: "HTTP/1.1", fields: Vec::new(), body: Body::None }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A HEAD.
    pub fn head(target: &str) -> Self {
        Self::new("HEAD", target)
    }

    /// A POST with a body of known length.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// A POST of fields, as a form without files sends it.
    pub fn form(target: &str, fields: &[(&str, &str)]) -> Self {
        Self::post(target, urlencoded(fields)).field("Content-Type", "application/x-www-form-urlencoded")
    }

    /// A POST of a form with files.
    pub fn multipart(target: &str, form: &Form) -> Self {
        Self::post(target, form.encode()).field("Content-Type", Form::content_type())
    }

    /// A field, besides those of the same name; Host, Cookie and the length are added if missing.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// A body of known length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Sized(body.into());
        self
    }

    /// A body in chunks; empty ones are left out, since they would end it.
    pub fn chunked<T: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = T>) -> Self {
        let chunks = chunks.into_iter().map(Into::into).filter(|chunk: &Vec<u8>| !chunk.is_empty());
        self.body = Body::Chunked(chunks.collect());
        self
    }

    /// Speaks HTTP/1.0.
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(have, _)| have.eq_ignore_ascii_case(name))
    }

    /// The head, with what is missing, and the body as it goes over the wire.
    fn encode(&self, host: &str, cookies: Option<String>) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        let mut field = |name: &str, value: &[u8]| {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        };
        if !self.has("Host") {
            field("Host", host.as_bytes());
        }
        for (name, value) in &self.fields {
            field(name, value);
        }
        if let Some(cookies) = cookies.filter(|_| !self.has("Cookie")) {
            field("Cookie", cookies.as_bytes());
        }
        let mut wire = Vec::new();
        match &self.body {
            Body::None => {}
            Body::Sized(body) => {
                if !self.has("Content-Length") {
                    field("Content-Length", body.len().to_string().as_bytes());
                }
                wire.extend_from_slice(body);
            }
            Body::Chunked(chunks) => {
                field("Transfer-Encoding", b"chunked");
                for chunk in chunks {
                    wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    wire.extend_from_slice(chunk);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            }
        }
        head.extend_from_slice(b"\r\n");
        (head, wire)
    }
}

/// What told the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// There is none: HEAD, 204, 304.
    NoBody,
    /// Content-Length.
    Length,
    /// The last chunk.
    Chunks,
    /// The end of the connection: nobody can tell whether more was to come.
    Close,
}

/// How a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By all that can be seen, it was whole.
    Complete,
    /// It was cut, and how.
    Cut(String),
}

/// A response, as far as it came.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The words behind it.
    pub reason: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The fields in the order they came; bytes that are no UTF-8 are replaced.
    pub all_fields: Vec<(String, String)>,
    /// The body, without its chunks' framing.
    pub body: Vec<u8>,
    /// What was to tell its end.
    pub delimiter: Delimiter,
    /// Whether that end came.
    pub ending: Ending,
    /// Interim responses before it (100, 103).
    pub interim: Vec<Response>,
}

impl Response {
    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).next()
    }

    /// The values of all fields of this name.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = self.all_fields.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| &value[..])
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it was whole.
    pub fn is_complete(&self) -> bool {
        self.ending == Ending::Complete
    }

    /// Panics unless it was whole and of this status; gives itself back.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!((self.status, &self.ending), (status, &Ending::Complete), "{}", self.text());
        self
    }

    fn keeps_connection(&self) -> bool {
        let says = |word| self.fields("Connection").any(|value| value.eq_ignore_ascii_case(word));
        let kept = if self.version == "HTTP/1.1" { !says("close") } else { says("keep-alive") };
        kept && self.is_complete() && self.delimiter != Delimiter::Close
    }
}

/// A client of one server: one connection at a time, kept while the server keeps it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    host: String,
    timeout: Duration,
    stream: Option<TcpStream>,
    /// Received and not yet used.
    buffer: Vec<u8>,
    connects: usize,
    jar: Option<Jar>,
    marker: Option<(String, String)>,
}

impl Client {
    /// A client of a server; it connects with its first request.
    pub fn new(address: impl ToSocketAddrs) -> Self {
        let address = address.to_socket_addrs().ok().and_then(|mut all| all.next()).expect("no address");
        Self {
            address,
            host: address.to_string(),
            timeout: TIMEOUT,
            stream: None,
            buffer: Vec::new(),
            connects: 0,
            jar: None,
            marker: None,
        }
    }

    /// The Host field.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// How long it waits for the next bytes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Keeps cookies and sends them back.
    pub fn with_cookies(mut self) -> Self {
        self.jar = Some(Jar::default());
        self
    }

    /// Panics at any response without this field: then something else has answered.
    pub fn expect_field(mut self, name: &str, value: &str) -> Self {
        self.marker = Some((name.to_owned(), value.to_owned()));
        self
    }

    /// The cookies it has.
    pub fn cookies(&self) -> Jar {
        self.jar.clone().unwrap_or_default()
    }

    /// Bytes received behind the end of the last response, which nobody asked for.
    pub fn leftover(&self) -> &[u8] {
        &self.buffer
    }

    /// How often it has connected.
    pub fn connects(&self) -> usize {
        self.connects
    }

    /// Sends a request and reads the response; panics if there is none.
    pub fn send(&mut self, request: &Request) -> Response {
        self.try_send(request)
            .unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target))
    }

    /// Sends a GET and reads the response; panics if there is none.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// Sends a request and reads the response. An error means that there was no whole head.
    pub fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        let (head, body) = self.encode(request);
        // A server may refuse a body while it is sent: what it says counts, not that.
        let sent = self.write(&[head, body].concat());
        let response = self.read_response(&request.method);
        if response.is_err() { sent.and(response) } else { response }
    }

    /// Sends a request's head, and of its body as it goes over the wire only so many bytes.
    pub fn send_part(&mut self, request: &Request, body_bytes: usize) -> io::Result<()> {
        let (head, body) = self.encode(request);
        self.write(&[&head, &body[..body_bytes.min(body.len())]].concat())
    }

    /// Sends any bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            stream.set_write_timeout(Some(self.timeout))?;
            self.stream = Some(stream);
            self.buffer.clear();
            self.connects += 1;
        }
        self.stream.as_mut().map_or(Ok(()), |stream| stream.write_all(bytes))
    }

    /// Sends no more, but still receives.
    pub fn half_close(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Closes the connection, whatever is on its way.
    pub fn close(&mut self) {
        self.stream = None;
        self.buffer.clear();
    }

    /// Receives until these bytes are among what came; they stay there to be read.
    ///
    /// Panics if they never come.
    pub fn wait_for(&mut self, bytes: &[u8]) {
        while !self.buffer.windows(bytes.len()).any(|window| window == bytes) {
            let came = self.fill();
            assert!(matches!(came, Ok(true)), "{came:?} after {}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Reads the response to a request of this method that was sent before.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let result = loop {
            match self.read_head() {
                Ok(head) if head.status / 100 == 1 && head.status != 101 => interim.push(head),
                result => break result,
            }
        };
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                self.close();
                return Err(error);
            }
        };
        response.interim = interim;
        response.delimiter = delimiter(&response, method);
        if let Err(reason) = self.read_body(&mut response) {
            response.ending = Ending::Cut(reason);
        }
        if !response.keeps_connection() {
            self.close();
        }
        if let Some(jar) = &mut self.jar {
            jar.take(&response);
        }
        if let Some((name, value)) = &self.marker {
            assert!(response.fields(name).any(|have| have == value), "no {name}: {value} in {response:?}");
        }
        Ok(response)
    }

    fn encode(&self, request: &Request) -> (Vec<u8>, Vec<u8>) {
        request.encode(&self.host, self.jar.as_ref().and_then(|jar| jar.field(&request.target)))
    }

    /// Receives once; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let mut piece = [0; 16 << 10];
        loop {
            match stream.read(&mut piece) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes so many bytes; says what was in the way.
    fn take(&mut self, count: usize, what: &str) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            self.fill_or(what)?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Takes a line, without its end.
    fn take_line(&mut self, what: &str) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = self.take(end + 2, what)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill_or(what)?;
        }
    }

    fn fill_or(&mut self, what: &str) -> Result<(), String> {
        match self.fill() {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("closed {what}")),
            Err(error) => Err(format!("{error} {what}")),
        }
    }

    fn read_head(&mut self) -> io::Result<Response> {
        let invalid = |text: String| io::Error::new(ErrorKind::InvalidData, text);
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid("the head is too long".into()));
            }
            if !self.fill()? {
                let had = String::from_utf8_lossy(&self.buffer).into_owned();
                let text = format!("closed before the end of the head; it began {had:?}");
                return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        parse_head(&head).ok_or_else(|| invalid(format!("no HTTP response: {head:?}")))
    }

    fn read_body(&mut self, response: &mut Response) -> Result<(), String> {
        match response.delimiter {
            Delimiter::NoBody => Ok(()),
            Delimiter::Length => {
                let lengths: Vec<&str> = response.fields("Content-Length").collect();
                let [text] = lengths[..] else { return Err(format!("{} lengths", lengths.len())) };
                let length: usize = text.parse().map_err(|_| format!("a length of {text:?}"))?;
                let result = loop {
                    if self.buffer.len() >= length {
                        break Ok(());
                    }
                    if let Err(reason) = self.fill_or("inside a body") {
                        break Err(format!("{reason} of {length} bytes, {} came", self.buffer.len()));
                    }
                };
                response.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
                result
            }
            Delimiter::Chunks => self.read_chunks(&mut response.body),
            Delimiter::Close => {
                let result = loop {
                    match self.fill() {
                        Ok(true) => {}
                        Ok(false) => break Ok(()),
                        Err(error) => break Err(format!("{error} before the end of the connection")),
                    }
                };
                response.body = std::mem::take(&mut self.buffer);
                result
            }
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let line = self.take_line("before the last chunk")?;
            let size = line.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| format!("a chunk of size {size:?}"))?;
            if size == 0 {
                while !self.take_line("inside the trailer")?.is_empty() {}
                return Ok(());
            }
            // What came of a chunk that is cut has come.
            while self.buffer.len() < size {
                if let Err(reason) = self.fill_or("inside a chunk") {
                    body.append(&mut self.buffer);
                    return Err(reason);
                }
            }
            body.extend(self.buffer.drain(..size));
            if self.take(2, "after a chunk")? != b"\r\n" {
                return Err("a chunk longer than its size".into());
            }
        }
    }
}

fn delimiter(response: &Response, method: &str) -> Delimiter {
    let has_chunks = response.fields("Transfer-Encoding").any(|value| value.eq_ignore_ascii_case("chunked"));
    match response.status {
        101 | 204 | 304 => Delimiter::NoBody,
        _ if method == "HEAD" => Delimiter::NoBody,
        _ if has_chunks => Delimiter::Chunks,
        _ if response.field("Content-Length").is_some() => Delimiter::Length,
        _ => Delimiter::Close,
    }
}

fn parse_head(head: &str) -> Option<Response> {
    let mut lines = head.split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = status.parse().ok().filter(|status| (100..600).contains(status))?;
    let all_fields = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
    });
    version.starts_with("HTTP/1.").then_some(())?;
    Some(Response {
        status,
        reason: reason.to_owned(),
        version: version.to_owned(),
        all_fields: all_fields.collect::<Option<_>>()?,
        body: Vec::new(),
        delimiter: Delimiter::NoBody,
        ending: Ending::Complete,
        interim: Vec::new(),
    })
}

/// One GET on a connection of its own.
pub fn get(address: impl ToSocketAddrs, target: &str) -> Response {
    Client::new(address).send(&Request::get(target).field("Connection", "close"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A server that answers each connection with fixed bytes and returns what it was sent.
    fn server(answers: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move |answer: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&answer).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).unwrap();
            request
        };
        (address, std::thread::spawn(move || answers.into_iter().map(serve).collect()))
    }

    fn response(bytes: &str) -> Response {
        let (address, thread) = server(vec![bytes.as_bytes().to_vec()]);
        let response = Client::new(address).get("/");
        thread.join().unwrap();
        response
    }

    fn cut(bytes: &str) -> (String, String) {
        let response = response(bytes);
        match response.ending.clone() {
            Ending::Cut(reason) => (response.text(), reason),
            Ending::Complete => panic!("complete: {bytes:?}"),
        }
    }

    #[test]
    fn whole_responses_are_complete() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (rest, body, delimiter) in [
            ("Content-Length: 2\r\n\r\nhi", "hi", Delimiter::Length),
            (
                "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n",
                "hi!",
                Delimiter::Chunks,
            ),
            ("A: b\r\n\r\nuntil the end", "until the end", Delimiter::Close),
        ] {
            let response = response(&format!("{ok}{rest}")).expect(200);
            assert_eq!((response.text().as_str(), response.delimiter), (body, delimiter));
        }
        let empty = response("HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n");
        assert_eq!(empty.fields("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!((empty.delimiter, empty.reason.as_str()), (Delimiter::NoBody, "No Content"));
    }

    #[test]
    fn cut_responses_are_seen() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi";
        assert_eq!(cut(sized), ("hi".into(), "closed inside a body of 5 bytes, 2 came".into()));
        assert_eq!(cut(chunked).1, "closed before the last chunk");
        assert_eq!(cut(&format!("{chunked}5\r\nhi")), ("hi".into(), "closed inside a chunk".into()));
        assert_eq!(
            cut(&format!("{chunked}2\r\nhi\r\n")),
            ("hi".into(), "closed before the last chunk".into())
        );
        assert_eq!(cut(&format!("{chunked}2\r\nhi\r\n0\r\n")).1, "closed inside the trailer");
        let (address, _thread) = server(vec![b"HTTP/1.1 200 OK\r\nA".to_vec()]);
        let error = Client::new(address).try_send(&Request::get("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn interim_responses_are_kept_apart() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let response = response(early).expect(200);
        assert_eq!(response.interim[0].field("Link"), Some("x"));
    }

    #[test]
    fn connections_are_kept_and_cookies_sent_back() {
        let kept = "HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nX-Fcgate: yes\r\nContent-Length: 1\r\n\r\na";
        let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Fcgate: yes\r\nContent-Length: 1\r\n\r\nb";
        let (address, thread) = server(vec![[kept, last].concat().into_bytes(), last.into()]);
        let mut client = Client::new(address).with_cookies().expect_field("X-Fcgate", "yes");
        assert_eq!(client.get("/one").text(), "a");
        assert_eq!(client.send(&Request::post("/two", "body")).text(), "b");
        assert_eq!((client.connects(), client.cookies().get("s")), (1, Some("1")));
        let chunks = Request::new("PUT", "/three").chunked(["ab", "", "c"]).field("Host", "x").http_1_0();
        assert_eq!(client.send(&chunks).text(), "b");
        assert_eq!(client.connects(), 2);
        let sent: Vec<String> =
            thread.join().unwrap().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
        let one = format!("GET /one HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let two =
            format!("POST /two HTTP/1.1\r\nHost: {address}\r\nCookie: s=1\r\nContent-Length: 4\r\n\r\nbody");
        let three = "PUT /three HTTP/1.0\r\nHost: x\r\nCookie: s=1\r\nTransfer-Encoding: chunked\r\n\r\n\
                     2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(sent, [one + &two, three.to_owned()]);
    }

    #[test]
    fn half_a_request_can_be_sent() {
        let (address, thread) =
            server(vec![b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()]);
        let mut client = Client::new(address);
        client.send_part(&Request::form("/", &[("a", "12345")]), 3).unwrap();
        client.half_close();
        assert_eq!(client.read_response("POST").unwrap().status, 400);
        client.close();
        let sent = String::from_utf8(thread.join().unwrap().remove(0)).unwrap();
        assert!(sent.ends_with("Content-Length: 7\r\n\r\na=1"), "{sent}");
    }
}
