//! Level C: exchanges in the host's event loop.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{bytes, grown, guard, hand_out, put, release, shared};
use super::config::{Shared, fcgate_route, route_of};
use super::error::{
    FCGATE_AGAIN, FCGATE_E_ARGUMENT, FCGATE_E_PANIC, FCGATE_E_STATE, FCGATE_E_SYSTEM, FCGATE_OK, NO_ERROR,
    answer_with, bad_argument, failed, fcgate_error,
};
use super::exchange::{FCGATE_END, Kind, fcgate_exchange};
use super::gateway::fcgate_gateway;
use super::head::fcgate_head;
use super::info::{self, fcgate_info};
use super::request::fcgate_request;
use crate::cgi::ResponseHead;
use crate::drive::event_loop::{EventLoop, Events, HANGUP, Hooks, Key, READABLE, WRITABLE};
use crate::drive::{Engine, Level, Route, StartError};
use crate::exchange::Exchange;
use std::cell::{Cell, OnceCell};
use std::ffi::{c_char, c_void};
use std::fmt::Display;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Watch for reading; ready to be read.
pub const FCGATE_READABLE: u32 = 1;
/// Watch for writing; ready to be written.
pub const FCGATE_WRITABLE: u32 = 2;

/// The peer has closed, or the connection has failed (EPOLLRDHUP, EPOLLHUP, EPOLLERR).
pub const FCGATE_HANGUP: u32 = 4;

/// The host tells of readiness once, when it comes about (EPOLLET).
pub const FCGATE_LOOP_EDGE_TRIGGERED: u32 = 1;

const _: () = assert!(FCGATE_READABLE == READABLE && FCGATE_WRITABLE == WRITABLE && FCGATE_HANGUP == HANGUP);

/// No timer is needed.
pub const FCGATE_NO_TIMER: u64 = u64::MAX;

/// What the host's event loop does for fcgate. Both are called by the thread that uses the loop,
/// from within its calls into fcgate.
#[repr(C)]
pub struct fcgate_loop_hooks {
    /// sizeof(fcgate_loop_hooks).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Watch `fd` for `interest` (FCGATE_READABLE, FCGATE_WRITABLE, both) from now on, level-triggered
    /// unless `flags` says otherwise; 0: not any more, which comes before the descriptor is closed. `socket`
    /// names it: hand it to fcgate_loop_ready. It is never used again, unlike the descriptor's number.
    pub watch: Option<unsafe extern "C" fn(user: *mut c_void, socket: u64, fd: i32, interest: u32)>,
    /// Call fcgate_loop_expire after so many milliseconds; a later call replaces an earlier one. 0:
    /// as soon as this call into fcgate has returned.
    pub timer: Option<unsafe extern "C" fn(user: *mut c_void, milliseconds: u64)>,
    /// 0, or FCGATE_LOOP_EDGE_TRIGGERED. Of such a host an interest is asked for once and never taken back
    /// until the end: at first FCGATE_READABLE as a rule, or both; then perhaps both. It has to tell what is
    /// so at each of these calls and what comes about afterwards, FCGATE_HANGUP too: after bytes that came
    /// together with the end nothing else would tell of it.
    pub flags: u32,
    /// 0.
    pub reserved2: u32,
}

impl Default for fcgate_loop_hooks {
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, reserved: 0, watch: None, timer: None, flags: 0, reserved2: 0 }
    }
}

