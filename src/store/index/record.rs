//! Records: the UIDs of a mailbox. C's table has one row for each (mailbox, message); the truth is
//! one for each UID. C's row shows the best instance, `cb_record` holds the others and those whose
//! body has not come (spec: ondisk 10.2, 10.3).

use rusqlite::params;

use super::write::{Place, printed};
use super::{Index, Result};
use crate::csync::command::Record;
use crate::csync::crc;
use crate::types::Guid;

impl Index {
    pub(super) fn expunge(&self, mailbox_id: i64, uids: &[u32], at: Place) -> Result<()> {
        let mut crc = 0;
        for &uid in uids {
            if let Some((row, chunk_id)) = self
                .instance(mailbox_id, uid)?
                .filter(|(row, _)| row.expunged.is_none())
            {
                crc ^= row.crc();
                let expunged = Instance {
                    expunged: Some(at.time),
                    ..row
                };
                // C's verify looks for the record in the lines of this chunk.
                self.put(mailbox_id, &expunged, Place { chunk_id, ..at })?;
            }
        }
        if let Some(mut header) = self.header(mailbox_id)? {
            header.crc ^= crc;
            self.set_header(mailbox_id, &header)?;
        }
        Ok(())
    }

    /// Stores one record; returns what the mailbox's CRC changes by. `fresh`: the mailbox had no
    /// records before this line, and the line none with such a high UID, so nothing is there.
    pub(super) fn set_record(
        &self,
        mailbox_id: i64,
        rec: &Record,
        fresh: bool,
        at: Place,
    ) -> Result<u32> {
        let before = if fresh {
            None
        } else {
            self.instance(mailbox_id, rec.uid)?.map(|(row, _)| row)
        };
        let was = before.as_ref().map_or(0, Instance::crc);
        let expunged = match rec.expunged {
            true => Some(
                before
                    .as_ref()
                    .and_then(|row| row.expunged)
                    .unwrap_or(at.time),
            ),
            false => None,
        };
        let now = Instance {
            uid: rec.uid,
            guid: rec.guid,
            modseq: rec.modseq,
            last_updated: rec.last_updated,
            flags: printed_flags(&rec.flags),
            internaldate: rec.internaldate,
            annotations: rec.annotations.as_ref().map(printed).unwrap_or_default(),
            size: rec.size.unwrap_or(0),
            expunged,
        };
        if before.is_some_and(|row| row.guid != rec.guid) {
            self.forget(mailbox_id, rec.uid)?;
        }
        self.put(mailbox_id, &now, at)?;
        Ok(was ^ now.crc())
    }

