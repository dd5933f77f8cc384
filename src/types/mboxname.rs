//! Names of mailboxes: the internal form of wire and disk, what it says (owner, folders, deletion
//! time), and the form people type (spec: ondisk 2.1 to 2.3, csync 5.7).
//! Left out: decoding folder names for display, which is `mutf7`.

use std::fmt;

use super::{BackupKey, InvalidName, Namespace, VirtDomains};

/// An internal mailbox name: `[domain!][DELETED.]user.LOCAL[.box]*[.HEXTIME]`, or
/// `[domain!]box[.box]*` for a shared one. Valid UTF-8 without control characters, and its owner is
/// always a legal [`BackupKey`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MboxName(String);

/// What an internal name says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MboxParts {
    /// The domain, unless it is the default one.
    pub domain: Option<String>,
    /// When it was deleted (unix seconds, 0 when the name does not say), for mailboxes below the
    /// deleted prefix.
    pub deleted: Option<u32>,
    /// The owner without domain; `None` = shared.
    pub user: Option<String>,
    /// Folders below the user (empty = INBOX), or all components of a shared mailbox; `^` is
    /// already `.`, the text is still modified UTF-7.
    pub folders: Vec<String>,
}

impl MboxName {
    /// Accepts an internal name as the wire gives it.
    pub fn new(name: impl Into<String>) -> Result<MboxName, InvalidName> {
        let name = name.into();
        if name.chars().any(char::is_control) {
            return Err(InvalidName::Control);
        }
        check_owner(&name)?;
        Ok(MboxName(name))
    }

    /// The internal name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The backup this mailbox belongs to. A deleted mailbox of a user still is the user's.
    pub fn owner(&self, namespace: &Namespace) -> BackupKey {
        let MboxParts { domain, user, .. } = self.parts(namespace);
        match user {
            None => BackupKey::shared(),
            // `new` has checked it.
            Some(user) => BackupKey(userid(&user, domain.as_deref())),
        }
    }

    /// Takes the name apart. Empty components do not count: `user..x` is `user.x`.
    pub fn parts(&self, namespace: &Namespace) -> MboxParts {
        let (domain, rest) = split_domain(&self.0);
        let mut components: Vec<&str> = components(rest, '.').collect();
        let deleted = take_deletion(&mut components, namespace);
        let user = take_user(&mut components);
        MboxParts {
            domain: domain
                .filter(|domain| *domain != namespace.defaultdomain)
                .map(str::to_owned),
            deleted,
            user: user.map(dots),
            folders: components.into_iter().map(dots).collect(),
        }
    }

    /// The name as an administrator types it: `user/a.b/Sub@domain`, or `user.a^b.Sub` with `.` as
    /// separator.
    pub fn to_external(&self, namespace: &Namespace) -> String {
        let (domain, rest) = split_domain(&self.0);
        let separator = namespace.separator().to_string();
        let mut external = components(rest, '.').collect::<Vec<_>>().join(&separator);
        if namespace.unixhierarchysep {
            external = dots(&external);
        }
        if let Some(domain) = domain.filter(|domain| *domain != namespace.defaultdomain) {
            external.push('@');
            external.push_str(domain);
        }
        external
    }

    /// Reads a name that an administrator typed. `None` for one that cannot name a mailbox: the
    /// other separator's characters, `INBOX` (whose?), nothing at all. C takes all these for an
    /// empty shared name.
    pub fn from_external(external: &str, namespace: &Namespace) -> Option<MboxName> {
        let (rest, domain) = match external.rsplit_once('@') {
            Some((rest, domain)) if namespace.virtdomains != VirtDomains::Off => (rest, domain),
            _ => (external, ""),
        };
        let foreign = if namespace.unixhierarchysep { '^' } else { '/' };
        // `!` would turn the text before it into a domain, which the typed form writes after `@`.
        if rest.contains([foreign, '!']) || domain.contains('!') {
            return None;
        }
        let components: Vec<&str> = components(rest, namespace.separator()).collect();
        if components.first()?.eq_ignore_ascii_case("INBOX") {
            return None;
        }
        let mut name = match domain {
            "" => String::new(),
            domain if domain == namespace.defaultdomain => String::new(),
            domain => format!("{domain}!"),
        };
        let carets = components
            .iter()
            .map(|component| component.replace('.', "^"));
        name.push_str(&carets.collect::<Vec<_>>().join("."));
        MboxName::new(name).ok()
    }
}

impl fmt::Display for MboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses a name whose owner could not be a backup key, whatever the deleted prefix is called:
/// the owner stands behind the first component, or behind the second one of a deleted mailbox.
fn check_owner(name: &str) -> Result<(), InvalidName> {
    let (domain, rest) = split_domain(name);
    let components: Vec<&str> = components(rest, '.').take(3).collect();
    for pair in components.windows(2).filter(|pair| pair[0] == "user") {
        let local = dots(pair[1]);
        for domain in [None, domain] {
            let userid = userid(&local, domain);
            if BackupKey::from_userid(&userid)?.is_shared() {
                return Err(InvalidName::Reserved);
            }
        }
    }
    Ok(())
}

