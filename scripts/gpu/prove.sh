#!/bin/sh
# One command on a machine with an NVIDIA GPU: parity and speed of the packed decoders over it, and a log of both.
#
#   sh scripts/gpu/prove.sh [OUT]        OUT: where the log and the workload go; default .guerdon/gpu
#
# Needs Rust, Python 3 with torch and transformers, and ONNX Runtime's CUDA build with the CUDA 13 libraries it wants
# (cudart, cublas, cublasLt, curand). What is missing is installed from the package registries, where they can be reached;
# where they cannot, put the wheels' files where the variables below point.
#   PYTHON          a Python with torch, transformers, onnx, tokenizers       default: a venv in OUT
#   ORT_DYLIB_PATH  libonnxruntime.so of onnxruntime-gpu, its providers beside it
#   CUDA_LIBS       folders with the CUDA libraries, separated by colons
#   ROLLOUTS        rollouts of real dialogues, to measure an encoder on; without them it is not     default: none
#   GUERDON         a release binary                                          default: built here
set -eu
out=${1:-.guerdon/gpu}
mkdir -p "$out"
log="$out/log.txt"
say() { printf '\n== %s\n' "$*" | tee -a "$log"; }
run() { printf '$ %s\n' "$*" >> "$log"; "$@" 2>&1 | tee -a "$log"; }

say "$(date -u +%Y-%m-%d) $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1)"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv --system-site-packages "$out/venv"
    "$out/venv/bin/pip" install --quiet torch transformers onnx onnxscript tokenizers numpy ml_dtypes onnxruntime-gpu
    PYTHON="$out/venv/bin/python"
fi
if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    GPU=1 PYTHON="$PYTHON" sh scripts/fetch-onnxruntime.sh "$out/onnxruntime"
    ORT_DYLIB_PATH="$out/onnxruntime/libonnxruntime.so"
fi
if [ -z "${CUDA_LIBS:-}" ]; then
    CUDA_LIBS=$("$PYTHON" -c 'import glob, site; print(":".join(p for s in site.getsitepackages() for p in glob.glob(s + "/nvidia/*/lib")))')
fi
export ORT_DYLIB_PATH LD_LIBRARY_PATH="$CUDA_LIBS:${LD_LIBRARY_PATH:-}"
if [ -z "${GUERDON:-}" ]; then
    cargo build --release --package guerdon-cli
    GUERDON="${CARGO_TARGET_DIR:-target}/release/guerdon"
fi

say "the workload: Qwen3-0.6B's shape, 128 prompts of 8 samples; attention over the blocks of a cache, and over rows"
[ -f "$out/rows/reference.jsonl" ] || run "$PYTHON" scripts/gpu/make_workload.py "$out"

for attention in paged rows; do
    say "$attention, parity: alone, together, and with transformers in 32 bits (16-bit weights: 0.01)"
    run "$GUERDON" rm check "$out/$attention" --device cuda --tolerance 0.01
done

say "paged, speed in this process: all rollouts at once; the block's size and the batch's are found by trial, then by hand"
bench() { run "$GUERDON" rm bench "$out/$1" --device cuda --on "$out/rollouts.jsonl" --max-batch 512 $2; }
bench paged ""
for block in 16 64 256; do
    for budget in 16384 32768; do bench paged "--block-size $block --token-budget $budget"; done
done
say "rows, speed in this process"
for budget in 16384 32768 65536; do bench rows "--token-budget $budget"; done

say "speed, over HTTP"
cat > "$out/guerdon.toml" <<TOML
[server]
listen = "127.0.0.1:8790"
[models.paged]
path = "paged"
device = "cuda"
cache = 0
[models.rows]
path = "rows"
device = "cuda"
cache = 0
[profiles.paged]
model = "paged"
[profiles.rows]
model = "rows"
TOML
"$GUERDON" serve --config "$out/guerdon.toml" >> "$log" 2>&1 &
server=$!
trap 'kill $server' EXIT
"$PYTHON" - "$out/rollouts.jsonl" <<'PY' | tee -a "$log"
import json, sys, time, urllib.request
rollouts = [json.loads(line) for line in open(sys.argv[1])]
url = "http://127.0.0.1:8790"
def post(profile):
    body = json.dumps({"rollouts": rollouts, "profile": profile}).encode()
    request = urllib.request.Request(url + "/v1/score", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
for _ in range(600):
    try:
        urllib.request.urlopen(url + "/readyz")
        break
    except OSError:
        time.sleep(0.5)
for profile in ("paged", "rows"):
    post(profile)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        reply = post(profile)
        times.append(time.perf_counter() - started)
        assert all(result["reward"] is not None for result in reply["results"])
    middle = sorted(times)[1]
    print(f"{profile}: {len(rollouts)} rollouts in one request: {middle:.3f} s, {len(rollouts) / middle:.1f} rollouts/s (median of {times})")
PY
if [ -n "${ROLLOUTS:-}" ]; then
    say "an encoder of MiniLM's shape, in 16 bits, beside transformers and onnxruntime"
    export DEVICE=cuda GUERDON
    mkdir -p "$out/encoder"
    run "$PYTHON" scripts/bench_transformers.py "$out/encoder" "$ROLLOUTS" 1024 2
fi
say "done; the log is $log"
