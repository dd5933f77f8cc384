#!/bin/sh
# Fuzzes with the stable toolchain: contrib/fuzz/run.sh SECONDS [TARGET…]
#
# libFuzzer needs coverage counters, which stable rustc makes when LLVM is told to; the address sanitizer,
# which would need a nightly one, is left out: nearly all code here is safe Rust. Findings are kept in
# fuzz/artifacts, what reached new code in fuzz/corpus.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift

command -v c++ >/dev/null || contrib/setup/packages.sh fuzz

coverage="--cfg fuzzing -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(${RUSTC:-rustc} -vV | sed -n 's/^host: //p')
# With --target the flags stay away from build scripts and macros.
RUSTFLAGS=$(echo $coverage) CARGO_TARGET_DIR=fuzz/target ${CARGO:-cargo} build --release \
    --manifest-path fuzz/Cargo.toml --target "$host"
bin=fuzz/target/$host/release

[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v -- -fuzz)
each=$((seconds / $#))
[ $each -gt 0 ] || each=1
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    echo "fuzz-smoke: $target, $each s"
    log=fuzz/artifacts/$target.log
    if ! "$bin/$target" "fuzz/corpus/$target" testdata/replay \
        -artifact_prefix="fuzz/artifacts/$target/" -dict=contrib/fuzz/csync.dict \
        -max_total_time=$each -max_len=16384 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz-smoke: $target found something; see fuzz/artifacts/$target" >&2
        exit 1
    fi
    sed -n 's/^stat::\(number_of_executed_units\|peak_rss_mb\): */  \1 /p' "$log"
done
