#!/bin/sh
# Installs Debian packages that are missing: packages.sh SET...
#   build   what compiling needs          cyrus   the real Cyrus and SASL, for demo and tests
#   newer   what newer-cyrus.sh needs
#   service what starts the server in its tests, and speaks TLS to it
#   mount   what mounting and the everyday programs on a mount need
#   fuzz    a C++ compiler, for libFuzzer
#   bench   what a mount is measured against
# Starts none of their services. Exit 1, with the command to type, where it may not or cannot install.
set -eu

build="gcc libc6-dev ca-certificates"
cyrus="cyrus-imapd cyrus-replication cyrus-admin cyrus-clients sasl2-bin libsasl2-2 libsasl2-modules libsasl2-modules-db python3 sqlite3 strace groff-base"
newer="debootstrap util-linux strace"
service="systemd openssl"
mount="fuse3 mount rsync tar gzip diffutils attr cpio libarchive-tools mutt python3 restic dovecot-core"
bench="borgbackup python3-pyfuse3 restic"
fuzz="g++"

wanted=
for set in "$@"; do
    case $set in
        build) wanted="$wanted $build" ;;
        cyrus) wanted="$wanted $cyrus" ;;
        mount) wanted="$wanted $mount" ;;
        fuzz) wanted="$wanted $fuzz" ;;
        newer) wanted="$wanted $newer" ;;
        service) wanted="$wanted $service" ;;
        bench) wanted="$wanted $bench" ;;
        *) echo "packages.sh: there is no set $set: see the list at the top" >&2; exit 64 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: this is no Debian; install the likes of:$wanted" >&2
    exit 1
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "packages.sh: missing:$missing" >&2
    echo "  as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "Installing:$missing"
# Tells the packages not to start their services; put away again whatever happens.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 25 "$log" >&2
    echo "packages.sh: apt-get could not install:$missing (its whole output: $log)" >&2
    exit 1
fi
rm -f "$log"
