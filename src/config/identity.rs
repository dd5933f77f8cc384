//! Becoming the Cyrus user, so that files have the right owner when root starts a program
//! (spec: ondisk 1.7). Left out: what a program does before it may give up root, such as binding a
//! low port.

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setgid, setuid};

use super::Config;

/// Who Cyrus is when nobody says otherwise.
const DEFAULT_USER: &str = "cyrus";

/// Root could not become the Cyrus user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must run as the Cyrus user")]
pub struct IdentityError {
    /// What went wrong, for the log: C says it there only.
    pub detail: String,
}

impl IdentityError {
    /// EX_USAGE of sysexits(3), as C exits.
    pub fn exit_code(&self) -> u8 {
        64
    }
}

/// Sets the umask and, when root runs this, becomes the Cyrus user for good. Others stay who they
/// are. `cyrus_user: root` means root.
///
/// Call it before starting threads.
pub fn assume(config: &Config) -> Result<(), IdentityError> {
    set_umask(config);
    if !geteuid().is_root() {
        return Ok(());
    }
    let wanted = Wanted::new(config, |variable| std::env::var(variable).ok());
    wanted.resolve()?.assume()
}

/// Sets the process' umask from the option of that name.
pub fn set_umask(config: &Config) {
    umask(Mode::from_bits_truncate(config.umask));
}

/// Names from the environment, from imapd.conf, or built in.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    user: String,
    /// `None` = the user's own group (`mail` on Debian).
    group: Option<String>,
}

struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl Wanted {
    fn new(config: &Config, env: impl Fn(&str) -> Option<String>) -> Wanted {
        let first = |variable, option: &Option<String>| {
            env(variable)
                .filter(|name| !name.is_empty())
                .or_else(|| option.clone())
        };
        Wanted {
            user: first("CYRUS_USER", &config.cyrus_user)
                .unwrap_or_else(|| DEFAULT_USER.to_owned()),
            group: first("CYRUS_GROUP", &config.cyrus_group),
        }
    }

    fn resolve(self) -> Result<Identity, IdentityError> {
        let missing = |file, kind, name: &str| IdentityError {
            detail: format!("no entry in {file} for {kind} {name}"),
        };
        let user = User::from_name(&self.user)
            .map_err(|errno| failed("look up user", &self.user, errno))?
            .ok_or_else(|| missing("/etc/passwd", "user", &self.user))?;
        let gid = match &self.group {
            None => user.gid,
            Some(group) => {
                Group::from_name(group)
                    .map_err(|errno| failed("look up group", group, errno))?
                    .ok_or_else(|| missing("/etc/group", "group", group))?
                    .gid
            }
        };
        Ok(Identity {
            name: user.name,
            uid: user.uid,
            gid,
        })
    }
}

impl Identity {
    /// Groups first: afterwards we may not any more.
    fn assume(&self) -> Result<(), IdentityError> {
        let name = std::ffi::CString::new(self.name.as_str()).map_err(|_| IdentityError {
            detail: format!("user name {:?} contains NUL", self.name),
        })?;
        initgroups(&name, self.gid).map_err(|e| failed("initialize groups for", &self.name, e))?;
        setgid(self.gid).map_err(|e| failed("set the group id of", &self.name, e))?;
        setuid(self.uid).map_err(|e| failed("set the user id of", &self.name, e))
    }
}

fn failed(what: &str, name: &str, errno: nix::Error) -> IdentityError {
    IdentityError {
        detail: format!("unable to {what} {name}: {}", errno.desc()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn wanted(text: &str, env: &[(&str, &str)]) -> Wanted {
        let text = format!("configdirectory: /c\n{text}");
        let config = Config::read(Path::new("F"), "x", &mut |_| Ok(text.clone().into())).unwrap();
        Wanted::new(&config, |variable| {
            let found = env.iter().find(|(name, _)| *name == variable);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn environment_then_option_then_built_in() {
        let names = |user: &str, group: Option<&str>| Wanted {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        };
        assert_eq!(wanted("", &[]), names("cyrus", None));
        let text = "cyrus_user: u\ncyrus_group: g\n";
        assert_eq!(wanted(text, &[]), names("u", Some("g")));
        let env = [("CYRUS_USER", "e"), ("CYRUS_GROUP", "")];
        assert_eq!(wanted(text, &env), names("e", Some("g")));
    }

    #[test]
    fn unknown_names_are_errors_that_say_which() {
        let error = wanted("cyrus_user: no-such-user", &[])
            .resolve()
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "must run as the Cyrus user");
        assert_eq!(error.exit_code(), 64);
        assert_eq!(
            error.detail,
            "no entry in /etc/passwd for user no-such-user"
        );
        let text = "cyrus_user: root\ncyrus_group: no-such-group";
        let error = wanted(text, &[]).resolve().err().unwrap();
        assert_eq!(
            error.detail,
            "no entry in /etc/group for group no-such-group"
        );
    }

    #[test]
    fn root_is_honoured() {
        let identity = wanted("cyrus_user: root", &[]).resolve().ok().unwrap();
        assert!(identity.uid.is_root());
        assert_eq!(identity.gid, Gid::from_raw(0));
    }
}
