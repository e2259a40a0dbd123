//! The table of cases: what an application may answer, byte by byte, and what must come of it. Every
//! way to drive an exchange passes the same table.

use crate::script::Reply;
use fcgate::protocol::{ProtocolStatus, RecordType};

/// What must come of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A whole response.
    Whole {
        /// Its status.
        status: u16,
        /// Its body.
        body: Vec<u8>,
        /// Whether the connection may be kept.
        kept: bool,
    },
    /// A failure of this name (`fcgate_status_name`).
    Failed(&'static str),
}

/// One case.
pub struct Case {
    /// Its name, with the marks of the rules it is about.
    pub name: &'static str,
    /// The method of the request.
    pub method: &'static str,
    /// What the application answers.
    pub reply: Reply,
    /// Whether it then closes the connection.
    pub closes: bool,
    /// What must come of it.
    pub outcome: Outcome,
}

const HEAD: &str = "Content-Type: text/plain\r\n\r\n";

fn whole(name: &'static str, status: u16, body: &str, kept: bool, reply: Reply) -> Case {
    let outcome = Outcome::Whole { status, body: body.into(), kept };
    Case { name, method: "GET", reply, closes: false, outcome }
}

fn failed(name: &'static str, cause: &'static str, reply: Reply) -> Case {
    Case { name, method: "GET", reply, closes: false, outcome: Outcome::Failed(cause) }
}

fn out(text: &str) -> Reply {
    Reply::new().stdout(text)
}

