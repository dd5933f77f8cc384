//! What stands in our own tables besides records: the watermark, headers as they came, quota,
//! server annotations, intermediate mailboxes.

use rusqlite::params;

use super::{Index, Result};
use crate::csync::dlist::{KvList, Literal, Parser, Value};

/// How far this index is known to describe its data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The last chunk that we indexed; a higher one is C's work.
    pub chunk_id: i64,
    /// The data file's length behind that chunk.
    pub data_end: u64,
    /// State of the SHA-1 over the data file up to `data_end`, as `store::hash` saves it.
    pub sha1: Vec<u8>,
}

/// A mailbox header as the client sent it, with what we made of its records.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Every key but RECORD and SINCE_*, in order, byte-exact.
    pub keys: KvList,
    /// SYNC_CRC over the records we hold (spec: csync 7.1).
    pub crc: u32,
    /// Whether the records disagree with the header.
    pub repair: Repair,
}

/// Whether a mailbox needs its complete record list again (spec: csync 7.3, 11.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Our CRC is the client's.
    None,
    /// They differ: ask for the full list.
    Wanted,
    /// They still differ after a full list: asking again would not help.
    Tried,
}

/// A folder that exists only because a child does (spec: csync 5.5).
#[derive(Debug, Clone, PartialEq)]
pub struct Intermediate {
    /// Its identity.
    pub uniqueid: String,
    /// Internal name.
    pub mboxname: String,
    /// The keys as sent.
    pub keys: KvList,
    /// When it went away.
    pub deleted: Option<i64>,
}

/// A server-wide or mailbox annotation that came by APPLY ANNOTATION.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the wire's keys: spec csync 5.6")]
pub struct Annotation {
    pub mboxname: String,
    pub entry: String,
    pub userid: String,
    pub value: Vec<u8>,
}

impl Index {
    /// The watermark; None when our tables are missing or were never finished.
    pub fn state(&self) -> Result<Option<State>> {
        if !self.extended {
            return Ok(None);
        }
        let sql = "SELECT (SELECT value FROM cb_state WHERE key = 'chunk_id'),
                          (SELECT value FROM cb_state WHERE key = 'data_end'),
                          (SELECT value FROM cb_state WHERE key = 'sha1')";
        let row = self.one(sql, [], |row| {
            Ok((
                row.get::<_, Option<i64>>(0)?,
                row.get::<_, Option<u64>>(1)?,
                row.get(2)?,
            ))
        })?;
        Ok(match row {
            Some((Some(chunk_id), Some(data_end), Some(sha1))) => Some(State {
                chunk_id,
                data_end,
                sha1,
            }),
            _ => None,
        })
    }

    /// Moves the watermark; belongs into the transaction that indexes up to it.
    pub fn set_state(&self, state: &State) -> Result<()> {
        let sql = "INSERT INTO cb_state (key, value) VALUES ('chunk_id', ?1), ('data_end', ?2),
                   ('sha1', ?3) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.run(sql, params![state.chunk_id, state.data_end, state.sha1])
            .map(drop)
    }

    /// Since when the history is whole; None when nothing was ever taken out of it.
    pub fn horizon(&self) -> Result<Option<i64>> {
        let sql = "SELECT value FROM cb_state WHERE key = 'horizon'";
        Ok(self.ours(sql, |row| row.get(0))?.pop())
    }

