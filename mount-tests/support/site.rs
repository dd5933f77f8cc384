//! A backup server's files: imapd.conf, backups.db, partition.

use std::path::{Path, PathBuf};

use cyrusbackup::store::catalog::Catalog;
use cyrusbackup::types::BackupKey;

use super::Scratch;

/// A site with the backups of some users, all owned by whoever runs the test.
pub struct Site {
    dir: tempfile::TempDir,
    backups: Vec<(String, Scratch)>,
}

impl Site {
    pub fn new(backups: Vec<(&str, Scratch)>) -> Site {
        let site = Site::bare(tempfile::tempdir().unwrap(), backups);
        for (key, backup) in &site.backups {
            site.register(key, backup.path());
        }
        site
    }

    /// A site with so many users, `u00000` and so on, each with a copy of this backup.
    pub fn of_copies(backup: &Scratch, count: usize) -> Site {
        // Thousands of small files that are synced one by one: in memory, if we may.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let site = Site::bare(dir.unwrap(), Vec::new());
        for number in 0..count {
            let key = format!("u{number:05}");
            let data = site.join("part").join(format!("{key}_AAAAAA"));
            std::fs::copy(backup.path(), &data).unwrap();
            let index = data.with_file_name(format!("{key}_AAAAAA.index"));
            std::fs::copy(backup.index(), index).unwrap();
            site.register(&key, &data);
        }
        site
    }

    fn register(&self, key: &str, data: &Path) {
        let catalog = Catalog::new(self.join("conf/backups.db"));
        let key = BackupKey::from_userid(key).unwrap();
        catalog.insert(&key, data).unwrap();
    }

    fn bare(dir: tempfile::TempDir, backups: Vec<(&str, Scratch)>) -> Site {
        for name in ["conf", "part", "staging"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let backups = backups
            .into_iter()
            .map(|(key, backup)| (key.to_owned(), backup));
        let site = Site {
            dir,
            backups: backups.collect(),
        };
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid())
            .unwrap()
            .unwrap();
        let root = site.dir.path().display();
        let text = format!(
            "configdirectory: {root}/conf\nbackuppartition-default: {root}/part\n\
             backup_staging_path: {root}/staging\nbackup_db_path: {root}/conf/backups.db\n\
             servername: localhost\ncyrus_user: {}\n",
            me.name
        );
        std::fs::write(site.conf(), text).unwrap();
        site
    }

    pub fn conf(&self) -> PathBuf {
        self.join("imapd.conf")
    }

    pub fn join(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The data file of a user.
    pub fn backup(&self, key: &str) -> &Path {
        let found = self.backups.iter().find(|(known, _)| known == key);
        found.unwrap().1.path()
    }

    /// Makes this user the owner of everything.
    pub fn give_to(&self, user: &nix::unistd::User) {
        let backups = self.backups.iter().map(|(_, backup)| backup.dir());
        for dir in backups.chain([self.dir.path()]) {
            let mut chown = std::process::Command::new("chown");
            super::sh(
                chown
                    .arg("-R")
                    .arg(format!("{}:{}", user.uid, user.gid))
                    .arg(dir),
            );
        }
    }

    /// `config=…` for this site.
    pub fn option(&self) -> String {
        format!("config={}", self.conf().display())
    }
}
