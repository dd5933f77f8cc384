//! What libsasl2 asks back: options of imapd.conf, permission to act for another, a log, mutexes.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::c::{FAIL, OK, text};

const LIST_END: c_ulong = 0;
const GETOPT: c_ulong = 1;
const LOG: c_ulong = 2;
const PROXY_POLICY: c_ulong = 0x8001;

/// (plugin, option) → value.
pub type Lookup = Box<dyn Fn(Option<&str>, &str) -> Option<String> + Send + Sync>;

/// `sasl_callback_t`.
#[repr(C)]
pub(crate) struct Callback {
    id: c_ulong,
    function: *const c_void,
    context: *const c_void,
}

/// For one server's connections.
pub(crate) fn connection_callbacks(answers: &'static Answers) -> [Callback; 3] {
    [
        getopt_callback(answers),
        callback(PROXY_POLICY, allow_proxy as *const c_void),
        list_end(),
    ]
}

/// For the library as a whole.
pub(crate) fn global_callbacks(answers: &'static Answers) -> [Callback; 3] {
    [
        getopt_callback(answers),
        callback(LOG, log as *const c_void),
        list_end(),
    ]
}

fn getopt_callback(answers: &'static Answers) -> Callback {
    let context = ptr::from_ref(answers).cast();
    Callback {
        id: GETOPT,
        function: getopt as *const c_void,
        context,
    }
}

fn callback(id: c_ulong, function: *const c_void) -> Callback {
    callback_with(id, function, ptr::null())
}

pub(crate) fn callback_with(
    id: c_ulong,
    function: *const c_void,
    context: *const c_void,
) -> Callback {
    Callback {
        id,
        function,
        context,
    }
}

pub(crate) const fn list_end() -> Callback {
    Callback {
        id: LIST_END,
        function: ptr::null(),
        context: ptr::null(),
    }
}

/// Options as the library wants them: C strings that stay where they are.
pub(crate) struct Answers {
    lookup: Lookup,
    /// Each distinct answer is leaked once; there are some twenty options.
    given: Mutex<HashMap<Question, Option<&'static CStr>>>,
}

/// Plugin and option.
type Question = (Option<String>, String);

impl Answers {
    pub(crate) fn new(lookup: Lookup) -> Answers {
        Answers {
            lookup,
            given: Mutex::new(HashMap::new()),
        }
    }

    fn get(&self, plugin: Option<String>, option: String) -> Option<&'static CStr> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = given.get(&(plugin.clone(), option.clone())) {
            return *answer;
        }
        let value = (self.lookup)(plugin.as_deref(), &option);
        let answer = value.and_then(|value| CString::new(value).ok());
        let answer: Option<&'static CStr> =
            answer.map(|answer| &*Box::leak(answer.into_boxed_c_str()));
        given.insert((plugin, option), answer);
        answer
    }
}

unsafe extern "C" fn getopt(
    context: *const c_void,
    plugin: *const c_char,
    option: *const c_char,
    result: *mut *const c_char,
    len: *mut c_uint,
) -> c_int {
    // SAFETY: the library hands back the context of the callback, a leaked `Answers`, and names that are
    // null or NUL-terminated.
    let (answers, plugin, option) =
        unsafe { (&*context.cast::<Answers>(), text(plugin), text(option)) };
    let Some(answer) = option.and_then(|option| answers.get(plugin, option)) else {
        return FAIL;
    };
    if result.is_null() {
        return FAIL;
    }
    // SAFETY: `result` is not null, `len` is null or valid.
    unsafe {
        *result = answer.as_ptr();
        if !len.is_null() {
            *len = answer.count_bytes() as c_uint;
        }
    }
    OK
}

/// Whoever has a right password may name whom they act for: `Admins::admit` looks at both names.
unsafe extern "C" fn allow_proxy(
    _connection: *mut c_void,
    _context: *mut c_void,
    _requested: *const c_char,
    _requested_len: c_uint,
    _identity: *const c_char,
    _identity_len: c_uint,
    _realm: *const c_char,
    _realm_len: c_uint,
    _properties: *mut c_void,
) -> c_int {
    OK
}

unsafe extern "C" fn log(_context: *mut c_void, level: c_int, message: *const c_char) -> c_int {
    // SAFETY: null or NUL-terminated, alive during the call.
    let message = unsafe { text(message) }.unwrap_or_default();
    match level {
        ..=0 => {}
        1 => tracing::error!("libsasl2: {message}"),
        2 => tracing::debug!("libsasl2: {message}"),
        3 => tracing::warn!("libsasl2: {message}"),
        4..=6 => tracing::trace!("libsasl2: {message}"),
        // Level 7 traces passwords.
        7.. => {}
    }
    OK
}

pub(crate) unsafe extern "C" fn mutex_new() -> *mut c_void {
    Box::into_raw(Box::new(libc::PTHREAD_MUTEX_INITIALIZER)).cast()
}

pub(crate) unsafe extern "C" fn mutex_lock(mutex: *mut c_void) -> c_int {
    // SAFETY: the library passes what `mutex_new` returned and has not freed it.
    if unsafe { libc::pthread_mutex_lock(mutex.cast()) } == 0 {
        OK
    } else {
        FAIL
    }
}

pub(crate) unsafe extern "C" fn mutex_unlock(mutex: *mut c_void) -> c_int {
    // SAFETY: as in `mutex_lock`.
    if unsafe { libc::pthread_mutex_unlock(mutex.cast()) } == 0 {
        OK
    } else {
        FAIL
    }
}

pub(crate) unsafe extern "C" fn mutex_free(mutex: *mut c_void) {
    // SAFETY: as in `mutex_lock`, and the library does not use it again.
    drop(unsafe { Box::from_raw(mutex.cast::<libc::pthread_mutex_t>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_asked_for_once() {
        static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let answers = Answers::new(Box::new(|plugin, option| {
            ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            (option == "mech_list").then(|| format!("{plugin:?}"))
        }));
        for _ in 0..3 {
            assert_eq!(answers.get(None, "mech_list".into()), Some(c"None"));
            assert_eq!(
                answers.get(Some("p".into()), "mech_list".into()),
                Some(c"Some(\"p\")")
            );
            assert_eq!(answers.get(None, "other".into()), None);
        }
        assert_eq!(ASKED.load(std::sync::atomic::Ordering::Relaxed), 3);
    }
}
