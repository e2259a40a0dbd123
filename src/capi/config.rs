//! Config and routes: what is set before anything runs.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{guard, hand_out, release, shared, text};
use super::error::{
    FCGATE_E_NAME, FCGATE_E_RESOURCES, FCGATE_E_SETTING, FCGATE_E_STATE, answer, answer_with, bad_argument,
    failed, fcgate_error,
};
use super::log::{fcgate_log, sink};
use crate::cgi::{ParamRule, check_param_name};
use crate::config::{BalancerId, Config, ConfigError, Frozen, RouteId};
use crate::drive::{Engine, Level, Route};
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The param is left out when its value is empty.
pub const FCGATE_IF_NOT_EMPTY: u32 = 1;

type Failed = Box<fcgate_error>;

/// Balancers, pools and routes while they are configured. One thread at a time. It can be changed
/// until fcgate_config_check or fcgate_gateway_new has succeeded with it, and freed after that: a
/// gateway keeps what it needs.
pub struct fcgate_config {
    pub(super) shared: Arc<Shared>,
}

/// The settings of one location and its balancer. Made by fcgate_config_route, set before the config
/// is in use, then shared by all threads. It belongs to its config and to the gateways made of it:
/// never freed by itself, valid as long as one of them is.
pub struct fcgate_route {
    shared: Weak<Shared>,
    index: usize,
    /// Of a route that a gateway combined: where its engine has it.
    combined: Option<Route>,
}

/// What config, routes and gateways share.
pub(super) struct Shared {
    state: Mutex<State>,
}

struct State {
    config: Config,
    /// Hosts hold their addresses, which an `Arc` keeps valid wherever it is moved.
    routes: Vec<Arc<fcgate_route>>,
    frozen: Option<Arc<Frozen>>,
}

impl Shared {
    pub(super) fn of(config: Config) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { config, routes: Vec::new(), frozen: None }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The config as it is used, from now on for good.
    pub(super) fn freeze(&self) -> Result<Arc<Frozen>, Failed> {
        let mut state = self.lock();
        if let Some(frozen) = &state.frozen {
            return Ok(Arc::clone(frozen));
        }
        let mut config = state.config.clone();
        if state.routes.is_empty() && config.route_count() == 0 {
            let first = config.balancer_names().next().map(str::to_owned);
            config.route("", None, first.as_deref()).map_err(told)?;
        }
        let frozen = Arc::new(config.freeze().map_err(told)?);
        state.frozen = Some(Arc::clone(&frozen));
        Ok(frozen)
    }

    /// A handle for a route, which lives as long as its config.
    fn keep(self: &Arc<Self>, index: usize, combined: Option<Route>) -> *const fcgate_route {
        let route = Arc::new(fcgate_route { shared: Arc::downgrade(self), index, combined });
        let pointer = Arc::as_ptr(&route);
        self.lock().routes.push(route);
        pointer
    }

    /// The place of a level among the routes of this config.
    fn level(&self, route: &fcgate_route) -> Result<RouteId, Failed> {
        if std::ptr::eq(route.shared.as_ptr(), self) && route.combined.is_none() {
            return Ok(RouteId(route.index));
        }
        Err(failed(FCGATE_E_NAME, "a level is no route of the gateway's config"))
    }

    /// Combines levels to a route of an engine of this config.
    pub(super) fn combine(
        self: &Arc<Self>,
        engine: &Engine,
        balancer: &str,
        base: Option<&fcgate_route>,
        levels: &[&fcgate_route],
    ) -> Result<*const fcgate_route, Failed> {
        let base = base.map(|base| self.level(base)).transpose()?;
        let levels = levels.iter().map(|level| self.level(level)).collect::<Result<Vec<_>, _>>()?;
        let mut warnings = Vec::new();
        let combined = self.lock().config.combine(balancer, base, &levels, &mut warnings);
        let (settings, at) = combined.map_err(told)?;
        let route = engine.add_route(settings, at).map_err(|error| failed(FCGATE_E_RESOURCES, &error))?;
        warnings.iter().for_each(|warning| engine.log.write(Level::Warning, warning));
        Ok(self.keep(route.index, Some(route)))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Config) -> Result<T, ConfigError>) -> Result<T, Failed> {
        let mut state = self.lock();
        if state.frozen.is_some() {
            return Err(failed(
                FCGATE_E_STATE,
                "the config is in use and can't be changed any more; make a new one",
            ));
        }
        change(&mut state.config).map_err(told)
    }
}

