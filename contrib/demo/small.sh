# Sourced by run.sh: the demo without root or packages. Our backupd on a unix socket (where no login is needed),
# and the sample Maildir.

back_up() {
    cat >"$dir/backup.conf" <<END
configdirectory: $dir/backup/conf
temp_path: $dir/backup/tmp
backuppartition-default: $dir/backup/part
backup_staging_path: $dir/backup/tmp/backup
servername: localhost
cyrus_user: $(id -un)
END
    say "Starting our backupd on a unix socket"
    "$bin/backupd" -C "$dir/backup.conf" --listen "$dir/csync.sock" >"$dir/backupd.log" 2>&1 &
    pids+=($!)
    wait_for backupd test -S "$dir/csync.sock"

    cp -R contrib/demo/maildir "$dir/maildir"
    # git keeps no empty directories.
    find "$dir/maildir" -type d -name cur -execdir mkdir -p new tmp \;
    say "push_maildir sends the sample Maildir, and then the run that has nothing to send"
    show "$bin/examples/push_maildir" "$dir/csync.sock" anne "$dir/maildir"
    show "$bin/examples/push_maildir" "$dir/csync.sock" anne "$dir/maildir"
}

can_mount() { [ -w /dev/fuse ] && { [ "$(id -u)" = 0 ] || command -v fusermount3 >/dev/null; }; }
umount_it() { if [ "$(id -u)" = 0 ]; then umount "$dir/mnt"; else fusermount3 -u "$dir/mnt"; fi; }
