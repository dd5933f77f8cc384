//! libsasl2 as the [`Authority`]: the library of all other Cyrus daemons, so that the `sasl_*` options,
//! sasldb, saslauthd and the installed mechanisms mean here what they mean there.
//!
//! No security layers are negotiated (`max_ssf` 0): the mechanisms that would install one are not offered (spec: csync 1.3).

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::Arc;

use super::auth::{Authenticator, Authority, Identity, Progress, Shield};
use crate::sasl::c::{BADAUTH, CONTINUE, FAIL, NOUSER, OK, text};
use crate::sasl::callbacks::{Answers, Callback, connection_callbacks};
use crate::sasl::library::{Api, Input, SecurityProperties};
pub use crate::sasl::{Lookup, SaslError};

const SERVICE: &CStr = c"csync";

const PROP_USERNAME: c_int = 0;
const PROP_AUTHUSER: c_int = 16;
const PROP_SSF_EXTERNAL: c_int = 100;
const PROP_SEC_PROPS: c_int = 101;
const PROP_AUTH_EXTERNAL: c_int = 102;

const SEC_NOPLAINTEXT: c_uint = 0x0001;
const SEC_NOANONYMOUS: c_uint = 0x0010;

/// What the server asks of the library.
pub struct SaslOptions {
    /// Option `servername`; also the default realm.
    pub servername: String,
    /// PLAIN and LOGIN are offered on an unencrypted connection (`allowplaintext`).
    pub allow_plaintext: bool,
    /// No login below this strength of encryption (`sasl_minimum_layer`, bits).
    pub minimum_layer: u32,
    /// No login at all on an unencrypted connection (`tls_required`).
    pub tls_required: bool,
    /// Realms whose users may come in besides our own (`loginrealms`); `None` = all, as with virtual
    /// domains, where `admins` tells.
    pub realms: Option<Vec<String>>,
    /// Answers (plugin, option) from imapd.conf (spec: ondisk 1.5).
    pub lookup: Lookup,
}

/// The initialised library with the options of one server.
pub struct Sasl {
    api: &'static Api,
    servername: CString,
    callbacks: &'static [Callback; 3],
    properties: SecurityProperties,
    tls_required: bool,
    realms: Option<Arc<[String]>>,
    /// In clear text, and under TLS.
    mechanisms: [Vec<String>; 2],
}

impl Sasl {
    /// Loads and initialises the library (once per process) and asks it for its mechanisms. The options
    /// stay in memory until the process ends, since the library keeps pointers to them.
    pub fn load(options: SaslOptions) -> Result<Sasl, SaslError> {
        let servername = CString::new(options.servername).map_err(|_| SaslError::ServerName)?;
        let context: &'static Answers = Box::leak(Box::new(Answers::new(options.lookup)));
        let api = Api::server(context)?;
        let plain = if options.allow_plaintext {
            0
        } else {
            SEC_NOPLAINTEXT
        };
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
            tls_required: options.tls_required,
            realms: options.realms.map(Into::into),
            mechanisms: Default::default(),
        };
        let strengths = [0, 256].map(|strength| Shield {
            strength,
            certificate: None,
        });
        for (at, shield) in strengths.iter().enumerate() {
            sasl.mechanisms[at] = sasl.connection(shield)?.mechanisms()?;
        }
        Ok(sasl)
    }

    fn connection(&self, shield: &Shield) -> Result<Connection, SaslError> {
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
        let connection = Connection {
            api: self.api,
            raw,
            realms: self.realms.clone(),
        };
        // SAFETY: `raw` is a live connection; this property takes a pointer to exactly this structure,
        // which the library copies.
        let code = unsafe {
            let value = (&raw const self.properties).cast();
            (self.api.setprop)(connection.raw, PROP_SEC_PROPS, value)
        };
        self.api.check("sasl_setprop", code)?;
        connection.shielded(shield)?;
        Ok(connection)
    }
}

impl Authority for Sasl {
    fn mechanisms(&self, shield: &Shield) -> Vec<String> {
        match (shield.strength, &shield.certificate) {
            (0, _) if self.tls_required => Vec::new(),
            (0, _) => self.mechanisms[0].clone(),
            (_, None) => self.mechanisms[1].clone(),
            // EXTERNAL is there only where a certificate is.
            (_, Some(_)) => {
                let listed = self.connection(shield).and_then(|mut c| c.mechanisms());
                listed.unwrap_or_else(|_| self.mechanisms[1].clone())
            }
        }
    }

