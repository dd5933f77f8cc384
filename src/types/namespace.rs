//! How mailbox names are read and shown: the few settings of imapd.conf that names depend on
//! (spec: ondisk 1.5, 2). Our tools speak as an administrator, so `altnamespace` and its prefixes
//! do not appear here.

/// The settings that decide what a mailbox name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// `/` separates folders in names that people type and read; `.` otherwise.
    pub unixhierarchysep: bool,
    /// Whether `@domain` at the end of an external name is a domain.
    pub virtdomains: VirtDomains,
    /// The domain that is left out of names and user ids.
    pub defaultdomain: String,
    /// First component of the names of deleted mailboxes.
    pub deletedprefix: String,
}

/// The option `virtdomains`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VirtDomains {
    /// `@` in a name is an ordinary character.
    #[default]
    Off,
    /// The domain is the text after the last `@`.
    Userid,
    /// As `Userid`; Cyrus also looks at the address a client connected to, which names do not see.
    On,
}

impl Namespace {
    /// The character between folders in external names.
    pub fn separator(&self) -> char {
        if self.unixhierarchysep { '/' } else { '.' }
    }
}

impl Default for Namespace {
    /// What Cyrus 3.x uses when imapd.conf says nothing.
    fn default() -> Namespace {
        Namespace {
            unixhierarchysep: true,
            virtdomains: VirtDomains::Off,
            defaultdomain: "internal".to_owned(),
            deletedprefix: "DELETED".to_owned(),
        }
    }
}