/// What happens in an exchange. Each may be NULL and gets `user` as its first argument. Within them
/// the host may free, pause or abort the exchange and start others.
#[repr(C)]
pub struct fcgate_events {
    /// sizeof(fcgate_events).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The response head, once. Anything but FCGATE_OK gives the exchange up.
    pub head: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            exchange: *mut fcgate_exchange,
            head: *const fcgate_head,
        ) -> i32,
    >,
    /// Bytes of the response body, lent until it returns. Anything but FCGATE_OK gives the exchange up.
    pub data: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            exchange: *mut fcgate_exchange,
            bytes: *const c_void,
            length: usize,
        ) -> i32,
    >,
    /// A line that the application wrote to STDERR, escaped. NULL: it goes to the log.
    pub error_line: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            exchange: *mut fcgate_exchange,
            line: *const c_char,
            length: usize,
        ),
    >,
    /// More of an announced body is wanted: call fcgate_exchange_send, now or later.
    pub writable: Option<unsafe extern "C" fn(user: *mut c_void, exchange: *mut fcgate_exchange)>,
    /// The response is whole.
    pub complete: Option<unsafe extern "C" fn(user: *mut c_void, exchange: *mut fcgate_exchange)>,
    /// The exchange is over, with this status: the last call. Free the exchange in it or later.
    pub end: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            exchange: *mut fcgate_exchange,
            status: i32,
            error: *const fcgate_error,
        ),
    >,
    /// A line of the log about this exchange; `level` is one of FCGATE_LOG_. NULL: it goes to the
    /// gateway's log. It may come from within fcgate_exchange_start, with NULL for the exchange.
    pub log: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            exchange: *mut fcgate_exchange,
            level: u32,
            text: *const c_char,
            length: usize,
        ),
    >,
    /// A large piece of the response body is about to be received, no more than `*length` bytes: returns
    /// where the host wants it, and lowers `*length` to the room there; NULL: it has none, and the bytes
    /// are lent as all others. The next call of this exchange is `data` with what came there, perhaps
    /// nothing; until then the memory is fcgate's to write to.
    pub room: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            exchange: *mut fcgate_exchange,
            length: *mut usize,
        ) -> *mut c_void,
    >,
}

impl Default for fcgate_events {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            head: None,
            data: None,
            error_line: None,
            writable: None,
            complete: None,
            end: None,
            log: None,
            room: None,
        }
    }
}

/// The exchanges of one event loop. Used by one thread. Free it with fcgate_loop_free, after its
/// exchanges and before the gateway.
pub struct fcgate_loop {
    own: Rc<EventLoop>,
    config: Arc<Shared>,
}

struct CHooks {
    hooks: fcgate_loop_hooks,
    user: *mut c_void,
}

impl Hooks for CHooks {
    fn watch(&self, socket: u64, fd: RawFd, interest: u32) {
        if let Some(call) = self.hooks.watch {
            // SAFETY: the host gave a function of this type and its pointer; so for all of them below.
            unsafe { call(self.user, socket, fd, interest) }
        }
    }

    fn is_edge_triggered(&self) -> bool {
        self.hooks.flags & FCGATE_LOOP_EDGE_TRIGGERED != 0
    }

    fn timer(&self, after: Option<Duration>) {
        let rounded =
            |time: Duration| u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(FCGATE_NO_TIMER);
        if let Some(call) = self.hooks.timer {
            // SAFETY: as above.
            unsafe { call(self.user, after.map_or(FCGATE_NO_TIMER, rounded)) }
        }
    }
}

/// An exchange of a loop, as its host holds it.
pub(super) struct Looped {
    own: Rc<EventLoop>,
    events: Rc<CEvents>,
}

impl Looped {
    pub(super) fn abort(&self) {
        if let Some(key) = self.events.key.get() {
            self.own.abort(key);
        }
    }

    pub(super) fn free(&self) {
        self.events.freed.set(true);
        if let Some(key) = self.events.key.take() {
            self.own.free(key);
        }
    }

    pub(super) fn info(&self) -> Option<fcgate_info> {
        match self.events.key.get() {
            Some(key) => self.own.inspect(key, |exchange, address| info::of(exchange, address)),
            None => self.events.last.get().copied(),
        }
    }
}

struct CEvents {
    events: fcgate_events,
    user: *mut c_void,
    exchange: Cell<*mut fcgate_exchange>,
    key: Cell<Option<Key>>,
    /// Nothing is called any more.
    freed: Cell<bool>,
    /// What became of it, once it is over.
    last: OnceCell<fcgate_info>,
    engine: Arc<Engine>,
    route: Route,
}

impl CEvents {
    /// A callback, as long as the host has not freed the exchange: it may do so in the middle of several.
    fn call<T>(&self, of: Option<T>) -> Option<T> {
        of.filter(|_| !self.freed.get())
    }
}

impl Events for CEvents {
    fn head(&self, head: &ResponseHead) -> bool {
        let Some(call) = self.call(self.events.head) else { return true };
        // SAFETY: as above; the head is lent until the call returns.
        unsafe { call(self.user, self.exchange.get(), fcgate_head::of(head)) == FCGATE_OK }
    }

