//! Level A: one blocking call.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{exclusive, fill, grown, shared};
use super::config::{fcgate_route, route_of};
use super::error::{FCGATE_E_CLIENT_GONE, FCGATE_OK, answer, bad_argument, fcgate_error};
use super::gateway::fcgate_gateway;
use super::head::fcgate_head;
use super::info::{self, fcgate_info};
use super::request::fcgate_request;
use crate::cgi::ResponseHead;
use crate::drive::start;
use crate::drive::{Client, GiveUp, Host, forward};
use std::ffi::{c_char, c_void};
use std::os::fd::RawFd;

/// The host's side of fcgate_forward. Each function may be NULL and gets `user` as its first
/// argument; those that return a status give the exchange up by returning anything but FCGATE_OK:
/// FCGATE_E_CLIENT_GONE where the client is gone (then, with `ignore_client_abort`, the application
/// may finish, and nothing but `error_line` is called any more). They are called by the thread that called fcgate_forward, and must not throw or longjmp.
#[repr(C)]
pub struct fcgate_handler {
    /// sizeof(fcgate_handler).
    pub struct_size: u32,
    /// A descriptor whose end of file or error says that the client is gone; -1 for none.
    pub client_fd: i32,
    /// Puts the next bytes of the request's body into `buffer` and their number into `got`, 0 at
    /// the end. Needed where fcgate_request_body_length announced a body.
    pub body: Option<
        unsafe extern "C" fn(user: *mut c_void, buffer: *mut c_void, capacity: usize, got: *mut usize) -> i32,
    >,
    /// The response head, once.
    pub head: Option<unsafe extern "C" fn(user: *mut c_void, head: *const fcgate_head) -> i32>,
    /// Bytes of the response body.
    pub data: Option<unsafe extern "C" fn(user: *mut c_void, bytes: *const c_void, length: usize) -> i32>,
    /// The application pauses: what is held back should go out to the client.
    pub flush: Option<unsafe extern "C" fn(user: *mut c_void) -> i32>,
    /// The response is whole. fcgate_forward may still wait a moment for the end of the request.
    pub complete: Option<unsafe extern "C" fn(user: *mut c_void) -> i32>,
    /// A line that the application wrote to STDERR, escaped, without a newline. NULL: it goes to
    /// the log.
    pub error_line: Option<unsafe extern "C" fn(user: *mut c_void, line: *const c_char, length: usize)>,
    /// Whether the client is gone; asked a few times a second while the application is silent.
    pub client_gone: Option<unsafe extern "C" fn(user: *mut c_void) -> i32>,
    /// In place of `data` and `complete`: the last bytes of the response body, which is whole with
    /// them, where its end came together with them.
    pub last: Option<unsafe extern "C" fn(user: *mut c_void, bytes: *const c_void, length: usize) -> i32>,
}

impl Default for fcgate_handler {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            client_fd: -1,
            body: None,
            head: None,
            data: None,
            flush: None,
            complete: None,
            error_line: None,
            client_gone: None,
            last: None,
        }
    }
}

struct CHost {
    handler: fcgate_handler,
    user: *mut c_void,
}

fn judged(status: i32) -> Result<(), GiveUp> {
    match status {
        FCGATE_OK => Ok(()),
        FCGATE_E_CLIENT_GONE => Err(GiveUp::ClientGone),
        _ => Err(GiveUp::Aborted),
    }
}

impl Client for CHost {
    fn fd(&self) -> Option<RawFd> {
        (self.handler.client_fd >= 0).then_some(self.handler.client_fd)
    }

    fn is_gone(&mut self) -> bool {
        // SAFETY: the host gave a function of this type and its pointer; so for all of them below.
        self.handler.client_gone.is_some_and(|call| unsafe { call(self.user) } != 0)
    }
}

impl Host for CHost {
    fn body(&mut self, buffer: &mut [u8]) -> Result<usize, GiveUp> {
        let Some(call) = self.handler.body else { return Err(GiveUp::Aborted) };
        let mut got = 0;
        // SAFETY: as above; the buffer is writable for its length.
        judged(unsafe { call(self.user, buffer.as_mut_ptr().cast(), buffer.len(), &mut got) })?;
        if got > buffer.len() { Err(GiveUp::Aborted) } else { Ok(got) }
    }

