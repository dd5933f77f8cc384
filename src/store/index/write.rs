//! What each command means to the index (spec: ondisk 5.4): the one definition, used by appending
//! and by replaying, so that an index grown line by line equals one rebuilt from the data file.
//! Where C loses truth (spec: ondisk 10.2, 10.3) the truth of UIDs wins and C's row shows the
//! best of it.

use rusqlite::{Params, params};

use super::rows::SeekPoint;
use super::state::{Header, Repair, print_keys};
use super::{Index, Result};
use crate::csync::command::{Apply, MailboxUpdate, Rename};
use crate::csync::dlist::{KvList, Literal, Value};
use crate::types::Guid;

/// Where a line stands and when it was said.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Chunk id.
    pub chunk_id: i64,
    /// Offset of the line's start in the inflated chunk.
    pub offset: u64,
    /// The line's timestamp.
    pub time: i64,
}

impl Index {
    /// Starts the transaction of a chunk.
    pub fn begin(&self) -> Result<()> {
        self.sql(self.conn()?.execute_batch("BEGIN IMMEDIATE"))
    }

    /// Makes the transaction durable.
    pub fn commit(&self) -> Result<()> {
        self.sql(self.conn()?.execute_batch("COMMIT"))
    }

    /// Drops the transaction, if there is one.
    pub fn rollback(&self) {
        if let Some(conn) = self.conn.get()
            && !conn.is_autocommit()
        {
            let _ = conn.execute_batch("ROLLBACK");
        }
    }

    /// Marks a place inside the transaction to which [`Index::rollback_savepoint`] goes back.
    pub(in crate::store) fn savepoint(&self) -> Result<()> {
        self.run("SAVEPOINT member", []).map(drop)
    }

    /// Keeps what was done since the savepoint.
    pub(in crate::store) fn release_savepoint(&self) -> Result<()> {
        self.run("RELEASE member", []).map(drop)
    }

    /// Forgets what was done since the savepoint.
    pub(in crate::store) fn rollback_savepoint(&self) -> Result<()> {
        self.run("ROLLBACK TO member", [])?;
        self.release_savepoint()
    }

    /// A chunk begins; returns its id.
    pub fn start_chunk(&self, ts_start: i64, offset: u64, file_sha1: &str) -> Result<i64> {
        let sql = "INSERT INTO chunk (ts_start, offset, file_sha1) VALUES (?1, ?2, ?3)";
        self.run(sql, params![ts_start, offset, file_sha1])?;
        Ok(self.conn()?.last_insert_rowid())
    }

    /// A chunk ends.
    pub fn end_chunk(&self, id: i64, ts_end: i64, length: u64, data_sha1: &str) -> Result<()> {
        let sql = "UPDATE chunk SET ts_end = ?2, length = ?3, data_sha1 = ?4 WHERE id = ?1";
        self.run(sql, params![id, ts_end, length, data_sha1])
            .map(drop)
    }

    /// A chunk that turned out to say nothing; no row may point to it.
    pub fn drop_chunk(&self, id: i64) -> Result<()> {
        self.run("DELETE FROM cb_seek WHERE chunk_id = ?1", [id])?;
        self.run("DELETE FROM chunk WHERE id = ?1", [id]).map(drop)
    }

    /// The time of the first line of a chunk that was found, not written.
    pub fn set_chunk_start(&self, id: i64, ts_start: i64) -> Result<()> {
        self.run(
            "UPDATE chunk SET ts_start = ?2 WHERE id = ?1",
            params![id, ts_start],
        )
        .map(drop)
    }

