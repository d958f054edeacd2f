#!/bin/sh
# Measures parity and speed of packed decoders and an encoder on a machine with an NVIDIA GPU, and
# writes a log.
#
#   sh scripts/gpu/prove.sh [OUT]        OUT: folder of the log and the workload; default .guerdon/gpu
#
# Needs Rust, Python 3 with torch and transformers, and ONNX Runtime's CUDA build with the CUDA 13
# libraries it depends on (cudart, cublas, cublasLt, curand). Missing parts are installed from the package
# registries. Without access to these, set the variables below to the files of the wheels. Failed commands
# are listed at the end and set the exit status.
#   PYTHON          a Python with torch, transformers, onnx, ml_dtypes, tokenizers; for the encoder also onnxscript and
#                   onnxruntime-gpu                                           default: a venv in OUT
#   ORT_DYLIB_PATH  libonnxruntime.so of onnxruntime-gpu, next to its providers
#   CUDA_LIBS       folders with the CUDA libraries, separated by colons
#   GUERDON         a release binary                                          default: built here
#   ROLLOUTS        rollouts of real dialogues for the measurement of an encoder              default: none, not measured
#   PARTS           steps to run, in this order                                default: "parity bench http sweep encoder"
set -eu
out=${1:-.guerdon/gpu}
mkdir -p "$out"
log="$out/log.txt"
failed=""
say() { printf '\n== %s\n' "$*" | tee -a "$log"; }
# Runs and logs a command. A failed command is recorded; the script goes on.
run() {
    printf '$ %s\n' "$*" >> "$log"
    { "$@" 2>&1 && echo 0 > "$out/status" || echo $? > "$out/status"; } | tee -a "$log"
    [ "$(cat "$out/status")" = 0 ] || failed="$failed
    $*"
}
has() { case " ${PARTS:-parity bench http sweep encoder} " in *" $1 "*) ;; *) false ;; esac; }

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
export GUERDON

say "workload: Qwen3-0.6B's shape, 128 prompts of 8 samples; attention over the blocks of a cache, and over rows"
[ -f "$out/rows/reference.jsonl" ] || run "$PYTHON" scripts/gpu/make_workload.py "$out"

bench() { run "$GUERDON" rm bench "$out/$1" --device cuda --on "$out/rollouts.jsonl" --max-batch 512 $2; }

if has parity; then
    say "parity: alone, together, and with transformers in 32 bits (16-bit weights: 0.01)"
    # A model of two layers finds faults two minutes earlier. ONNX Runtime logs the kernel it uses.
    run env ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1 "$GUERDON" rm check crates/guerdon-model/tests/tiny-decoder-cuda --device cuda --tolerance 0.05
    for attention in paged rows; do run "$GUERDON" rm check "$out/$attention" --device cuda --tolerance 0.01; done
fi
if has bench; then
    say "speed in this process: all rollouts at once, with the batch size found at load"
    for attention in paged rows; do bench $attention ""; done
fi
if has http; then
    say "speed, over HTTP"
    for attention in paged rows; do
        cat > "$out/$attention.toml" <<TOML
[server]
listen = "127.0.0.1:8790"
[models.packed]
path = "$attention"
device = "cuda"
cache = 0
[profiles.rm]
model = "packed"
TOML
        "$GUERDON" serve --config "$out/$attention.toml" >> "$log" 2>&1 &
        server=$!
        run "$PYTHON" scripts/gpu/ask.py "$server" "$attention" "$out/rollouts.jsonl"
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    done
fi
if has sweep; then
    say "speed in this process, by the size of a block and of a batch"
    for block in 16 128 256; do
        for budget in 16384 32768; do bench paged "--block-size $block --token-budget $budget"; done
    done
    for budget in 16384 65536; do bench rows "--token-budget $budget"; done
fi
if has encoder && [ -n "${ROLLOUTS:-}" ]; then
    say "an encoder of MiniLM's shape in 16 bits, compared with transformers and onnxruntime"
    run env DEVICE=cuda "$PYTHON" bench/peer_transformers.py "$out/encoder" "$ROLLOUTS" 1024 2
fi
say "done; the log is $log"
[ -z "$failed" ] || { say "failed:$failed"; exit 1; }
