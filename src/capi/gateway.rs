//! The gateway: one process's live state.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{guard, hand_out, release, shared, text};
use super::config::{Shared, fcgate_config, fcgate_route, told};
use super::error::{
    FCGATE_E_PANIC, FCGATE_E_SETTING, FCGATE_OK, answer_with, bad_argument, failed, fcgate_error,
};
use super::log::{fcgate_log, sink};
use crate::config::Config;
use crate::gateway::Gateway;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// One process's connections, waiters and upkeep. Made after the process has forked, shared by all
/// its threads, freed when none of them uses it any more.
pub struct fcgate_gateway {
    pub(super) gateway: Gateway,
    pub(super) config: Arc<Shared>,
}

fn make(
    config: Arc<Shared>,
    log: fcgate_log,
    user: *mut c_void,
) -> Result<*mut fcgate_gateway, Box<fcgate_error>> {
    let frozen = config.freeze()?;
    let gateway = Gateway::new(frozen, sink(log, user)).map_err(|error| failed(FCGATE_E_SETTING, &error))?;
    Ok(hand_out(fcgate_gateway { gateway, config }))
}

/// The short way: a gateway for one application, from one line: an address and any settings,
/// `unix:/run/php/fpm.sock max_connections=16 head_timeout=10s`. Its route is NULL. Free it with
/// fcgate_gateway_free. Connects to nothing yet. Returns NULL after an error.
///
/// Errors: FCGATE_E_SETTING with the word of the line and what is allowed.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_open(line: *const c_char, error: *mut fcgate_error) -> *mut fcgate_gateway {
    let body = || {
        // SAFETY: as this function's contract says.
        let line = unsafe { text(line) }.ok_or_else(|| bad_argument("line is NULL or not UTF-8"))?;
        make(Shared::of(Config::from_line(line).map_err(told)?), None, std::ptr::null_mut())
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

/// A gateway of a config, which is checked and can't be changed from then on, but may be freed. The
/// config's routes stay valid until the gateway is freed. `log`, with `user` as its first argument,
/// may be NULL. Returns NULL after an error.
///
/// Errors: FCGATE_E_SETTING.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_new(
    config: *mut fcgate_config,
    log: fcgate_log,
    user: *mut c_void,
    error: *mut fcgate_error,
) -> *mut fcgate_gateway {
    let body = || {
        // SAFETY: as this function's contract says.
        let config = unsafe { shared(config) }.ok_or_else(|| bad_argument("config is NULL"))?;
        make(Arc::clone(&config.shared), log, user)
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

/// Frees a gateway: joins its thread, closes its idle connections, drops its callbacks. Loops and
/// exchanges made with it are freed before. NULL is nothing.
///
/// # Safety
/// `gateway` is NULL or came from fcgate_open or fcgate_gateway_new and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_free(gateway: *mut fcgate_gateway) {
    // SAFETY: as this function's contract says.
    guard((), || unsafe { release(gateway) });
}

/// Closes a gateway's idle connections; none is kept from now on. For a process that ends as soon as what
/// is under way has ended: its idle connections would hold workers of the application that its
/// successor needs. Any thread.
///
/// # Safety
/// `gateway` is NULL or a gateway.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_retire(gateway: *const fcgate_gateway) {
    guard((), || {
        // SAFETY: as this function's contract says.
        if let Some(gateway) = unsafe { shared(gateway) } {
            gateway.gateway.engine().retire();
        }
    });
}

/// Sets where log lines go, or with NULL that they go nowhere. A line that another thread is writing
/// meanwhile may still go the old way.
///
/// # Safety
/// `gateway` is NULL or a gateway.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_set_log(
    gateway: *const fcgate_gateway,
    log: fcgate_log,
    user: *mut c_void,
) -> i32 {
    guard(FCGATE_E_PANIC, || {
        // SAFETY: as this function's contract says.
        match unsafe { shared(gateway) } {
            Some(gateway) => {
                gateway.gateway.engine().log.set(sink(log, user));
                FCGATE_OK
            }
            None => super::error::FCGATE_E_ARGUMENT,
        }
    })
}