    /// Before this time the history is thinned out.
    pub fn set_horizon(&self, horizon: i64) -> Result<()> {
        let sql = "INSERT INTO cb_state (key, value) VALUES ('horizon', ?1)
                   ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)";
        self.run(sql, [horizon]).map(drop)
    }

    /// Under which stamp the data file was known to have the SHA-1 of the last chunk's row; see `store::stamp`.
    pub(in crate::store) fn attested(&self) -> Result<Option<String>> {
        let sql = "SELECT value FROM cb_state WHERE key = 'attested'";
        Ok(self.ours(sql, |row| row.get(0))?.pop())
    }

    /// See [`Index::attested`].
    pub(in crate::store) fn set_attested(&self, text: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO cb_state (key, value) VALUES ('attested', ?1)";
        self.run(sql, [text]).map(drop)
    }

    /// What compact found not worth doing: see `store::compact`.
    pub(in crate::store) fn settled(&self) -> Result<Option<String>> {
        let sql = "SELECT value FROM cb_state WHERE key = 'settled'";
        Ok(self.ours(sql, |row| row.get(0))?.pop())
    }

    /// See [`Index::settled`].
    pub(in crate::store) fn set_settled(&self, terms: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO cb_state (key, value) VALUES ('settled', ?1)";
        self.run(sql, [terms]).map(drop)
    }

    /// The inode of the data file for which this index was made, while both wait to be put in
    /// place.
    pub(in crate::store) fn inode(&self) -> Result<Option<u64>> {
        let sql = "SELECT value FROM cb_state WHERE key = 'inode'";
        Ok(self.ours(sql, |row| row.get(0))?.pop())
    }

    /// See [`Index::inode`].
    pub(in crate::store) fn set_inode(&self, inode: u64) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO cb_state (key, value) VALUES ('inode', ?1)";
        self.run(sql, [inode]).map(drop)
    }

    /// The header of a mailbox; None for one that only C has seen.
    pub fn header(&self, mailbox_id: i64) -> Result<Option<Header>> {
        if !self.extended {
            return Ok(None);
        }
        let sql = "SELECT header, crc, repair FROM cb_mailbox WHERE mailbox_id = ?1";
        let row = self.one(sql, [mailbox_id], |row| {
            Ok((
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, u32>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })?;
        Ok(row.map(|(keys, crc, repair)| Header {
            keys: parse_keys(&keys),
            crc,
            repair: match repair {
                0 => Repair::None,
                1 => Repair::Wanted,
                _ => Repair::Tried,
            },
        }))
    }

    /// Replaces the header of a mailbox.
    pub fn set_header(&self, mailbox_id: i64, header: &Header) -> Result<()> {
        let sql = "INSERT INTO cb_mailbox (mailbox_id, header, crc, repair)
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (mailbox_id) DO UPDATE
                   SET header = excluded.header, crc = excluded.crc, repair = excluded.repair";
        let repair = header.repair as i64;
        let keys = print_keys(&header.keys);
        self.run(sql, params![mailbox_id, keys, header.crc, repair])
            .map(drop)
    }

    /// The intermediate mailboxes that live.
    pub fn intermediates(&self) -> Result<Vec<Intermediate>> {
        let sql = "SELECT uniqueid, mboxname, header, deleted FROM cb_intermediate
                   WHERE deleted IS NULL ORDER BY mboxname";
        self.ours(sql, |row| {
            Ok(Intermediate {
                uniqueid: row.get(0)?,
                mboxname: row.get(1)?,
                keys: parse_keys(&row.get::<_, Vec<u8>>(2)?),
                deleted: row.get(3)?,
            })
        })
    }

    /// Quota by root: the keys as sent.
    pub fn quotas(&self) -> Result<Vec<(String, KvList)>> {
        self.ours("SELECT root, header FROM cb_quota ORDER BY root", |row| {
            Ok((row.get(0)?, parse_keys(&row.get::<_, Vec<u8>>(1)?)))
        })
    }

    /// Annotations sorted by (mailbox, entry, userid), bytewise: clients walk the list in step
    /// (spec: csync 4).
    pub fn annotations(&self) -> Result<Vec<Annotation>> {
        let sql = "SELECT mboxname, entry, userid, value FROM cb_annotation ORDER BY 1, 2, 3";
        self.ours(sql, |row| {
            Ok(Annotation {
                mboxname: row.get(0)?,
                entry: row.get(1)?,
                userid: row.get(2)?,
                value: row.get(3)?,
            })
        })
    }

    /// A mailbox of this name is on its way into another backup: `rename` is the command that
    /// takes it there. Only a note, not said by any line.
    pub fn note_leaving(&self, mboxname: &str, rename: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO cb_state (key, value) VALUES ('leaving:' || ?1, ?2)";
        self.run(sql, [mboxname, rename]).map(drop)
    }

    /// It has left.
    pub fn forget_leaving(&self, mboxname: &str) -> Result<()> {
        let sql = "DELETE FROM cb_state WHERE key = 'leaving:' || ?1";
        self.run(sql, [mboxname]).map(drop)
    }

    /// The commands of [`Index::note_leaving`] that were not finished.
    pub fn leaving(&self) -> Result<Vec<String>> {
        let sql = "SELECT value FROM cb_state WHERE key >= 'leaving:' AND key < 'leaving;'";
        self.ours(sql, |row| row.get(0))
    }

    /// File name of the active sieve script.
    pub fn active_sieve(&self) -> Result<Option<String>> {
        let sql = "SELECT value FROM cb_state WHERE key = 'active_sieve'";
        Ok(self.ours(sql, |row| row.get(0))?.pop())
    }

    /// Live records without a body whose body nobody was asked for since `asked_before`.
    /// The lowest such UID of a mailbox.
    pub fn lowest_missing_body(&self, mailbox_id: i64, asked_before: i64) -> Result<Option<u32>> {
        if !self.extended {
            return Ok(None);
        }
        let sql = "SELECT min(uid) FROM cb_record r WHERE mailbox_id = ?1 AND expunged IS NULL
                   AND coalesce(asked, 0) < ?2
                   AND NOT EXISTS (SELECT 1 FROM message m WHERE m.guid = r.guid)";
        let row = self.one(sql, params![mailbox_id, asked_before], |row| row.get(0))?;
        Ok(row.flatten())
    }

    /// Notes that the bodies missing in this mailbox were asked for and did not come.
    pub fn note_asked(&self, mailbox_id: i64, now: i64) -> Result<()> {
        let sql = "UPDATE cb_record SET asked = ?2 WHERE mailbox_id = ?1 AND expunged IS NULL
                   AND NOT EXISTS (SELECT 1 FROM message m WHERE m.guid = cb_record.guid)";
        self.run(sql, params![mailbox_id, now]).map(drop)
    }

    pub(super) fn ours<T>(
        &self,
        sql: &str,
        map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        if self.extended {
            self.all(sql, [], map)
        } else {
            Ok(Vec::new())
        }
    }
}

/// Headers are stored as one printed kvlist.
pub(super) fn print_keys(keys: &KvList) -> Vec<u8> {
    let mut text = Vec::new();
    Value::KvList(keys.clone()).print(&mut text, Literal::Sync);
    text
}

fn parse_keys(text: &[u8]) -> KvList {
    match Parser::new(text).value() {
        Ok(Value::KvList(keys)) => keys,
        // Only a hand could have put something else there; an empty header asks for a new one.
        _ => KvList(Vec::new()),
    }
}
