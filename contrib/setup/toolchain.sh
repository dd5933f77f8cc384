#!/bin/sh
# Says what is wrong with the Rust toolchain, and the way to a right one; silent and 0 when there is one.
set -eu

top=$(dirname "$0")/../..
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml")
how="Get it with rustup (https://rustup.rs):
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
    rustup toolchain install stable"

if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    echo "There is no Rust toolchain here (no cargo in PATH); this needs Rust $wanted or newer." >&2
    echo "$how" >&2
    exit 1
fi
have=$(rustc --version | cut -d ' ' -f 2 | cut -d - -f 1)
older=$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)
if [ "$older" != "$wanted" ]; then
    echo "The Rust toolchain here is $have; this needs $wanted or newer." >&2
    echo "$how" >&2
    exit 1
fi
