//! Where a mailbox goes: its own name, the one that `-M` says, or one below `--into`. Pure.

use crate::types::{MboxName, MboxParts, Namespace, mutf7};

/// How names change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// They stay; deleted mailboxes get their old names back unless told otherwise.
    Own {
        /// `-D`
        keep_deletedprefix: bool,
    },
    /// `-M`: all into one.
    One(MboxName),
    /// `--into`
    Below(MboxName),
}

impl Destination {
    /// The name of a mailbox in the target.
    pub fn of(&self, mboxname: &str, namespace: &Namespace) -> String {
        match self {
            Destination::Own {
                keep_deletedprefix: true,
            } => mboxname.to_owned(),
            Destination::Own { .. } => undeleted(mboxname, namespace),
            Destination::One(name) => name.as_str().to_owned(),
            Destination::Below(prefix) => {
                let folders = match parts(mboxname, namespace) {
                    Some(parts) => parts.folders,
                    None => vec![mboxname.to_owned()],
                };
                let mut name = prefix.as_str().to_owned();
                for folder in folders {
                    name.push('.');
                    name.push_str(&folder.replace('.', "^"));
                }
                name
            }
        }
    }
}

/// A name as it is typed behind `-M` and `--into`. C takes internal names there (`user.anne.New`), whatever the
/// separator; with a `/` in it, where that is the separator, it is meant as everywhere else. What is no modified UTF-7
/// is spelled so. `INBOX` is nobody's here, and `user` is no mailbox.
pub fn destination(text: &str, namespace: &Namespace) -> Option<MboxName> {
    let name = match text.contains('/') {
        true => MboxName::from_external(text, namespace)?,
        false => MboxName::new(text).ok()?,
    };
    let parts = name.parts(namespace);
    let names_something = parts.user.is_some()
        || match parts.folders.as_slice() {
            [] => false,
            [only] if only == "user" => false,
            [first, ..] => !first.eq_ignore_ascii_case("INBOX"),
        };
    let spelled = name.as_str().split('.').map(|part| {
        let is_spelled = mutf7::decode(part).is_some();
        if is_spelled {
            part.to_owned()
        } else {
            mutf7::encode(part)
        }
    });
    let spelled = spelled.collect::<Vec<_>>().join(".");
    MboxName::new(spelled).ok().filter(|_| names_something)
}

/// The name without the deleted prefix and the time behind it.
pub fn undeleted(mboxname: &str, namespace: &Namespace) -> String {
    if parts(mboxname, namespace).is_none_or(|parts| parts.deleted.is_none()) {
        return mboxname.to_owned();
    }
    let (domain, rest) = match mboxname.split_once('!') {
        Some((domain, rest)) => (format!("{domain}!"), rest),
        None => (String::new(), mboxname),
    };
    let components: Vec<&str> = rest.split('.').filter(|c| !c.is_empty()).collect();
    let inner = components.get(1..components.len() - 1).unwrap_or_default();
    domain + &inner.join(".")
}

/// Whose it is, as a userid; none for shared mailboxes.
pub fn owner(mboxname: &str, namespace: &Namespace) -> Option<String> {
    let owner = MboxName::new(mboxname).ok()?.owner(namespace);
    (!owner.is_shared()).then(|| owner.as_str().to_owned())
}

/// The INBOX of its owner, when it is not that itself.
pub fn inbox(mboxname: &str, namespace: &Namespace) -> Option<String> {
    let parts = parts(mboxname, namespace)?;
    if parts.folders.is_empty() {
        return None;
    }
    let user = parts.user?.replace('.', "^");
    let domain = parts.domain.map(|domain| format!("{domain}!"));
    Some(format!("{}user.{user}", domain.unwrap_or_default()))
}

fn parts(mboxname: &str, namespace: &Namespace) -> Option<MboxParts> {
    Some(MboxName::new(mboxname).ok()?.parts(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_and_external_destinations() {
        let namespace = Namespace::default();
        for (typed, name) in [
            ("user.anne.New", Some("user.anne.New")),
            ("user/anne/N.1", Some("user.anne.N^1")),
            ("team", Some("team")),
            ("", None),
            ("...", None),
            ("INBOX/x", None),
            ("INBOX", None),
            ("inbox.x", None),
            ("user", None),
            ("user/", None),
            ("user/anne/R\u{fc}ck", Some("user.anne.R&APw-ck")),
            ("user.anne.R\u{fc}ck", Some("user.anne.R&APw-ck")),
            ("user/anne/R&APw-ck.1", Some("user.anne.R&APw-ck^1")),
            ("user/anne/R&D", Some("user.anne.R&-D")),
        ] {
            let found = destination(typed, &namespace);
            assert_eq!(found.as_ref().map(MboxName::as_str), name, "{typed}");
        }
    }

    #[test]
    fn every_way_to_go() {
        let namespace = Namespace::default();
        let name = |text: &str| MboxName::new(text).unwrap();
        let own = Destination::Own {
            keep_deletedprefix: false,
        };
        let kept = Destination::Own {
            keep_deletedprefix: true,
        };
        let one = Destination::One(name("user.bob.x"));
        let below = Destination::Below(name("user.anne.RESTORED"));
        for (from, to) in [
            (
                "user.anne",
                ["user.anne", "user.anne", "user.anne.RESTORED"],
            ),
            (
                "user.anne.A^1.B",
                [
                    "user.anne.A^1.B",
                    "user.anne.A^1.B",
                    "user.anne.RESTORED.A^1.B",
                ],
            ),
            (
                "DELETED.user.anne.T.6B048689",
                [
                    "user.anne.T",
                    "DELETED.user.anne.T.6B048689",
                    "user.anne.RESTORED.T",
                ],
            ),
            (
                "x.org!DELETED.user.c^d.6B049000",
                [
                    "x.org!user.c^d",
                    "x.org!DELETED.user.c^d.6B049000",
                    "user.anne.RESTORED",
                ],
            ),
            (
                "team.dev",
                ["team.dev", "team.dev", "user.anne.RESTORED.team.dev"],
            ),
        ] {
            let went = [&own, &kept, &below].map(|way| way.of(from, &namespace));
            assert_eq!(went, to, "{from}");
            assert_eq!(one.of(from, &namespace), "user.bob.x");
        }
    }
}
