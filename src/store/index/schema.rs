//! Tables: C's, exactly (spec: ondisk 5.2), and ours.

use rusqlite::{Connection, TransactionBehavior};

/// What a new index says; C's constant (spec: ondisk 5.1). 4 is the same schema.
const USER_VERSION: i32 = 3;

const C_TABLES: &str = "
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY ASC, ts_start INTEGER, ts_end INTEGER, offset INTEGER UNIQUE,
    length INTEGER, file_sha1 TEXT, data_sha1 TEXT);
CREATE TABLE message (
    id INTEGER PRIMARY KEY ASC, guid CHAR UNIQUE NOT NULL, partition CHAR,
    chunk_id INTEGER REFERENCES chunk(id), offset INTEGER, size INTEGER);
CREATE INDEX IF NOT EXISTS idx_msg_guid ON message(guid);
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY ASC, last_chunk_id INTEGER NOT NULL REFERENCES chunk(id),
    uniqueid CHAR UNIQUE NOT NULL, mboxname CHAR NOT NULL, mboxtype CHAR, last_uid INTEGER,
    highestmodseq INTEGER, recentuid INTEGER, recenttime INTEGER, last_appenddate INTEGER,
    pop3_last_login INTEGER, pop3_show_after INTEGER, uidvalidity INTEGER, partition CHAR,
    acl CHAR, options CHAR, sync_crc INTEGER, sync_crc_annot INTEGER, quotaroot CHAR,
    xconvmodseq INTEGER, annotations CHAR, deleted INTEGER);
CREATE INDEX IF NOT EXISTS idx_bmb_uid ON mailbox(uniqueid);
CREATE TABLE mailbox_message (
    id INTEGER PRIMARY KEY ASC, mailbox_id INTEGER NOT NULL REFERENCES mailbox(id),
    message_id INTEGER NOT NULL REFERENCES message(id),
    last_chunk_id INTEGER NOT NULL REFERENCES chunk(id), uid INTEGER NOT NULL, modseq INTEGER,
    last_updated INTEGER, flags CHAR, internaldate INTEGER, annotations CHAR, expunged INTEGER,
    UNIQUE (mailbox_id, message_id));
CREATE INDEX IF NOT EXISTS idx_mbr_uid ON mailbox_message(uid);
";

const SUBSCRIPTION: &str = "
CREATE TABLE IF NOT EXISTS subscription (
    id INTEGER PRIMARY KEY ASC, last_chunk_id INTEGER NOT NULL REFERENCES chunk(id),
    mboxname CHAR UNIQUE NOT NULL, unsubscribed INTEGER);
CREATE INDEX IF NOT EXISTS idx_sub_mbx ON subscription(mboxname);
";

const SEEN: &str = "
CREATE TABLE IF NOT EXISTS seen (
    id INTEGER PRIMARY KEY ASC, last_chunk_id INTEGER NOT NULL REFERENCES chunk(id),
    uniqueid CHAR UNIQUE NOT NULL, lastread INTEGER, lastuid INTEGER, lastchange INTEGER,
    seenuids CHAR);
CREATE INDEX IF NOT EXISTS idx_seen_unq ON seen(uniqueid);
";

const SIEVE: &str = "
CREATE TABLE IF NOT EXISTS sieve (
    id INTEGER PRIMARY KEY ASC, chunk_id INTEGER NOT NULL REFERENCES chunk(id),
    last_update INTEGER, filename CHAR NOT NULL, guid CHAR NOT NULL, offset INTEGER,
    deleted INTEGER);
CREATE INDEX IF NOT EXISTS idx_siv_fn ON sieve(filename);
";

/// What C's schema has no place for. `cb_record` holds the records whose GUID already has its one
/// row in mailbox_message (C allows one per mailbox) and those whose body has not come. The index
/// begins with uid, since one on mailbox_id would change the order in which C lists records
/// (spec: ondisk 5.6).
const OUR_TABLES: &str = "
CREATE TABLE IF NOT EXISTS cb_state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cb_mailbox (
    mailbox_id INTEGER PRIMARY KEY, header BLOB NOT NULL, crc INTEGER NOT NULL,
    repair INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cb_record (
    mailbox_id INTEGER NOT NULL, uid INTEGER NOT NULL, guid TEXT NOT NULL,
    chunk_id INTEGER NOT NULL, modseq INTEGER, last_updated INTEGER, flags TEXT,
    internaldate INTEGER, annotations TEXT, size INTEGER, expunged INTEGER, asked INTEGER,
    PRIMARY KEY (mailbox_id, uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cb_intermediate (
    uniqueid TEXT PRIMARY KEY, mboxname TEXT NOT NULL, header BLOB NOT NULL,
    deleted INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cb_quota (root TEXT PRIMARY KEY, header BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cb_annotation (
    mboxname TEXT, entry TEXT, userid TEXT, value BLOB,
    PRIMARY KEY (mboxname, entry, userid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cb_seek (
    chunk_id INTEGER, offset INTEGER, file_offset INTEGER NOT NULL,
    PRIMARY KEY (chunk_id, offset)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cb_mm_uid ON mailbox_message(uid, mailbox_id);
";

/// Creates or upgrades C's tables as C would, then adds ours.
pub(super) fn prepare(conn: &mut Connection) -> rusqlite::Result<()> {
    let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version >= USER_VERSION && is_extended(conn)? {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    if version == 0 {
        tx.execute_batch(C_TABLES)?;
    }
    // A version 3 file may lack sieve, versions 1 and 2 more; adding is all their upgrades do.
    for tables in [SUBSCRIPTION, SEEN, SIEVE, OUR_TABLES] {
        tx.execute_batch(tables)?;
    }
    if version < USER_VERSION {
        tx.pragma_update(None, "user_version", USER_VERSION)?;
    }
    tx.commit()
}

/// Our tables are there.
pub(super) fn is_extended(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'cb_seek')",
        [],
        |row| row.get(0),
    )
}