    fn begin(&self, shield: &Shield) -> Result<Box<dyn Authenticator>, String> {
        match self.connection(shield) {
            Ok(connection) => Ok(Box::new(connection)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// One `sasl_conn_t`.
struct Connection {
    api: &'static Api,
    raw: *mut c_void,
    realms: Option<Arc<[String]>>,
}

// SAFETY: a connection may move between threads as long as one uses it at a time; the library guards
// its shared state with the mutexes given to `sasl_set_mutex`.
unsafe impl Send for Connection {}

impl Connection {
    /// Tells the library what protects the connection.
    fn shielded(&self, shield: &Shield) -> Result<(), SaslError> {
        let strength: c_uint = shield.strength;
        // SAFETY: `raw` is a live connection; this property takes a pointer to a number, which is copied.
        let code = unsafe {
            let value = (&raw const strength).cast();
            (self.api.setprop)(self.raw, PROP_SSF_EXTERNAL, value)
        };
        self.api.check("sasl_setprop", code)?;
        let Some(name) = &shield.certificate else {
            return Ok(());
        };
        let name = CString::new(name.as_str()).map_err(|_| SaslError::ServerName)?;
        // SAFETY: as above; this property takes a NUL-terminated string, which is copied.
        let code =
            unsafe { (self.api.setprop)(self.raw, PROP_AUTH_EXTERNAL, name.as_ptr().cast()) };
        self.api.check("sasl_setprop", code)
    }

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
        Ok(names
            .split(' ')
            .filter(|name| is_offered(name))
            .map(str::to_owned)
            .collect())
    }

    fn progress(&mut self, code: c_int, out: *const c_char, len: c_uint) -> Progress {
        match code {
            OK => match (self.property(PROP_AUTHUSER), self.property(PROP_USERNAME)) {
                (Some(authenticated), _) if !self.is_from_our_realms(&authenticated) => {
                    Progress::Failed {
                        reply: self.api.error_text(BADAUTH),
                        detail: format!("cross-realm login {authenticated} denied"),
                    }
                }
                (Some(authenticated), Some(authorized)) => Progress::Done(Identity {
                    authenticated,
                    authorized,
                }),
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

    /// The library leaves our own realm out of names, so one that is there is another's.
    fn is_from_our_realms(&self, user: &str) -> bool {
        let (Some(realms), Some((_, realm))) = (&self.realms, user.split_once('@')) else {
            return true;
        };
        realms.iter().any(|ours| ours.eq_ignore_ascii_case(realm))
    }

    fn failed(&mut self, code: c_int) -> Progress {
        // SAFETY: `raw` is live; the result, if any, is a NUL-terminated string owned by it.
        let detail = unsafe { (self.api.errdetail)(self.raw) };
        // SAFETY: as said above, and `text` checks for null.
        let detail = unsafe { text(detail) }.unwrap_or_default();
        // A stranger shall not learn which users exist.
        let told = if code == NOUSER { BADAUTH } else { code };
        Progress::Failed {
            reply: self.api.error_text(told),
            detail,
        }
    }

    fn property(&self, property: c_int) -> Option<String> {
        let mut value = ptr::null();
        // SAFETY: `raw` is live; both properties used here are NUL-terminated strings owned by it.
        let code = unsafe { (self.api.getprop)(self.raw, property, &mut value) };
        // SAFETY: as said above, and `text` checks for null.
        (code == OK)
            .then(|| unsafe { text(value.cast()) })
            .flatten()
    }
}

impl Authenticator for Connection {
    fn start(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Progress {
        let Ok(mechanism) = CString::new(mechanism) else {
            return self.failed(FAIL);
        };
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

fn is_offered(mechanism: &str) -> bool {
    let scram = mechanism.starts_with("SCRAM-") && !mechanism.ends_with("-PLUS");
    scram || ["PLAIN", "LOGIN", "EXTERNAL"].contains(&mechanism)
}

// SAFETY: the two pointers are always null; the rest are numbers.
unsafe impl Send for Sasl {}
// SAFETY: as above; the library's own state is guarded by its mutexes, and `&Sasl` only makes connections.
unsafe impl Sync for Sasl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mechanisms_without_a_layer_are_offered() {
        let all = "PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS DIGEST-MD5 CRAM-MD5 GSSAPI \
                   ANONYMOUS EXTERNAL NTLM";
        let offered: Vec<_> = all.split(' ').filter(|name| is_offered(name)).collect();
        let expected = ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL"];
        assert_eq!(offered, expected);
    }
}
