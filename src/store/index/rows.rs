//! The rows of the index as values. Times are unix seconds, offsets bytes.

use rusqlite::Row;

use crate::types::Guid;

/// A gzip member of the data file (spec: ondisk 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    /// Row id; ascends with the offset.
    pub id: i64,
    /// Time of its first line.
    pub ts_start: i64,
    /// Time at which it was closed.
    pub ts_end: Option<i64>,
    /// Where the member starts in the data file.
    pub offset: u64,
    /// Inflated bytes, the 29-byte start line included.
    pub length: Option<u64>,
    /// SHA-1 of the data file before `offset`, lower-case hex.
    pub file_sha1: String,
    /// SHA-1 of the inflated bytes, lower-case hex.
    pub data_sha1: Option<String>,
}

/// A message body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Row id.
    pub id: i64,
    /// SHA-1 of the octets.
    pub guid: Guid,
    /// Partition on the server that sent it.
    pub partition: String,
    /// Chunk of its latest copy.
    pub chunk_id: i64,
    /// Where the MESSAGE line starts in the inflated chunk.
    pub offset: u64,
    /// Octets.
    pub size: u64,
}

/// Where a message is, and what it takes to read it.
#[derive(Debug, Clone)]
pub struct BodyPlace {
    /// Its row.
    pub row: MessageRow,
    /// Where its chunk starts in the data file.
    pub chunk_offset: u64,
    /// The last seek point before its line.
    pub point: Option<SeekPoint>,
    /// The seek point behind that: how far reading goes, most likely.
    pub until: Option<SeekPoint>,
}

/// A mailbox as its latest MAILBOX line says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "columns are named after the wire's keys: spec csync 5.3"
)]
pub struct MailboxRow {
    pub id: i64,
    pub last_chunk_id: i64,
    pub uniqueid: String,
    pub mboxname: String,
    pub mboxtype: Option<String>,
    pub last_uid: u32,
    pub highestmodseq: u64,
    pub recentuid: u32,
    pub recenttime: i64,
    pub last_appenddate: i64,
    pub pop3_last_login: i64,
    pub pop3_show_after: i64,
    pub uidvalidity: u32,
    pub partition: Option<String>,
    pub acl: Option<String>,
    pub options: Option<String>,
    pub sync_crc: u32,
    pub sync_crc_annot: u32,
    pub quotaroot: Option<String>,
    pub xconvmodseq: u64,
    pub annotations: Option<String>,
    /// Time of the UNMAILBOX, None while it lives.
    pub deleted: Option<i64>,
}

/// One UID of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// The mailbox.
    pub mailbox_id: i64,
    /// The body's row; None when the body never came.
    pub message_id: Option<i64>,
    /// Chunk of the line that said this last.
    pub chunk_id: i64,
    /// The UID.
    pub uid: u32,
    /// SHA-1 of the message.
    pub guid: Guid,
    /// Octets; None when the body never came and nobody said.
    pub size: Option<u64>,
    /// Modification sequence.
    pub modseq: u64,
    /// Time of the last change on the server.
    pub last_updated: i64,
    /// Printed list without `\Expunged`, as `(\Seen foo)`.
    pub flags: String,
    /// IMAP INTERNALDATE.
    pub internaldate: i64,
    /// Printed dlist of annotations or the empty string.
    pub annotations: String,
    /// When it was expunged, None while it lives.
    pub expunged: Option<i64>,
}

/// A record of a message that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    /// The message.
    pub message_id: i64,
    /// The mailbox.
    pub mailbox_id: i64,
    /// UID in it.
    pub uid: u32,
    /// IMAP INTERNALDATE.
    pub internaldate: i64,
    /// Printed list, as `(\Seen foo)`.
    pub flags: String,
    /// Chunk of the line that said this last.
    pub chunk_id: i64,
}

/// A subscription; `mboxname` is an internal name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRow {
    /// The mailbox subscribed to.
    pub mboxname: String,
    /// When it was taken back.
    pub unsubscribed: Option<i64>,
}

/// Seen state of this user in one mailbox (spec: csync 5.6).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns are named after the wire's keys")]
pub struct SeenRow {
    pub uniqueid: String,
    pub lastread: i64,
    pub lastuid: u32,
    pub lastchange: i64,
    pub seenuids: String,
}