    fn head(&mut self, head: &ResponseHead) -> Result<(), GiveUp> {
        // SAFETY: as above; the head is lent until the call returns.
        self.handler.head.map_or(Ok(()), |call| judged(unsafe { call(self.user, fcgate_head::of(head)) }))
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), GiveUp> {
        let Some(call) = self.handler.data else { return Ok(()) };
        // SAFETY: as above; the bytes are lent until the call returns.
        judged(unsafe { call(self.user, bytes.as_ptr().cast(), bytes.len()) })
    }

    fn last(&mut self, bytes: &[u8]) -> Result<(), GiveUp> {
        let Some(call) = self.handler.last else {
            self.data(bytes)?;
            return self.complete();
        };
        // SAFETY: as above; the bytes are lent until the call returns.
        judged(unsafe { call(self.user, bytes.as_ptr().cast(), bytes.len()) })
    }

    fn wants_flush(&self) -> bool {
        self.handler.flush.is_some()
    }

    fn flush(&mut self) -> Result<(), GiveUp> {
        // SAFETY: as above.
        self.handler.flush.map_or(Ok(()), |call| judged(unsafe { call(self.user) }))
    }

    fn complete(&mut self) -> Result<(), GiveUp> {
        // SAFETY: as above.
        self.handler.complete.map_or(Ok(()), |call| judged(unsafe { call(self.user) }))
    }

    fn stderr_line(&mut self, line: &str) -> bool {
        let Some(call) = self.handler.error_line else { return false };
        // SAFETY: as above; the line is lent until the call returns.
        unsafe { call(self.user, line.as_ptr().cast(), line.len()) };
        true
    }
}

/// Forwards a request, gives the response to the handler, and returns when the exchange is over.
/// The calling thread does all of it. `route` may be NULL: the gateway's first. `handler` and `info`
/// may be NULL. The request is unchanged afterwards and may be sent again.
///
/// FCGATE_OK means that the response was whole. After an error, as long as the head callback was not
/// called, answer the client with `error->http_status`; later, cut the client's response so that it
/// can't look whole. FCGATE_E_ABORTED means that a callback said so.
///
/// Errors: FCGATE_E_ARGUMENT, FCGATE_E_NAME (a route of another config), FCGATE_E_REQUEST,
/// FCGATE_E_NOT_FOUND, FCGATE_E_TOO_LARGE, FCGATE_E_PARAMS, and those from 100 on.
///
/// # Safety
/// Pointers are NULL or as their types say; nobody else uses `request` meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_forward(
    gateway: *const fcgate_gateway,
    route: *const fcgate_route,
    request: *mut fcgate_request,
    handler: *const fcgate_handler,
    user: *mut c_void,
    info: *mut fcgate_info,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        // SAFETY: as this function's contract says.
        let gateway = unsafe { shared(gateway) }.ok_or_else(|| bad_argument("gateway is NULL"))?;
        // SAFETY: as this function's contract says.
        let request = unsafe { exclusive(request) }.ok_or_else(|| bad_argument("request is NULL"))?;
        // SAFETY: as this function's contract says.
        let handler = match unsafe { grown(handler) } {
            Some(handler) => handler,
            None if handler.is_null() => fcgate_handler::default(),
            None => return Err(bad_argument("handler->struct_size is not set")),
        };
        let engine = gateway.gateway.engine();
        // SAFETY: as this function's contract says.
        let route = unsafe { route_of(&gateway.config, engine, route) }?;
        let mut host = CHost { handler, user };
        let over = forward(engine, route, &mut request.request, &mut host)
            .map_err(|error| info::not_started(&error))?;
        let exchange = &over.scratch.exchange;
        let address = engine.pool(route.balancer, exchange.pool()).address();
        if !info.is_null() {
            // SAFETY: as this function's contract says.
            unsafe { fill(info, &info::of(exchange, address)) };
        }
        let script = || start::script(&over.scratch, start::target(&request.request));
        info::error_of(exchange, engine, route, address, script).map_or(Ok(()), Err)
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}
