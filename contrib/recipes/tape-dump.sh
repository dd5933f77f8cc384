#!/bin/sh
# The backups of all users to tape (or a directory) with GNU tar: a full dump, and after it increments.
#
#   tape-dump.sh full  /dev/nst0            # or a file name; TAPE_OPTIONS are for tar, as -b 512 -M
#   tape-dump.sh next  /dev/nst0
#
# Backups go on meanwhile: the mount is a snapshot without locks. The snapshot file remembers what is on
# tape; a mount has another device number each time, hence --no-check-device. tar asks what has changed since the
# last dump began, but the mount may not have shown yet what was being written then: hence the overlap of an hour.
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

export state began
began=$(date +%s)
mount -t cyrusbackup -o "$options" "$spec" "$place"
trap 'umount "$place"' EXIT
# The new snapshot counts only when the dump is whole.
rm -f "$state/snapshot.new"
[ ! -e "$state/snapshot" ] || cp "$state/snapshot" "$state/snapshot.new"
# shellcheck disable=SC2086
tar ${TAPE_OPTIONS:-} --no-check-device --xattrs --listed-incremental="$state/snapshot.new" \
    -cf "$tape" -C "$place" .
mv "$state/snapshot.new" "$state/snapshot"
sed -z "1s/[0-9]*\$/$((began - 3600))/" "$state/snapshot" >"$state/snapshot.next"
mv "$state/snapshot.next" "$state/snapshot"
