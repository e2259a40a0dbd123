//! Many exchanges over kept connections against a simulated application that may do anything.

use super::number;
use fcgate::connection::{Connection, Event};
use fcgate::exchange::{Action, Closed, Exchange, Limits, Plan, SLICES};
use fcgate::protocol::{EndRequest, Header, ProtocolStatus, RecordType, Role, record::append_stream};
use std::collections::HashSet;
use std::io::IoSlice;
use std::time::Duration;

const STEPS: usize = 400;
const EXCHANGES: usize = 40;

/// A connection of the simulated pool, and the tags of what was sent under each id since it opened.
#[derive(Default)]
struct Wire {
    connection: Connection,
    /// Bytes on their way to us.
    inbound: Vec<u8>,
    /// Tags that the host of the current exchange may see.
    allowed: HashSet<u8>,
}

/// F16: no byte of one exchange ever reaches another, whatever the application does, whatever the
/// pieces, closes and times; and every exchange ends.
pub fn exchange(data: &[u8]) {
    let mut data = data;
    let mut idle: Vec<Wire> = Vec::new();
    let mut now = Duration::from_secs(1000);
    let mut params = Vec::new();
    append_stream(&mut params, RecordType::PARAMS, 0, b"");
    let mut exchange = Exchange::default();
    for tag in 1..=EXCHANGES {
        if data.is_empty() {
            break;
        }
        run(&mut exchange, &mut data, &mut idle, &mut now, &params, 0x80 + tag as u8);
    }
}

fn run(
    exchange: &mut Exchange,
    data: &mut &[u8],
    idle: &mut Vec<Wire>,
    now: &mut Duration,
    params: &[u8],
    tag: u8,
) {
    let choices = number(data, 1 << 16);
    let body_length = if choices & 1 == 0 { 0 } else { number(data, 100_000) as u64 };
    let plan = Plan {
        role: Role::Responder,
        params,
        body_length,
        body_replayable: choices & 2 != 0,
        idempotent: choices & 4 != 0,
        may_reuse: choices & 8 == 0,
        is_head_request: choices & 16 != 0,
        key: None,
        pools: 1 + (choices >> 5 & 1),
        restart_window: Duration::from_secs(5),
        max_tries: 0,
        retry_timeout: Duration::ZERO,
        ignore_client_abort: choices & 64 != 0,
        error_override: false,
        limits: Limits::default(),
    };
    exchange.start(*now, &plan);
    let mut wire: Option<Wire> = None;
    let (mut chunk, mut paused) = (0, false);
    let mut sent = 0u64;
    for step in 0.. {
        assert!(step < 20 * STEPS, "the exchange does not end");
        // Once the input is used up, time passes and everything must come to its end.
        let quiet = data.is_empty() || step > STEPS;
        match exchange.poll_action(*now) {
            Action::Acquire { reuse } => {
                wire = None;
                sent = 0;
                match number(data, 6) {
                    0 if !quiet => exchange.handle_queued(*now, 0, Duration::from_secs(1)),
                    1 if !quiet => exchange.handle_no_pool(*now, Some(*now + Duration::from_millis(300))),
                    2 if !quiet => exchange.handle_queue_full(*now, 0),
                    _ => match idle.pop().filter(|_| reuse) {
                        Some(mut kept) => {
                            assert!(kept.connection.is_clean());
                            exchange.handle_kept(*now, 0, &mut kept.connection, true);
                            kept.allowed.clear();
                            wire = Some(kept);
                        }
                        None => exchange.handle_permit(*now, number(data, 2) as u32, Duration::from_secs(3)),
                    },
                }
            }
            Action::Connect => match number(data, 5) {
                0 if !quiet => exchange.handle_connect_failed(*now, 111, false),
                1 if !quiet => exchange.handle_connecting(),
                2 if !quiet => exchange.handle_backlog_full(*now),
                _ => {
                    let mut fresh = Wire::default();
                    exchange.handle_connected(*now, &mut fresh.connection, true);
                    wire = Some(fresh);
                }
            },
            Action::Rewind => exchange.handle_rewound(*now, plan.body_replayable),
            Action::Body => match number(data, 6) {
                0 if !quiet => exchange.handle_body_pending(),
                1 if !quiet => exchange.handle_body_failed(*now, false),
                2 => drop(exchange.handle_body(*now, 0)),
                _ if quiet => chunk = exchange.handle_body(*now, 100_000),
                _ => chunk = exchange.handle_body(*now, 1 + number(data, 70_000)),
            },
            Action::Transmit => {
                let bytes = vec![tag; chunk];
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count =
                    exchange.outgoing.slices(&bytes[..exchange.outgoing.chunk().min(chunk)], &mut slices);
                let ready: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                assert!(ready > 0);
                let Some(wire) = &mut wire else { panic!("nothing to send to") };
                match number(data, 5) {
                    0 if !quiet => exchange.handle_sent(*now, 0, &mut wire.connection),
                    1 if !quiet => exchange.handle_send_failed(*now, 32),
                    2 => exchange.handle_sent(*now, 1 + number(data, ready), &mut wire.connection),
                    _ => exchange.handle_sent(*now, ready, &mut wire.connection),
                }
                sent = exchange.outgoing.accepted().max(sent);
                assert!(exchange.outgoing.body_offered() <= body_length);
            }
            Action::Receive { .. } => {
                let Some(wire) = &mut wire else { panic!("nothing to receive from") };
                receive(exchange, data, wire, *now, tag, quiet);
            }
            Action::Wait(wait) => {
                match number(data, 6) {
                    0 if !quiet && wait.client => exchange.handle_client_gone(*now),
                    1 if !quiet => {
                        paused = number(data, 2) == 1;
                        exchange.handle_pause(*now, paused);
                    }
                    2 | 3 if !quiet => exchange.handle_ready(wait.readable, wait.writable),
                    _ => {
                        if std::mem::take(&mut paused) {
                            exchange.handle_pause(*now, false);
                        }
                        match wait.until {
                            Some(until) => *now = until.max(*now),
                            // Only a host that pauses, or gives no body, may wait for ever.
                            None => exchange.handle_abort(*now),
                        }
                    }
                }
            }
            Action::Abort => {
                if let Some(wire) = &mut wire {
                    wire.connection.abort(exchange.id());
                }
            }
            Action::Finish { keep } => {
                assert!(exchange.is_finished());
                if let Some(wire) =
                    wire.filter(|wire| keep && wire.inbound.is_empty() && wire.connection.is_clean())
                {
                    assert!(exchange.failure().is_none() && exchange.outgoing.is_complete());
                    idle.push(wire);
                }
                return;
            }
        }
    }
}

