//! The walk over the settings.
#![allow(unsafe_code, non_camel_case_types)]

use super::boundary::{fill, guard, text};
use super::error::{FCGATE_E_ARGUMENT, FCGATE_E_NAME, FCGATE_E_PANIC, FCGATE_OK};
use crate::config::suggest::nearest;
use crate::config::{SETTINGS, Scope};
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

/// A setting of pools.
pub const FCGATE_SCOPE_POOL: u32 = 1;
/// A setting of balancers.
pub const FCGATE_SCOPE_BALANCER: u32 = 2;
/// A setting of routes.
pub const FCGATE_SCOPE_ROUTE: u32 = 3;

/// One line of the table of settings. Set `struct_size` to `sizeof(fcgate_setting)` before the
/// call. The texts are static.
#[repr(C)]
pub struct fcgate_setting {
    /// sizeof(fcgate_setting).
    pub struct_size: u32,
    /// FCGATE_SCOPE_POOL, FCGATE_SCOPE_BALANCER or FCGATE_SCOPE_ROUTE.
    pub scope: u32,
    /// The name by which it is set.
    pub name: *const c_char,
    /// Its default, as it would be set; may be empty.
    pub default_value: *const c_char,
    /// What values it takes.
    pub range: *const c_char,
    /// What it does.
    pub help: *const c_char,
}

struct Texts {
    scope: u32,
    texts: [CString; 4],
}

/// The table's texts as C strings, made once.
fn table() -> &'static [Texts] {
    static TABLE: OnceLock<Vec<Texts>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let text = |text: &str| CString::new(text).unwrap_or_default();
        SETTINGS
            .iter()
            .map(|setting| Texts {
                scope: match setting.scope() {
                    Scope::Pool => FCGATE_SCOPE_POOL,
                    Scope::Balancer => FCGATE_SCOPE_BALANCER,
                    Scope::Route => FCGATE_SCOPE_ROUTE,
                },
                texts: [
                    text(setting.name),
                    text(setting.default),
                    text(&setting.range()),
                    text(setting.help),
                ],
            })
            .collect()
    })
}

/// How many settings there are.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_setting_count() -> usize {
    guard(0, || table().len())
}

/// The setting at a place, from 0.
///
/// Errors: FCGATE_E_NAME beyond the last; FCGATE_E_ARGUMENT for NULL or a `struct_size` of 0.
///
/// # Safety
/// `setting` is NULL or may be written to for its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_setting_at(index: usize, setting: *mut fcgate_setting) -> i32 {
    guard(FCGATE_E_PANIC, || {
        let Some(own) = table().get(index) else { return FCGATE_E_NAME };
        let [name, default_value, range, help] = &own.texts;
        let value = fcgate_setting {
            struct_size: 0,
            scope: own.scope,
            name: name.as_ptr(),
            default_value: default_value.as_ptr(),
            range: range.as_ptr(),
            help: help.as_ptr(),
        };
        // SAFETY: as this function's contract says.
        if unsafe { fill(setting, &value) } { FCGATE_OK } else { FCGATE_E_ARGUMENT }
    })
}

/// The candidate that a misspelt word most likely means, or NULL: for a host's own error messages. It
/// is one of the pointers handed in.
///
/// # Safety
/// `word` is NULL or a NUL-terminated string; `candidates` points to `count` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_nearest(
    word: *const c_char,
    candidates: *const *const c_char,
    count: usize,
) -> *const c_char {
    guard(std::ptr::null(), || {
        if candidates.is_null() {
            return std::ptr::null();
        }
        // SAFETY: as this function's contract says.
        let pointers: Vec<*const c_char> = (0..count).map(|at| unsafe { *candidates.add(at) }).collect();
        // SAFETY: as this function's contract says.
        let texts: Vec<&str> = pointers.iter().map(|at| unsafe { text(*at) }.unwrap_or_default()).collect();
        // SAFETY: as this function's contract says.
        let word = unsafe { text(word) }.unwrap_or_default();
        let near = nearest(word, &texts).and_then(|near| texts.iter().position(|one| *one == near));
        near.map_or(std::ptr::null(), |at| pointers[at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest candidate is one of the caller's own pointers; far words and NULL get none.
    #[test]
    fn the_nearest_candidate_is_the_callers() {
        let names = [c"FcgateParam".as_ptr(), c"FcgateMap".as_ptr()];
        // SAFETY: the pointers are NULL or valid.
        unsafe {
            assert_eq!(fcgate_nearest(c"FcgateParm".as_ptr(), names.as_ptr(), 2), names[0]);
            assert!(fcgate_nearest(c"something".as_ptr(), names.as_ptr(), 2).is_null());
            assert!(fcgate_nearest(std::ptr::null(), names.as_ptr(), 2).is_null());
            assert!(fcgate_nearest(c"x".as_ptr(), std::ptr::null(), 0).is_null());
        }
    }
}