/// The table.
pub fn table() -> Vec<Case> {
    let hello = || out(HEAD).stdout("hello");
    let end_of = |length: usize| Reply::new().record(RecordType::END_REQUEST, vec![0; length]);
    let mut cases = vec![
        whole("A2 END_REQUEST without an empty STDOUT", 200, "hello", true, hello().end()),
        whole("A2 an empty STDOUT, then END_REQUEST", 200, "hello", true, hello().end_stdout().end()),
        whole("A1 both streams ended", 200, "hello", true, hello().end_stdout().end_stderr().end()),
        whole(
            "A1 STDERR before STDOUT",
            200,
            "hello",
            true,
            Reply::new().stderr("warn\n").stdout(HEAD).stdout("hello").end(),
        ),
        whole("A1 STDERR between", 200, "hello", true, out(HEAD).stderr("warn\n").stdout("hello").end()),
        whole(
            "A1 STDERR after the end of STDOUT",
            200,
            "hello",
            true,
            hello().end_stdout().stderr("late\n").end(),
        ),
        whole("A1 head and body in one record", 200, "hello", true, out("A: b\n\nhello").end()),
        whole(
            "A1 the head in many records",
            200,
            "x",
            true,
            out("Sta").stdout("tus: 2").stdout("00\r\n\r").stdout("\nx").end(),
        ),
        whole("A1 no body", 204, "", true, out("Status: 204\n\n").end()),
        whole(
            "A5 an application status with a head",
            200,
            "hello",
            true,
            hello().end_with(7, ProtocolStatus::RequestComplete),
        ),
        whole(
            "A7 GET_VALUES_RESULT on id 0",
            200,
            "hello",
            true,
            hello().under_id(0).record(RecordType::GET_VALUES_RESULT, "\x01\x01ab").under_own_id().end(),
        ),
        whole(
            "A7 UNKNOWN_TYPE on id 0",
            200,
            "hello",
            true,
            hello().under_id(0).record(RecordType::UNKNOWN_TYPE, [0; 8]).under_own_id().end(),
        ),
        whole(
            "A7 an unknown type on an active id",
            200,
            "hello",
            true,
            hello().record(RecordType(77), "what").end(),
        ),
        whole(
            "A8 a record of another id",
            200,
            "hello",
            false,
            out(HEAD).under_id(4242).stdout("not yours").under_own_id().stdout("hello").end(),
        ),
        whole("H3 a status", 418, "tea", true, out("Status: 418 I'm a teapot\r\n\r\ntea").end()),
        whole("H3 a first line of HTTP", 503, "x", true, out("HTTP/1.1 503 Busy\r\nA: b\r\n\r\nx").end()),
        whole(
            "H3 interim heads are swallowed",
            201,
            "x",
            true,
            out("Status: 103\nLink: y\n\nStatus: 201\n\nx").end(),
        ),
        whole("H4 a Location alone", 302, "", true, out("Location: /there\n\n").end()),
        whole(
            "H5 a Content-Length that is right",
            200,
            "12345",
            true,
            out("Content-Length: 5\n\n12345").end(),
        ),
        whole(
            "H5 a Content-Length that is too short",
            200,
            "123",
            false,
            out("Content-Length: 3\n\n12345").end(),
        ),
        whole(
            "H6 Transfer-Encoding is removed",
            200,
            "5\r\n",
            true,
            out("Transfer-Encoding: chunked\n\n5\r\n").end(),
        ),
        whole("H7 a body with 304", 304, "", true, out("Status: 304\n\nnot this").end()),
        failed("A2 H2 no head before the end", "no_head", out("Status: 200\r\n").end()),
        failed("H2 nothing at all", "no_head", Reply::new().end()),
        failed(
            "A5 an application status without a head",
            "no_head",
            Reply::new().end_with(3, ProtocolStatus::RequestComplete),
        ),
        failed("H2 a line without a colon", "bad_head", out("what is this\n\n").end()),
        failed("H2 an empty head", "bad_head", out("\r\n\r\nbody").end()),
        failed("H2 a control byte in a value", "bad_head", out("A: b\x01\n\n").end()),
        failed("H3 a status out of range", "bad_head", out("Status: 999\n\n").end()),
        failed("H3 two statuses", "bad_head", out("Status: 200\nStatus: 404\n\n").end()),
        failed("H5 two lengths", "bad_head", out("Content-Length: 1\nContent-Length: 2\n\nx").end()),
        failed("H5 a body shorter than its length", "short_body", out("Content-Length: 9\n\nx").end()),
        whole(
            "A3 content after the end of STDOUT",
            200,
            "hello",
            false,
            hello().end_stdout().stdout("more").end(),
        ),
        failed("A4 unknown role", "unknown_role", Reply::new().end_with(0, ProtocolStatus::UnknownRole)),
        failed("A4 overloaded", "overloaded", Reply::new().overloaded()),
        failed(
            "A4 another protocol status",
            "unknown_status",
            Reply::new().end_with(0, ProtocolStatus::Other(9)),
        ),
        failed("A6 END_REQUEST of 7 bytes", "protocol", end_of(7)),
        failed("A6 END_REQUEST of 9 bytes", "protocol", end_of(9)),
        failed("A6 STDIN from an application", "protocol", hello().record(RecordType::STDIN, "x").end()),
        failed("A6 another version", "protocol", Reply::new().raw([2, 6, 0, 1, 0, 0, 0, 0])),
        failed("A7 STDOUT on id 0", "protocol", Reply::new().under_id(0).stdout("x").under_own_id().end()),
    ];
    for padding in [1, 7, 8, 255] {
        cases.push(whole(
            "A1 padding on every record",
            200,
            "hello",
            true,
            Reply::new().padding(padding).stdout(HEAD).stdout("hello").end_stdout().end(),
        ));
    }
    let mut head = whole("H7 a body with HEAD", 200, "", true, hello().end());
    head.method = "HEAD";
    cases.push(head);
    for (name, cause, reply) in [
        ("F5 closed inside the head", "closed_in_head", out("Status: 2")),
        ("F5 closed inside the body", "closed_in_body", hello()),
        ("F5 closed after STDERR", "closed_in_head", Reply::new().stderr("dying\n")),
    ] {
        let mut case = failed(name, cause, reply.close());
        case.closes = true;
        cases.push(case);
    }
    cases
}