pub(super) fn told(error: ConfigError) -> Failed {
    failed(FCGATE_E_SETTING, &error.to_string())
}

fn balancer_id(config: &Config, name: &str) -> Result<BalancerId, ConfigError> {
    config.find_balancer(name)
}

fn config_of<'a>(config: *const fcgate_config) -> Result<&'a fcgate_config, Failed> {
    // SAFETY: the caller of each exported function vouches for its pointer.
    unsafe { shared(config) }.ok_or_else(|| bad_argument("config is NULL"))
}

fn text_of<'a>(pointer: *const c_char, what: &str) -> Result<&'a str, Failed> {
    // SAFETY: the caller of each exported function vouches for its pointers.
    unsafe { text(pointer) }.ok_or_else(|| bad_argument(&format!("{what} is NULL or not UTF-8")))
}

/// A new, empty config. Free it with fcgate_config_free.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_config_new() -> *mut fcgate_config {
    guard(std::ptr::null_mut(), || hand_out(fcgate_config { shared: Shared::of(Config::new()) }))
}

/// Frees a config, and its routes unless a gateway was made of it. NULL is nothing.
///
/// # Safety
/// `config` is NULL or came from fcgate_config_new and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_free(config: *mut fcgate_config) {
    // SAFETY: as this function's contract says.
    guard((), || unsafe { release(config) });
}

/// Declares a balancer: a named choice among pools. Give it at least one pool.
///
/// Errors: FCGATE_E_SETTING for a name that is not 1 to 128 letters, digits, `.`, `_`, `-`, or is
/// taken; FCGATE_E_STATE once the config is in use.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_balancer(
    config: *mut fcgate_config,
    balancer: *const c_char,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let name = text_of(balancer, "balancer")?;
        config_of(config)?.shared.change(|config| config.balancer(name).map(drop))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Adds a pool to a balancer, by a line of words: an address, then settings as `name=value`, and
