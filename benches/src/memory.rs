//! What connections and exchanges take of this process's memory, as its allocator counts it.
#![allow(unsafe_code)]

use crate::Effort;
use crate::library;
use crate::load::responder;
use crate::report::Result;
use fcgate::drive::Request;
use fcgate_kit::{Directory, PollLoop};

/// Exchanges at once, each with a connection of its own.
const COUNT: usize = 400;

/// Bytes that are allocated now.
fn allocated() -> f64 {
    // SAFETY: it only counts.
    unsafe { libc::mallinfo2() }.uordblks as f64
}

/// P11: an idle kept connection; an exchange in flight, beyond the loop's receive buffer.
pub fn live(_: Effort) -> Vec<Result> {
    let directory = Directory::new();
    let (_responder, address) = responder(&directory);
    let gateway = library::gateway(&address, COUNT);
    let own = PollLoop::new(&gateway);
    let before = allocated();
    let exchanges: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut request = Request::default();
            library::describe(&mut request);
            own.start_unread(request)
        })
        .collect();
    let in_flight = allocated();
    own.run_until("the end of all", || exchanges.iter().all(|exchange| exchange.ended.get()));
    assert!(exchanges.iter().all(|exchange| exchange.cause.get().is_none()));
    let idle = gateway.engine().pools().iter().map(|pool| pool.idle()).sum::<usize>();
    let with_idle = allocated();
    own.own().close();
    let without = allocated();
    vec![
        Result::alone("P11", "An idle kept connection", "bytes", 512.0, (with_idle - without) / idle as f64),
        Result::alone(
            "P11",
            "An exchange in flight in an event loop",
            "bytes",
            2048.0,
            (in_flight - before) / COUNT as f64,
        ),
    ]
}
