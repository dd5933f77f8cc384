//! A mailbox gets another owner: the private annotations of the old one become those of the new one, as imapd makes
//! them, which tells nobody. Those of other readers stay theirs.

use crate::csync::dlist::Value;
use crate::types::BackupKey;

/// Old and new owner; nobody inherits where one of them is no user.
pub(super) struct Heir(Option<(String, String)>);

impl Heir {
    pub(super) fn of(old: &BackupKey, new: &BackupKey) -> Heir {
        let are_users = !old.is_shared() && !new.is_shared();
        Heir(are_users.then(|| (old.as_str().to_owned(), new.as_str().to_owned())))
    }

    /// Whose annotation it is from now on.
    pub(super) fn userid(&self, userid: String) -> String {
        match &self.0 {
            Some((old, new)) if *old == userid => new.clone(),
            _ => userid,
        }
    }

    /// The same for an `ANNOTATIONS` list.
    pub(super) fn inherit(&self, annotations: &mut Value) {
        let Value::List(items) = annotations else {
            return;
        };
        for item in items {
            if let Value::KvList(items) = item
                && let Some(userid) = items.get_str("USERID")
            {
                let userid = self.userid(userid.to_owned());
                items.set("USERID", Value::string(userid));
            }
        }
    }
}