/// `backup` for one that is asked only while no other is up:
/// `unix:/run/php/fpm.sock weight=2 max_connections=16`. Addresses are `unix:/path`, `unix:@name`,
/// `host:port`, `[::1]:9000`.
///
/// Errors: FCGATE_E_SETTING with the setting, its value and what is allowed; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_pool(
    config: *mut fcgate_config,
    balancer: *const c_char,
    line: *const c_char,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let (name, line) = (text_of(balancer, "balancer")?, text_of(line, "line")?);
        config_of(config)?.shared.change(|config| {
            let id = balancer_id(config, name)?;
            config.pool(id, line).map(drop)
        })
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Sets a setting of a balancer. A setting of pools is the default of its pools, one of routes that
/// of the routes that lead to it.
///
/// Errors: FCGATE_E_SETTING; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_set(
    config: *mut fcgate_config,
    balancer: *const c_char,
    name: *const c_char,
    value: *const c_char,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let balancer = text_of(balancer, "balancer")?;
        let (name, value) = (text_of(name, "name")?, text_of(value, "value")?);
        config_of(config)?.shared.change(|config| {
            let id = balancer_id(config, balancer)?;
            config.set(id, name, value)
        })
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Sets a param for each request to a balancer, unless a route says otherwise; as
/// fcgate_route_param.
///
/// Errors: FCGATE_E_SETTING; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_param(
    config: *mut fcgate_config,
    balancer: *const c_char,
    name: *const c_char,
    value: *const c_char,
    flags: u32,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let balancer = text_of(balancer, "balancer")?;
        let rule = set_rule(name, value, flags)?;
        config_of(config)?.shared.change(|config| {
            let id = balancer_id(config, balancer)?;
            config.param(id, rule)
        })
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Removes a param from each request to a balancer, unless a route sets it.
///
/// Errors: FCGATE_E_SETTING; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_param_unset(
    config: *mut fcgate_config,
    balancer: *const c_char,
    name: *const c_char,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let balancer = text_of(balancer, "balancer")?;
        let rule = ParamRule::Unset { name: text_of(name, "name")?.into() };
        config_of(config)?.shared.change(|config| {
            let id = balancer_id(config, balancer)?;
            config.param(id, rule)
        })
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Whether a param may be set by a host or its administrator: 1 to many bytes without blanks, control
/// bytes and `=`, and neither CONTENT_LENGTH nor GATEWAY_INTERFACE, which must match what is sent.
///
/// Errors: FCGATE_E_SETTING.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_param_check(name: *const c_char, error: *mut fcgate_error) -> i32 {
    let body = || {
        let name = text_of(name, "name")?;
        check_param_name(name.as_bytes()).map_err(|reason| failed(FCGATE_E_SETTING, &reason))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Makes a route to a balancer. What is set for `parent` (or NULL) holds for it too, unless it is
/// set anew. Without a balancer (NULL, and none of the parent's) no request can take it: it is a
/// level for fcgate_gateway_route. Returns NULL after an error.
///
/// # Safety
/// Pointers are NULL or as their types say; `parent` is a route of this config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_route(
    config: *mut fcgate_config,
    balancer: *const c_char,
    parent: *const fcgate_route,
    error: *mut fcgate_error,
) -> *mut fcgate_route {
    let body = || {
        let name = if balancer.is_null() { None } else { Some(text_of(balancer, "balancer")?) };
        let own = &config_of(config)?.shared;
        // SAFETY: as this function's contract says.
        let parent = unsafe { shared(parent) };
        if parent.is_some_and(|parent| !std::ptr::eq(parent.shared.as_ptr(), Arc::as_ptr(own))) {
            return Err(bad_argument("parent is a route of another config"));
        }
        let RouteId(index) = own.change(|config| {
            if let Some(name) = name {
                balancer_id(config, name)?;
            }
            config.route("", parent.map(|parent| RouteId(parent.index)), name)
        })?;
        Ok(own.keep(index, None).cast_mut())
    };
    // SAFETY: as this function's contract says.
    unsafe { answer_with(error, body) }
}

fn set_rule(name: *const c_char, value: *const c_char, flags: u32) -> Result<ParamRule, Failed> {
    if flags & !FCGATE_IF_NOT_EMPTY != 0 {
        return Err(bad_argument("flags has unknown bits"));
    }
    let (name, value) = (text_of(name, "name")?, text_of(value, "value")?);
    let if_not_empty = flags & FCGATE_IF_NOT_EMPTY != 0;
    Ok(ParamRule::Set { name: name.into(), value: value.into(), if_not_empty })
}

fn change_route(
    route: *mut fcgate_route,
    change: impl FnOnce(&mut Config, RouteId) -> Result<(), ConfigError>,
) -> Result<(), Failed> {
    // SAFETY: the caller of each exported function vouches for its pointer.
    let route = unsafe { shared(route) }.ok_or_else(|| bad_argument("route is NULL"))?;
    if route.combined.is_some() {
        return Err(failed(FCGATE_E_STATE, "a combined route can't be changed"));
    }
    let own = route.shared.upgrade().ok_or_else(|| failed(FCGATE_E_STATE, "the route's config is gone"))?;
    own.change(|config| change(config, RouteId(route.index)))
}

/// Sets a setting of a route.
///
/// Errors: FCGATE_E_SETTING; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_route_set(
    route: *mut fcgate_route,
    name: *const c_char,
    value: *const c_char,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let (name, value) = (text_of(name, "name")?, text_of(value, "value")?);
        change_route(route, |config, id| config.route_set(id, name, value))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Sets a param for each request of a route; `flags` is 0 or FCGATE_IF_NOT_EMPTY. It replaces what
/// an outer route, fcgate or the server's environment would say. CONTENT_LENGTH and
/// GATEWAY_INTERFACE can't be set.
///
/// Errors: FCGATE_E_SETTING; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_route_param(
    route: *mut fcgate_route,
    name: *const c_char,
    value: *const c_char,
    flags: u32,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let rule = set_rule(name, value, flags)?;
        change_route(route, |config, id| config.route_param(id, rule))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Removes a param from each request of a route, whoever would set it.
