//! Writing a fresh file in the place of an old one (spec: ondisk 3.9).

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::Entry;
use super::chain;
use super::error::Fault;
use super::header::{self, Header};
use super::level::Draw;
use super::media::{Image, Media};
use super::transaction::Transaction;
use crate::store::lock::{self, Mode};

/// A database in memory with these entries, all of one transaction.
pub(super) fn image(
    entries: impl IntoIterator<Item = Entry>,
    generation: u64,
    draw: Draw<'_>,
) -> Result<Image, Fault> {
    let image = Image::default();
    let header = header::lay_out(&image, generation)?;
    let mut transaction = Transaction::begin(Path::new("new"), &image, header, draw);
    for (key, value) in entries {
        transaction.store(&key, &value).map_err(|e| e.fault)?;
    }
    let packed = transaction.end();
    let mut header = transaction.commit()?;
    header.repack_size = packed;
    header.write(&image)?;
    Ok(image)
}

/// The live entries of a sound file, in memory, as the next generation.
pub(super) fn repacked(media: &dyn Media, header: &Header, draw: Draw<'_>) -> Result<Image, Fault> {
    let view = header.view(media);
    chain::check(&view, header.num_records)?;
    image(view.entries(&[])?, header.generation + 1, draw)
}

/// Replaces the file at `path`, which is `old` and exclusively locked, in one step. Gives the new
/// file, exclusively locked. A crash leaves the old file or the new one, and perhaps `path.NEW`,
/// which the next run removes.
pub(super) fn put_in_place(path: &Path, old: &File, image: &Image) -> io::Result<File> {
    let new_path = beside(path);
    match std::fs::remove_file(&new_path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let written = write_synced(&new_path, old, image);
    let renamed = written.and_then(|new| {
        std::fs::rename(&new_path, path)?;
        Ok(new)
    });
    if renamed.is_err() {
        // Best effort: the next run removes it anyway.
        let _ = std::fs::remove_file(&new_path);
    }
    let new = renamed?;
    // The lock on the new file keeps others from committing to it while a power cut could still
    // bring the old one back.
    sync_directory_of(path)?;
    Ok(new)
}

/// Makes sure that the name is on stable storage.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_synced(new_path: &Path, old: &File, image: &Image) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut new = options.open(new_path)?;
    lock::lock(&new, Mode::Exclusive)?;
    let was = old.metadata()?;
    let is = new.metadata()?;
    if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
        fchown(&new, Some(was.uid()), Some(was.gid()))?;
    }
    new.set_permissions(Permissions::from_mode(was.mode() & 0o7777))?;
    new.write_all(&image.bytes())?;
    new.sync_all()?;
    Ok(new)
}

/// C's name for it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".NEW");
    name.into()
}