/// A route that a host combines while it runs, as its sections overlap: to `balancer`, with what
/// `levels` say, the outermost first; each is a route of the gateway's config. `base`, or NULL,
/// holds where neither they nor the balancer say otherwise. The route belongs to the gateway and is
/// never made anew for the same levels: keep it, and ask once for each combination. Any thread.
/// Returns NULL after an error.
///
/// Errors: FCGATE_E_NAME for a level that is not of this config; FCGATE_E_SETTING for an unknown
/// balancer and for levels that contradict each other; FCGATE_E_RESOURCES beyond 4096 combinations.
///
/// # Safety
/// Pointers are NULL or as their types say; `levels` points to `count` routes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_gateway_route(
    gateway: *const fcgate_gateway,
    balancer: *const c_char,
    base: *const fcgate_route,
    levels: *const *const fcgate_route,
    count: usize,
    error: *mut fcgate_error,
) -> *const fcgate_route {
    let body = || {
        // SAFETY: as this function's contract says.
        let gateway = unsafe { shared(gateway) }.ok_or_else(|| bad_argument("gateway is NULL"))?;
        // SAFETY: as this function's contract says.
        let balancer = unsafe { text(balancer) }.ok_or_else(|| bad_argument("balancer is NULL"))?;
        // SAFETY: as this function's contract says.
        let base = unsafe { shared(base) };
        let place = |at: usize| levels.wrapping_add(at);
        let levels = (0..count)
            .map(|at| {
                // SAFETY: as this function's contract says.
                unsafe { shared(place(at)).and_then(|level| shared(*level)) }
                    .ok_or_else(|| bad_argument("a level is NULL"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let route = gateway.config.combine(gateway.gateway.engine(), balancer, base, &levels)?;
        Ok(route.cast_mut())
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::config::*;
    use crate::capi::error::FCGATE_E_NAME;
    use std::ptr::{null, null_mut};
    use std::time::Duration;

    /// Levels are combined in their order, between balancer and base; what is foreign is refused.
    #[test]
    fn levels_are_combined_while_the_gateway_runs() {
        let mut error = fcgate_error::default();
        let out = &raw mut error;
        // SAFETY: the pointers are valid for each call.
        unsafe {
            let config = fcgate_config_new();
            assert_eq!(fcgate_config_balancer(config, c"php".as_ptr(), out), FCGATE_OK);
            assert_eq!(
                fcgate_config_pool(config, c"php".as_ptr(), c"unix:/run/a.sock".as_ptr(), out),
                FCGATE_OK
            );
            let name = c"read_timeout".as_ptr();
            assert_eq!(fcgate_config_set(config, c"php".as_ptr(), name, c"20s".as_ptr(), out), FCGATE_OK);
            assert_eq!(
                fcgate_config_param(config, c"php".as_ptr(), c"A".as_ptr(), c"1".as_ptr(), 0, out),
                FCGATE_OK
            );
            assert_eq!(fcgate_config_param_unset(config, c"php".as_ptr(), c"B".as_ptr(), out), FCGATE_OK);
            let level = |settings: &[(&std::ffi::CStr, &std::ffi::CStr)]| {
                let route = fcgate_config_route(config, null(), null(), out);
                for (name, value) in settings {
                    assert_eq!(fcgate_route_set(route, name.as_ptr(), value.as_ptr(), out), FCGATE_OK);
                }
                route.cast_const()
            };
            let base =
                level(&[(c"head_timeout", c"300s"), (c"read_timeout", c"300s"), (c"send_timeout", c"300s")]);
            let outer = level(&[(c"head_timeout", c"1s"), (c"preset", c"plain")]);
            let inner = level(&[(c"head_timeout", c"2s")]);
            let bad = level(&[(c"preset", c"script")]);
            let gateway = fcgate_gateway_new(config, None, null_mut(), out);
            fcgate_config_free(config);
            let combine = |name: &std::ffi::CStr, levels: &[*const fcgate_route]| {
                fcgate_gateway_route(gateway, name.as_ptr(), base, levels.as_ptr(), levels.len(), out)
            };
            for (levels, seconds) in [(&[outer, inner][..], 2), (&[inner, outer], 1), (&[], 300)] {
                let route = combine(c"php", levels);
                let engine = (*gateway).gateway.engine();
                let found = route_of(&(*gateway).config, engine, route).unwrap_or_else(|_| panic!());
                let settings = engine.settings(found);
                assert_eq!(settings.head_timeout, Duration::from_secs(seconds));
                assert_eq!(settings.read_timeout, Duration::from_secs(20));
                assert_eq!(settings.send_timeout, Duration::from_secs(300));
                assert_eq!(settings.environment.params.len(), 2);
            }
            assert!(combine(c"pph", &[]).is_null());
            assert_eq!(error.status, crate::capi::error::FCGATE_E_SETTING);
            assert!(combine(c"php", &[bad]).is_null());
            assert!(combine(c"php", &[null()]).is_null());
            let foreign = fcgate_config_new();
            let other = fcgate_config_route(foreign, null(), null(), out);
            assert!(combine(c"php", &[other]).is_null());
            assert_eq!(error.status, FCGATE_E_NAME);
            fcgate_config_free(foreign);
            fcgate_gateway_free(gateway);
        }
    }
}
