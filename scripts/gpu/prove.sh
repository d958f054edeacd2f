#!/bin/bash
# Measures parity and speed of packed decoders on a machine with an NVIDIA GPU, within ten minutes.
#
#   bash prove.sh [PART...]           in the folder with the pieces that pack.sh wrote
#
# Needs bash, coreutils and a Python with torch and transformers; nothing is built or fetched. Parts, in order
# of importance:
#   unpack   join the pieces, verify their checksums, unpack
#   tiny     scores of a model of two layers, which finds most faults in seconds
#   weights  write the weights of the large model, and reference scores of transformers in 32 bits
#   parity   its scores alone, together, and next to those of transformers (16-bit weights: at most 0.01 apart)
#   bench    rollouts per second in this process, with the batch size found at load
#   peer     rollouts per second of transformers on the same rollouts
#   http     rollouts per second over HTTP
#   sweep    bench with other sizes of a cache's block and of a batch
#   fused    parity and bench with gate and up projection as one product
#   rows     parity and bench with attention over rows instead of blocks of a cache
# Without arguments all parts run, except those that have succeeded before. Each part has a time limit of its own;
# a failed part does not stop the others. The exit status is 0 if all parts succeeded, 1 if one failed or ran
# out of time, 2 if a piece is missing or damaged. OUT/log.txt has everything; the weights are removed at the end.
#   OUT      folder of the log and the unpacked files     default: proof, next to this script
#   PYTHON   default: python3
#   BUDGET   seconds of all parts together                default: 570
#   PATIENCE factor of the parts' limits, for a slow CPU  default: 1
#   KEEP     1 keeps the weights for another call
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/proof}
python=${PYTHON:-python3}
parts="unpack tiny weights parity bench peer http sweep fused rows"
bundle="$out/bundle"
log="$out/log.txt"

limit_of() {
    case $1 in
        unpack | weights | peer) echo 90 ;;
        tiny) echo 60 ;;
        sweep) echo 150 ;;
        *) echo 120 ;;
    esac
}

environment() {
    device=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["device"])' "$bundle/bundle.json")
    # torch's wheels bring the CUDA libraries that ONNX Runtime needs.
    CUDA_LIBS=${CUDA_LIBS:-$("$python" -c 'import glob, sys; print(":".join(f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib")))')}
    export LD_LIBRARY_PATH="$CUDA_LIBS:${LD_LIBRARY_PATH:-}" ORT_DYLIB_PATH="$bundle/runtime/libonnxruntime.so"
    tolerance=0.01 budgets="32768 16384"
    # A rehearsal compares 32 bits with 32 bits; its stand-in for paged attention needs memory for every key of a batch.
    [ "$device" = cuda ] || { tolerance=0.0001 budgets="512 256"; }
}

guerdon() { echo "\$ guerdon $*"; "$bundle/guerdon" "$@"; }
check() { guerdon rm check "$bundle/$1" --device "$device" --tolerance "$2"; }
bench() { guerdon rm bench "$bundle/$1" --device "$device" --on "$bundle/rollouts.jsonl" "${@:2}"; }
need() { [ -f "$bundle/$1/guerdon.model.toml" ] && [ -f "$bundle/$1/model.onnx.data" ] || "$python" "$bundle/prove.py" weights "$1"; }

