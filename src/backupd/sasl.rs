//! libsasl2 as the [`Authority`]: the library of all other Cyrus daemons, so that the `sasl_*` options,
//! sasldb, saslauthd and the installed mechanisms mean here what they mean there.
//!
//! Loaded at run time, so that building needs no header files and a machine without the package gets
//! a message instead of a linker error. All `unsafe` of the login is in this file. No security layers
//! are negotiated (`max_ssf` 0): the mechanisms that would install one are not offered (spec: csync 1.3).

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::auth::{Authenticator, Authority, Identity, Progress};

const LIBRARY: &str = "libsasl2.so.2";
const SERVICE: &CStr = c"csync";
const APPLICATION: &CStr = c"backupd";

const OK: c_int = 0;
const CONTINUE: c_int = 1;
const FAIL: c_int = -1;
const BADAUTH: c_int = -13;
const NOUSER: c_int = -20;

const CB_LIST_END: c_ulong = 0;
const CB_GETOPT: c_ulong = 1;
const CB_LOG: c_ulong = 2;
const CB_PROXY_POLICY: c_ulong = 0x8001;

const PROP_USERNAME: c_int = 0;
const PROP_AUTHUSER: c_int = 16;
const PROP_SEC_PROPS: c_int = 101;

const SEC_NOPLAINTEXT: c_uint = 0x0001;
const SEC_NOANONYMOUS: c_uint = 0x0010;

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

/// What the server asks of the library.
pub struct SaslOptions {
    /// Option `servername`; also the default realm.
    pub servername: String,
    /// PLAIN and LOGIN are offered on an unencrypted connection (`allowplaintext`).
    pub allow_plaintext: bool,
    /// No login below this strength of encryption (`sasl_minimum_layer`, bits).
    pub minimum_layer: u32,
    /// Answers (plugin, option) from imapd.conf (spec: ondisk 1.5).
    pub lookup: Lookup,
}

/// (plugin, option) → value.
pub type Lookup = Box<dyn Fn(Option<&str>, &str) -> Option<String> + Send + Sync>;

/// The initialised library with the options of one server.
pub struct Sasl {
    api: &'static Api,
    servername: CString,
    callbacks: &'static [Callback; 3],
    properties: SecurityProperties,
    mechanisms: Vec<String>,
}

impl Sasl {
    /// Loads and initialises the library (once per process) and asks it for its mechanisms. The options
    /// stay in memory until the process ends, since the library keeps pointers to them.
    pub fn load(options: SaslOptions) -> Result<Sasl, SaslError> {
        let servername =
            CString::new(options.servername).map_err(|_| SaslError::ServerName)?;
        let context: &'static Answers = Box::leak(Box::new(Answers::new(options.lookup)));
        let api = Api::get(context)?;
        let plain = if options.allow_plaintext { 0 } else { SEC_NOPLAINTEXT };
        let mut sasl = Sasl {
            api,
            servername,
            callbacks: Box::leak(Box::new(connection_callbacks(context))),
            properties: SecurityProperties {
                min_ssf: options.minimum_layer,
                max_ssf: 0,
                max_buffer: 0,
                flags: SEC_NOANONYMOUS | plain,
                names: ptr::null(),
                values: ptr::null(),
            },
            mechanisms: Vec::new(),
        };
        sasl.mechanisms = sasl.connection()?.mechanisms()?;
        Ok(sasl)
    }

    fn connection(&self) -> Result<Connection, SaslError> {
        let mut raw = ptr::null_mut();
        // SAFETY: all strings are NUL-terminated and outlive the call (the library copies them); null is
        // allowed where passed; `callbacks` lives for ever; `raw` receives the new connection.
        let code = unsafe {
            (self.api.server_new)(
                SERVICE.as_ptr(),
                self.servername.as_ptr(),
                ptr::null(),
                ptr::null(),
                ptr::null(),
                self.callbacks.as_ptr(),
                0,
                &mut raw,
            )
        };
        self.api.check("sasl_server_new", code)?;
        let connection = Connection { api: self.api, raw };
        // SAFETY: `raw` is a live connection; this property takes a pointer to exactly this structure,
        // which the library copies.
        let code = unsafe {
            let value = (&raw const self.properties).cast();
            (self.api.setprop)(connection.raw, PROP_SEC_PROPS, value)
        };
        self.api.check("sasl_setprop", code)?;
        Ok(connection)
    }
}

impl Authority for Sasl {
    fn mechanisms(&self) -> &[String] {
        &self.mechanisms
    }

