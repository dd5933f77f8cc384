#!/bin/sh
# Installs newer real Cyrus servers beside Debian 12's, for the tests: newer-cyrus.sh SUITE...
#   trixie   Cyrus 3.10          sid   Cyrus 3.12
# Each is a small Debian of its own in /var/cache/cyrusbackup-tests/SUITE (some 700 MB), made once and kept; what
# runs there is started by the tests. Exit 1, with the reason, where it cannot be made.
set -eu

cache=/var/cache/cyrusbackup-tests
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=cyrus-imapd,cyrus-replication,sasl2-bin,libsasl2-modules,libsasl2-modules-db,ca-certificates

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "newer-cyrus.sh: needs root on a Debian" >&2
    exit 1
fi

make_one() {
    suite=$1
    home=$cache/$suite
    [ ! -e "$home/.ready" ] || return 0
    echo "Making a Debian $suite with Cyrus in $home (once, some minutes)"
    mkdir -p "$cache"
    rm -rf --one-file-system "$home.new"
    log=$cache/$suite.log
    if ! debootstrap --variant=minbase "$suite" "$home.new" "$mirror" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        echo "newer-cyrus.sh: debootstrap $suite failed (its whole output: $log)" >&2
        return 1
    fi
    # Tells the packages not to start their services.
    printf '#!/bin/sh\nexit 101\n' >"$home.new/usr/sbin/policy-rc.d"
    chmod 755 "$home.new/usr/sbin/policy-rc.d"
    mount -t proc proc "$home.new/proc"
    installed=0
    DEBIAN_FRONTEND=noninteractive chroot "$home.new" apt-get install -y --no-install-recommends \
        $(echo $packages | tr , ' ') >>"$log" 2>&1 </dev/null || installed=$?
    umount "$home.new/proc"
    if [ $installed != 0 ]; then
        tail -n 15 "$log" >&2
        echo "newer-cyrus.sh: apt-get in $suite failed (its whole output: $log)" >&2
        return 1
    fi
    rm -rf "$home.new/var/cache/apt/archives" "$home.new/var/lib/apt/lists"
    touch "$home.new/.ready"
    rm -rf --one-file-system "$home"
    mv "$home.new" "$home"
}

failed=0
for suite in "$@"; do
    make_one "$suite" || failed=1
done
exit $failed