    fn data(&self, bytes: &[u8]) -> bool {
        let Some(call) = self.call(self.events.data) else { return true };
        // SAFETY: as above; the bytes are lent until the call returns.
        unsafe { call(self.user, self.exchange.get(), bytes.as_ptr().cast(), bytes.len()) == FCGATE_OK }
    }

    fn has_room(&self) -> bool {
        self.events.room.is_some()
    }

    fn room(&self, most: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let (Some(call), mut length) = (self.call(self.events.room), most) else { return false };
        // SAFETY: as above.
        let place = unsafe { call(self.user, self.exchange.get(), &raw mut length) };
        if place.is_null() || length == 0 || length > most {
            return false;
        }
        // SAFETY: the host says that so many bytes are there, which nobody else uses until it is told.
        let room = unsafe { std::slice::from_raw_parts_mut(place.cast::<u8>(), length) };
        if fill(room) == 0 {
            self.data(&room[..0]);
        }
        true
    }

    fn stderr_line(&self, line: &str) -> bool {
        let Some(call) = self.call(self.events.error_line) else { return false };
        // SAFETY: as above; the line is lent until the call returns.
        unsafe { call(self.user, self.exchange.get(), line.as_ptr().cast(), line.len()) };
        true
    }

    fn log(&self, level: Level, line: &str) -> bool {
        let Some(call) = self.call(self.events.log) else { return false };
        // SAFETY: as above; the line is lent until the call returns.
        unsafe { call(self.user, self.exchange.get(), level as u32, line.as_ptr().cast(), line.len()) };
        true
    }

    fn writable(&self) {
        if let Some(call) = self.call(self.events.writable) {
            // SAFETY: as above.
            unsafe { call(self.user, self.exchange.get()) }
        }
    }

    fn complete(&self) {
        if let Some(call) = self.call(self.events.complete) {
            // SAFETY: as above.
            unsafe { call(self.user, self.exchange.get()) }
        }
    }

    fn refused(&self, error: &StartError) {
        self.key.set(None);
        let error = info::not_started(error);
        if let Some(call) = self.call(self.events.end) {
            // SAFETY: as above; the error is lent until the call returns.
            unsafe { call(self.user, self.exchange.get(), error.status, &raw const *error) }
        }
    }

    fn end(&self, exchange: &Exchange, address: &dyn Display, script: &dyn Fn() -> String) {
        self.key.set(None);
        let _ = self.last.set(info::of(exchange, address));
        let error = info::error_of(exchange, &self.engine, self.route, address, script);
        let error = error.as_deref().unwrap_or(&NO_ERROR);
        if let Some(call) = self.call(self.events.end) {
            // SAFETY: as above; the error is lent until the call returns.
            unsafe { call(self.user, self.exchange.get(), error.status, error) }
        }
    }
}

/// Makes a loop. The host is asked at once to watch its waker. Returns NULL after an error.
///
/// Errors: FCGATE_E_ARGUMENT where `watch` or `timer` is missing or a flag is not known; FCGATE_E_SYSTEM.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_loop_new(
    gateway: *const fcgate_gateway,
    hooks: *const fcgate_loop_hooks,
    user: *mut c_void,
    error: *mut fcgate_error,
) -> *mut fcgate_loop {
    let body = || {
        // SAFETY: as this function's contract says.
        let gateway = unsafe { shared(gateway) }.ok_or_else(|| bad_argument("gateway is NULL"))?;
        // SAFETY: as this function's contract says.
        let hooks = unsafe { grown(hooks) }
            .filter(|hooks: &fcgate_loop_hooks| hooks.watch.is_some() && hooks.timer.is_some())
            .ok_or_else(|| bad_argument("hooks is NULL, or has no struct_size, watch or timer"))?;
        if hooks.flags & !FCGATE_LOOP_EDGE_TRIGGERED != 0 {
            return Err(bad_argument("hooks has flags that this library does not know"));
        }
        let own = EventLoop::new(Arc::clone(gateway.gateway.engine()), Box::new(CHooks { hooks, user }));
        let own = Rc::new(own.map_err(|error| {
            let mut told = failed(FCGATE_E_SYSTEM, &format!("no waker for the loop: {error}"));
            told.sys_errno = error.raw_os_error().unwrap_or(0);
            told
        })?);
        Ok(hand_out(fcgate_loop { own, config: Arc::clone(&gateway.config) }))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

/// Frees a loop; exchanges in it are given up without a call. Not from within a callback. NULL is
/// nothing.
///
/// # Safety
/// `self` is NULL or came from fcgate_loop_new, and neither it nor an exchange of it is used any
/// more, but for fcgate_exchange_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_loop_free(event_loop: *mut fcgate_loop) {
    guard((), || {
        // SAFETY: as this function's contract says.
        if let Some(event_loop) = unsafe { shared(event_loop) } {
            event_loop.own.close();
        }
        // SAFETY: as this function's contract says.
        unsafe { release(event_loop) };
    });
}

/// A descriptor is ready as it was asked for: `events` is FCGATE_READABLE, FCGATE_WRITABLE or both; an
/// error or hang-up counts as both. An edge-triggered host adds FCGATE_HANGUP then, also where the peer
/// has closed its half only; for others it is no duty. A socket that is not watched any more is passed over.
/// Callbacks come from within.
///
/// # Safety
/// `event_loop` is NULL or a loop that no other thread uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_loop_ready(event_loop: *const fcgate_loop, socket: u64, events: u32) {
    guard((), || {
        // SAFETY: as this function's contract says.
        if let Some(event_loop) = unsafe { shared(event_loop) } {
            Rc::clone(&event_loop.own).ready(socket, events);
        }
    });
}

