#!/usr/bin/env bash
# `make demo`: one backup from end to end, on loopback and in a directory that is removed again.
# As root on Debian: Debian's imapd with a sample of mail, our backupd, one run of Debian's sync_client, the mount.
# Otherwise: our backupd on a unix socket, the sample Maildir pushed by examples/push_maildir.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '\n== %s\n' "$*"; }
show() { printf '   $ %s\n' "$*"; "$@" 2>&1 | sed 's/^/   /'; }

contrib/setup/toolchain.sh
whole=yes
left_out=()
need() { # set, what is left out without it
    if ! contrib/setup/packages.sh "$1"; then
        whole=no
        left_out+=("$2")
    fi
}
contrib/setup/packages.sh build || true
need cyrus "Debian's imapd and sync_client: a sample Maildir is pushed instead"
contrib/setup/packages.sh mount || true
[ "$(id -u)" = 0 ] || whole=no
command -v cc >/dev/null || { echo "demo: there is no C compiler (cc) to link with" >&2; exit 1; }

say "Building (release)"
cargo build --release --locked --bins --example push_maildir
bin=${CARGO_TARGET_DIR:-target}/release
started=$SECONDS

dir=$(mktemp -d "${TMPDIR:-/tmp}/cyrusbackup-demo.XXXXXX")
pids=()
stop() {
    status=$?
    set +e
    mountpoint -q "$dir/mnt" 2>/dev/null && { umount "$dir/mnt" 2>/dev/null || fusermount3 -u "$dir/mnt"; }
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
    [ $status = 0 ] || { echo "demo: failed; what backupd said:" >&2; tail -n 20 "$dir/backupd.log" >&2; }
    rm -rf "$dir"
    exit $status
}
trap stop EXIT
mkdir -p "$dir"/{mnt,backup/{conf,part,tmp}}

# The first port that nothing answers on, from $1.
free_port() {
    local port=$1
    while (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}
wait_for() { # what, command...
    local what=$1
    shift
    for _ in $(seq 100); do "$@" 2>/dev/null && return; sleep 0.1; done
    echo "demo: $what does not answer after 10 s" >&2
    return 1
}
answers() { (exec 9<>"/dev/tcp/127.0.0.1/$1" && read -r -t 5 _ <&9); }

. contrib/demo/"$([ $whole = yes ] && echo whole.sh || echo small.sh)"
back_up

say "What is in the backup"
show "$bin/ctl_backups" -C "$dir/backup.conf" list
show "$bin/ctl_backups" -C "$dir/backup.conf" verify -A

if can_mount; then
    say "Mounting the backup"
    show "$bin/mount-cyrusbackup" anne "$dir/mnt" -o "config=$dir/backup.conf"
    show find "$dir/mnt/mailboxes" -name '*.eml' -printf '%P  %s bytes, of %Tc\n'
    say "Where was the key of the lighthouse?"
    show grep -r barometer "$dir/mnt/mailboxes"
    mail=$(grep -rl barometer "$dir/mnt/mailboxes")
    say "The head of that message, and what Cyrus knows of it"
    show sed -n '/^\r*$/q;p' "$mail"
    if command -v getfattr >/dev/null; then
        show getfattr --absolute-names -d -m user.cyrus "$mail"
        show getfattr --absolute-names -n user.cyrus.guid "$mail"
    fi
    say "Taking a message back is cp; all of it is tar"
    show cp "$mail" "$dir/rescued.eml"
    show tar cf "$dir/anne.tar" -C "$dir/mnt" mailboxes
    show ls -l "$dir/rescued.eml" "$dir/anne.tar"
    say "Unmounting"
    show umount_it
else
    left_out+=("the mount: it needs root, or fusermount3 and an open /dev/fuse")
    say "What lies in the mailboxes"
    show "$bin/cyr_backup" -C "$dir/backup.conf" -u anne list mailboxes
    guid=$("$bin/cyr_backup" -C "$dir/backup.conf" -u anne list messages | grep -E '^[0-9a-f]{40}$' | head -n 1)
    say "One message of them"
    show "$bin/cyr_backup" -C "$dir/backup.conf" -u anne dump message "$guid"
fi

say "Done in $((SECONDS - started)) seconds after the build"
for part in "${left_out[@]}"; do echo "   Left out: $part"; done
