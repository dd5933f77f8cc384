//! The client's side of an exchange: which mechanism, and what to answer to the server's challenges.
//!
//! No security layer is ever negotiated: TLS is there for that.

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr;

use super::c::{CONTINUE, FAIL, OK, text};
use super::callbacks::{Answers, Callback, callback_with, list_end};
use super::library::{Api, Input, SecurityProperties};
use super::{Lookup, SaslError};

const USER: c_ulong = 0x4001;
const AUTHNAME: c_ulong = 0x4002;
const PASS: c_ulong = 0x4004;
const GETREALM: c_ulong = 0x4008;
const PROP_SEC_PROPS: c_int = 101;
const SEC_NOANONYMOUS: c_uint = 0x0010;

/// With what to log in.
pub struct Login<'a> {
    /// The user.
    pub user: &'a str,
    /// Without one only mechanisms that need none are tried (GSSAPI, EXTERNAL).
    pub password: Option<&'a str>,
    /// For mechanisms that know realms.
    pub realm: Option<&'a str>,
}

/// One exchange with one server.
pub struct Client {
    api: &'static Api,
    raw: *mut c_void,
    /// The library keeps pointers into it until it is disposed of.
    _secrets: Box<Secrets>,
}

/// What the client has to say.
pub struct Response {
    /// The mechanism, said at the start only.
    pub mechanism: String,
    /// The octets; none when the mechanism has no initial response.
    pub octets: Option<Vec<u8>>,
}

impl Client {
    /// Prepares a login for the service (`csync` or `imap`) of the server called `host`.
    ///
    /// # Errors
    /// The library is not there, or refuses.
    pub fn new(
        service: &str,
        host: &str,
        login: &Login<'_>,
        lookup: Lookup,
    ) -> Result<Client, SaslError> {
        let answers: &'static Answers = Box::leak(Box::new(Answers::new(lookup)));
        let api = Api::client(answers)?;
        let secrets = Secrets::new(login)?;
        let (service, host) = (c_string(service)?, c_string(host)?);
        let mut raw = ptr::null_mut();
        // SAFETY: all strings outlive the call (the library copies them); the callbacks live as long as the
        // connection, in `secrets`; `raw` receives the new connection.
        let code = unsafe {
            (api.client_new)(
                service.as_ptr(),
                host.as_ptr(),
                ptr::null(),
                ptr::null(),
                secrets.callbacks.as_ptr(),
                0,
                &mut raw,
            )
        };
        api.check("sasl_client_new", code)?;
        let client = Client {
            api,
            raw,
            _secrets: secrets,
        };
        client.forbid_layers()?;
        Ok(client)
    }

    /// Chooses the best of the server's mechanisms.
    ///
    /// # Errors
    /// There is none that we have, or the login data do not fit it.
    pub fn start(&mut self, mechanisms: &[&str]) -> Result<Response, SaslError> {
        let list = c_string(&mechanisms.join(" "))?;
        let (mut out, mut len, mut mechanism) = (ptr::null(), 0, ptr::null());
        // SAFETY: `raw` is live, the list outlives the call, the others receive values.
        let code = unsafe {
            (self.api.client_start)(
                self.raw,
                list.as_ptr(),
                ptr::null_mut(),
                &mut out,
                &mut len,
                &mut mechanism,
            )
        };
        self.check("sasl_client_start", code)?;
        // SAFETY: null or a string of the library.
        let mechanism = unsafe { text(mechanism) }.unwrap_or_default();
        Ok(Response {
            mechanism,
            octets: octets(out, len),
        })
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// The server is not who it should be, or talks nonsense.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        let input = Input::new(challenge);
        let (mut out, mut len) = (ptr::null(), 0);
        // SAFETY: `raw` is live and `input` outlives the call.
        let code = unsafe {
            (self.api.client_step)(
                self.raw,
                input.pointer(),
                input.len(),
                ptr::null_mut(),
                &mut out,
                &mut len,
            )
        };
        self.check("sasl_client_step", code)?;
        Ok(octets(out, len).unwrap_or_default())
    }

    fn forbid_layers(&self) -> Result<(), SaslError> {
        let properties = SecurityProperties {
            min_ssf: 0,
            max_ssf: 0,
            max_buffer: 0,
            flags: SEC_NOANONYMOUS,
            names: ptr::null(),
            values: ptr::null(),
        };
        // SAFETY: `raw` is live; this property takes a pointer to this structure, which is copied.
        let code =
            unsafe { (self.api.setprop)(self.raw, PROP_SEC_PROPS, (&raw const properties).cast()) };
        self.api.check("sasl_setprop", code)
    }