/// `domain!rest`: the text before the first `!`.
fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('!') {
        Some((domain, rest)) => (Some(domain), rest),
        None => (None, name),
    }
}

fn components(rest: &str, separator: char) -> impl Iterator<Item = &str> {
    rest.split(separator)
        .filter(|component| !component.is_empty())
}

/// Strips the deleted prefix and the time at the end, when more than two components are there.
fn take_deletion(components: &mut Vec<&str>, namespace: &Namespace) -> Option<u32> {
    if components.len() < 3 || components[0] != namespace.deletedprefix {
        return None;
    }
    components.remove(0);
    components.pop().map(hex_time)
}

/// As strtoul(3) reads it: leading hex digits count, none is 0, too many are the maximum.
fn hex_time(text: &str) -> u32 {
    text.chars()
        .map_while(|c| c.to_digit(16))
        .fold(0u32, |time, digit| {
            time.saturating_mul(16).saturating_add(digit)
        })
}

/// Strips `user.LOCAL`; `user` is recognised in lower case only.
fn take_user<'a>(components: &mut Vec<&'a str>) -> Option<&'a str> {
    if components.len() < 2 || components[0] != "user" {
        return None;
    }
    components.drain(..2).next_back()
}

fn userid(local: &str, domain: Option<&str>) -> String {
    match domain {
        None => local.to_owned(),
        Some(domain) => format!("{local}@{domain}"),
    }
}

