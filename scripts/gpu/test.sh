#!/bin/bash
# Rehearses pack.sh and prove.sh on a CPU: a tiny model, ONNX Runtime's CPU library, and a PATH without cargo,
# pip or any tool that prove.sh does not name as needed.
#
#   scripts/gpu/test.sh               PYTHON as for pack.sh; GUERDON, default: target/debug/guerdon
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHON=${PYTHON:-python3} GUERDON=${GUERDON:-${CARGO_TARGET_DIR:-target}/debug/guerdon}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A fault must not take the machine's memory.
ulimit -v 10000000
fail() { echo "FAILED: $*" >&2; exit 1; }

# A debug build is large; XZ_OPT=-0 compresses it quickly.
XZ_OPT=-0 DEVICE=cpu SHAPE=tiny PROMPTS=2 SAMPLES=3 PIECE=4000000 bash scripts/gpu/pack.sh "$work/packed"
pieces=$(ls "$work"/packed/bundle.tar.xz.* | wc -l)
[ "$pieces" -gt 1 ] || fail "one piece only; the joining is not tested"
for file in "$work"/packed/*; do
    [ "$(stat -c %s "$file")" -le 4000000 ] || fail "$file exceeds the size of a piece"
done

mkdir "$work/bin" "$work/empty"
for tool in bash sh cat cp date dirname head ls mkdir rm sha256sum tail tee timeout; do
    ln -s "$(command -v $tool)" "$work/bin/"
done
python=$("$PYTHON" -c 'import sys; print(sys.executable)')
cp "$work"/packed/* "$work/empty/"
prove() { (cd / && env -i PATH="$work/bin" HOME="$work" PYTHON="$python" OMP_NUM_THREADS=1 PATIENCE=10 BUDGET=6000 "$@" bash "$work/empty/prove.sh" $asked); }

asked="nonsense"
prove && fail "an unknown part is accepted"

echo "-- a damaged piece"
asked=""
printf x | dd of="$work/empty/bundle.tar.xz.001" bs=1 seek=1000 conv=notrunc status=none
status=0; prove || status=$?
[ "$status" = 2 ] || fail "exit status $status for a damaged piece"
cp "$work"/packed/* "$work/empty/"

echo "-- no time: parts are named as not started"
status=0; prove BUDGET=0 > "$work/said" || status=$?
[ "$status" = 1 ] && grep -q "parity: not started" "$work/said" || fail "no time left, exit status $status"

echo "-- a part that fails does not stop the others"
asked="unpack weights"
prove KEEP=1
echo '{"messages": [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2"}], "index": 1, "score": 99.0}' \
    >> "$work/empty/proof/bundle/paged/reference.jsonl"
asked="parity bench"
status=0; prove KEEP=1 || status=$?
[ "$status" = 1 ] || fail "exit status $status although parity fails"
grep -q "failed" "$work/empty/proof/parts/parity" || fail "parity passed with a wrong reference score"
[ "$(cat "$work/empty/proof/parts/bench")" = ok ] || fail "bench did not run after parity failed"
rm "$work/empty/proof/bundle/paged/guerdon.model.toml"

echo "-- everything, continuing"
asked=""
prove
grep -q "unpack: ok before" "$work/empty/proof/log.txt" || fail "unpack ran again"
for part in tiny weights parity bench peer http sweep fused rows; do
    [ "$(cat "$work/empty/proof/parts/$part")" = ok ] || fail "$part: $(cat "$work/empty/proof/parts/$part")"
done
[ -z "$(find "$work/empty" -name '*.data')" ] || fail "weights are left"
# Figures of the peer and of guerdon, so that a log without them does not pass.
grep -q "transformers.*rollouts/s" "$work/empty/proof/log.txt" && grep -q "http: .* rollouts/s" "$work/empty/proof/log.txt" \
    || fail "no figures in the log"
echo ok
