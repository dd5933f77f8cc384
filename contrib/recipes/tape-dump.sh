#!/bin/sh
# The backups of all users to tape (or a directory) with GNU tar: a full dump, and after it increments.
#
#   tape-dump.sh full  /dev/nst0            # or a file name; TAPE_OPTIONS are for tar, as -b 512 -M
#   tape-dump.sh next  /dev/nst0
#
# Backups go on meanwhile: the mount is a snapshot without locks. The snapshot file remembers what is on
# tape; a mount has another device number each time, hence --no-check-device.
# Bring back: tar --listed-incremental=/dev/null -xf full, then each increment in turn.
set -eu

kind=${1:?full or next} tape=${2:?a tape or a file}
state=${STATE:-/var/lib/cyrusbackup/tape} place=${PLACE:-/run/cyrusbackup-tape} spec=${SPEC:-all}
options=${MOUNT_OPTIONS:-ro,lock=none}

mkdir -p "$state" "$place"
case $kind in
    full) rm -f "$state/snapshot" ;;
    next) [ -s "$state/snapshot" ] || { echo "tape-dump: no full dump yet" >&2; exit 1; } ;;
    *) echo "tape-dump: full or next, not $kind" >&2; exit 64 ;;
esac

mount -t cyrusbackup -o "$options" "$spec" "$place"
trap 'umount "$place"' EXIT
# The new snapshot counts only when the dump is whole.
[ ! -e "$state/snapshot" ] || cp "$state/snapshot" "$state/snapshot.new"
# shellcheck disable=SC2086
tar ${TAPE_OPTIONS:-} --no-check-device --xattrs --listed-incremental="$state/snapshot.new" \
    -cf "$tape" -C "$place" .
mv "$state/snapshot.new" "$state/snapshot"
