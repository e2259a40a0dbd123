//! Version and ABI.
#![allow(unsafe_code)]

use super::error::{FCGATE_E_ABI, answer, failed, fcgate_error};
use std::ffi::{CStr, c_char};

/// The ABI that this header describes. It changes only with the soname.
pub const FCGATE_ABI: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The version of the library that is loaded, like `0.1.0`. Static.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The ABI of the library that is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn fcgate_abi() -> u32 {
    FCGATE_ABI
}

/// Whether the library that is loaded fits the header that the program was compiled with: pass
/// FCGATE_ABI. Programs that load the library at run time call this first.
///
/// Errors: FCGATE_E_ABI.
///
/// # Safety
/// `error` is NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcgate_abi_check(abi: u32, error: *mut fcgate_error) -> i32 {
    let check = || {
        if abi == FCGATE_ABI {
            return Ok(());
        }
        let text = format!(
            "the program was compiled for ABI {abi} of fcgate, but version {} of the library has ABI {FCGATE_ABI}: rebuild the program",
            env!("CARGO_PKG_VERSION")
        );
        Err(failed(FCGATE_E_ABI, &text))
    };
    // SAFETY: as this function's contract says.
    unsafe { answer(error, check) }
}
