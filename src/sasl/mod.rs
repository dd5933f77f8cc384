//! libsasl2, the library of all Cyrus programs: found at run time, so that building needs no header files
//! and a machine without the package gets a message instead of a linker error. All `unsafe` of the login
//! is in here and in `backupd::sasl`, which is its server side; `client` is how we log in elsewhere.

pub(crate) mod c;
pub(crate) mod callbacks;
pub mod client;
pub(crate) mod library;

pub use callbacks::Lookup;
pub use client::Client;
pub use library::SaslError;
