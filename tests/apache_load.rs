//! mod_fcgate under load: children are never idle while somebody waits, and bodies of gigabytes take no
//! memory.

use fcgate::connection::application::{self, Event, Rules};
use fcgate::protocol::record::append_stream;
use fcgate::protocol::{ProtocolStatus, RecordType};
use fcgate_kit::load::Over;
use fcgate_kit::{Apache, Application, Directory, Mpm, PhpFpm, Reply, Request};
use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Tests that measure don't share the machine with each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fcgate_kit::under_every_mpm! {
    /// Debian's pool as it comes, the three lines, 64 clients: the five children of php-fpm are busy 95 %
    /// of the time or more.
    children_are_busy_while_anything_waits;
    /// X11: a body whose length shows at its end only arrives whole, with its exact CONTENT_LENGTH.
    a_chunked_upload_has_its_exact_length;
}

/// The three lines of the README.
fn three_lines(php: &PhpFpm) -> String {
    format!("FcgateBalancer php {}\nFcgateMap .php php", php.address())
}

// ---- busy children ----

const CHILDREN: usize = 5;
const CLIENTS: usize = 64;
/// In nanoseconds, as PHP tells the time.
const WINDOW: u64 = 2_000_000_000;

/// Works for 20 ms, and notes when.
const WORK: &str = "<?php $start = hrtime(true);
usleep(20000);
file_put_contents('RECORD', getmypid() . ' ' . $start . ' ' . hrtime(true) . \"\\n\", FILE_APPEND | LOCK_EX);
echo 'done';";

/// When a child was busy.
struct Busy {
    pid: u32,
    start: u64,
    end: u64,
}

/// What is noted so far, but for a line that is just being written.
fn busy(record: &Path) -> Vec<Busy> {
    let text = fs::read_to_string(record).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).expect("a number");
    whole
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut next = || number(words.next());
            Busy { pid: next() as u32, start: next(), end: next() }
        })
        .collect()
}

/// When the last of the children began its first request, once all have.
fn all_there(record: &[Busy]) -> Option<u64> {
    let mut first = HashMap::new();
    for busy in record {
        let start = first.entry(busy.pid).or_insert(busy.start);
        *start = busy.start.min(*start);
    }
    (first.len() == CHILDREN).then(|| first.into_values().max().unwrap_or(0))
}

fn children_are_busy_while_anything_waits(mpm: Mpm) {
    let _alone = alone();
    let directory = Directory::new();
    let record = directory.write("record", "");
    fs::set_permissions(&record, fs::Permissions::from_mode(0o666)).unwrap();
    let php = PhpFpm::distributed().start();
    let apache = Apache::with(mpm)
        .config(three_lines(&php))
        .file("work.php", WORK.replace("RECORD", record.to_str().unwrap()))
        .start();
    let over = Over::default();
    let mut from = None;
    thread::scope(|scope| {
        let _end = over.at_end();
        for _ in 0..CLIENTS {
            let mut client = apache.client();
            let over = &over;
            scope.spawn(move || {
                // When one fails, the others need not go on.
                let _end = over.at_end();
                while !over.is_near() {
                    // MPM event closes kept connections when it needs their threads.
                    let request = Request::get("/work.php").field("Connection", "close");
                    assert_eq!(client.send(&request).expect(200).text(), "done");
                }
            });
        }
        // php-fpm starts a child a second, and so many more requests are answered meanwhile.
        for _ in 0..600 {
            let record = busy(&record);
            from = from.or_else(|| all_there(&record));
            if over.is_near() || from.is_some_and(|from| record.iter().any(|busy| busy.end >= from + WINDOW))
            {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let record = busy(&record);
    let from = from.unwrap_or_else(|| panic!("not all children were started:\n{}", php.log()));
    let to = from + WINDOW;
    assert!(record.iter().any(|busy| busy.end >= to), "the load ended early");
    let times = record.iter().map(|busy| busy.end.min(to).saturating_sub(busy.start.max(from)));
    let share = times.sum::<u64>() * 1000 / (WINDOW * CHILDREN as u64);
    println!("{mpm:?}: busy {share} thousandths of the time");
    assert!(share >= 950, "{mpm:?}: busy {share} thousandths of the time only");
}

// ---- chunked bodies ----

fn a_chunked_upload_has_its_exact_length(mpm: Mpm) {
    let application = Application::unix().reply(Reply::page(200, "taken")).start();
    let apache = Apache::with(mpm)
        .config(format!("FcgateBalancer php {}\nFcgateMap .php php", application.address()))
        .file("a.php", "")
        .start();
    let mut client = apache.client();
    let mut sent = Vec::new();
    for length in [0, 1, 65_535, 65_536, 300_000] {
        for sizes in [vec![usize::MAX], vec![1, 3, 7, 1023, 4097, 65_537], vec![997]] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut chunks = Vec::new();
            let mut rest = &body[..];
            for size in sizes.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, behind) = rest.split_at(size.min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = behind;
            }
            let request = Request::new("POST", "/a.php").chunked(chunks);
            assert_eq!(client.send(&request).expect(200).text(), "taken");
            sent.push(body);
        }
    }
    for (number, body) in sent.iter().enumerate() {
        let request = application.request(number);
        let length = body.len().to_string();
        // X6: none where there is no body.
        let wanted = (!body.is_empty()).then_some(&length[..]);
        assert_eq!(request.param("CONTENT_LENGTH"), wanted, "{mpm:?}: number {number}");
        assert!(request.stdin == *body, "{mpm:?}: number {number}, {length} bytes: others arrived");
    }
    application.assert_no_violations();
}

// ---- bodies of gigabytes ----

const GIBIBYTE: u64 = 1 << 30;
const BIG: u64 = 2 * GIBIBYTE;
/// What Apache may grow by meanwhile.
const GROWTH: u64 = 32 << 20;
const PIECE: usize = 64 << 10;
/// A prime, so that no piece of a body looks like another.
const PERIOD: usize = 65_521;

/// The bytes of a body of any length.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Self {
        let mut state = 1u32;
        let period: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(PERIOD)
        .collect();
        Self(period.iter().copied().cycle().take(PERIOD + PIECE).collect())
    }

    /// At most `PIECE` bytes, from anywhere.
    fn at(&self, offset: u64, length: usize) -> &[u8] {
        &self.0[(offset % PERIOD as u64) as usize..][..length]
    }

    /// Whether these bytes are those at `offset`.
    fn is(&self, offset: u64, bytes: &[u8]) -> bool {
        let pieces = (offset..).step_by(PIECE).zip(bytes.chunks(PIECE));
        pieces.into_iter().all(|(offset, piece)| self.at(offset, piece.len()) == piece)
    }
}