/// The application sends something, honest or not, and some of what is on its way arrives.
fn receive(exchange: &mut Exchange, data: &mut &[u8], wire: &mut Wire, now: Duration, tag: u8, quiet: bool) {
    let id = exchange.id();
    let out = &mut wire.inbound;
    match if quiet { 14 } else { number(data, 15) } {
        0 | 1 => append_stream(out, RecordType::STDOUT, id, b"Content-Type: a/b\r\n\r\n"),
        2 => append_stream(
            out,
            RecordType::STDOUT,
            id,
            format!("Content-Length: {}\n\n", number(data, 20)).as_bytes(),
        ),
        3 | 4 => {
            // What is sent under this exchange's own id is its own.
            wire.allowed.insert(tag);
            append_stream(out, RecordType::STDOUT, id, &vec![tag; 1 + number(data, 300)]);
        }
        5 => append_stream(out, RecordType::STDOUT, id, b""),
        6 | 7 => {
            let status = if number(data, 4) == 0 { number(data, 6) as u8 } else { 0 };
            let end = EndRequest { app_status: 0, protocol_status: ProtocolStatus::from_wire(status) };
            append_stream(out, RecordType::END_REQUEST, id, &end.encode());
        }
        8 => {
            // Somebody else's bytes, late or of a wrong id: 0xEE must never be seen.
            let other = [id.wrapping_sub(1), id.wrapping_add(1), id.wrapping_mul(3)][number(data, 3)];
            if other != id {
                append_stream(out, RecordType::STDOUT, other, &[0xEE; 20]);
            }
        }
        9 => {
            let mut header = Header::new(RecordType(number(data, 14) as u8), id, number(data, 20) as u16);
            header.padding_length = number(data, 256) as u8;
            let is_stdout = header.record_type == RecordType::STDOUT;
            out.extend_from_slice(&header.encode());
            let filler = if is_stdout { b'\n' } else { 0xEE };
            out.extend(std::iter::repeat_n(filler, usize::from(header.content_length)));
            out.extend(std::iter::repeat_n(0xEE, usize::from(header.padding_length)));
        }
        10 => append_stream(out, RecordType::STDERR, id, &[0xEE; 30]),
        11 => {
            return match number(data, 2) {
                0 => exchange.handle_closed(now, Closed::End, 0),
                _ => exchange.handle_closed(now, Closed::Reset, 104),
            };
        }
        12 => out.extend_from_slice(&[0xEE; 3]),
        13 => {}
        _ => return exchange.handle_nothing_received(),
    }
    let arrives = if number(data, 3) == 0 { number(data, out.len() + 1) } else { out.len() };
    let bytes: Vec<u8> = wire.inbound.drain(..arrives).collect();
    let mut input = &bytes[..];
    loop {
        match wire.connection.next(&mut input) {
            Ok(Some(event)) => {
                let own = match event {
                    Event::Stdout { id: own, .. }
                    | Event::StdoutEnd { id: own }
                    | Event::Stderr { id: own, .. }
                    | Event::End { id: own, .. } => own,
                };
                assert_eq!(own, id, "an event of another exchange");
                let given = exchange.handle_event(now, event);
                for byte in given.body {
                    let fine = wire.allowed.contains(byte) || is_text(*byte);
                    assert!(fine, "byte {byte:#x} of somebody else reached exchange {tag}");
                }
            }
            Ok(None) => break,
            Err(violation) => {
                exchange.handle_violation(now, violation);
                break;
            }
        }
    }
}

/// Bytes of the heads above, which an application may send again as a body.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b' ' | b'-' | b'/' | b':') || byte.is_ascii_alphanumeric()
}
