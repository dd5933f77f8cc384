//! The shared library: found, its functions by name, initialised once.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::callbacks::{
    Answers, Callback, global_callbacks, mutex_free, mutex_lock, mutex_new, mutex_unlock,
};

const LIBRARY: &str = "libsasl2.so.2";
const APPLICATION: &CStr = c"backupd";

pub(super) const OK: c_int = 0;
pub(super) const CONTINUE: c_int = 1;
pub(super) const FAIL: c_int = -1;
pub(super) const BADAUTH: c_int = -13;
pub(super) const NOUSER: c_int = -20;

/// libsasl2 cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SaslError {
    /// The shared library does not load.
    #[error(
        "cannot load {LIBRARY}: {0}; install the package libsasl2-2 (Debian) or cyrus-sasl-lib (Fedora), \
         and libsasl2-modules for the mechanisms"
    )]
    Load(libloading::Error),
    /// A call that must work failed.
    #[error("libsasl2: {call} failed: {reason}")]
    Call {
        /// Name of the function.
        call: &'static str,
        /// What the library says.
        reason: String,
    },
    /// A name for the library holds a NUL.
    #[error("servername contains a NUL byte")]
    ServerName,
}

type ServerNew = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const c_char,
    *const c_char,
    *const c_char,
    *const Callback,
    c_uint,
    *mut *mut c_void,
) -> c_int;
type ListMech = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    *const c_char,
    *const c_char,
    *const c_char,
    *mut *const c_char,
    *mut c_uint,
    *mut c_int,
) -> c_int;
type ServerStart = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    *const c_char,
    c_uint,
    *mut *const c_char,
    *mut c_uint,
) -> c_int;
type ServerStep = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    c_uint,
    *mut *const c_char,
    *mut c_uint,
) -> c_int;
type SetMutex = unsafe extern "C" fn(
    unsafe extern "C" fn() -> *mut c_void,
    unsafe extern "C" fn(*mut c_void) -> c_int,
    unsafe extern "C" fn(*mut c_void) -> c_int,
    unsafe extern "C" fn(*mut c_void),
);

/// The functions of the library, as declared in its `sasl.h`.
pub(super) struct Api {
    pub(super) server_new: ServerNew,
    pub(super) listmech: ListMech,
    pub(super) server_start: ServerStart,
    pub(super) server_step: ServerStep,
    pub(super) setprop: unsafe extern "C" fn(*mut c_void, c_int, *const c_void) -> c_int,
    pub(super) getprop: unsafe extern "C" fn(*mut c_void, c_int, *mut *const c_void) -> c_int,
    pub(super) errdetail: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    pub(super) errstring:
        unsafe extern "C" fn(c_int, *const c_char, *mut *const c_char) -> *const c_char,
    pub(super) dispose: unsafe extern "C" fn(*mut *mut c_void),
}

static API: OnceLock<Api> = OnceLock::new();
static INITIALISING: Mutex<()> = Mutex::new(());

impl Api {
    pub(super) fn get(answers: &'static Answers) -> Result<&'static Api, SaslError> {
        let _one_at_a_time = INITIALISING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(api) = API.get() {
            return Ok(api);
        }
        // SAFETY: libsasl2 has no initialisers that ask for more than being loaded. It is never unloaded,
        // so its functions and strings live for ever.
        let library = unsafe { libloading::Library::new(LIBRARY) }.map_err(SaslError::Load)?;
        let library = Box::leak(Box::new(library));
        // SAFETY: the types are those of the library's header for its ABI version 2.
        let api = unsafe { Api::load(library, answers) }?;
        Ok(API.get_or_init(|| api))
    }

    /// # Safety
    /// `library` is libsasl2, and this runs once.
    unsafe fn load(
        library: &'static libloading::Library,
        answers: &'static Answers,
    ) -> Result<Api, SaslError> {
        // SAFETY: the caller promises that the names have the types written here.
        unsafe {
            let api = Api {
                server_new: *library.get(c"sasl_server_new").map_err(SaslError::Load)?,
                listmech: *library.get(c"sasl_listmech").map_err(SaslError::Load)?,
                server_start: *library.get(c"sasl_server_start").map_err(SaslError::Load)?,
                server_step: *library.get(c"sasl_server_step").map_err(SaslError::Load)?,
                setprop: *library.get(c"sasl_setprop").map_err(SaslError::Load)?,
                getprop: *library.get(c"sasl_getprop").map_err(SaslError::Load)?,
                errdetail: *library.get(c"sasl_errdetail").map_err(SaslError::Load)?,
                errstring: *library.get(c"sasl_errstring").map_err(SaslError::Load)?,
                dispose: *library.get(c"sasl_dispose").map_err(SaslError::Load)?,
            };
            let set_mutex: libloading::Symbol<'_, SetMutex> =
                library.get(c"sasl_set_mutex").map_err(SaslError::Load)?;
            let init: libloading::Symbol<
                '_,
                unsafe extern "C" fn(*const Callback, *const c_char) -> c_int,
            > = library.get(c"sasl_server_init").map_err(SaslError::Load)?;
            set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
            let callbacks = Box::leak(Box::new(global_callbacks(answers)));
            let code = init(callbacks.as_ptr(), APPLICATION.as_ptr());
            api.check("sasl_server_init", code)?;
            Ok(api)
        }
    }

    pub(super) fn check(&self, call: &'static str, code: c_int) -> Result<(), SaslError> {
        if code == OK {
            return Ok(());
        }
        Err(SaslError::Call {
            call,
            reason: self.error_text(code),
        })
    }

    pub(super) fn error_text(&self, code: c_int) -> String {
        // SAFETY: null is allowed for both languages; the result is a static string.
        let message = unsafe { (self.errstring)(code, ptr::null(), ptr::null_mut()) };
        // SAFETY: as said above, and `text` checks for null.
        unsafe { text(message) }.unwrap_or_else(|| format!("error {code}"))
    }
}

/// # Safety
/// `pointer` is null or a NUL-terminated string that lives during the call.
pub(super) unsafe fn text(pointer: *const c_char) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_names_the_package() {
        // SAFETY: there is no such library to run code of.
        let error = unsafe { libloading::Library::new("libnosuchsasl.so.2") }
            .err()
            .unwrap();
        let said = SaslError::Load(error).to_string();
        assert!(said.contains("install the package libsasl2-2"), "{said}");
    }
}
