//! Whether the places that imapd.conf names can be used: told when backupd starts, since the first mail
//! may come in the night. Nothing is refused for it: one bad partition is no reason to let all mail wait.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, User, access, getuid};

use cyrusbackup::config::Config;
use cyrusbackup::store::{Placement, forgotten};

/// Logs what will go wrong later. Call it as the user who will write.
pub fn look(config: &Config) {
    if config.backup_partitions.is_empty() {
        tracing::error!(
            "no new backup can be made: imapd.conf names no partition, as backuppartition-default: /srv/backup does"
        );
    }
    let user = User::from_uid(getuid()).ok().flatten();
    let user = user.map_or_else(|| getuid().to_string(), |user| user.name);
    for (name, path) in &config.backup_partitions {
        tell(&format!("backuppartition-{name}"), path, &user, true);
    }
    tell("configdirectory", &config.configdirectory, &user, false);
    tell(
        "backup_staging_path",
        &config.backup_staging_path,
        &user,
        false,
    );
    // What is wrong with backups.db itself is said when it is needed, to the client too.
    if let Ok(Some(partition)) = forgotten(&Placement::new(config)) {
        tracing::error!(
            "{} knows of no backup, but there are files in {}: every user's backup would begin anew beside his \
             old one; stop, run `ctl_backups reconstruct`, and look at `ctl_backups list`",
            config.backup_db_path.display(),
            partition.display()
        );
    }
}

fn tell(option: &str, path: &Path, user: &str, is_partition: bool) {
    match trouble(path, user) {
        Some(trouble) => tracing::error!("{option}: {}: {trouble}", path.display()),
        None if is_partition && !path.exists() => tracing::warn!(
            "{option}: {} does not exist: it is made for the first backup; if it is a disk, mount it first",
            path.display()
        ),
        None => {}
    }
}

/// Why nothing can be written there.
fn trouble(path: &Path, user: &str) -> Option<String> {
    if !path.is_absolute() {
        return Some("is no absolute path".to_owned());
    }
    match path.metadata() {
        Ok(meta) if !meta.is_dir() => Some("is no directory".to_owned()),
        Ok(_) => unwritable(path, user).or_else(|| full(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Its directory is made when it is needed, and all above it.
            let above = path.ancestors().find(|above| above.exists())?;
            let why = unwritable(above, user)?;
            Some(format!("does not exist, and in {} {why}", above.display()))
        }
        Err(error) => Some(error.to_string()),
    }
}

fn unwritable(directory: &Path, user: &str) -> Option<String> {
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    let errno = access(directory, all).err()?;
    Some(format!("the user {user} cannot write: {}", errno.desc()))
}

fn full(directory: &Path) -> Option<String> {
    let space = statvfs(directory).ok()?;
    let full = space.blocks_available() == 0 || space.files() > 0 && space.files_available() == 0;
    full.then(|| "its disk is full".to_owned())
}