/// The time of the timer has come; earlier does no harm. Callbacks come from within.
///
/// # Safety
/// `event_loop` is NULL or a loop that no other thread uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_loop_expire(event_loop: *const fcgate_loop) {
    guard((), || {
        // SAFETY: as this function's contract says.
        if let Some(event_loop) = unsafe { shared(event_loop) } {
            Rc::clone(&event_loop.own).expire();
        }
    });
}

/// Starts an exchange in a loop. None of its callbacks but `log` comes before this has returned. The request
/// is empty afterwards and may be used for another. `route` may be NULL: the gateway's first. Returns
/// NULL after an error.
///
/// Errors: FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_REQUEST, FCGATE_E_NOT_FOUND,
/// FCGATE_E_TOO_LARGE, FCGATE_E_PARAMS; all others come by `end`.
///
/// # Safety
/// Pointers are NULL or as their types say; nobody else uses loop and request meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_start(
    event_loop: *const fcgate_loop,
    route: *const fcgate_route,
    request: *mut fcgate_request,
    events: *const fcgate_events,
    user: *mut c_void,
    error: *mut fcgate_error,
) -> *mut fcgate_exchange {
    let body = || {
        // SAFETY: as this function's contract says.
        let event_loop = unsafe { shared(event_loop) }.ok_or_else(|| bad_argument("loop is NULL"))?;
        // SAFETY: as this function's contract says.
        let request =
            unsafe { super::boundary::exclusive(request) }.ok_or_else(|| bad_argument("request is NULL"))?;
        // SAFETY: as this function's contract says.
        let events =
            unsafe { grown(events) }.ok_or_else(|| bad_argument("events is NULL or has no struct_size"))?;
        let engine = event_loop.own.engine();
        // SAFETY: as this function's contract says.
        let route = unsafe { route_of(&event_loop.config, engine, route) }?;
        let own = Rc::new(CEvents {
            events,
            user,
            exchange: Cell::new(std::ptr::null_mut()),
            key: Cell::new(None),
            freed: Cell::new(false),
            last: OnceCell::new(),
            engine: Arc::clone(engine),
            route,
        });
        let request = std::mem::replace(&mut request.request, event_loop.own.spare_request());
        let started = event_loop.own.start(route, request, Rc::clone(&own) as Rc<dyn Events>);
        own.key.set(Some(started.map_err(|error| info::not_started(&error))?));
        let kind = Kind::Looped(Looped { own: Rc::clone(&event_loop.own), events: Rc::clone(&own) });
        let exchange = hand_out(fcgate_exchange { kind });
        own.exchange.set(exchange);
        Ok(exchange)
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

/// Runs `body` with an exchange of a loop.
///
/// # Safety
/// `exchange` is NULL or an exchange that no other thread uses meanwhile.
unsafe fn with_looped(exchange: *const fcgate_exchange, body: impl FnOnce(&EventLoop, Key) -> i32) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let looped = match unsafe { shared(exchange) }.map(|exchange| &exchange.kind) {
            Some(Kind::Looped(looped)) => looped,
            Some(_) => return FCGATE_E_STATE,
            None => return FCGATE_E_ARGUMENT,
        };
        let (own, key) = (Rc::clone(&looped.own), looped.events.key.get());
        key.map_or(FCGATE_E_STATE, |key| body(&own, key))
    })
}

