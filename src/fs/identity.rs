//! The rights of a mount that root starts: it reads the backups as the Cyrus user, like all the other
//! programs, and is root again only for mount(2) and umount(2). Everybody else stays who he is.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, initgroups, setegid, seteuid};

/// Who reads the backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    reader: Option<(Uid, Gid)>,
}

impl Identity {
    /// Stays who started the program.
    pub fn caller() -> Identity {
        Identity { reader: None }
    }

    /// Becomes this user and group, if root started the program; `None` as group is the user's own.
    ///
    /// # Errors
    /// No such user or group, or the system refused.
    pub fn become_user(user: &str, group: Option<&str>) -> io::Result<Identity> {
        if !geteuid().is_root() {
            return Ok(Identity::caller());
        }
        let found = User::from_name(user)?;
        let found = found.ok_or_else(|| {
            missing(format!(
                "must run as the Cyrus user, but there is no user {user}"
            ))
        })?;
        let gid = match group {
            None => found.gid,
            Some(group) => match Group::from_name(group)? {
                Some(group) => group.gid,
                None => return Err(missing(format!("there is no group {group}"))),
            },
        };
        let name = CString::new(user).map_err(io::Error::other)?;
        initgroups(&name, gid)?;
        let identity = Identity {
            reader: Some((found.uid, gid)),
        };
        identity.read_again()?;
        Ok(identity)
    }

    /// Runs `work` with the rights the program was started with.
    ///
    /// # Errors
    /// The rights could not be taken, or could not be dropped afterwards.
    pub fn privileged<T>(self, work: impl FnOnce() -> T) -> io::Result<T> {
        if self.reader.is_none() {
            return Ok(work());
        }
        seteuid(Uid::from_raw(0))?;
        setegid(Gid::from_raw(0))?;
        let done = work();
        self.read_again()?;
        Ok(done)
    }

    fn read_again(self) -> io::Result<()> {
        if let Some((uid, gid)) = self.reader {
            setegid(gid)?;
            seteuid(uid)?;
            debug_assert_eq!((geteuid(), getegid()), (uid, gid));
        }
        Ok(())
    }
}

fn missing(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, text)
}
