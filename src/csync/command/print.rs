//! APPLY arguments back to text, for data files and for a restore.

use super::{Apply, MailboxUpdate, Records, Rename, Reserve, Seen};
use crate::csync::dlist::{KvList, Literal, Value};

/// A list of items under construction, in C's order.
struct Items(KvList);

impl Items {
    fn new() -> Items {
        Items(KvList::default())
    }

    fn text(mut self, key: &str, text: &str) -> Items {
        self.0.push(key, Value::string(text));
        self
    }

    fn octets(mut self, key: &str, octets: &[u8]) -> Items {
        self.0.push(key, Value::string(octets));
        self
    }

    fn number(mut self, key: &str, number: u64) -> Items {
        self.0.push(key, Value::number(number));
        self
    }

    fn date(self, key: &str, seconds: i64) -> Items {
        self.number(key, seconds.cast_unsigned())
    }

    fn value(mut self, key: &str, value: Value) -> Items {
        self.0.push(key, value);
        self
    }
}

impl Apply<'_> {
    /// The name on the wire; LOCAL_ forms are not distinguished.
    pub fn name(&self) -> &str {
        match self {
            Apply::Reserve(_) => "RESERVE",
            Apply::Message(_) => "MESSAGE",
            Apply::Mailbox(_) => "MAILBOX",
            Apply::Unmailbox(_) => "UNMAILBOX",
            Apply::Rename(_) => "RENAME",
            Apply::Expunge { .. } => "EXPUNGE",
            Apply::Sub { .. } => "SUB",
            Apply::Unsub { .. } => "UNSUB",
            Apply::Seen(_) => "SEEN",
            Apply::Quota { .. } => "QUOTA",
            Apply::Unquota(_) => "UNQUOTA",
            Apply::Sieve { .. } => "SIEVE",
            Apply::Unsieve { .. } => "UNSIEVE",
            Apply::ActivateSieve { .. } => "ACTIVATE_SIEVE",
            Apply::UnactivateSieve { .. } => "UNACTIVATE_SIEVE",
            Apply::Annotation { .. } => "ANNOTATION",
            Apply::Unannotation { .. } => "UNANNOTATION",
            Apply::Unuser(_) => "UNUSER",
            Apply::Force => "FORCE",
            Apply::Capabilities(_) => "CAPABILITIES",
            Apply::Unknown(name) => name,
        }
    }

    /// Appends `NAME value`, the text that [`super::parse_apply`] reads. Of files only the headers
    /// are printed; of [`Apply::Unknown`] only the name is known.
    ///
    /// # Errors
    /// That of the first bad record of a MAILBOX.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) -> Result<(), super::CommandError> {
        out.extend_from_slice(self.name().as_bytes());
        match self {
            Apply::Unknown(_) => return Ok(()),
            Apply::Mailbox(update) => {
                out.push(b' ');
                return update.print(out, literal);
            }
            _ => {}
        }
        out.push(b' ');
        self.value().print(out, literal);
        Ok(())
    }

    fn value(&self) -> Value {
        let items = match self {
            Apply::Message(elements) => return Value::List(elements.clone()),
            Apply::Unmailbox(name) => return Value::string(name.as_str()),
            Apply::Unquota(name) | Apply::Unuser(name) => return Value::string(name.as_str()),
            Apply::Capabilities(names) => {
                return list(names.iter().map(|name| Value::string(name.as_str())));
            }
            Apply::Quota { items, .. } => return Value::KvList(items.clone()),
            Apply::Reserve(reserve) => reserve.items(),
            Apply::Rename(rename) => rename.items(),
            Apply::Seen(seen) => seen.items(),
            Apply::Expunge {
                mboxname,
                uniqueid,
                uids,
            } => Items::new()
                .text("MBOXNAME", mboxname.as_str())
                .text("UNIQUEID", uniqueid)
                .value(
                    "UID",
                    list(uids.iter().map(|&uid| Value::number(uid.into()))),
                ),
            Apply::Sub { userid, mboxname } | Apply::Unsub { userid, mboxname } => Items::new()
                .text("USERID", userid)
                .text("MBOXNAME", mboxname.as_str()),
            Apply::Sieve {
                userid,
                filename,
                last_update,
                content,
            } => Items::new()
                .text("USERID", userid)
                .text("FILENAME", filename)
                .date("LAST_UPDATE", *last_update)
                .octets("CONTENT", content),
            Apply::Unsieve { userid, filename } | Apply::ActivateSieve { userid, filename } => {
                Items::new()
                    .text("USERID", userid)
                    .text("FILENAME", filename)
            }
            Apply::UnactivateSieve { userid } => Items::new().text("USERID", userid),
            Apply::Annotation {
                mboxname,
                entry,
                userid,
                value,
            } => Items::new()
                .text("MBOXNAME", mboxname)
                .text("ENTRY", entry)
                .text("USERID", userid)
                .octets("VALUE", value),
            Apply::Unannotation {
                mboxname,
                entry,
                userid,
            } => Items::new()
                .text("MBOXNAME", mboxname)
                .text("ENTRY", entry)
                .text("USERID", userid),
            Apply::Force | Apply::Mailbox(_) | Apply::Unknown(_) => Items::new(),
        };
        Value::KvList(items.0)
    }
}