    /// Puts one instance of a message where it belongs: C's single row of (mailbox, guid) shows
    /// the living instance, among equals the one with the highest UID; the others are ours.
    fn put(&self, mailbox_id: i64, new: &Instance, at: Place) -> Result<()> {
        let message_id = self.one(
            "SELECT id FROM message WHERE guid = ?1",
            [new.guid.to_string()],
            |row| row.get::<_, i64>(0),
        )?;
        let Some(message_id) = message_id else {
            return self.put_ours(mailbox_id, new, at);
        };
        let sql = "SELECT mm.uid, m.guid, mm.modseq, mm.last_updated, mm.flags, mm.internaldate,
                   mm.annotations, m.size, mm.expunged, mm.last_chunk_id
                   FROM mailbox_message mm JOIN message m ON m.id = mm.message_id
                   WHERE mm.mailbox_id = ?1 AND mm.message_id = ?2";
        let holder = self.one(sql, [mailbox_id, message_id], |row| {
            Ok((Instance::from_row(row)?, row.get::<_, i64>(9)?))
        })?;
        match holder {
            None => {
                self.forget_ours(mailbox_id, new.uid)?;
                let sql = "INSERT INTO mailbox_message (mailbox_id, message_id, last_chunk_id,
                           uid, modseq, last_updated, flags, internaldate, annotations, expunged)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
                self.run_record(sql, mailbox_id, message_id, new, at.chunk_id)
            }
            Some((holder, _)) if holder.uid == new.uid => {
                self.update_row(mailbox_id, message_id, new, at.chunk_id)?;
                self.promote(mailbox_id, message_id, new, at)
            }
            Some((holder, chunk_id)) if new.beats(&holder) => {
                self.forget_ours(mailbox_id, new.uid)?;
                self.update_row(mailbox_id, message_id, new, at.chunk_id)?;
                self.put_ours(mailbox_id, &holder, Place { chunk_id, ..at })
            }
            Some(_) => self.put_ours(mailbox_id, new, at),
        }
    }

    /// C's row changed for the worse (it was expunged): a better instance of ours takes it over.
    fn promote(&self, mailbox_id: i64, message_id: i64, row: &Instance, at: Place) -> Result<()> {
        if row.expunged.is_none() {
            return Ok(());
        }
        let sql = "SELECT uid, guid, modseq, last_updated, flags, internaldate, annotations, size,
                   expunged, chunk_id FROM cb_record WHERE mailbox_id = ?1 AND guid = ?2
                   ORDER BY expunged IS NULL DESC, uid DESC LIMIT 1";
        let best = self.one(sql, params![mailbox_id, row.guid.to_string()], |row| {
            Ok((Instance::from_row(row)?, row.get::<_, i64>(9)?))
        })?;
        match best {
            Some((best, chunk_id)) if best.beats(row) => {
                self.forget_ours(mailbox_id, best.uid)?;
                self.update_row(mailbox_id, message_id, &best, chunk_id)?;
                self.put_ours(mailbox_id, row, at)
            }
            _ => Ok(()),
        }
    }

    fn update_row(&self, mailbox_id: i64, message_id: i64, r: &Instance, chunk: i64) -> Result<()> {
        let sql = "UPDATE mailbox_message SET last_chunk_id = ?3, uid = ?4, modseq = ?5,
                   last_updated = ?6, flags = ?7, internaldate = ?8, annotations = ?9,
                   expunged = ?10 WHERE mailbox_id = ?1 AND message_id = ?2";
        self.run_record(sql, mailbox_id, message_id, r, chunk)
    }

    fn run_record(
        &self,
        sql: &str,
        mailbox_id: i64,
        message_id: i64,
        r: &Instance,
        chunk_id: i64,
    ) -> Result<()> {
        let values = params![
            mailbox_id,
            message_id,
            chunk_id,
            r.uid,
            r.modseq,
            r.last_updated,
            r.flags,
            r.internaldate,
            r.annotations,
            r.expunged
        ];
        self.run(sql, values).map(drop)
    }

    fn put_ours(&self, mailbox_id: i64, r: &Instance, at: Place) -> Result<()> {
        let sql = "INSERT INTO cb_record (mailbox_id, uid, guid, chunk_id, modseq, last_updated,
                   flags, internaldate, annotations, size, expunged)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                   ON CONFLICT (mailbox_id, uid) DO UPDATE SET guid = excluded.guid,
                   chunk_id = excluded.chunk_id, modseq = excluded.modseq,
                   last_updated = excluded.last_updated, flags = excluded.flags,
                   internaldate = excluded.internaldate, annotations = excluded.annotations,
                   size = excluded.size, expunged = excluded.expunged";
        let values = params![
            mailbox_id,
            r.uid,
            r.guid.to_string(),
            at.chunk_id,
            r.modseq,
            r.last_updated,
            r.flags,
            r.internaldate,
            r.annotations,
            r.size,
            r.expunged
        ];
        self.run(sql, values).map(drop)
    }

    /// The instance of a UID, wherever it stands, and the chunk that said it last.
    fn instance(&self, mailbox_id: i64, uid: u32) -> Result<Option<(Instance, i64)>> {
        let sql = "SELECT mm.uid, m.guid, mm.modseq, mm.last_updated, mm.flags, mm.internaldate,
                   mm.annotations, m.size, mm.expunged, mm.last_chunk_id
                   FROM mailbox_message mm JOIN message m ON m.id = mm.message_id
                   WHERE mm.mailbox_id = ?1 AND mm.uid = ?2
                   UNION ALL
                   SELECT uid, guid, modseq, last_updated, flags, internaldate, annotations, size,
                   expunged, chunk_id FROM cb_record WHERE mailbox_id = ?1 AND uid = ?2 LIMIT 1";
        self.one(sql, params![mailbox_id, uid], |row| {
            Ok((Instance::from_row(row)?, row.get(9)?))
        })
    }

    /// A UID that now names another message: what stood there is gone from the index (the data
    /// file keeps it).
    fn forget(&self, mailbox_id: i64, uid: u32) -> Result<()> {
        let sql = "DELETE FROM mailbox_message WHERE mailbox_id = ?1 AND uid = ?2";
        self.run(sql, params![mailbox_id, uid])?;
        self.forget_ours(mailbox_id, uid)
    }

    fn forget_ours(&self, mailbox_id: i64, uid: u32) -> Result<()> {
        let sql = "DELETE FROM cb_record WHERE mailbox_id = ?1 AND uid = ?2";
        self.run(sql, params![mailbox_id, uid]).map(drop)
    }
}

/// One UID's message with the state that counts.
struct Instance {
    uid: u32,
    guid: Guid,
    modseq: u64,
    last_updated: i64,
    flags: String,
    internaldate: i64,
    annotations: String,
    size: u64,
    expunged: Option<i64>,
}

impl Instance {
    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Instance> {
        Ok(Instance {
            uid: row.get(0)?,
            guid: super::rows::guid(row, 1)?,
            modseq: row.get::<_, Option<u64>>(2)?.unwrap_or_default(),
            last_updated: row.get::<_, Option<i64>>(3)?.unwrap_or_default(),
            flags: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            internaldate: row.get::<_, Option<i64>>(5)?.unwrap_or_default(),
            annotations: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            size: row.get::<_, Option<u64>>(7)?.unwrap_or_default(),
            expunged: row.get(8)?,
        })
    }

    /// Which of two instances of one message C's row should show.
    fn beats(&self, other: &Instance) -> bool {
        (self.expunged.is_none(), self.uid) > (other.expunged.is_none(), other.uid)
    }

    /// Its part of SYNC_CRC; expunged messages count for nothing (spec: csync 7.1).
    fn crc(&self) -> u32 {
        if self.expunged.is_some() {
            return 0;
        }
        let flags = self
            .flags
            .trim_matches(['(', ')'])
            .split(' ')
            .filter(|flag| !flag.is_empty());
        crc::record(
            self.uid,
            self.modseq,
            self.last_updated,
            flags,
            self.internaldate,
            &self.guid,
        )
    }
}

fn printed_flags(flags: &[String]) -> String {
    format!("({})", flags.join(" "))
}