    /// Inflating can start here.
    pub fn add_seek_point(&self, chunk_id: i64, point: SeekPoint) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO cb_seek (chunk_id, offset, file_offset)
                   VALUES (?1, ?2, ?3)";
        self.run(sql, params![chunk_id, point.offset, point.file_offset])
            .map(drop)
    }

    /// Brings the index to the state after one line. Lines that say nothing to the index
    /// (RESERVE, what nobody knows) change nothing.
    pub fn apply(&self, apply: &Apply<'_>, at: Place) -> Result<()> {
        match apply {
            Apply::Message(items) => items.iter().try_for_each(|item| self.add_message(item, at)),
            Apply::Mailbox(update) => self.set_mailbox(update, at),
            Apply::Unmailbox(name) => self.unmailbox(name.as_str(), at),
            Apply::Rename(rename) => self.rename(rename),
            Apply::Expunge { uniqueid, uids, .. } => match self.mailbox_by_uniqueid(uniqueid)? {
                Some(mailbox) => self.expunge(mailbox.id, uids, at),
                None => Ok(()),
            },
            Apply::Sub { mboxname, .. } => self.subscribe(mboxname.as_str(), None, at),
            Apply::Unsub { mboxname, .. } => self.subscribe(mboxname.as_str(), Some(at.time), at),
            Apply::Seen(seen) => {
                let sql = "INSERT INTO seen (last_chunk_id, uniqueid, lastread, lastuid,
                           lastchange, seenuids) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                           ON CONFLICT (uniqueid) DO UPDATE SET
                           last_chunk_id = excluded.last_chunk_id, lastread = excluded.lastread,
                           lastuid = excluded.lastuid, lastchange = excluded.lastchange,
                           seenuids = excluded.seenuids";
                let values = params![
                    at.chunk_id,
                    seen.uniqueid,
                    seen.lastread,
                    seen.lastuid,
                    seen.lastchange,
                    seen.seenuids
                ];
                self.run(sql, values).map(drop)
            }
            Apply::Sieve {
                filename,
                last_update,
                content,
                ..
            } => self.add_sieve(filename, *last_update, &Guid::of(content), at),
            Apply::Unsieve { filename, .. } => {
                self.drop_sieve(filename, at)?;
                let sql = "DELETE FROM cb_state WHERE key = 'active_sieve' AND value = ?1";
                self.run(sql, [filename]).map(drop)
            }
            Apply::ActivateSieve { filename, .. } => {
                let sql = "INSERT OR REPLACE INTO cb_state (key, value)
                           VALUES ('active_sieve', ?1)";
                self.run(sql, [script_name(filename)]).map(drop)
            }
            Apply::UnactivateSieve { .. } => self.deactivate_sieve(),
            Apply::Quota { root, items } => {
                let sql = "INSERT OR REPLACE INTO cb_quota (root, header) VALUES (?1, ?2)";
                self.run(sql, params![root, print_keys(items)]).map(drop)
            }
            Apply::Unquota(root) => self
                .run("DELETE FROM cb_quota WHERE root = ?1", [root])
                .map(drop),
            Apply::Annotation {
                mboxname,
                entry,
                userid,
                value,
            } => {
                let sql = "INSERT OR REPLACE INTO cb_annotation (mboxname, entry, userid, value)
                           VALUES (?1, ?2, ?3, ?4)";
                self.run(sql, params![mboxname, entry, userid, value])
                    .map(drop)
            }
            Apply::Unannotation {
                mboxname,
                entry,
                userid,
            } => {
                let sql = "DELETE FROM cb_annotation
                           WHERE mboxname = ?1 AND entry = ?2 AND userid = ?3";
                self.run(sql, params![mboxname, entry, userid]).map(drop)
            }
            Apply::Unuser(_) => self.unuser(at),
            Apply::Reserve(_) | Apply::Force | Apply::Capabilities(_) | Apply::Unknown(_) => Ok(()),
        }
    }

    fn add_message(&self, item: &Value, at: Place) -> Result<()> {
        let Value::File(file) = item else {
            return Ok(());
        };
        let sql = "INSERT INTO message (guid, partition, chunk_id, offset, size)
                   VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (guid) DO UPDATE SET
                   partition = excluded.partition, chunk_id = excluded.chunk_id,
                   offset = excluded.offset, size = excluded.size";
        let partition = String::from_utf8_lossy(&file.partition);
        let guid = file.guid.to_string();
        self.run(
            sql,
            params![guid, partition, at.chunk_id, at.offset, file.size],
        )
        .map(drop)
    }

    fn set_mailbox(&self, update: &MailboxUpdate<'_>, at: Place) -> Result<()> {
        if is_intermediate(update) {
            return self.set_intermediate(update, at);
        }
        self.run(
            "DELETE FROM cb_intermediate WHERE uniqueid = ?1",
            [&update.uniqueid],
        )?;
        let known = self.one(
            "SELECT id FROM mailbox WHERE uniqueid = ?1",
            [&update.uniqueid],
            |row| row.get::<_, i64>(0),
        )?;
        let mailbox_id = self.put_mailbox_row(update, known, at)?;
        let before = self.header(mailbox_id)?;
        let mut crc = before.as_ref().map_or(0, |header| header.crc);
        // The highest UID so far of a mailbox that had no records before this line.
        let mut highest = known.is_none().then_some(0);
        for record in update.records.iter() {
            // A line that does not parse to its end was refused before it came here; in a file
            // that others wrote, what can be read counts.
            let Ok(record) = record else { break };
            let fresh = highest.is_some_and(|highest| record.uid > highest);
            highest = highest.map(|highest| record.uid.max(highest));
            crc ^= self.set_record(mailbox_id, &record, fresh, at)?;
        }
        let told = number(&update.header, "SYNC_CRC") as u32;
        let repair = match before.map(|header| header.repair) {
            _ if told == 0 || told == crc => Repair::None,
            Some(Repair::Tried) => Repair::Tried,
            _ => Repair::Wanted,
        };
        let header = Header {
            keys: update.header.clone(),
            crc,
            repair,
        };
        self.set_header(mailbox_id, &header)
    }

    /// C's row of a mailbox; returns its id.
    fn put_mailbox_row(
        &self,
        update: &MailboxUpdate<'_>,
        known: Option<i64>,
        at: Place,
    ) -> Result<i64> {
        let keys = &update.header;
        let annotations = keys.get("ANNOTATIONS").map(printed).unwrap_or_default();
        let values = params![
            known,
            at.chunk_id,
            update.uniqueid,
            update.mboxname.as_str(),
            text(keys, "MBOXTYPE"),
            number(keys, "LAST_UID"),
            number(keys, "HIGHESTMODSEQ"),
            number(keys, "RECENTUID"),
            number(keys, "RECENTTIME"),
            number(keys, "LAST_APPENDDATE"),
            number(keys, "POP3_LAST_LOGIN"),
            number(keys, "POP3_SHOW_AFTER"),
            number(keys, "UIDVALIDITY"),
            text(keys, "PARTITION").unwrap_or_default(),
            text(keys, "ACL").unwrap_or_default(),
            text(keys, "OPTIONS").unwrap_or_default(),
            number(keys, "SYNC_CRC"),
            number(keys, "SYNC_CRC_ANNOT"),
            number(keys, "XCONVMODSEQ"),
            annotations,
        ];
        let sql = match known {
            Some(_) => {
                "UPDATE mailbox SET last_chunk_id = ?2, uniqueid = ?3, mboxname = ?4,
                 mboxtype = ?5, last_uid = ?6, highestmodseq = ?7, recentuid = ?8,
                 recenttime = ?9, last_appenddate = ?10, pop3_last_login = ?11,
                 pop3_show_after = ?12, uidvalidity = ?13, partition = ?14, acl = ?15,
                 options = ?16, sync_crc = ?17, sync_crc_annot = ?18, xconvmodseq = ?19,
                 annotations = ?20, deleted = NULL WHERE id = ?1"
            }
            None => {
                "INSERT INTO mailbox (id, last_chunk_id, uniqueid, mboxname, mboxtype, last_uid,
                 highestmodseq, recentuid, recenttime, last_appenddate, pop3_last_login,
                 pop3_show_after, uidvalidity, partition, acl, options, sync_crc,
                 sync_crc_annot, xconvmodseq, annotations)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                 ?17, ?18, ?19, ?20)"
            }
        };
        self.run(sql, values)?;
        known.map_or_else(|| Ok(self.conn()?.last_insert_rowid()), Ok)
    }

    fn set_intermediate(&self, update: &MailboxUpdate<'_>, at: Place) -> Result<()> {
        let sql = "UPDATE mailbox SET deleted = ?2 WHERE uniqueid = ?1 AND deleted IS NULL";
        self.run(sql, params![update.uniqueid, at.time])?;
        let sql = "INSERT OR REPLACE INTO cb_intermediate (uniqueid, mboxname, header, deleted)
                   VALUES (?1, ?2, ?3, NULL)";
        let keys = print_keys(&update.header);
        self.run(
            sql,
            params![update.uniqueid, update.mboxname.as_str(), keys],
        )
        .map(drop)
    }

    fn unmailbox(&self, name: &str, at: Place) -> Result<()> {
        for table in ["mailbox", "cb_intermediate"] {
            let sql =
                format!("UPDATE {table} SET deleted = ?2 WHERE mboxname = ?1 AND deleted IS NULL");
            self.run(&sql, params![name, at.time])?;
        }
        Ok(())
    }

    fn rename(&self, rename: &Rename) -> Result<()> {
        let (old, new) = (rename.old.as_str(), rename.new.as_str());
        for mailbox in self.mailboxes_by_name(old)? {
            let sql = "UPDATE mailbox SET mboxname = ?2, partition = coalesce(?3, partition),
                       uidvalidity = ?4 WHERE id = ?1";
            self.run(
                sql,
                params![mailbox.id, new, rename.partition, rename.uidvalidity],
            )?;
            if let Some(mut header) = self.header(mailbox.id)? {
                header.keys.set("MBOXNAME", Value::string(new));
                header
                    .keys
                    .set("UIDVALIDITY", Value::number(rename.uidvalidity.into()));
                if let Some(partition) = &rename.partition {
                    header
                        .keys
                        .set("PARTITION", Value::string(partition.as_str()));
                }
                self.set_header(mailbox.id, &header)?;
            }
        }
        for mut folder in self
            .intermediates()?
            .into_iter()
            .filter(|f| f.mboxname == old)
        {
            folder.keys.set("MBOXNAME", Value::string(new));
            let sql = "UPDATE cb_intermediate SET mboxname = ?2, header = ?3 WHERE uniqueid = ?1";
            self.run(sql, params![folder.uniqueid, new, print_keys(&folder.keys)])?;
        }
        let sql = "UPDATE OR REPLACE cb_annotation SET mboxname = ?2 WHERE mboxname = ?1";
        self.run(sql, [old, new])?;
        Ok(())
    }

    fn subscribe(&self, mboxname: &str, unsubscribed: Option<i64>, at: Place) -> Result<()> {
        let sql = "INSERT INTO subscription (last_chunk_id, mboxname, unsubscribed)
                   VALUES (?1, ?2, ?3) ON CONFLICT (mboxname) DO UPDATE SET
                   last_chunk_id = excluded.last_chunk_id, unsubscribed = excluded.unsubscribed";
        self.run(sql, params![at.chunk_id, mboxname, unsubscribed])
            .map(drop)
    }

    /// Replaying a line that is indexed already adds no second row.
    fn add_sieve(&self, filename: &str, last_update: i64, guid: &Guid, at: Place) -> Result<()> {
        let sql = "SELECT 1 FROM sieve WHERE chunk_id = ?1 AND offset = ?2";
        if self
            .one(sql, params![at.chunk_id, at.offset], |_| Ok(()))?
            .is_some()
        {
            return Ok(());
        }
        self.drop_sieve(filename, at)?;
        let sql = "INSERT INTO sieve (chunk_id, last_update, filename, guid, offset)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![
            at.chunk_id,
            last_update,
            filename,
            guid.to_string(),
            at.offset
        ];
        self.run(sql, values).map(drop)
    }

    fn drop_sieve(&self, filename: &str, at: Place) -> Result<()> {
        let sql = "UPDATE sieve SET deleted = ?2 WHERE filename = ?1 AND deleted IS NULL";
        self.run(sql, params![filename, at.time]).map(drop)
    }

    fn deactivate_sieve(&self) -> Result<()> {
        self.run("DELETE FROM cb_state WHERE key = 'active_sieve'", [])
            .map(drop)
    }

    /// What of a deleted user lives outside mailboxes goes, as history (spec: csync 9.4). The
    /// mailboxes were sent away by lines of their own.
    fn unuser(&self, at: Place) -> Result<()> {
        let sql = "UPDATE subscription SET unsubscribed = ?1 WHERE unsubscribed IS NULL";
        self.run(sql, [at.time])?;
        self.run(
            "UPDATE sieve SET deleted = ?1 WHERE deleted IS NULL",
            [at.time],
        )?;
        self.run("DELETE FROM cb_quota", [])?;
        self.deactivate_sieve()
    }

    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        let mut statement = self.sql(self.conn()?.prepare_cached(sql))?;
        self.sql(statement.execute(params))
    }
}

/// A folder that exists only because a child does: it has no records and few keys
/// (spec: csync 5.5).
pub fn is_intermediate(update: &MailboxUpdate<'_>) -> bool {
    let kind = update
        .header
        .get("MBOXTYPE")
        .and_then(Value::as_bytes)
        .unwrap_or_default();
    kind.contains(&b'i') && !update.records.is_present()
}

pub(super) fn printed(value: &Value) -> String {
    let mut text = Vec::new();
    value.print(&mut text, Literal::Sync);
    String::from_utf8_lossy(&text).into_owned()
}

/// ACTIVATE_SIEVE names the compiled script, `x.bc`, of `x.script` (spec: csync 9.6).
fn script_name(compiled: &str) -> String {
    match compiled.strip_suffix(".bc") {
        Some(stem) => format!("{stem}.script"),
        None => compiled.to_owned(),
    }
}

fn number(keys: &KvList, key: &str) -> i64 {
    keys.get(key)
        .and_then(Value::as_u64)
        .and_then(|n| i64::try_from(n).ok())
        .unwrap_or(0)
}

fn text(keys: &KvList, key: &str) -> Option<String> {
    keys.get(key)?
        .as_bytes()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
