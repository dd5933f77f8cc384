//! What the index answers. Order is C's where C's output depends on it (spec: ondisk 5.6).

use rusqlite::{OptionalExtension, Params, Row, params};

use super::rows::{self, *};
use super::{Index, Result};
use crate::types::Guid;

impl Index {
    /// All chunks by id, which is file order.
    pub fn chunks(&self) -> Result<Vec<ChunkRow>> {
        self.all(
            &format!("SELECT {CHUNK} FROM chunk ORDER BY id"),
            [],
            rows::chunk,
        )
    }

    /// One chunk.
    pub fn chunk(&self, id: i64) -> Result<Option<ChunkRow>> {
        self.one(
            &format!("SELECT {CHUNK} FROM chunk WHERE id = ?1"),
            [id],
            rows::chunk,
        )
    }

    /// The chunk with the highest id.
    pub fn last_chunk(&self) -> Result<Option<ChunkRow>> {
        let sql = format!("SELECT {CHUNK} FROM chunk ORDER BY id DESC LIMIT 1");
        self.one(&sql, [], rows::chunk)
    }

    /// The chunk with the lowest id.
    pub fn first_chunk(&self) -> Result<Option<ChunkRow>> {
        let sql = format!("SELECT {CHUNK} FROM chunk ORDER BY id LIMIT 1");
        self.one(&sql, [], rows::chunk)
    }

    /// Inflated bytes of all chunks.
    pub fn inflated_bytes(&self) -> Result<u64> {
        let sql = "SELECT coalesce(sum(length), 0) FROM chunk";
        Ok(self.one(sql, [], |row| row.get(0))?.unwrap_or(0))
    }