///
/// Errors: FCGATE_E_SETTING; FCGATE_E_STATE.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_route_param_unset(
    route: *mut fcgate_route,
    name: *const c_char,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let rule = ParamRule::Unset { name: text_of(name, "name")?.into() };
        change_route(route, |config, id| config.route_param(id, rule))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// Checks a config as a whole, as a server does when it reads its configuration. Warnings go to
/// `log`, which may be NULL. After success it can't be changed any more.
///
/// Errors: FCGATE_E_SETTING.
///
/// # Safety
/// Pointers are NULL or as their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_config_check(
    config: *mut fcgate_config,
    log: fcgate_log,
    user: *mut c_void,
    error: *mut fcgate_error,
) -> i32 {
    let body = || {
        let frozen = config_of(config)?.shared.freeze()?;
        if let Some(sink) = sink(log, user) {
            frozen.warnings.iter().for_each(|warning| sink(Level::Warning, warning));
        }
        Ok(())
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, body) }
}

/// The route to use: the caller's, which must belong to this config, or the first one for NULL.
///
/// # Safety
/// `route` is NULL or a route that is still valid.
pub(super) unsafe fn route_of(
    own: &Arc<Shared>,
    engine: &Engine,
    route: *const fcgate_route,
) -> Result<Route, Failed> {
    // SAFETY: as this function's contract says.
    let index = match unsafe { shared(route) } {
        None => 0,
        Some(route) if !std::ptr::eq(route.shared.as_ptr(), Arc::as_ptr(own)) => {
            return Err(failed(FCGATE_E_NAME, "the route belongs to another config than the gateway's"));
        }
        Some(fcgate_route { combined: Some(route), .. }) => return Ok(*route),
        Some(route) => route.index,
    };
    engine.route(index).ok_or_else(|| failed(FCGATE_E_NAME, "the route leads to no balancer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::error::{FCGATE_E_ARGUMENT, FCGATE_OK};

    /// Routes live as long as their config; a config in use is not changed.
    #[test]
    fn a_config_is_built_and_frozen() {
        let config = fcgate_config_new();
        let mut error = fcgate_error::default();
        // SAFETY: the pointers are valid for each call.
        unsafe {
            let out = &raw mut error;
            assert_eq!(fcgate_config_balancer(config, c"php".as_ptr(), out), FCGATE_OK);
            assert_eq!(fcgate_config_balancer(config, std::ptr::null(), out), FCGATE_E_ARGUMENT);
            let line = c"unix:/run/a.sock weight=2".as_ptr();
            assert_eq!(fcgate_config_pool(config, c"php".as_ptr(), line, out), FCGATE_OK);
            assert_eq!(fcgate_config_pool(config, c"pph".as_ptr(), line, out), FCGATE_E_SETTING);
            let route = fcgate_config_route(config, c"php".as_ptr(), std::ptr::null(), out);
            let inner = fcgate_config_route(config, c"php".as_ptr(), route, out);
            assert_eq!(fcgate_route_set(inner, c"head_timeout".as_ptr(), c"1s".as_ptr(), out), FCGATE_OK);
            assert_eq!(fcgate_route_param(route, c"A".as_ptr(), c"b".as_ptr(), 0, out), FCGATE_OK);
            assert_eq!(fcgate_route_param(route, c"A".as_ptr(), c"b".as_ptr(), 8, out), FCGATE_E_ARGUMENT);
            assert_eq!(fcgate_route_param_unset(route, c"B".as_ptr(), out), FCGATE_OK);
            assert_eq!(fcgate_config_check(config, None, std::ptr::null_mut(), out), FCGATE_OK);
            assert_eq!(
                fcgate_route_set(inner, c"head_timeout".as_ptr(), c"1s".as_ptr(), out),
                FCGATE_E_STATE
            );
            let shared = Arc::clone(&(*config).shared);
            fcgate_config_free(config);
            let engine = Engine::new(shared.freeze().ok().unwrap()).unwrap();
            let found = route_of(&shared, &engine, inner);
            assert!(found.is_ok_and(|route| route.index == (*inner).index));
            fcgate_config_free(std::ptr::null_mut());
        }
    }
}
