//! What a scripted application does: steps, and replies that are made of them.
//!
//! A [`Reply`] is written without an id and gets that of the request it answers; a [`Step`] is one
//! act of the thread that serves a connection. While a step waits, nothing is read: that is how an
//! application stalls.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fcgate::protocol::{ProtocolStatus, RecordType};

use crate::bytes;
use crate::recorder::Recorded;

/// Shut until a test opens it; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A gate that is shut.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets all through, now and from now on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits at most `time`; says whether the gate is open.
    pub fn wait(&self, time: Duration) -> bool {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) =
            self.0.1.wait_timeout_while(open, time, |open| !*open).unwrap_or_else(PoisonError::into_inner);
        *open
    }
}

/// When a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// At its BEGIN_REQUEST.
    Begin,
    /// At the end of its params.
    Params,
    /// When so many bytes of its body are there, or all of it.
    Body(u64),
    /// When all its streams have ended.
    Complete,
}

impl Moment {
    /// Whether it has come for a request.
    pub(crate) fn has_come(self, request: &Recorded) -> bool {
        match self {
            Self::Begin => true,
            Self::Params => request.params_ended,
            Self::Body(length) => request.stdin_length >= length || request.is_complete(),
            Self::Complete => request.is_complete(),
        }
    }
}

/// One act of the application on a connection.
#[derive(Clone)]
pub enum Step {
    /// Sends bytes, whatever they are.
    Send(Vec<u8>),
    /// Sends bytes cut at these places, each piece when the web server has read the one before
    /// it (on unix sockets; over TCP pieces go out one by one and may be joined on the way).
    SendSplit(Vec<u8>, Vec<usize>),
    /// Sends bytes one at a time, as [`Step::SendSplit`] does.
    SendSingly(Vec<u8>),
    /// Sends the bytes one at a time, one in each interval.
    Drip(Vec<u8>, Duration),
    /// Does nothing and reads nothing until the gate opens or the application is dropped.
    Stall(Gate),
    /// Opens a gate, to tell the test that the script has come so far.
    Open(Gate),
    /// Reads on until the requests at hand have come to this moment.
    Await(Moment),
    /// Reads on until one of the requests at hand is aborted.
    AwaitAbort,
    /// Reads on until the web server closes the connection.
    AwaitClose,
    /// Sends no more, reads on.
    CloseSending,
    /// Closes the connection.
    Close,
    /// Resets the connection. A unix socket knows a reset only where bytes are left unread.
    Reset,
    /// Stops listening: connects are refused. What is open stays.
    StopListening,
    /// Removes the file of the socket.
    RemoveSocket,
    /// Does something else.
    Run(Arc<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Send(bytes) => return write!(f, "Send({})", bytes.escape_ascii()),
            Self::SendSplit(_, points) => return write!(f, "SendSplit({points:?})"),
            Self::Await(moment) => return write!(f, "Await({moment:?})"),
            Self::SendSingly(_) => "SendSingly",
            Self::Drip(..) => "Drip",
            Self::Stall(_) => "Stall",
            Self::Open(_) => "Open",
            Self::AwaitAbort => "AwaitAbort",
            Self::AwaitClose => "AwaitClose",
            Self::CloseSending => "CloseSending",
            Self::Close => "Close",
            Self::Reset => "Reset",
            Self::StopListening => "StopListening",
            Self::RemoveSocket => "RemoveSocket",
            Self::Run(_) => "Run",
        };
        f.write_str(name)
    }
}

/// How the bytes between two other steps leave.
#[derive(Clone, Debug)]
enum Delivery {
    Whole,
    Split(Vec<usize>),
    Singly,
}

/// Makes bytes for the id of the request, or is a step already.
#[derive(Clone)]
enum Piece {
    Bytes(Arc<dyn Fn(u16) -> Vec<u8> + Send + Sync>),
    Step(Step),
}

