# Sourced by run.sh: the demo with Debian's Cyrus. Sets up and backs up; wants root.

cyrus_bin=/usr/lib/cyrus/bin
as_cyrus() { setpriv --reuid cyrus --regid mail --init-groups -- "$@"; }

# imapd.conf of source and backup: the same head.
head_of_config() {
    cat <<END
configdirectory: $dir/$1/conf
temp_path: $dir/$1/tmp
servername: localhost
admins: admin
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: $dir/sasldb2
sasl_mech_list: PLAIN SCRAM-SHA-256
unixhierarchysep: no
altnamespace: no
END
}

back_up() {
    imap_port=$(free_port 11143)
    csync_port=$(free_port 12005)
    mkdir -p "$dir"/source/{conf/{db,socket,proc,log,msg,lock,sync},spool,sieve,tmp}
    {
        head_of_config source
        echo "partition-default: $dir/source/spool
defaultpartition: default
sievedir: $dir/source/sieve
conversations: 1
sync_log: 1
sync_log_channels: backup
backup_sync_host: 127.0.0.1
backup_sync_port: $csync_port
backup_sync_authname: admin
backup_sync_password: secret
backup_sync_try_imap: 0"
    } >"$dir/source.conf"
    {
        head_of_config backup
        echo "backuppartition-default: $dir/backup/part
backup_staging_path: $dir/backup/tmp/backup"
    } >"$dir/backup.conf"
    cat >"$dir/cyrus.conf" <<END
START {
  recover cmd="ctl_cyrusdb -C $dir/source.conf -r"
}
SERVICES {
  imap cmd="imapd -C $dir/source.conf" listen="127.0.0.1:$imap_port" prefork=0
}
EVENTS {
}
END
    for user in admin anne; do
        printf secret | saslpasswd2 -p -c -f "$dir/sasldb2" -u localhost $user
    done
    chown -R cyrus:mail "$dir"
    chmod 755 "$dir"

    say "Starting Debian's imapd on port $imap_port, with a sample of mail for anne"
    # setsid: at its end the master signals its whole process group.
    PATH=$cyrus_bin:$PATH setsid /usr/sbin/cyrmaster -C "$dir/source.conf" -M "$dir/cyrus.conf" \
        -p "$dir/master.pid" >"$dir/master.log" 2>&1 &
    pids+=($!)
    wait_for imapd answers "$imap_port"
    deliver_sample

    say "Starting our backupd on port $csync_port"
    "$bin/backupd" -C "$dir/backup.conf" --listen "127.0.0.1:$csync_port" >"$dir/backupd.log" 2>&1 &
    pids+=($!)
    wait_for backupd answers "$csync_port"

    say "Debian's sync_client sends anne's mail, and then the run that has nothing to send"
    show as_cyrus $cyrus_bin/sync_client -C "$dir/source.conf" -n backup -v -u anne
    show as_cyrus $cyrus_bin/sync_client -C "$dir/source.conf" -n backup -v -u anne
}

can_mount() { [ -e /dev/fuse ]; }
umount_it() { umount "$dir/mnt"; }

# IMAP by hand: each command waits for its answer.
imap() {
    printf '%s\r\n' "$1" >&8
    imap_answer
}
imap_answer() {
    local line
    while IFS= read -r -t 20 line <&8; do
        case $line in
            "A OK"*) return 0 ;;
            "A NO"* | "A BAD"*) echo "imapd: $line" >&2; return 1 ;;
        esac
    done
    echo "imapd closed the connection" >&2
    return 1
}

deliver_sample() {
    exec 8<>"/dev/tcp/127.0.0.1/$imap_port"
    imap "A LOGIN admin secret"
    imap "A CREATE user.anne"
    exec 8>&-
    exec 8<>"/dev/tcp/127.0.0.1/$imap_port"
    imap "A LOGIN anne secret"
    local folder mailbox mail flags date
    for folder in contrib/demo/maildir contrib/demo/maildir/.[!.]*; do
        mailbox=INBOX${folder#contrib/demo/maildir}
        mailbox=${mailbox/\/./.}
        [ "$mailbox" = INBOX ] || imap "A CREATE $mailbox"
        for mail in "$folder"/cur/*; do
            flags=
            case ${mail##*,} in *S*) flags='\Seen' ;; esac
            case ${mail##*,} in *F*) flags="$flags"'\Flagged' ;; esac
            date=${mail##*/}
            date=$(LC_ALL=C date -u -d "@${date%%.*}" '+%d-%b-%Y %H:%M:%S +0000')
            sed 's/$/\r/' "$mail" >"$dir/mail"
            printf 'A APPEND %s (%s) "%s" {%s+}\r\n' "$mailbox" "$flags" "$date" "$(wc -c <"$dir/mail")" >&8
            cat "$dir/mail" >&8
            imap ""
        done
    done
    exec 8>&-
}