    fn begin(&self) -> Result<Box<dyn Authenticator>, String> {
        match self.connection() {
            Ok(connection) => Ok(Box::new(connection)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// One `sasl_conn_t`.
struct Connection {
    api: &'static Api,
    raw: *mut c_void,
}

// SAFETY: a connection may move between threads as long as one uses it at a time; the library guards
// its shared state with the mutexes given to `sasl_set_mutex`.
unsafe impl Send for Connection {}

impl Connection {
    /// The mechanisms of the library that need no security layer.
    fn mechanisms(&mut self) -> Result<Vec<String>, SaslError> {
        let mut list = ptr::null();
        // SAFETY: `raw` is live; separators are NUL-terminated; null is allowed for the user and for the
        // two counts; `list` receives a string that lives until the next call on this connection.
        let code = unsafe {
            (self.api.listmech)(
                self.raw,
                ptr::null(),
                c"".as_ptr(),
                c" ".as_ptr(),
                c"".as_ptr(),
                &mut list,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if code != OK || list.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: checked for null; NUL-terminated by the library, used before its next call.
        let names = unsafe { CStr::from_ptr(list) }.to_string_lossy();
        Ok(names.split(' ').filter(|name| is_offered(name)).map(str::to_owned).collect())
    }

    fn progress(&mut self, code: c_int, out: *const c_char, len: c_uint) -> Progress {
        match code {
            OK => match (self.property(PROP_AUTHUSER), self.property(PROP_USERNAME)) {
                (Some(authenticated), Some(authorized)) => {
                    Progress::Done(Identity { authenticated, authorized })
                }
                _ => self.failed(FAIL),
            },
            CONTINUE if out.is_null() => Progress::Challenge(Vec::new()),
            // SAFETY: not null, and the library says how many octets are there; they live until the next
            // call on this connection.
            CONTINUE => Progress::Challenge(unsafe {
                std::slice::from_raw_parts(out.cast::<u8>(), len as usize).to_vec()
            }),
            _ => self.failed(code),
        }
    }

    fn failed(&mut self, code: c_int) -> Progress {
        // SAFETY: `raw` is live; the result, if any, is a NUL-terminated string owned by it.
        let detail = unsafe { (self.api.errdetail)(self.raw) };
        // SAFETY: as said above, and `text` checks for null.
        let detail = unsafe { text(detail) }.unwrap_or_default();
        // A stranger shall not learn which users exist.
        let told = if code == NOUSER { BADAUTH } else { code };
        Progress::Failed { reply: self.api.error_text(told), detail }
    }

    fn property(&self, property: c_int) -> Option<String> {
        let mut value = ptr::null();
        // SAFETY: `raw` is live; both properties used here are NUL-terminated strings owned by it.
        let code = unsafe { (self.api.getprop)(self.raw, property, &mut value) };
        // SAFETY: as said above, and `text` checks for null.
        (code == OK).then(|| unsafe { text(value.cast()) }).flatten()
    }
}

impl Authenticator for Connection {
    fn start(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Progress {
        let Ok(mechanism) = CString::new(mechanism) else { return self.failed(FAIL) };
        let initial = initial.map(Input::new);
        let (mut out, mut len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the strings outlive the call; an absent initial response is null.
        let code = unsafe {
            (self.api.server_start)(
                self.raw,
                mechanism.as_ptr(),
                initial.as_ref().map_or(ptr::null(), Input::pointer),
                initial.as_ref().map_or(0, Input::len),
                &mut out,
                &mut len,
            )
        };
        self.progress(code, out, len)
    }

    fn step(&mut self, response: &[u8]) -> Progress {
        let input = Input::new(response);
        let (mut out, mut len) = (ptr::null(), 0);
        // SAFETY: `raw` is live and `input` outlives the call.
        let code = unsafe {
            (self.api.server_step)(self.raw, input.pointer(), input.len(), &mut out, &mut len)
        };
        self.progress(code, out, len)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `sasl_server_new` and is not used again.
        unsafe { (self.api.dispose)(&mut self.raw) }
    }
}

/// Octets of the client with a NUL behind them, which some plugins rely on.
struct Input(Vec<u8>);

impl Input {
    fn new(octets: &[u8]) -> Input {
        let mut buffer = Vec::with_capacity(octets.len() + 1);
        buffer.extend_from_slice(octets);
        buffer.push(0);
        Input(buffer)
    }

    fn pointer(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    fn len(&self) -> c_uint {
        (self.0.len() - 1) as c_uint
    }
}

fn is_offered(mechanism: &str) -> bool {
    let scram = mechanism.starts_with("SCRAM-") && !mechanism.ends_with("-PLUS");
    scram || mechanism == "PLAIN" || mechanism == "LOGIN"
}

/// # Safety
/// `pointer` is null or a NUL-terminated string that lives during the call.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    Some(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// `sasl_security_properties_t`.
#[repr(C)]
struct SecurityProperties {
    min_ssf: c_uint,
    max_ssf: c_uint,
    max_buffer: c_uint,
    flags: c_uint,
    names: *const *const c_char,
    values: *const *const c_char,
}

// SAFETY: the two pointers are always null; the rest are numbers.
unsafe impl Send for Sasl {}
// SAFETY: as above; the library's own state is guarded by its mutexes, and `&Sasl` only makes connections.
unsafe impl Sync for Sasl {}

/// `sasl_callback_t`.
#[repr(C)]
struct Callback {
    id: c_ulong,
    function: *const c_void,
    context: *const c_void,
}

fn connection_callbacks(answers: &'static Answers) -> [Callback; 3] {
    [getopt_callback(answers), callback(CB_PROXY_POLICY, allow_proxy as *const c_void), list_end()]
}

fn getopt_callback(answers: &'static Answers) -> Callback {
    let context = ptr::from_ref(answers).cast();
    Callback { id: CB_GETOPT, function: getopt as *const c_void, context }
}

fn callback(id: c_ulong, function: *const c_void) -> Callback {
    Callback { id, function, context: ptr::null() }
}

fn list_end() -> Callback {
    callback(CB_LIST_END, ptr::null())
}

/// Options as the library wants them: C strings that stay where they are.
struct Answers {
    lookup: Lookup,
    /// Each distinct answer is leaked once; there are some twenty options.
    given: Mutex<HashMap<(Option<String>, String), Option<&'static CStr>>>,
}

impl Answers {
    fn new(lookup: Lookup) -> Answers {
        Answers { lookup, given: Mutex::new(HashMap::new()) }
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
    let Some(answer) = option.and_then(|option| answers.get(plugin, option)) else { return FAIL };
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

unsafe extern "C" fn mutex_new() -> *mut c_void {
    Box::into_raw(Box::new(libc::PTHREAD_MUTEX_INITIALIZER)).cast()
}

unsafe extern "C" fn mutex_lock(mutex: *mut c_void) -> c_int {
    // SAFETY: the library passes what `mutex_new` returned and has not freed it.
    if unsafe { libc::pthread_mutex_lock(mutex.cast()) } == 0 { OK } else { FAIL }
}

unsafe extern "C" fn mutex_unlock(mutex: *mut c_void) -> c_int {
    // SAFETY: as in `mutex_lock`.
    if unsafe { libc::pthread_mutex_unlock(mutex.cast()) } == 0 { OK } else { FAIL }
}

unsafe extern "C" fn mutex_free(mutex: *mut c_void) {
    // SAFETY: as in `mutex_lock`, and the library does not use it again.
    drop(unsafe { Box::from_raw(mutex.cast::<libc::pthread_mutex_t>()) });
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
struct Api {
    server_new: ServerNew,
    listmech: ListMech,
    server_start: ServerStart,
    server_step: ServerStep,
    setprop: unsafe extern "C" fn(*mut c_void, c_int, *const c_void) -> c_int,
    getprop: unsafe extern "C" fn(*mut c_void, c_int, *mut *const c_void) -> c_int,
    errdetail: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    errstring:
        unsafe extern "C" fn(c_int, *const c_char, *mut *const c_char) -> *const c_char,
    dispose: unsafe extern "C" fn(*mut *mut c_void),
}

static API: OnceLock<Api> = OnceLock::new();
static INITIALISING: Mutex<()> = Mutex::new(());

impl Api {
    fn get(answers: &'static Answers) -> Result<&'static Api, SaslError> {
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
            let callbacks = Box::leak(Box::new([
                getopt_callback(answers),
                callback(CB_LOG, log as *const c_void),
                list_end(),
            ]));
            let code = init(callbacks.as_ptr(), APPLICATION.as_ptr());
            api.check("sasl_server_init", code)?;
            Ok(api)
        }
    }

    fn check(&self, call: &'static str, code: c_int) -> Result<(), SaslError> {
        if code == OK {
            return Ok(());
        }
        Err(SaslError::Call { call, reason: self.error_text(code) })
    }

    fn error_text(&self, code: c_int) -> String {
        // SAFETY: null is allowed for both languages; the result is a static string.
        let message = unsafe { (self.errstring)(code, ptr::null(), ptr::null_mut()) };
        // SAFETY: as said above, and `text` checks for null.
        unsafe { text(message) }.unwrap_or_else(|| format!("error {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mechanisms_without_a_layer_are_offered() {
        let all = "PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS DIGEST-MD5 CRAM-MD5 GSSAPI \
                   ANONYMOUS EXTERNAL NTLM";
        let offered: Vec<_> = all.split(' ').filter(|name| is_offered(name)).collect();
        assert_eq!(offered, ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"]);
    }

    #[test]
    fn answers_are_asked_for_once() {
        static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let answers = Answers::new(Box::new(|plugin, option| {
            ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            (option == "mech_list").then(|| format!("{plugin:?}"))
        }));
        for _ in 0..3 {
            assert_eq!(answers.get(None, "mech_list".into()), Some(c"None"));
            assert_eq!(answers.get(Some("p".into()), "mech_list".into()), Some(c"Some(\"p\")"));
            assert_eq!(answers.get(None, "other".into()), None);
        }
        assert_eq!(ASKED.load(std::sync::atomic::Ordering::Relaxed), 3);
    }
}
