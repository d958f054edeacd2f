#!/bin/sh
# Fuzzes each target of fuzz/ with the stable compiler, and without a sanitizer: the code has no `unsafe`.
#
#   scripts/fuzz.sh SECONDS [TARGET...]     by default every target
#
# New inputs stay in fuzz/work; `fuzz/corpus` holds the minimised corpus that `make test` replays.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
targets=${*:-request adapter judge_reply rule_pack compressed_body}
cargo=${CARGO:-cargo}
for target in $targets; do
    mkdir -p "fuzz/work/$target"
    echo "== $target, $seconds s"
    "$cargo" fuzz run --sanitizer none "$target" "fuzz/work/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -max_len=8192 -timeout=20 -print_final_stats=1
done
