//! What both directions of the calls speak: codes and strings of C.

use std::ffi::{CStr, c_char, c_int};

pub(crate) const OK: c_int = 0;
pub(crate) const CONTINUE: c_int = 1;
pub(crate) const FAIL: c_int = -1;
pub(crate) const BADAUTH: c_int = -13;
pub(crate) const NOUSER: c_int = -20;

/// # Safety
/// `pointer` is null or a NUL-terminated string that lives during the call.
pub(crate) unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    Some(
        unsafe { CStr::from_ptr(pointer) }
            .to_string_lossy()
            .into_owned(),
    )
}
