#!/bin/bash
# Packs the files that prove.sh needs into pieces of limited size, to copy to a machine with a GPU.
#
#   scripts/gpu/pack.sh [OUT]         default: .guerdon/gpu-bundle
#
# OUT gets prove.sh, SHA256SUMS, and one archive in pieces of at most PIECE bytes: guerdon (release build,
# stripped), ONNX Runtime with its CUDA provider, graphs without their weights, rollouts and Python files.
# Copy all of OUT into one folder of the other machine and run `bash prove.sh` there.
#   PYTHON     a Python with the packages of examples/reward-model/requirements.txt    default: python3
#   GUERDON    the binary                                   default: the release build, made here
#   RUNTIME    folder of ONNX Runtime's libraries           default: fetched from its wheel
#   DEVICE     cuda, or cpu for a rehearsal                 default: cuda
#   SHAPE      qwen3-0.6b, or tiny for a rehearsal          default: qwen3-0.6b
#   PROMPTS, SAMPLES    rollouts: prompts and samples of each        default: 128 and 8
#   PIECE      bytes of a piece                             default: 60000000
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-.guerdon/gpu-bundle}
export PYTHON=${PYTHON:-python3} DEVICE=${DEVICE:-cuda}
piece=${PIECE:-60000000}

if [ -z "${GUERDON:-}" ]; then
    cargo build --release --locked --package guerdon-cli
    GUERDON="${CARGO_TARGET_DIR:-target}/release/guerdon"
fi
if [ -z "${RUNTIME:-}" ]; then
    RUNTIME=.guerdon/onnxruntime
    [ "$DEVICE" = cpu ] || RUNTIME=.guerdon/onnxruntime-gpu
    GPU=$([ "$DEVICE" = cpu ] && echo 0 || echo 1) sh scripts/fetch-onnxruntime.sh "$RUNTIME"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bundle/runtime" "$out"
rm -f "$out"/bundle.tar.xz.* "$out/SHA256SUMS"
strip -o "$work/bundle/guerdon" "$GUERDON"
cp -L "$RUNTIME/libonnxruntime.so" "$work/bundle/runtime/"
for name in libonnxruntime_providers_shared.so libonnxruntime_providers_cuda.so LICENSE ThirdPartyNotices.txt; do
    [ ! -e "$RUNTIME/$name" ] || cp -L "$RUNTIME/$name" "$work/bundle/runtime/"
done
if [ "$DEVICE" = cuda ] && [ ! -e "$work/bundle/runtime/libonnxruntime_providers_cuda.so" ]; then
    echo "$RUNTIME has no libonnxruntime_providers_cuda.so; leave RUNTIME out to fetch ONNX Runtime's CUDA build" >&2
    exit 1
fi
"$PYTHON" scripts/gpu/pack.py "$work/bundle" --device "$DEVICE" --shape "${SHAPE:-qwen3-0.6b}" \
    --prompts "${PROMPTS:-128}" --samples "${SAMPLES:-8}"

tar -C "$work" -c bundle | xz -T0 > "$work/bundle.tar.xz"
split -b "$piece" -d -a 3 "$work/bundle.tar.xz" "$out/bundle.tar.xz."
cp scripts/gpu/prove.sh "$out/prove.sh"
(cd "$out" && sha256sum bundle.tar.xz.* > SHA256SUMS)
ls -l "$out"
