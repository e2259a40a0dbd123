//! What a host needs to know of a route's settings: what they ask of the host itself.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{fill, guard, shared};
use super::config::{fcgate_route, route_of};
use super::error::{FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_PANIC, FCGATE_OK};
use super::gateway::fcgate_gateway;
use crate::config::{Flush, RequestBody, RouteSettings};

/// `request_body = spool`: the host takes the whole body before it starts the exchange.
pub const FCGATE_BODY_SPOOL: u32 = 1;
/// `request_body = stream`: the host passes the body on as it comes.
pub const FCGATE_BODY_STREAM: u32 = 2;

/// `flush = auto`: what has come goes out to the client whenever the application pauses.
pub const FCGATE_FLUSH_AUTO: u32 = 1;
/// `flush = on`: each piece goes out.
pub const FCGATE_FLUSH_ON: u32 = 2;
/// `flush = off`: as the host's own buffers have it.
pub const FCGATE_FLUSH_OFF: u32 = 3;

/// What a route says of what the host itself does. Set `struct_size` to
/// `sizeof(fcgate_route_info)` before the call.
#[repr(C)]
pub struct fcgate_route_info {
    /// sizeof(fcgate_route_info).
    pub struct_size: u32,
    /// FCGATE_BODY_SPOOL or FCGATE_BODY_STREAM.
    pub request_body: u32,
    /// FCGATE_FLUSH_AUTO, FCGATE_FLUSH_ON or FCGATE_FLUSH_OFF.
    pub flush: u32,
    /// 0.
    pub reserved: u32,
    /// The largest request body, in bytes; 0: no limit.
    pub max_body_bytes: u64,
}

impl fcgate_route_info {
    fn of(settings: &RouteSettings) -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            request_body: match settings.request_body {
                RequestBody::Spool => FCGATE_BODY_SPOOL,
                RequestBody::Stream => FCGATE_BODY_STREAM,
            },
            flush: match settings.flush {
                Flush::Auto => FCGATE_FLUSH_AUTO,
                Flush::On => FCGATE_FLUSH_ON,
                Flush::Off => FCGATE_FLUSH_OFF,
            },
            reserved: 0,
            max_body_bytes: settings.max_body_bytes,
        }
    }
}

/// What a route says of the host's own doings. `route` may be NULL: the gateway's first. Any thread.
///
/// Errors: FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0; FCGATE_E_NAME for a route of another
/// config or one that leads to no balancer.
///
/// # Safety
/// Pointers are NULL or as their types say; `info` may be written to for its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_route_info(
    gateway: *const fcgate_gateway,
    route: *const fcgate_route,
    info: *mut fcgate_route_info,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        let Some(gateway) = (unsafe { shared(gateway) }) else { return FCGATE_E_ARGUMENT };
        let engine = gateway.gateway.engine();
        // SAFETY: as this function's contract says.
        let Ok(route) = (unsafe { route_of(&gateway.config, engine, route) }) else { return FCGATE_E_NAME };
        let told = fcgate_route_info::of(engine.settings(route));
        // SAFETY: as this function's contract says.
        if unsafe { fill(info, &told) } { FCGATE_OK } else { FCGATE_E_ARGUMENT }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::gateway::{fcgate_gateway_free, fcgate_open};
    use std::ptr::{null, null_mut};

    fn told(line: &std::ffi::CStr) -> fcgate_route_info {
        let mut info = fcgate_route_info::of(&RouteSettings::default());
        // SAFETY: the pointers are valid for each call.
        unsafe {
            let gateway = fcgate_open(line.as_ptr(), null_mut());
            assert_eq!(fcgate_gateway_route_info(gateway, null(), &raw mut info), FCGATE_OK);
            assert_eq!(fcgate_gateway_route_info(gateway, null(), null_mut()), FCGATE_E_ARGUMENT);
            fcgate_gateway_free(gateway);
        }
        info
    }

    /// A12, X11: a host learns what is asked of it.
    #[test]
    fn a_host_learns_what_a_route_asks_of_it() {
        let info = told(c"a:1");
        assert_eq!((info.request_body, info.flush), (FCGATE_BODY_SPOOL, FCGATE_FLUSH_AUTO));
        assert_eq!(info.max_body_bytes, 0);
        let info = told(c"a:1 request_body=stream flush=on max_body_bytes=64k");
        assert_eq!((info.request_body, info.flush), (FCGATE_BODY_STREAM, FCGATE_FLUSH_ON));
        assert_eq!(info.max_body_bytes, 64 << 10);
        assert_eq!(told(c"a:1 flush=off").flush, FCGATE_FLUSH_OFF);
        let mut info = info;
        // SAFETY: the pointer is valid for the call.
        let status = unsafe { fcgate_gateway_route_info(null(), null(), &raw mut info) };
        assert_eq!(status, FCGATE_E_ARGUMENT);
    }
}