    fn check(&self, call: &'static str, code: c_int) -> Result<(), SaslError> {
        if code == OK || code == CONTINUE {
            return Ok(());
        }
        // SAFETY: `raw` is live; the result, if any, is a NUL-terminated string owned by it.
        let detail = unsafe { text((self.api.errdetail)(self.raw)) };
        let reason = detail.unwrap_or_else(|| self.api.error_text(code));
        Err(SaslError::Call { call, reason })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `sasl_client_new` and is not used again.
        unsafe { (self.api.dispose)(&mut self.raw) }
    }
}

fn octets(out: *const c_char, len: c_uint) -> Option<Vec<u8>> {
    // SAFETY: the library says how many octets are there; they live until its next call.
    (!out.is_null())
        .then(|| unsafe { std::slice::from_raw_parts(out.cast::<u8>(), len as usize).to_vec() })
}

fn c_string(text: &str) -> Result<CString, SaslError> {
    CString::new(text).map_err(|_| SaslError::ServerName)
}

/// The login data as the callbacks give them, at addresses that do not change.
struct Secrets {
    user: CString,
    realm: Option<CString>,
    /// `sasl_secret_t`: a length, then the octets; aligned as a length must be.
    password: Option<Vec<c_ulong>>,
    callbacks: [Callback; 5],
}

impl Secrets {
    fn new(login: &Login<'_>) -> Result<Box<Secrets>, SaslError> {
        let mut secrets = Box::new(Secrets {
            user: c_string(login.user)?,
            realm: login.realm.map(c_string).transpose()?,
            password: login.password.map(secret),
            callbacks: [const { list_end() }; 5],
        });
        // Only now the address is the final one.
        let context = (&raw const *secrets).cast::<c_void>();
        secrets.callbacks = [
            callback_with(USER, simple as *const c_void, context),
            callback_with(AUTHNAME, simple as *const c_void, context),
            callback_with(PASS, password as *const c_void, context),
            callback_with(GETREALM, realm as *const c_void, context),
            list_end(),
        ];
        Ok(secrets)
    }
}

fn secret(password: &str) -> Vec<c_ulong> {
    const WORD: usize = size_of::<c_ulong>();
    let mut words = vec![password.len() as c_ulong];
    for group in password.as_bytes().chunks(WORD) {
        let mut word = [0; WORD];
        word[..group.len()].copy_from_slice(group);
        words.push(c_ulong::from_ne_bytes(word));
    }
    // A NUL behind the octets, which some plugins rely on.
    words.push(0);
    words
}

unsafe extern "C" fn simple(
    context: *const c_void,
    _id: c_int,
    result: *mut *const c_char,
    len: *mut c_uint,
) -> c_int {
    if context.is_null() || result.is_null() {
        return FAIL;
    }
    // SAFETY: the context is the `Secrets` of a live connection; the pointers are valid or null.
    unsafe {
        let secrets = &*context.cast::<Secrets>();
        *result = secrets.user.as_ptr();
        if !len.is_null() {
            *len = secrets.user.count_bytes() as c_uint;
        }
    }
    OK
}

unsafe extern "C" fn password(
    _connection: *mut c_void,
    context: *const c_void,
    _id: c_int,
    result: *mut *const c_ulong,
) -> c_int {
    if context.is_null() || result.is_null() {
        return FAIL;
    }
    // SAFETY: the context is the `Secrets` of a live connection; `result` is valid. The library only reads.
    unsafe {
        match &(*context.cast::<Secrets>()).password {
            Some(password) => {
                *result = password.as_ptr();
                OK
            }
            None => FAIL,
        }
    }
}

unsafe extern "C" fn realm(
    context: *const c_void,
    _id: c_int,
    available: *const *const c_char,
    result: *mut *const c_char,
) -> c_int {
    if context.is_null() || result.is_null() {
        return FAIL;
    }
    // SAFETY: the context is the `Secrets` of a live connection; `available` is null or an array of strings
    // that ends with null; `result` is valid.
    unsafe {
        let secrets = &*context.cast::<Secrets>();
        *result = match &secrets.realm {
            Some(realm) => realm.as_ptr(),
            None if available.is_null() || (*available).is_null() => c"".as_ptr(),
            None => *available,
        };
    }
    OK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_says_user_and_password() {
        let login = Login {
            user: "repl",
            password: Some("geheimer als sonst"),
            realm: None,
        };
        let client = Client::new("csync", "localhost", &login, Box::new(|_, _| None));
        let mut client = match client {
            Ok(client) => client,
            // Said by the server's tests, and loudly.
            Err(SaslError::Load(_)) => return,
            Err(error) => panic!("{error}"),
        };
        let response = client.start(&["PLAIN"]).unwrap();
        assert_eq!(response.mechanism, "PLAIN");
        let octets = response.octets.unwrap();
        let said = String::from_utf8_lossy(&octets);
        assert!(said.ends_with("repl\0geheimer als sonst"), "{said:?}");
        assert!(client.start(&["NO-SUCH-MECHANISM"]).is_err());
    }
}
