//! The boundary: what every exported function does with pointers and panics.
//!
//! A panic must not cross into C. It is caught here, the handle it happened in is poisoned, and
//! gateway and config stay usable. Each pointer that comes in is turned into a reference here and
//! nowhere else.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; after a panic the answer is `fallback`.
pub fn guard<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// A reference to a caller's object, unless it is NULL.
///
/// # Safety
/// `pointer` is NULL or points to a valid `T` that nobody changes during the call.
pub unsafe fn shared<'a, T>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: as this function's contract says.
    unsafe { pointer.as_ref() }
}

/// A reference to a caller's object that this call alone uses, unless it is NULL.
///
/// # Safety
/// `pointer` is NULL or points to a valid `T` that nobody else uses during the call.
pub unsafe fn exclusive<'a, T>(pointer: *mut T) -> Option<&'a mut T> {
    // SAFETY: as this function's contract says.
    unsafe { pointer.as_mut() }
}

/// The bytes of pointer and length; NULL only with length 0.
///
/// # Safety
/// `pointer` is NULL or points to `length` readable bytes that nobody changes during the call.
pub unsafe fn bytes<'a>(pointer: *const u8, length: usize) -> Option<&'a [u8]> {
    if pointer.is_null() {
        return (length == 0).then_some(&[]);
    }
    if length > isize::MAX as usize {
        return None;
    }
    // SAFETY: not NULL, and as this function's contract says.
    Some(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// The room of pointer and length; NULL only with length 0.
///
/// # Safety
/// `pointer` is NULL or points to `length` writable, initialized bytes that nobody else uses.
pub unsafe fn room<'a>(pointer: *mut u8, length: usize) -> Option<&'a mut [u8]> {
    if pointer.is_null() {
        return (length == 0).then_some(&mut []);
    }
    if length > isize::MAX as usize {
        return None;
    }
    // SAFETY: not NULL, and as this function's contract says.
    Some(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// The text of a NUL-terminated string in UTF-8; `None` for NULL and for other encodings.
///
/// # Safety
/// `pointer` is NULL or points to a NUL-terminated string that nobody changes during the call.
pub unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not NULL, and as this function's contract says.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

/// Writes through a pointer of the caller's, unless it is NULL.
///
/// # Safety
/// `pointer` is NULL or may be written to.
pub unsafe fn put<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        // SAFETY: not NULL, and as this function's contract says.
        unsafe { pointer.write(value) }
    }
}

/// A new handle for the caller, who gives it back to [`release`].
pub fn hand_out<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes a handle back and drops it; NULL is nothing.
///
/// # Safety
/// `pointer` is NULL or came from [`hand_out`] and was not released before.
pub unsafe fn release<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: it came from `Box::into_raw` and is released once.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

/// Copies a structure of the caller's that may be older (shorter) or newer (longer) than ours:
/// what the caller's lacks keeps our default.
///
/// # Safety
/// `pointer` is NULL or points to a structure that begins with its own size as `u32` and is
/// readable for that size; `T` is a plain C structure that begins likewise, for which every bit
/// pattern that a C caller may write is valid.
pub unsafe fn grown<T: Default>(pointer: *const T) -> Option<T> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the structure begins with its size, as this function's contract says.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if size < size_of::<u32>() {
        return None;
    }
    let mut own = T::default();
    // SAFETY: both are readable and writable for the smaller of the two sizes, and do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(
            pointer.cast::<u8>(),
            (&raw mut own).cast::<u8>(),
            size.min(size_of::<T>()),
        );
    }
    Some(own)
}

/// Fills a structure of the caller's that may be older or newer than ours, as far as it goes.
///
/// # Safety
/// `pointer` is NULL or points to a structure that begins with its own size as `u32` and is
/// writable for that size; `T` is a plain C structure that begins likewise.
pub unsafe fn fill<T>(pointer: *mut T, value: &T) -> bool {
    if pointer.is_null() {
        return false;
    }
    // SAFETY: the structure begins with its size, as this function's contract says.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if size < size_of::<u32>() {
        return false;
    }
    let head = size_of::<u32>();
    // SAFETY: both are valid for the smaller of the two sizes and do not overlap; the caller's own
    // size in front stays as it is.
    unsafe {
        std::ptr::copy_nonoverlapping(
            (&raw const *value).cast::<u8>().add(head),
            pointer.cast::<u8>().add(head),
            size.min(size_of::<T>()) - head,
        );
    }
    true
}
