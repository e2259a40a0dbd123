//! What a host needs to know of a route's settings: what they ask of the host itself.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{fill, guard, shared};
use super::config::{fcgate_route, route_of};
use super::error::{FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_PANIC, FCGATE_OK};
use super::gateway::fcgate_gateway;
use crate::cgi::Preset;
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

/// `preset = php`: the path is split after its script.
pub const FCGATE_PRESET_PHP: u32 = 1;
/// `preset = plain`: there is no script.
pub const FCGATE_PRESET_PLAIN: u32 = 2;
/// `preset = script`: one script answers every path.
pub const FCGATE_PRESET_SCRIPT: u32 = 3;

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
    /// 1 if the application may finish a request whose client is gone.
    pub ignore_client_abort: u32,
    /// FCGATE_PRESET_PHP, FCGATE_PRESET_PLAIN or FCGATE_PRESET_SCRIPT.
    pub preset: u32,
    /// 0.
    pub reserved: u32,
    /// How many bytes of a response are read ahead of a client that does not take them yet.
    pub response_memory: u64,
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
            ignore_client_abort: u32::from(settings.ignore_client_abort),
            preset: match settings.environment.preset {
                Preset::Php => FCGATE_PRESET_PHP,
                Preset::Plain => FCGATE_PRESET_PLAIN,
                Preset::Script => FCGATE_PRESET_SCRIPT,
            },
            reserved: 0,
            response_memory: settings.response_memory,
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
        assert_eq!((info.ignore_client_abort, info.response_memory), (0, 1 << 20));
        let info = told(c"a:1 request_body=stream flush=on ignore_client_abort=on response_memory=64k");
        assert_eq!((info.request_body, info.flush), (FCGATE_BODY_STREAM, FCGATE_FLUSH_ON));
        assert_eq!((info.ignore_client_abort, info.response_memory), (1, 64 << 10));
        assert_eq!(told(c"a:1 flush=off").flush, FCGATE_FLUSH_OFF);
        for (line, preset) in [
            (c"a:1", FCGATE_PRESET_PHP),
            (c"a:1 preset=plain", FCGATE_PRESET_PLAIN),
            (c"a:1 script=/srv/a.php", FCGATE_PRESET_SCRIPT),
        ] {
            assert_eq!(told(line).preset, preset, "{line:?}");
        }
        let mut info = info;
        // SAFETY: the pointer is valid for the call.
        let status = unsafe { fcgate_gateway_route_info(null(), null(), &raw mut info) };
        assert_eq!(status, FCGATE_E_ARGUMENT);
    }
}