/// An answer, to be read top to bottom; the id is filled in when it is given.
#[derive(Clone)]
pub struct Reply {
    pieces: Vec<Piece>,
    delivery: Delivery,
    padding: u8,
    /// Records go out under another id than the request's.
    id: Option<u16>,
}

impl Default for Reply {
    fn default() -> Self {
        Self { pieces: Vec::new(), delivery: Delivery::Whole, padding: 0, id: None }
    }
}

impl Reply {
    /// An answer of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole answer: a head with this status, a body, both ends.
    pub fn page(status: u16, body: impl AsRef<[u8]>) -> Self {
        let head = format!("Status: {status}\r\nContent-Type: text/plain\r\n\r\n");
        Self::new().stdout(head).stdout(body).end_stdout().end()
    }

    /// Records made for the id of the request, without padding.
    pub fn bytes(mut self, make: impl Fn(u16) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.pieces.push(Piece::Bytes(Arc::new(make)));
        self
    }

    /// Bytes that need not be records.
    pub fn raw(self, raw: impl Into<Vec<u8>>) -> Self {
        let raw = raw.into();
        self.bytes(move |_| raw.clone())
    }

    /// A record of any type.
    pub fn record(self, record_type: RecordType, content: impl AsRef<[u8]>) -> Self {
        let (content, padding, other) = (content.as_ref().to_vec(), self.padding, self.id);
        self.bytes(move |id| {
            bytes::with_padding(&bytes::record(record_type, other.unwrap_or(id), &content), padding)
        })
    }

    /// Bytes of the response. None at all are no record: see [`Reply::end_stdout`].
    pub fn stdout(self, content: impl AsRef<[u8]>) -> Self {
        if content.as_ref().is_empty() { self } else { self.record(RecordType::STDOUT, content) }
    }

    /// The empty STDOUT.
    pub fn end_stdout(self) -> Self {
        self.record(RecordType::STDOUT, "")
    }

    /// Error messages. None at all are no record: see [`Reply::end_stderr`].
    pub fn stderr(self, content: impl AsRef<[u8]>) -> Self {
        if content.as_ref().is_empty() { self } else { self.record(RecordType::STDERR, content) }
    }

    /// The empty STDERR.
    pub fn end_stderr(self) -> Self {
        self.record(RecordType::STDERR, "")
    }

    /// END_REQUEST of a request that went well.
    pub fn end(self) -> Self {
        self.end_with(0, ProtocolStatus::RequestComplete)
    }

    /// END_REQUEST.
    pub fn end_with(self, app_status: u32, protocol_status: ProtocolStatus) -> Self {
        let body = fcgate::protocol::EndRequest { app_status, protocol_status }.encode();
        self.record(RecordType::END_REQUEST, body)
    }

    /// END_REQUEST that says the application is out of some resource.
    pub fn overloaded(self) -> Self {
        self.end_with(0, ProtocolStatus::Overloaded)
    }

    /// END_REQUEST that says the application does not multiplex.
    pub fn cant_multiplex(self) -> Self {
        self.end_with(0, ProtocolStatus::CantMultiplex)
    }

    /// Every record from here on has so much padding.
    pub fn padding(mut self, length: u8) -> Self {
        self.padding = length;
        self
    }

    /// Every record from here on has this id, whatever that of the request.
    pub fn under_id(mut self, id: u16) -> Self {
        self.id = Some(id);
        self
    }

    /// Every record from here on has the id of the request again.
    pub fn under_own_id(mut self) -> Self {
        self.id = None;
        self
    }

    /// Something else between the bytes: a stall, a close.
    pub fn then(mut self, step: Step) -> Self {
        self.pieces.push(Piece::Step(step));
        self
    }

    /// Waits for a gate.
    pub fn stall(self, gate: &Gate) -> Self {
        self.then(Step::Stall(gate.clone()))
    }

