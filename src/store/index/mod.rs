//! The index: one SQLite file beside each data file, a cache of what the data file says
//! (spec: ondisk 5). The only SQL of the house is in this room: `schema` makes the tables, `rows`
//! names their columns, `read` answers, `write` says what a command means, `record` what
//! a record does, `state` keeps what only we know.
//!
//! C's tables are filled as C expects. What they cannot hold stands in tables named `cb_…`, which
//! C ignores; `cb_state` carries the watermark that tells whether C has been here since.

mod read;
mod record;
mod rows;
mod schema;
mod state;
mod write;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::{Result, StoreError};

pub use rows::{
    BodyPlace, ChunkRow, CopyRow, MailboxRow, MessageRow, RecordRow, SeekPoint, SeenRow, SieveRow,
    SubscriptionRow,
};
pub use state::{Annotation, Header, Intermediate, Repair, State};
pub use write::{Place, is_intermediate};

/// An open index.
pub struct Index {
    /// Not there while it rests.
    conn: OnceCell<Connection>,
    path: PathBuf,
    /// Nobody changes the file while we read it, so it can be closed and opened again.
    may_rest: bool,
    /// Our own tables are there.
    extended: bool,
}

impl Index {
    /// Opens an index that C or we made, for reading. SQLite may roll back what a crash left, so
    /// the file is opened for writing.
    pub fn open(path: &Path) -> Result<Index> {
        if std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(0) == 0 {
            let reason = "the index is missing or empty".to_owned();
            return Err(StoreError::InvalidFormat {
                path: path.to_owned(),
                reason,
            });
        }
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let index = Index::over(conn, path)?;
        Ok(Index {
            may_rest: true,
            ..index
        })
    }

    /// The index of a data file that nothing was written to yet.
    pub fn empty(path: &Path) -> Result<Index> {
        let mut conn = Connection::open_in_memory().map_err(StoreError::index(path))?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch("PRAGMA foreign_keys=OFF")
            .and_then(|()| schema::prepare(&mut conn))
            .map_err(StoreError::index(path))?;
        Index::over(conn, path)
    }

    /// A private copy in memory: reading it needs no lock and leaves the original untouched.
    pub fn snapshot(path: &Path) -> Result<Index> {
        let open = Index::open(path)?;
        let mut copy = Connection::open_in_memory().map_err(StoreError::index(path))?;
        rusqlite::backup::Backup::new(open.conn()?, &mut copy)
            .and_then(|backup| backup.run_to_completion(4096, std::time::Duration::ZERO, None))
            .map_err(StoreError::index(path))?;
        Index::over(copy, path)
    }

    /// Opens an index for writing: created when missing, upgraded when old, with our tables. The
    /// caller holds the exclusive lock on the data file.
    pub fn open_for_write(path: &Path) -> Result<Index> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut conn = connect(path, flags)?;
        schema::prepare(&mut conn).map_err(StoreError::index(path))?;
        Index::over(conn, path)
    }

    /// Makes the index of a whole data file, which takes the place of another when it is complete:
    /// until then a crash may destroy it.
    pub(in crate::store) fn create(path: &Path) -> Result<Index> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut conn = connect(path, flags)?;
        conn.execute_batch(
            "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF;
             PRAGMA cache_size=-32768;",
        )
        .and_then(|()| schema::prepare(&mut conn))
        .map_err(StoreError::index(path))?;
        Index::over(conn, path)
    }

    /// What was committed is on stable storage when this returns.
    pub(in crate::store) fn sync(&self) -> Result<()> {
        let synced = std::fs::File::open(&self.path).and_then(|file| file.sync_all());
        synced.map_err(StoreError::io(&self.path))
    }

    /// Gives back memory: an open index takes some 100 KB, besides the pages that SQLite keeps for the
    /// next question. Only for who holds the backup's lock all the time.
    pub fn rest(&mut self) {
        if self.may_rest {
            self.conn.take();
        } else if let Some(conn) = self.conn.get() {
            // A hint; nothing depends on it.
            let _ = conn.execute_batch("PRAGMA shrink_memory");
        }
    }

    /// The file this was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn over(conn: Connection, path: &Path) -> Result<Index> {
        let extended = schema::is_extended(&conn).map_err(StoreError::index(path))?;
        Ok(Index {
            conn: OnceCell::from(conn),
            path: path.to_owned(),
            may_rest: false,
            extended,
        })
    }

    fn conn(&self) -> Result<&Connection> {
        if let Some(conn) = self.conn.get() {
            return Ok(conn);
        }
        let conn = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(self.conn.get_or_init(|| conn))
    }

    fn sql<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(StoreError::index(&self.path))
    }
}

/// C's connection settings (spec: ondisk 5.1); rollback journal, so that the file moves as one.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(std::time::Duration::from_secs(20))?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(
            "PRAGMA foreign_keys=ON; PRAGMA secure_delete=OFF; PRAGMA temp_store=2;
             PRAGMA synchronous=FULL; PRAGMA cache_size=-16384;",
        )?;
        Ok(conn)
    };
    open().map_err(StoreError::index(path))
}