    /// Bytes of the messages that live in some mailbox, or did after `since`.
    pub fn living_bytes(&self, since: i64) -> Result<u64> {
        let sql = "SELECT coalesce(sum(size), 0) FROM message WHERE id IN (
                   SELECT message_id FROM mailbox_message
                   WHERE expunged IS NULL OR expunged > ?1)";
        Ok(self.one(sql, [since], |row| row.get(0))?.unwrap_or(0))
    }

    /// All mailboxes by id, deleted ones too.
    pub fn mailboxes(&self) -> Result<Vec<MailboxRow>> {
        self.all(
            &format!("SELECT {MAILBOX} FROM mailbox ORDER BY id"),
            [],
            rows::mailbox,
        )
    }

    /// The mailbox with this uniqueid, deleted or not.
    pub fn mailbox_by_uniqueid(&self, uniqueid: &str) -> Result<Option<MailboxRow>> {
        let sql = format!("SELECT {MAILBOX} FROM mailbox WHERE uniqueid = ?1");
        self.one(&sql, [uniqueid], rows::mailbox)
    }

    /// The living mailboxes of this internal name; more than one only after a displacement.
    pub fn mailboxes_by_name(&self, mboxname: &str) -> Result<Vec<MailboxRow>> {
        let sql = format!(
            "SELECT {MAILBOX} FROM mailbox WHERE mboxname = ?1 AND deleted IS NULL ORDER BY id"
        );
        self.all(&sql, [mboxname], rows::mailbox)
    }

    /// Every UID ever heard of in a mailbox, expunged ones too, in UID order.
    pub fn records(&self, mailbox_id: i64) -> Result<Vec<RecordRow>> {
        let ours = match self.extended {
            true => {
                "UNION ALL
                 SELECT r.mailbox_id, m.id, r.chunk_id, r.uid, r.guid, coalesce(m.size, r.size),
                        r.modseq, r.last_updated, r.flags, r.internaldate, r.annotations,
                        r.expunged
                 FROM cb_record r LEFT JOIN message m ON m.guid = r.guid
                 WHERE r.mailbox_id = ?1"
            }
            false => "",
        };
        let sql = format!(
            "SELECT mm.mailbox_id, mm.message_id, mm.last_chunk_id, mm.uid, m.guid, m.size,
                    mm.modseq, mm.last_updated, mm.flags, mm.internaldate, mm.annotations,
                    mm.expunged
             FROM mailbox_message mm JOIN message m ON m.id = mm.message_id
             WHERE mm.mailbox_id = ?1 {ours} ORDER BY 4"
        );
        self.all(&sql, [mailbox_id], rows::record)
    }

    /// The mailboxes that hold expunged records, by id.
    pub fn mailboxes_with_expunged(&self) -> Result<Vec<i64>> {
        let ours = match self.extended {
            true => "UNION SELECT mailbox_id FROM cb_record WHERE expunged IS NOT NULL",
            false => "",
        };
        let sql = format!(
            "SELECT mailbox_id FROM mailbox_message WHERE expunged IS NOT NULL {ours} ORDER BY 1"
        );
        self.all(&sql, [], |row| row.get(0))
    }

    /// The records of messages that several mailboxes, or several UIDs, have.
    pub fn copies(&self) -> Result<Vec<CopyRow>> {
        let ours = match self.extended {
            true => {
                "UNION ALL
                 SELECT m.id, r.mailbox_id, r.uid, r.internaldate, r.flags, r.chunk_id
                 FROM cb_record r JOIN message m ON m.guid = r.guid"
            }
            false => "",
        };
        let records = format!(
            "SELECT message_id, mailbox_id, uid, internaldate, flags, last_chunk_id
             FROM mailbox_message {ours}"
        );
        let sql = format!(
            "WITH record AS ({records}) SELECT * FROM record WHERE message_id IN
             (SELECT message_id FROM record GROUP BY message_id HAVING count(*) > 1)"
        );
        self.all(&sql, [], |row| {
            Ok(CopyRow {
                message_id: row.get(0)?,
                mailbox_id: row.get(1)?,
                uid: row.get(2)?,
                internaldate: row.get::<_, Option<i64>>(3)?.unwrap_or_default(),
                flags: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
                chunk_id: row.get(5)?,
            })
        })
    }

    /// How many messages there are.
    pub fn message_count(&self) -> Result<u64> {
        let count = self.one("SELECT count(*) FROM message", [], |row| row.get(0))?;
        Ok(count.unwrap_or(0))
    }

    /// All messages by id.
    pub fn messages(&self) -> Result<Vec<MessageRow>> {
        self.all(
            &format!("SELECT {MESSAGE} FROM message ORDER BY id"),
            [],
            rows::message,
        )
    }

    /// The messages of one chunk by offset.
    pub fn messages_of_chunk(&self, chunk_id: i64) -> Result<Vec<MessageRow>> {
        let sql = format!("SELECT {MESSAGE} FROM message WHERE chunk_id = ?1 ORDER BY offset, id");
        self.all(&sql, [chunk_id], rows::message)
    }

    /// One message.
    pub fn message(&self, guid: &Guid) -> Result<Option<MessageRow>> {
        let sql = format!("SELECT {MESSAGE} FROM message WHERE guid = ?1");
        self.one(&sql, [guid.to_string()], rows::message)
    }

    /// A message by its row id, with all that reading it takes: one question.
    pub fn place(&self, id: i64) -> Result<Option<BodyPlace>> {
        let (points, joined) = match self.extended {
            true => (
                "p.offset, p.file_offset, n.offset, n.file_offset",
                "LEFT JOIN cb_seek p ON p.chunk_id = m.chunk_id AND p.offset =
                 (SELECT max(offset) FROM cb_seek
                  WHERE chunk_id = m.chunk_id AND offset <= m.offset)
                 LEFT JOIN cb_seek n ON n.chunk_id = m.chunk_id AND n.offset =
                 (SELECT min(offset) FROM cb_seek
                  WHERE chunk_id = m.chunk_id AND offset > m.offset)",
            ),
            false => ("NULL, NULL, NULL, NULL", ""),
        };
        // Without the plus SQLite makes a new plan for each id, which takes four times as long.
        let sql = format!(
            "SELECT m.id, m.guid, m.partition, m.chunk_id, m.offset, m.size, c.offset, {points}
             FROM message m JOIN chunk c ON c.id = m.chunk_id {joined} WHERE m.id = +?1"
        );
        self.one(&sql, [id], rows::place)
    }

    /// The body of this message is in the data file.
    pub fn has_message(&self, guid: &Guid) -> Result<bool> {
        let sql = "SELECT 1 FROM message WHERE guid = ?1";
        Ok(self.one(sql, [guid.to_string()], |_| Ok(()))?.is_some())
    }

    /// The mailboxes that hold or held a message, by mailbox id.
    pub fn mailboxes_of_message(&self, message_id: i64) -> Result<Vec<MailboxRow>> {
        let sql = format!(
            "SELECT {MAILBOX} FROM mailbox WHERE id IN
             (SELECT mailbox_id FROM mailbox_message WHERE message_id = ?1) ORDER BY id"
        );
        self.all(&sql, [message_id], rows::mailbox)
    }

    /// All subscriptions, past ones too.
    pub fn subscriptions(&self) -> Result<Vec<SubscriptionRow>> {
        self.all(
            "SELECT mboxname, unsubscribed FROM subscription ORDER BY id",
            [],
            |row| {
                Ok(SubscriptionRow {
                    mboxname: row.get(0)?,
                    unsubscribed: row.get(1)?,
                })
            },
        )
    }

    /// Seen state of all mailboxes.
    pub fn seen(&self) -> Result<Vec<SeenRow>> {
        let sql = "SELECT uniqueid, lastread, lastuid, lastchange, seenuids FROM seen ORDER BY id";
        self.all(sql, [], |row| {
            Ok(SeenRow {
                uniqueid: row.get(0)?,
                lastread: row.get(1)?,
                lastuid: row.get(2)?,
                lastchange: row.get(3)?,
                seenuids: row.get(4)?,
            })
        })
    }

    /// All uploads of sieve scripts, past ones too.
    pub fn sieve(&self) -> Result<Vec<SieveRow>> {
        let sql = "SELECT id, chunk_id, last_update, filename, guid, offset, deleted \
                   FROM sieve ORDER BY id";
        self.all(sql, [], |row| {
            Ok(SieveRow {
                id: row.get(0)?,
                chunk_id: row.get(1)?,
                last_update: row.get(2)?,
                filename: row.get(3)?,
                guid: rows::guid(row, 4)?,
                offset: row.get(5)?,
                deleted: row.get(6)?,
            })
        })
    }

    /// All seek points with their chunks, in the order of the file.
    pub(in crate::store) fn seek_points(&self) -> Result<Vec<(i64, SeekPoint)>> {
        let sql = "SELECT chunk_id, offset, file_offset FROM cb_seek ORDER BY chunk_id, offset";
        self.ours(sql, |row| {
            let (offset, file_offset) = (row.get(1)?, row.get(2)?);
            let point = SeekPoint {
                offset,
                file_offset,
            };
            Ok((row.get(0)?, point))
        })
    }

    /// The last seek point of a chunk at or before an uncompressed offset.
    pub fn seek_point(&self, chunk_id: i64, offset: u64) -> Result<Option<SeekPoint>> {
        if !self.extended {
            return Ok(None);
        }
        let sql = "SELECT offset, file_offset FROM cb_seek \
                   WHERE chunk_id = ?1 AND offset <= ?2 ORDER BY offset DESC LIMIT 1";
        self.one(sql, params![chunk_id, offset], |row| {
            Ok(SeekPoint {
                offset: row.get(0)?,
                file_offset: row.get(1)?,
            })
        })
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut query = self.sql(self.conn()?.prepare_cached(sql))?;
        let rows = self.sql(query.query_map(params, map))?;
        self.sql(rows.collect())
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut query = self.sql(self.conn()?.prepare_cached(sql))?;
        self.sql(query.query_row(params, map).optional())
    }
}
