//! The shared library: found, its functions by name, each side initialised once.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::c::{OK, text};
use super::callbacks::{
    Answers, Callback, global_callbacks, mutex_free, mutex_lock, mutex_new, mutex_unlock,
};

const LIBRARY: &str = "libsasl2.so.2";
/// What the library calls us when it looks for a configuration of its own.
const APPLICATION: &CStr = c"backupd";

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
    #[error("a name contains a NUL byte")]
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
type ClientNew = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const c_char,
    *const c_char,
    *const Callback,
    c_uint,
    *mut *mut c_void,
) -> c_int;
type ClientStart = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    *mut *mut c_void,
    *mut *const c_char,
    *mut c_uint,
    *mut *const c_char,
) -> c_int;
type ClientStep = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    c_uint,
    *mut *mut c_void,
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
pub(crate) struct Api {
    server_init: ServerInit,
    client_init: Init,
    pub(crate) client_new: ClientNew,
    pub(crate) client_start: ClientStart,
    pub(crate) client_step: ClientStep,
    pub(crate) server_new: ServerNew,
    pub(crate) listmech: ListMech,
    pub(crate) server_start: ServerStart,
    pub(crate) server_step: ServerStep,
    pub(crate) setprop: unsafe extern "C" fn(*mut c_void, c_int, *const c_void) -> c_int,
    pub(crate) getprop: unsafe extern "C" fn(*mut c_void, c_int, *mut *const c_void) -> c_int,
    pub(crate) errdetail: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    pub(crate) errstring:
        unsafe extern "C" fn(c_int, *const c_char, *mut *const c_char) -> *const c_char,
    pub(crate) dispose: unsafe extern "C" fn(*mut *mut c_void),
}

static API: OnceLock<Api> = OnceLock::new();
/// Which sides of the library were initialised.
static INITIALISED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

type Init = unsafe extern "C" fn(*const Callback) -> c_int;
type ServerInit = unsafe extern "C" fn(*const Callback, *const c_char) -> c_int;

impl Api {
    /// The library as a server uses it.
    pub(crate) fn server(answers: &'static Answers) -> Result<&'static Api, SaslError> {
        Api::initialised("sasl_server_init", answers, |api, callbacks| {
            // SAFETY: the callbacks and the name live for ever.
            unsafe { (api.server_init)(callbacks, APPLICATION.as_ptr()) }
        })
    }

    /// The library as a client uses it.
    pub(crate) fn client(answers: &'static Answers) -> Result<&'static Api, SaslError> {
        Api::initialised("sasl_client_init", answers, |api, callbacks| {
            // SAFETY: the callbacks live for ever.
            unsafe { (api.client_init)(callbacks) }
        })
    }

    /// Loads the library and initialises this side of it, each once per process.
    fn initialised(
        side: &'static str,
        answers: &'static Answers,
        init: impl FnOnce(&Api, *const Callback) -> c_int,
    ) -> Result<&'static Api, SaslError> {
        let mut initialised = INITIALISED.lock().unwrap_or_else(PoisonError::into_inner);
        let api = match API.get() {
            Some(api) => api,
            None => {
                let api = Api::load()?;
                API.get_or_init(|| api)
            }
        };
        if !initialised.contains(&side) {
            let callbacks = Box::leak(Box::new(global_callbacks(answers)));
            api.check(side, init(api, callbacks.as_ptr()))?;
            initialised.push(side);
        }
        Ok(api)
    }

    fn load() -> Result<Api, SaslError> {
        // SAFETY: libsasl2 has no initialisers that ask for more than being loaded. It is never unloaded,
        // so its functions and strings live for ever.
        let library = unsafe { libloading::Library::new(LIBRARY) }.map_err(SaslError::Load)?;
        let library = Box::leak(Box::new(library));
        // SAFETY: the types are those of the library's header for its ABI version 2.
        unsafe {
            let api = Api {
                server_init: *library.get(c"sasl_server_init").map_err(SaslError::Load)?,
                server_new: *library.get(c"sasl_server_new").map_err(SaslError::Load)?,
                listmech: *library.get(c"sasl_listmech").map_err(SaslError::Load)?,
                server_start: *library.get(c"sasl_server_start").map_err(SaslError::Load)?,
                server_step: *library.get(c"sasl_server_step").map_err(SaslError::Load)?,
                client_init: *library.get(c"sasl_client_init").map_err(SaslError::Load)?,
                client_new: *library.get(c"sasl_client_new").map_err(SaslError::Load)?,
                client_start: *library.get(c"sasl_client_start").map_err(SaslError::Load)?,
                client_step: *library.get(c"sasl_client_step").map_err(SaslError::Load)?,
                setprop: *library.get(c"sasl_setprop").map_err(SaslError::Load)?,
                getprop: *library.get(c"sasl_getprop").map_err(SaslError::Load)?,
                errdetail: *library.get(c"sasl_errdetail").map_err(SaslError::Load)?,
                errstring: *library.get(c"sasl_errstring").map_err(SaslError::Load)?,
                dispose: *library.get(c"sasl_dispose").map_err(SaslError::Load)?,
            };
            let set_mutex: libloading::Symbol<'_, SetMutex> =
                library.get(c"sasl_set_mutex").map_err(SaslError::Load)?;
            set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
            Ok(api)
        }
    }

    pub(crate) fn check(&self, call: &'static str, code: c_int) -> Result<(), SaslError> {
        if code == OK {
            return Ok(());
        }
        Err(SaslError::Call {
            call,
            reason: self.error_text(code),
        })
    }

    pub(crate) fn error_text(&self, code: c_int) -> String {
        // SAFETY: null is allowed for both languages; the result is a static string.
        let message = unsafe { (self.errstring)(code, ptr::null(), ptr::null_mut()) };
        // SAFETY: as said above, and `text` checks for null.
        unsafe { text(message) }.unwrap_or_else(|| format!("error {code}"))
    }
}

/// `sasl_security_properties_t`.
#[repr(C)]
pub(crate) struct SecurityProperties {
    pub(crate) min_ssf: c_uint,
    pub(crate) max_ssf: c_uint,
    pub(crate) max_buffer: c_uint,
    pub(crate) flags: c_uint,
    pub(crate) names: *const *const c_char,
    pub(crate) values: *const *const c_char,
}

/// Octets of the peer with a NUL behind them, which some plugins rely on.
pub(crate) struct Input(Vec<u8>);

impl Input {
    pub(crate) fn new(octets: &[u8]) -> Input {
        let mut buffer = Vec::with_capacity(octets.len() + 1);
        buffer.extend_from_slice(octets);
        buffer.push(0);
        Input(buffer)
    }

    pub(crate) fn pointer(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    pub(crate) fn len(&self) -> c_uint {
        (self.0.len() - 1) as c_uint
    }
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