impl Reserve {
    fn items(&self) -> Items {
        let names = self
            .mboxnames
            .iter()
            .map(|name| Value::string(name.as_str()));
        let guids = self.guids.iter().map(|guid| Value::atom(guid.to_string()));
        Items::new()
            .text("PARTITION", &self.partition)
            .value("MBOXNAME", list(names))
            .value("GUID", list(guids))
    }
}

impl Rename {
    fn items(&self) -> Items {
        let partition = self.partition.as_deref().map_or(Value::Nil, Value::string);
        Items::new()
            .text("OLDMBOXNAME", self.old.as_str())
            .text("NEWMBOXNAME", self.new.as_str())
            .value("PARTITION", partition)
            .number("UIDVALIDITY", self.uidvalidity.into())
    }
}

impl Seen {
    fn items(&self) -> Items {
        Items::new()
            .text("USERID", &self.userid)
            .text("UNIQUEID", &self.uniqueid)
            .date("LASTREAD", self.lastread)
            .number("LASTUID", self.lastuid.into())
            .date("LASTCHANGE", self.lastchange)
            .text("SEENUIDS", &self.seenuids)
    }
}

impl MailboxUpdate<'_> {
    /// Appends `%(…)`: the header in its order, then SINCE_* and RECORD as all clients do.
    ///
    /// # Errors
    /// That of the first bad record; `out` holds the text before it then.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) -> Result<(), super::CommandError> {
        out.extend_from_slice(b"%(");
        self.header.print_items(out, literal);
        if let Some(since) = &self.since {
            let mut items = Items::new().number("SINCE_MODSEQ", since.modseq);
            if let Some(crc) = since.crc {
                items = items.number("SINCE_CRC", crc.into());
            }
            if let Some(crc) = since.crc_annot {
                items = items.number("SINCE_CRC_ANNOT", crc.into());
            }
            out.push(b' ');
            items.0.print_items(out, literal);
        }
        if self.records.is_present() {
            out.extend_from_slice(b" RECORD ");
            self.records.print(out, literal)?;
        }
        out.push(b')');
        Ok(())
    }
}

impl Records<'_> {
    /// Appends the list `(%(…) …)`.
    ///
    /// # Errors
    /// That of the first bad record; `out` holds the text before it then.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) -> Result<(), super::CommandError> {
        out.push(b'(');
        for (i, record) in self.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            record?.print(out, literal);
        }
        out.push(b')');
        Ok(())
    }
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::List(values.collect())
}