fn dots(component: &str) -> String {
    component.replace('^', ".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> MboxName {
        MboxName::new(text).unwrap()
    }

    fn namespace(unixhierarchysep: bool, virtdomains: VirtDomains) -> Namespace {
        Namespace {
            unixhierarchysep,
            virtdomains,
            ..Namespace::default()
        }
    }

    #[test]
    fn owners_as_c_backupd_files_them() {
        for (internal, owner) in [
            ("user.anne", "anne"),
            ("user.a^b", "a.b"),
            ("example.com!user.a^b.Sub", "a.b@example.com"),
            ("internal!user.idef", "idef"),
            ("user..dbl", "dbl"),
            ("USER.up", "%SHARED"),
            ("user", "%SHARED"),
            ("user.", "%SHARED"),
            ("user.UpCase", "UpCase"),
            ("user.x y", "x y"),
            ("DELETED.user.del.Sub.5F0A1B2C", "del"),
            ("DELETED.user.del.5F0A1B2C", "del"),
            ("DELETED.foo.5F0A1B2C", "%SHARED"),
            ("x.org!DELETED.user.c^d.6B049000", "c.d@x.org"),
            ("x.org!dom.sub", "%SHARED"),
            ("team.dev", "%SHARED"),
            ("x.org/Sub f!user.c^d", "c.d@x.org/Sub f"),
            ("", "%SHARED"),
        ] {
            let owner_found = name(internal).owner(&Namespace::default());
            assert_eq!(owner_found.as_str(), owner, "owner of {internal:?}");
        }
    }

    #[test]
    fn external_names_find_the_backup_that_c_finds() {
        const SHARED: &str = "%SHARED";
        #[rustfmt::skip]
        let table = [
            ("user.anne.Sub", ["anne", SHARED, "anne", SHARED]),
            ("user/anne/Sub", [SHARED, "anne", SHARED, "anne"]),
            ("user.a^b.X", ["a.b", SHARED, "a.b", SHARED]),
            ("user/a.b/X", [SHARED, "a.b", SHARED, "a.b"]),
            ("user.a.b", ["a", SHARED, "a", SHARED]),
            ("user.dave@example.com", ["dave@example", SHARED, "dave@example.com", SHARED]),
            ("user/dave@example.com", [SHARED, "dave@example.com", SHARED, "dave@example.com"]),
            ("user/dave/x@internal", [SHARED, "dave", SHARED, "dave"]),
            ("example.com!user.dave", [SHARED; 4]),
            ("DELETED.user.anne.5F0A1B2C", ["anne", SHARED, "anne", SHARED]),
            ("DELETED/user/anne/5F0A1B2C", [SHARED, "anne", SHARED, "anne"]),
            ("shared.foo", [SHARED; 4]),
            ("user", [SHARED; 4]),
            ("INBOX", [SHARED; 4]),
            ("inbox.x", [SHARED; 4]),
            ("user.", [SHARED; 4]),
            ("", [SHARED; 4]),
        ];
        for (external, owners) in table {
            for (i, expected) in owners.into_iter().enumerate() {
                let virtdomains = [VirtDomains::Off, VirtDomains::On][i / 2];
                let namespace = namespace(i % 2 == 1, virtdomains);
                let owner = MboxName::from_external(external, &namespace)
                    .map_or(BackupKey::shared(), |name| name.owner(&namespace));
                assert_eq!(owner.as_str(), expected, "{external} with {namespace:?}");
            }
        }
    }

    #[test]
    fn parts_of_a_deleted_mailbox_of_a_user_in_a_domain() {
        let parts = name("x.org!DELETED.user.c^d.A^1.B.6B049000").parts(&Namespace::default());
        assert_eq!(
            parts,
            MboxParts {
                domain: Some("x.org".to_owned()),
                deleted: Some(0x6B04_9000),
                user: Some("c.d".to_owned()),
                folders: vec!["A.1".to_owned(), "B".to_owned()],
            }
        );
    }

    #[test]
    fn parts_of_a_shared_mailbox_keep_modified_utf7() {
        let parts = name("team.S^1&AOk-").parts(&Namespace::default());
        assert_eq!(parts.folders, ["team", "S.1&AOk-"]);
        assert_eq!(parts.user, None);
    }

    #[test]
    fn deletion_times_are_read_like_strtoul() {
        for (text, time) in [
            ("6B048689", 0x6B04_8689),
            ("zz", 0),
            ("12zz", 0x12),
            ("FFFFFFFFFF", u32::MAX),
        ] {
            let parts = name(&format!("DELETED.user.x.{text}")).parts(&Namespace::default());
            assert_eq!(parts.deleted, Some(time), "{text}");
        }
    }

    #[test]
    fn the_deleted_prefix_is_configurable() {
        let namespace = Namespace {
            deletedprefix: "GONE".to_owned(),
            ..Namespace::default()
        };
        let owner = |text| name(text).owner(&namespace).as_str().to_owned();
        assert_eq!(owner("GONE.user.x.6B048689"), "x");
        assert_eq!(owner("DELETED.user.x.6B048689"), "%SHARED");
    }

    #[test]
    fn names_with_impossible_owners_are_refused() {
        for (text, reason) in [
            ("user.^^", InvalidName::DotDot),
            ("user.^^/^^/evil", InvalidName::DotDot),
            ("GONE.user.^^/x.6B048689", InvalidName::DotDot),
            ("a/../b!user.x", InvalidName::DotDot),
            ("user.%SHARED.x", InvalidName::Reserved),
            ("user.a\0", InvalidName::Control),
        ] {
            assert_eq!(MboxName::new(text), Err(reason), "{text:?}");
        }
        let long = format!("user.{}", "x".repeat(481));
        assert_eq!(MboxName::new(long), Err(InvalidName::TooLong));
        assert!(MboxName::new("user.anne.^^").is_ok(), "a folder named ..");
    }

    #[test]
    fn external_forms() {
        let unix = namespace(true, VirtDomains::On);
        let net = namespace(false, VirtDomains::On);
        for (internal, with_slash, with_dot) in [
            ("user.a^b.S^1", "user/a.b/S.1", "user.a^b.S^1"),
            ("x.org!user.c^d", "user/c.d@x.org", "user.c^d@x.org"),
            (
                "DELETED.user.x.6B048689",
                "DELETED/user/x/6B048689",
                "DELETED.user.x.6B048689",
            ),
            ("team.dev", "team/dev", "team.dev"),
        ] {
            assert_eq!(name(internal).to_external(&unix), with_slash);
            assert_eq!(name(internal).to_external(&net), with_dot);
        }
        assert_eq!(name("internal!user.x").to_external(&unix), "user/x");
    }

    proptest! {
        #[test]
        fn owner_is_always_a_legal_key_and_nothing_panics(text in "[a-zA-Z.^/!@%\u{e9} ]{0,40}") {
            if let Ok(name) = MboxName::new(text) {
                let namespace = Namespace::default();
                let parts = name.parts(&namespace);
                let owner = name.owner(&namespace);
                prop_assert_eq!(parts.user.is_none(), owner.is_shared());
                prop_assert_eq!(BackupKey::from_userid(owner.as_str()), Ok(owner));
            }
        }

        #[test]
        fn external_round_trip(
            user in "[a-z][a-z^]{0,8}",
            folders in prop::collection::vec("[a-zA-Z0-9 &^-]{1,8}", 0..5),
            unix: bool,
        ) {
            let namespace = namespace(unix, VirtDomains::On);
            let folders: String = folders.iter().map(|folder| format!(".{folder}")).collect();
            let internal = name(&format!("x.org!user.{user}{folders}"));
            let external = internal.to_external(&namespace);
            prop_assert_eq!(MboxName::from_external(&external, &namespace), Some(internal));
        }
    }
}
