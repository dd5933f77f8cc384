//! What the command line tools do: ctl_backups and cyr_backup.