/// A FastCGI application that gives as many bytes of the pattern as the query says, and says of a body
/// how long it is, and whether it is the pattern. It holds neither.
fn pattern_application(directory: &Directory) -> String {
    let path = directory.join("pattern.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    // It ends with the process; its threads wait in accept and read, and nothing depends on them.
    thread::spawn(move || {
        for stream in listener.incoming() {
            // One that is given up is the test's concern: the client sees it.
            thread::spawn(|| serve_pattern(stream.unwrap()).unwrap_or_else(|error| eprintln!("{error}")));
        }
    });
    format!("unix:{}", path.display())
}

fn serve_pattern(mut stream: UnixStream) -> io::Result<()> {
    let pattern = Pattern::new();
    let mut connection = application::Application::new(Rules::Specification);
    let mut buffer = vec![0; PIECE];
    let mut out = Vec::new();
    let (mut wanted, mut declared) = (0, String::new());
    let (mut received, mut is_right) = (0u64, true);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut input = &buffer[..count];
        while let Some(event) = connection.next(&mut input).map_err(io::Error::other)? {
            match event {
                Event::ParamsEnd(id) => {
                    for (name, value) in connection.params(id) {
                        let value = String::from_utf8_lossy(value).into_owned();
                        match name {
                            b"QUERY_STRING" => wanted = value.parse().unwrap_or(0),
                            b"CONTENT_LENGTH" => declared = value,
                            _ => {}
                        }
                    }
                }
                Event::Stdin { bytes, .. } => {
                    is_right = is_right && pattern.is(received, bytes);
                    received += bytes.len() as u64;
                }
                Event::StdinEnd(id) => {
                    let (head, text) = match wanted {
                        0 => (String::new(), format!("{declared} {received} {is_right}")),
                        _ => (format!("Content-Length: {wanted}\r\n"), String::new()),
                    };
                    let head = format!("Content-Type: text/plain\r\n{head}\r\n{text}");
                    append_stream(&mut out, RecordType::STDOUT, id, head.as_bytes());
                    for offset in (0..wanted).step_by(PERIOD) {
                        let length = (wanted - offset).min(PERIOD as u64) as usize;
                        append_stream(&mut out, RecordType::STDOUT, id, pattern.at(offset, length));
                        stream.write_all(&out)?;
                        out.clear();
                    }
                    append_stream(&mut out, RecordType::STDOUT, id, b"");
                    connection.end(&mut out, id, 0, ProtocolStatus::RequestComplete);
                    stream.write_all(&out)?;
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

/// How much memory Apache takes, and the most it took.
struct Memory<'a> {
    apache: &'a Apache,
    before: u64,
    most: u64,
    samples: usize,
    /// Whether it had a file that has no name in the directory of the spool.
    has_spooled: bool,
}

impl<'a> Memory<'a> {
    fn of(apache: &'a Apache) -> Self {
        let before = apache.memory();
        Self { apache, before, most: before, samples: 0, has_spooled: false }
    }

    fn sample(&mut self) {
        self.most = self.most.max(self.apache.memory());
        self.samples += 1;
        self.has_spooled = self.has_spooled || self.holds_spool();
    }

    fn holds_spool(&self) -> bool {
        let spool = self.apache.directory().join("spool");
        let files = |pid| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut all = self.apache.processes().into_iter().flat_map(files);
        all.any(|file| fs::read_link(file.path()).is_ok_and(|target| target.starts_with(&spool)))
    }

    fn check(&self, what: &str) {
        let growth = self.most - self.before;
        println!("{what}: {} bytes, then {growth} more at most, {} samples", self.before, self.samples);
        assert!(self.samples > 10, "{what}: only {} samples", self.samples);
        assert!(growth < GROWTH, "{what}: Apache grew by {growth} bytes from {}", self.before);
    }
}

/// How often memory is looked at while bytes flow.
const SAMPLE_EACH: u64 = 16 << 20;

/// Reads, and looks at memory while there is nothing to read.
fn receive(stream: &mut TcpStream, buffer: &mut [u8], memory: &mut Memory<'_>) -> usize {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => memory.sample(),
            result => return result.expect("the response can be read"),
        }
    }
}

/// Sends a request with so much of the pattern; the head of the response, and what came behind it.
fn exchange(head: &str, body: u64, memory: &mut Memory<'_>) -> (String, Vec<u8>, TcpStream) {
    let mut stream = TcpStream::connect(memory.apache.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let pattern = Pattern::new();
    write!(stream, "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {body}\r\n\r\n")
        .unwrap();
    for offset in (0..body).step_by(PIECE) {
        let length = (body - offset).min(PIECE as u64) as usize;
        stream.write_all(pattern.at(offset, length)).expect("the body is taken");
        if offset % SAMPLE_EACH == 0 {
            memory.sample();
        }
    }
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = receive(&mut stream, &mut buffer, memory);
        received.extend_from_slice(&buffer[..count]);
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = received.split_off(end + 4);
            return (String::from_utf8(received).unwrap(), rest, stream);
        }
        assert!(count > 0, "no response: {}", memory.apache.log());
    }
}

fn upload(memory: &mut Memory<'_>) {
    let (head, mut text, mut stream) = exchange("POST /big", BIG, memory);
    let mut buffer = [0; 4096];
    while let count @ 1.. = receive(&mut stream, &mut buffer, memory) {
        text.extend_from_slice(&buffer[..count]);
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(&format!("{BIG} {BIG} true")), "{text}");
}

fn download(memory: &mut Memory<'_>) {
    let (head, first, mut stream) = exchange(&format!("GET /big?{BIG}"), 0, memory);
    let length = format!("Content-Length: {BIG}\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&length), "{head}");
    let pattern = Pattern::new();
    assert!(pattern.is(0, &first), "the first bytes are wrong");
    let mut received = first.len() as u64;
    let mut buffer = vec![0; PIECE];
    let mut next_sample = 0;
    while let count @ 1.. = receive(&mut stream, &mut buffer, memory) {
        assert!(pattern.is(received, &buffer[..count]), "wrong bytes behind {received}");
        received += count as u64;
        if received >= next_sample {
            memory.sample();
            next_sample += SAMPLE_EACH;
        }
    }
    assert_eq!(received, BIG);
}

/// Panics where a spooled body would not fit.
fn assert_room(directory: &Path) {
    let output = Command::new("df").arg("-Pk").arg(directory).output().expect("df runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    let free = free.unwrap_or_else(|| panic!("what does df say? {text}")) * 1024;
    let needed = BIG + GIBIBYTE / 4;
    assert!(
        free >= needed,
        "no room below {}: {free} bytes are free, {needed} needed; set TMPDIR",
        directory.display()
    );
}

/// Two gibibytes up, and two down, through an Apache that does not grow by it.
fn two_gibibytes_up_and_down(request_body: &str) {
    let _alone = alone();
    let sockets = Directory::new();
    let builder = Apache::with(Mpm::Event).config(format!(
        "FcgateBalancer big {}\n<Location /big>\nSetHandler fcgate:big\nFcgatePreset plain\nLimitRequestBody 0\n\
         FcgateRequestBody {request_body}\nFcgateSpoolDirectory {{directory}}/spool\n</Location>",
        pattern_application(&sockets)
    ));
    let spool = builder.directory().join("spool");
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o777)).unwrap();
    assert_room(&spool);
    let apache = builder.start();
    apache.client().get("/robots.txt").expect(200);
    assert!(apache.processes().len() > 1, "its children are not seen");
    let mut memory = Memory::of(&apache);
    upload(&mut memory);
    memory.check(&format!("up, {request_body}"));
    assert_eq!(memory.has_spooled, request_body == "spool");
    let mut memory = Memory::of(&apache);
    download(&mut memory);
    memory.check("down");
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0, "files were left in {}", spool.display());
}

/// X11: spooled in a file, which has no name.
#[test]
fn two_gibibytes_up_and_down_spooled() {
    two_gibibytes_up_and_down("spool");
}

/// X11: a body of known length, streamed.
#[test]
fn two_gibibytes_up_and_down_streamed() {
    two_gibibytes_up_and_down("stream");
}
