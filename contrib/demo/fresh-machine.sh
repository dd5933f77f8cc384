#!/usr/bin/env bash
# Proves `make demo` and `make test` on a machine where nothing was installed by hand: a debootstrap of bookworm
# with a Rust toolchain bind-mounted into it, and make.
#   fresh-machine.sh [DIR [VERB...]]      as root; DIR is made (and kept) or used again; VERBs: demo test, and
#                                         visitor:demo for the same as a user who is not root
# What this machine needs to reach its package registries (apt's sources, CA bundle, cargo's configuration, resolver)
# is copied into DIR; nothing else of it is visible there but the kernel.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
dir=${1:-/var/tmp/cyrusbackup-fresh}
shift || true
verbs=("$@")
[ $# -gt 0 ] || verbs=(demo test)
[ "$(id -u)" = 0 ] || { echo "fresh-machine.sh: debootstrap and mounts need root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "fresh-machine.sh: apt-get install debootstrap" >&2; exit 1; }

if [ ! -e "$dir/etc/debian_version" ]; then
    debootstrap --variant=minbase bookworm "$dir"
fi

mounted=()
bind() { # options, what, where
    mkdir -p "$3"
    mount $1 "$2" "$3"
    mounted=("$3" "${mounted[@]}")
}
stop() {
    status=$?
    for place in "${mounted[@]}"; do umount "$place" || umount -l "$place"; done
    exit $status
}
trap stop EXIT
bind "-t proc" proc "$dir/proc"
bind --bind /dev "$dir/dev"
bind "-t tmpfs" tmpfs "$dir/dev/shm"
bind "--bind -o ro" "$(rustc --print sysroot)" "$dir/opt/rust"

cp -L /etc/resolv.conf /etc/hosts "$dir/etc/"
cp -a /etc/apt/apt.conf.d/. "$dir/etc/apt/apt.conf.d/"
# In a place where the package ca-certificates does not write.
cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$dir/opt/host-ca.crt"
mkdir -p "$dir/root/.cargo"
for config in "${CARGO_HOME:-$HOME/.cargo}"/config*; do [ ! -e "$config" ] || cp "$config" "$dir/root/.cargo/"; done

rm -rf "$dir/src"
mkdir "$dir/src"
git -C "$top" archive HEAD | tar x -C "$dir/src"

in_it() { # as root
    as root /root "$@"
}
as() { # user, his home, what to run
    local user=$1 home=$2
    shift 2
    chroot "--userspec=$user" "$dir" env -i HOME="$home" TERM=dumb LANG=C.UTF-8 CI="${CI-}" SSL_CERT_FILE=/opt/host-ca.crt \
        CARGO_HTTP_CAINFO=/opt/host-ca.crt PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null
}
in_it sh -c 'command -v make >/dev/null || { apt-get update && apt-get install -y --no-install-recommends make; } >/dev/null'
for verb in "${verbs[@]}"; do
    started=$SECONDS
    case $verb in
        visitor:*)
            in_it sh -c 'id visitor >/dev/null 2>&1 || useradd -m visitor'
            home=$dir/home/visitor
            rm -rf "$home/src"
            cp -a "$dir/src" "$dir/root/.cargo" "$home"
            in_it chown -R visitor /home/visitor
            as visitor /home/visitor make -C /home/visitor/src "${verb#*:}"
            ;;
        *) in_it make -C /src "$verb" ;;
    esac
    echo "fresh-machine.sh: make $verb took $((SECONDS - started)) s"
done
