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

#[cfg(test)]
mod tests {
    use super::*;

    /// S1: a panic stops here.
    #[test]
    fn a_panic_does_not_pass() {
        assert_eq!(guard(7, || panic!("caught")), 7);
        assert_eq!(guard(7, || 8), 8);
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Grown {
        struct_size: u32,
        old: u32,
        new: u64,
    }

    impl Default for Grown {
        fn default() -> Self {
            Self { struct_size: size_of::<Self>() as u32, old: 1, new: 2 }
        }
    }

    /// Structures of older and newer callers are read and filled as far as they go.
    #[test]
    fn structures_may_be_older_and_newer() {
        let older = Grown { struct_size: 8, old: 5, new: 99 };
        let newer = [Grown { struct_size: 32, old: 5, new: 6 }, Grown { struct_size: 7, old: 7, new: 7 }];
        // SAFETY: each is readable and writable for its size.
        unsafe {
            let read: Grown = grown(&raw const older).unwrap();
            assert_eq!((read.old, read.new), (5, 2));
            let read: Grown = grown(newer.as_ptr()).unwrap();
            assert_eq!((read.old, read.new), (5, 6));
            assert!(grown::<Grown>(std::ptr::null()).is_none());
            let tiny = Grown { struct_size: 3, ..older };
            assert!(grown(&raw const tiny).is_none());
            let mut target = Grown { struct_size: 8, old: 0, new: 77 };
            assert!(fill(&raw mut target, &Grown { struct_size: 0, old: 3, new: 4 }));
            assert_eq!(target, Grown { struct_size: 8, old: 3, new: 77 });
            assert!(!fill(std::ptr::null_mut(), &target));
        }
    }

    /// Bytes, room and text: NULL is nothing, and never followed.
    #[test]
    fn null_is_nothing() {
        // SAFETY: NULL, or valid.
        unsafe {
            assert_eq!(bytes(std::ptr::null(), 0), Some(&[][..]));
            assert_eq!(bytes(std::ptr::null(), 1), None);
            assert!(room(std::ptr::null_mut(), 1).is_none());
            assert_eq!(text(std::ptr::null()), None);
            assert_eq!(text(c"abc".as_ptr()), Some("abc"));
            assert_eq!(text(c"\xFF".as_ptr()), None);
            put(std::ptr::null_mut(), 1);
            release(std::ptr::null_mut::<u8>());
            release(hand_out(5));
        }
    }
}
