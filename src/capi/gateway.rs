//! The gateway: one process's live state.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{guard, hand_out, release, shared, text};
use super::config::{Shared, fcgate_config, told};
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