/// One upload of a sieve script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SieveRow {
    /// Row id.
    pub id: i64,
    /// Chunk that holds it.
    pub chunk_id: i64,
    /// Modification time on the server.
    pub last_update: i64,
    /// Name as sent, with its suffix `.script`.
    pub filename: String,
    /// SHA-1 of the script.
    pub guid: Guid,
    /// Where the SIEVE line starts in the inflated chunk.
    pub offset: u64,
    /// When it was replaced or deleted.
    pub deleted: Option<i64>,
}

/// A place where inflating can start: uncompressed offset in the chunk, offset in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekPoint {
    /// Uncompressed offset in the chunk.
    pub offset: u64,
    /// Offset in the data file.
    pub file_offset: u64,
}

pub(super) const CHUNK: &str = "id, ts_start, ts_end, offset, length, file_sha1, data_sha1";
pub(super) const MESSAGE: &str = "id, guid, partition, chunk_id, offset, size";
pub(super) const MAILBOX: &str = "id, last_chunk_id, uniqueid, mboxname, mboxtype, last_uid, \
     highestmodseq, recentuid, recenttime, last_appenddate, pop3_last_login, pop3_show_after, \
     uidvalidity, partition, acl, options, sync_crc, sync_crc_annot, quotaroot, xconvmodseq, \
     annotations, deleted";

pub(super) fn chunk(row: &Row<'_>) -> rusqlite::Result<ChunkRow> {
    Ok(ChunkRow {
        id: row.get(0)?,
        ts_start: or_zero(row, 1)?,
        ts_end: row.get(2)?,
        offset: or_zero(row, 3)?,
        length: row.get(4)?,
        file_sha1: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        data_sha1: row.get(6)?,
    })
}

pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        id: row.get(0)?,
        guid: guid(row, 1)?,
        partition: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        chunk_id: or_zero(row, 3)?,
        offset: or_zero(row, 4)?,
        size: or_zero(row, 5)?,
    })
}

pub(super) fn place(row: &Row<'_>) -> rusqlite::Result<BodyPlace> {
    let point = |at: usize| -> rusqlite::Result<Option<SeekPoint>> {
        let Some(offset) = row.get(at)? else {
            return Ok(None);
        };
        let file_offset = row.get(at + 1)?;
        Ok(Some(SeekPoint {
            offset,
            file_offset,
        }))
    };
    Ok(BodyPlace {
        row: message(row)?,
        chunk_offset: row.get(6)?,
        point: point(7)?,
        until: point(9)?,
    })
}

pub(super) fn mailbox(row: &Row<'_>) -> rusqlite::Result<MailboxRow> {
    Ok(MailboxRow {
        id: row.get(0)?,
        last_chunk_id: row.get(1)?,
        uniqueid: row.get(2)?,
        mboxname: row.get(3)?,
        mboxtype: row.get(4)?,
        last_uid: or_zero(row, 5)?,
        highestmodseq: or_zero(row, 6)?,
        recentuid: or_zero(row, 7)?,
        recenttime: or_zero(row, 8)?,
        last_appenddate: or_zero(row, 9)?,
        pop3_last_login: or_zero(row, 10)?,
        pop3_show_after: or_zero(row, 11)?,
        uidvalidity: or_zero(row, 12)?,
        partition: row.get(13)?,
        acl: row.get(14)?,
        options: row.get(15)?,
        sync_crc: or_zero(row, 16)?,
        sync_crc_annot: or_zero(row, 17)?,
        quotaroot: row.get(18)?,
        xconvmodseq: or_zero(row, 19)?,
        annotations: row.get(20)?,
        deleted: row.get(21)?,
    })
}

/// Columns: mailbox_id, message_id, chunk, uid, guid, size, modseq, last_updated, flags,
/// internaldate, annotations, expunged.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<RecordRow> {
    Ok(RecordRow {
        mailbox_id: row.get(0)?,
        message_id: row.get(1)?,
        chunk_id: row.get(2)?,
        uid: row.get(3)?,
        guid: guid(row, 4)?,
        size: row.get(5)?,
        modseq: or_zero(row, 6)?,
        last_updated: or_zero(row, 7)?,
        flags: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        internaldate: or_zero(row, 9)?,
        annotations: row.get::<_, Option<String>>(10)?.unwrap_or_default(),
        expunged: row.get(11)?,
    })
}

pub(super) fn guid(row: &Row<'_>, column: usize) -> rusqlite::Result<Guid> {
    let text: String = row.get(column)?;
    text.parse().map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    })
}

fn or_zero<T: rusqlite::types::FromSql + Default>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    Ok(row.get::<_, Option<T>>(column)?.unwrap_or_default())
}
