//! What the file system says of a data file without reading it: whoever writes to it changes the stamp.
//!
//! The index keeps the stamp under which the file's octets were known to have the sums in the last chunk's
//! row, so that looking at a backup again does not read all of it again (C does: spec ondisk 10.7). The appender
//! hands it on, since it knows every octet that it adds; whatever else has touched the file, C's tools, a
//! restore from tape, an editor, leaves another stamp, and the file is read. A disk that loses octets by itself does not
//! change it: that is what `verify` is for, which reads always.

use std::os::unix::fs::MetadataExt;

use super::data_file::DataFile;
use super::error::Result;
use super::index::Index;

/// Notes that the file's octets are those whose SHA-1 the index has. The caller holds the exclusive lock and has
/// read or written all of them.
pub(super) fn attest(data: &DataFile, index: &Index) -> Result<()> {
    match text(data, index)? {
        Some(text) => index.set_attested(&text),
        None => Ok(()),
    }
}

/// Nobody has touched the file since that was noted.
pub(super) fn is_attested(data: &DataFile, index: &Index) -> Result<bool> {
    let now = text(data, index)?;
    Ok(now.is_some() && now == index.attested()?)
}

/// The stamp of the file as it is now, and the sums that it stands for. None without a chunk, and where the file
/// system counts whole seconds: two changes in one second would look like one.
fn text(data: &DataFile, index: &Index) -> Result<Option<String>> {
    let meta = data.io(data.file().metadata())?;
    let last = index.last_chunk()?.filter(|_| meta.ctime_nsec() != 0);
    Ok(last.map(|chunk| {
        format!(
            "{} {} {} {}.{:09} {}.{:09} {} {} {:?} {:?}",
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            chunk.offset,
            chunk.file_sha1,
            chunk.length,
            chunk.data_sha1
        )
    }))
}

/// D18: what was touched is read, what was not is not.
#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::ControlFlow;
    use std::path::Path;

    use super::super::tests::{append, bodies, mail, mailbox, new_backup};
    use super::super::verify::{Level, verify};
    use super::super::{Appender, Backup, Lock, compact, layout, reindex};
    use super::*;

    fn session(path: &Path, number: u64) {
        let mails: Vec<_> = (0..20).map(|n| mail(number * 100 + n, 5_000)).collect();
        let mut appender = Appender::open(path, false).unwrap();
        let now = 1_600_000_000 + number as i64;
        appender.append_bodies(&bodies(&mails), now).unwrap();
        append(&mut appender, &mailbox(&[]), now);
        appender.commit().unwrap();
        appender.finish().unwrap();
    }

    /// Whether the file is believed, and what a look at it finds; with the octets that looking has read.
    fn look(path: &Path) -> (bool, usize, u64) {
        let backup = Backup::open(path, Lock::Shared { wait: false }).unwrap();
        let before = octets_read();
        let mut found = 0;
        let late = verify(&backup, Level::Quick, &|_| (), |report| {
            found += report.findings.len();
            ControlFlow::Continue(())
        });
        let read = octets_read() - before;
        (
            backup.is_attested().unwrap(),
            found + late.unwrap().len(),
            read,
        )
    }

    fn octets_read() -> u64 {
        let text = fs::read_to_string("/proc/thread-self/io").unwrap();
        text.lines().next().unwrap()["rchar: ".len()..]
            .parse()
            .unwrap()
    }

    /// Changes octets in place, as nobody should; the clock of a file system goes in steps.
    fn touch(path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let before = fs::metadata(path).unwrap();
        let mut octets = fs::read(path).unwrap();
        change(&mut octets);
        for _ in 0..1000 {
            fs::write(path, &octets).unwrap();
            let after = fs::metadata(path).unwrap();
            if (before.ctime(), before.ctime_nsec()) != (after.ctime(), after.ctime_nsec()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the file system's clock stands still");
    }

    #[test]
    fn what_only_we_have_written_is_not_read_again() {
        let (_dir, path) = new_backup();
        for number in 0..8 {
            session(&path, number);
            assert!(look(&path).0, "after session {number}");
        }
        let size = fs::metadata(&path).unwrap().len();
        assert!(size > 500_000 && size < 1 << 20);
        let (_, found, read) = look(&path);
        assert!(found == 0 && read < size / 4, "{found} {read} of {size}");

        let at = size as usize / 3;
        touch(&path, |octets| octets[at] ^= 1);
        let (believed, found, read) = look(&path);
        assert!(!believed && found == 1 && read > size, "{found} {read}");
        // As it was, but who knows that without reading?
        touch(&path, |octets| octets[at] ^= 1);
        let (believed, found, read) = look(&path);
        assert!(!believed && found == 0 && read > size, "{found} {read}");
        // What comes behind does not make it better.
        session(&path, 8);
        assert!(!look(&path).0);
    }

    #[test]
    fn whoever_reads_or_writes_all_of_it_knows() {
        let (_dir, path) = new_backup();
        (0..8).for_each(|number| session(&path, number));
        touch(&path, |_| {});
        reindex::reindex(&path, reindex::Reindex::default(), &mut |_| {}).unwrap();
        assert!(look(&path).0, "reindex reads it");
        session(&path, 8);
        assert!(look(&path).0, "and a session goes on from there");

        let how = compact::Compact {
            force: true,
            ..Default::default()
        };
        compact::compact(&path, &how, &mut |_| {}, &mut |_, _| {}).unwrap();
        assert!(look(&path).0, "compact writes it");
        session(&path, 9);
        assert!(look(&path).0);
    }

    #[test]
    fn the_stamp_is_of_this_file_and_this_index() {
        let (_dir, path) = new_backup();
        (0..8).for_each(|number| session(&path, number));
        // A copy has another inode.
        let copy = path.with_file_name("copy_AAAAAA");
        fs::copy(&path, &copy).unwrap();
        fs::copy(layout::index(&path), layout::index(&copy)).unwrap();
        assert!(!look(&copy).0);
        // An index that says another SHA-1 is not what was known to be right.
        let index = rusqlite::Connection::open(layout::index(&path)).unwrap();
        for (column, wrong) in [("file_sha1", "'x'"), ("data_sha1", "'x'"), ("length", "5")] {
            let last = "id = (SELECT max(id) FROM chunk)";
            let good: rusqlite::types::Value = index
                .query_row(
                    &format!("SELECT {column} FROM chunk WHERE {last}"),
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            let set = |value: &str| format!("UPDATE chunk SET {column} = {value} WHERE {last}");
            index.execute(&set(wrong), []).unwrap();
            let (believed, found, _) = look(&path);
            assert!(!believed && found == 1, "{column}");
            index.execute(&set("?1"), [good]).unwrap();
            assert!(look(&path).0, "{column}");
        }
    }

    #[test]
    fn what_a_crash_has_left_is_not_believed() {
        let (_dir, path) = new_backup();
        (0..8).for_each(|number| session(&path, number));
        let mails = [mail(5_000, 5_000)];
        let mut appender = Appender::open(&path, false).unwrap();
        appender
            .append_bodies(&bodies(&mails), 1_600_001_000)
            .unwrap();
        appender.commit().unwrap();
        drop(appender);
        assert!(!look(&path).0);
        let (found, read) = (look(&path).1, look(&path).2);
        assert!(found == 0 && read > 500_000, "{found} {read}");
    }
}