    /// Closes the connection.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Resets the connection.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Sends all bytes cut at these places, counted from each other step on.
    pub fn split_at(mut self, points: impl Into<Vec<usize>>) -> Self {
        self.delivery = Delivery::Split(points.into());
        self
    }

    /// Sends all bytes one at a time.
    pub fn singly(mut self) -> Self {
        self.delivery = Delivery::Singly;
        self
    }

    /// The bytes alone, as they are for an id.
    pub fn encode(&self, id: u16) -> Vec<u8> {
        let bytes = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(make) => make(id),
            Piece::Step(_) => Vec::new(),
        });
        bytes.flatten().collect()
    }

    /// The steps that answer a request.
    pub fn to(&self, request: &Recorded) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(make) => bytes.extend(make(request.id)),
                Piece::Step(step) => {
                    self.deliver(&mut bytes, &mut steps);
                    steps.push(step.clone());
                }
            }
        }
        self.deliver(&mut bytes, &mut steps);
        steps
    }

    fn deliver(&self, bytes: &mut Vec<u8>, steps: &mut Vec<Step>) {
        if bytes.is_empty() {
            return;
        }
        let bytes = std::mem::take(bytes);
        steps.push(match &self.delivery {
            Delivery::Whole => Step::Send(bytes),
            Delivery::Split(points) => Step::SendSplit(bytes, points.clone()),
            Delivery::Singly => Step::SendSingly(bytes),
        });
    }
}

/// The steps of several answers by turns, for requests that share a connection.
pub fn interleave(answers: Vec<Vec<Step>>) -> Vec<Step> {
    let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
    let mut steps = Vec::new();
    loop {
        let before = steps.len();
        steps.extend(answers.iter_mut().filter_map(Iterator::next));
        if steps.len() == before {
            return steps;
        }
    }
}

/// Asks again and again until there is an answer; `None` when `time` is over.
pub fn poll<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Recorded {
        Recorded { id: 5, ..Recorded::default() }
    }

    fn sent(steps: &[Step]) -> Vec<u8> {
        let bytes = steps.iter().filter_map(|step| match step {
            Step::Send(bytes) | Step::SendSingly(bytes) | Step::SendSplit(bytes, _) => Some(bytes.clone()),
            _ => None,
        });
        bytes.flatten().collect()
    }

    #[test]
    fn a_reply_gets_the_id_of_its_request() {
        let reply = Reply::new().stdout("a").under_id(9).stderr("b").under_own_id().padding(2).end();
        let expected =
            [bytes::stdout(5, "a"), bytes::stderr(9, "b"), bytes::with_padding(&bytes::end_ok(5), 2)];
        assert_eq!(sent(&reply.to(&request())), expected.concat());
        assert_eq!(reply.encode(5), expected.concat());
    }

    #[test]
    fn bytes_between_other_steps_leave_together() {
        let gate = Gate::new();
        let steps = Reply::new().stdout("a").stdout("b").stall(&gate).end().close().to(&request());
        assert_eq!(
            steps
                .iter()
                .map(|step| format!("{step:?}").split('(').next().unwrap().to_owned())
                .collect::<Vec<_>>(),
            ["Send", "Stall", "Send", "Close"]
        );
        assert!(matches!(Reply::page(200, "").singly().to(&request())[..], [Step::SendSingly(_)]));
        assert!(
            matches!(&Reply::page(200, "").split_at([3]).to(&request())[..], [Step::SendSplit(_, points)] if points == &[3])
        );
    }

    #[test]
    fn answers_are_interleaved_step_by_step() {
        let answer = |text: &str, count| vec![Step::Send(text.into()); count];
        assert_eq!(sent(&interleave(vec![answer("a", 3), answer("b", 1)])), b"abaa");
    }

    #[test]
    fn a_gate_stays_open() {
        let gate = Gate::new();
        assert!(!gate.wait(Duration::ZERO));
        gate.clone().open();
        assert!(gate.wait(Duration::ZERO) && gate.wait(Duration::from_secs(5)));
    }
}
