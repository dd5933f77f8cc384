//! Where the backups of this server are: known ones by backups.db, new ones on a partition chosen
//! for them (spec: ondisk 1.6, 2.7, 3.1).

use std::path::PathBuf;

use super::catalog::Catalog;
use super::error::{Result, StoreError};
use super::{layout, partition};
use crate::config::{Config, PartitionSelect};
use crate::types::BackupKey;

/// Finds backups and makes places for new ones.
#[derive(Clone)]
pub struct Placement {
    catalog: Catalog,
    partitions: Vec<(String, PathBuf)>,
    select: PartitionSelect,
    full_hash: bool,
}

impl Placement {
    /// As imapd.conf says.
    pub fn new(config: &Config) -> Placement {
        Placement {
            catalog: Catalog::new(&config.backup_db_path),
            partitions: config.backup_partitions.clone(),
            select: config.partition_select.clone(),
            full_hash: config.fulldirhash,
        }
    }

    /// backups.db.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The directories of the partitions.
    pub fn partitions(&self) -> impl Iterator<Item = &PathBuf> {
        self.partitions.iter().map(|(_, path)| path)
    }

    /// The data file of a key; None when there is no backup.
    pub fn find(&self, key: &BackupKey) -> Result<Option<PathBuf>> {
        self.catalog.get(key)
    }

    /// The data file of a key, made when there is none.
    pub fn find_or_create(&self, key: &BackupKey) -> Result<PathBuf> {
        self.catalog.get_or_create(key, || {
            let none = |e: partition::NoPartition| StoreError::NoPlace {
                key: key.clone(),
                reason: e.to_string(),
            };
            let chosen = partition::choose(&self.partitions, &self.select).map_err(none)?;
            let made = layout::create_data_file(&chosen.path, key, self.full_hash);
            made.map(|(_, path)| path)
                .map_err(StoreError::io(&chosen.path))
        })
    }
}