/// Sends more of an announced body; `flags` is 0 or FCGATE_END with the last of it. What can't go at
/// once is copied, up to a bound; `taken` is how much was taken. FCGATE_AGAIN: not all of it; call
/// again with the rest when `writable` comes. Not from within a callback other than `writable`.
///
/// Errors: FCGATE_E_STATE after the end of body or exchange. Where the body is refused (it is too large,
/// it can't be laid aside), `end` comes from within.
///
/// # Safety
/// `exchange` is NULL or an exchange that no other thread uses meanwhile; the other pointers are NULL
/// or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_send(
    exchange: *mut fcgate_exchange,
    data: *const c_void,
    length: usize,
    flags: u32,
    taken: *mut usize,
) -> i32 {
    // SAFETY: as this function's contract says.
    let Some(data) = (unsafe { bytes(data.cast(), length) }) else { return FCGATE_E_ARGUMENT };
    if flags & !FCGATE_END != 0 {
        return FCGATE_E_ARGUMENT;
    }
    let body = |own: &EventLoop, key| match own.send(key, data, flags & FCGATE_END != 0) {
        Some(count) => {
            // SAFETY: as this function's contract says.
            unsafe { put(taken, count) };
            if count == data.len() { FCGATE_OK } else { FCGATE_AGAIN }
        }
        None => FCGATE_E_STATE,
    };
    // SAFETY: as this function's contract says.
    unsafe { with_looped(exchange, body) }
}

/// Pauses the response (1) or takes it again (0). While paused, neither `head` nor `data` comes: the
/// response is held in memory up to `response_memory`, with `response_body=spool` in a file up to
/// `response_file`, and only then the application has to wait. `end` comes when all has been given.
///
/// # Safety
/// `exchange` is NULL or an exchange that no other thread uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_pause(exchange: *mut fcgate_exchange, paused: u32) -> i32 {
    let body = |own: &EventLoop, key| {
        own.pause(key, paused != 0);
        FCGATE_OK
    };
    // SAFETY: as this function's contract says.
    unsafe { with_looped(exchange, body) }
}

/// The client is gone: the exchange is given up, and `end` called with FCGATE_E_CLIENT_GONE; with
/// `ignore_client_abort` the application may finish what it has begun, and `end` comes then. Until then `head`
/// and `data` are still called: take what comes, it is for nobody.
///
/// # Safety
/// `exchange` is NULL or an exchange that no other thread uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_exchange_client_gone(exchange: *mut fcgate_exchange) -> i32 {
    let body = |own: &EventLoop, key| {
        own.client_gone(key);
        FCGATE_OK
    };
    // SAFETY: as this function's contract says.
    unsafe { with_looped(exchange, body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    unsafe extern "C" fn count(user: *mut c_void, _: *mut fcgate_exchange, _: *const c_char, _: usize) {
        // SAFETY: the test's own counter.
        let calls = unsafe { &*user.cast::<Cell<u32>>() };
        calls.set(calls.get() + 1);
    }

    /// Lines come several at a time: an exchange that is freed in the call for one gets none for the next.
    #[test]
    fn nothing_is_called_after_the_free() {
        let config = Config::from_line("unix:/run/app.sock").unwrap().freeze().unwrap();
        let engine = Arc::new(Engine::new(Arc::new(config)).unwrap());
        let calls = Cell::new(0);
        let own = CEvents {
            events: fcgate_events { error_line: Some(count), ..fcgate_events::default() },
            user: (&raw const calls).cast_mut().cast(),
            exchange: Cell::new(std::ptr::null_mut()),
            key: Cell::new(None),
            freed: Cell::new(false),
            last: OnceCell::new(),
            route: engine.route(0).unwrap(),
            engine,
        };
        assert!(own.stderr_line("one") && calls.get() == 1);
        own.freed.set(true);
        assert!(!own.stderr_line("two") && calls.get() == 1);
    }
}