part_unpack() {
    (cd "$here" && sha256sum --check --quiet SHA256SUMS) || {
        echo "a piece is missing or damaged; copy the files named above again"
        return 2
    }
    rm -rf "$bundle"
    cat "$here"/bundle.tar.xz.* | "$python" -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="data")' "$out"
}
part_tiny() {
    # ONNX Runtime logs the kernel that it uses.
    [ "$device" = cpu ] || export ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1
    check tiny "$([ "$device" = cuda ] && echo 0.05 || echo 0.0001)"
}
part_weights() { need paged; }
part_parity() { need paged && check paged "$tolerance"; }
part_bench() { need paged && bench paged --max-batch 512; }
part_peer() { "$python" "$bundle/prove.py" peer; }
part_http() {
    need paged || return
    local port status
    port=$("$python" "$bundle/prove.py" free-port)
    cat > "$out/serve.toml" <<TOML
[server]
listen = "127.0.0.1:$port"
[models.packed]
path = "$bundle/paged"
device = "$device"
cache = 0
[profiles.rm]
model = "packed"
TOML
    "$bundle/guerdon" serve --config "$out/serve.toml" > "$out/serve.log" 2>&1 &
    server=$!
    # If the time limit ends this part, the server must end with it.
    trap 'kill "$server" 2> /dev/null' EXIT
    trap 'exit 143' TERM
    "$python" "$bundle/ask.py" "http://127.0.0.1:$port" "$server" http "$bundle/rollouts.jsonl"
    status=$?
    [ "$status" = 0 ] || tail -n 20 "$out/serve.log"
    kill "$server" 2> /dev/null
    wait "$server" 2> /dev/null
    return "$status"
}
part_sweep() {
    need paged || return
    local failed=0 block budget
    for block in 256 128 16; do
        for budget in $budgets; do
            timeout -k 5 $((60 * ${PATIENCE:-1})) "$BASH" "$0" --run bench paged --max-batch 512 --block-size "$block" --token-budget "$budget" || failed=1
        done
    done
    return "$failed"
}
part_fused() { need paged-fused && check paged-fused "$tolerance" && bench paged-fused --max-batch 512; }
part_rows() { need rows && check rows "$tolerance" && bench rows --max-batch 512; }

# Internal: one part, or one command of a part, in a process that `timeout` can end.
if [ "${1:-}" = --run ]; then
    [ "$2" = part_unpack ] || environment
    "${@:2}"
    exit
fi

for part in "$@"; do
    case " $parts " in
        *" $part "*) ;;
        *) echo "no part \`$part\`; the parts are: $parts" >&2; exit 2 ;;
    esac
done
mkdir -p "$out/parts"
say() { printf '%s\n' "$@" | tee -a "$log"; }
# The weights are large and random: a later call writes them again.
clean() { [ "${KEEP:-0}" = 1 ] || rm -f "$bundle"/*/model.onnx.data; }
trap clean EXIT
trap 'exit 130' INT TERM

say "== $(date -u +%FT%TZ) $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -n 1 || true)"
began=$SECONDS
status=0
summary=""
for part in ${*:-$parts}; do
    if [ $# = 0 ] && [ "$(cat "$out/parts/$part" 2> /dev/null)" = ok ]; then
        # Weights of an earlier call may be gone; the parts that need them write them again.
        summary+="$part: ok before"$'\n'
        continue
    fi
    left=$((${BUDGET:-570} - (SECONDS - began)))
    if [ "$left" -le 0 ]; then
        summary+="$part: not started, no time left"$'\n'
        status=1
        continue
    fi
    limit=$(($(limit_of "$part") * ${PATIENCE:-1}))
    [ "$limit" -le "$left" ] || limit=$left
    say "" "== $part (at most $limit s)"
    started=$SECONDS
    timeout -k 5 "$limit" "$BASH" "$here/prove.sh" --run "part_$part" 2>&1 | tee -a "$log"
    ended=${PIPESTATUS[0]}
    took=$((SECONDS - started))
    case $ended in
        0) result=ok ;;
        124 | 137) result="over its time limit" ;;
        *) result="failed with exit status $ended" ;;
    esac
    echo "$result" > "$out/parts/$part"
    say "== $part: $result, $took s"
    summary+="$part: $result, $took s"$'\n'
    [ "$result" = ok ] || status=1
    # Without the bundle nothing else can run.
    if [ "$part" = unpack ] && [ "$result" != ok ]; then
        status=2
        break
    fi
done
say "" "== summary, $((SECONDS - began)) s" "${summary}log: $log"
exit "$status"
