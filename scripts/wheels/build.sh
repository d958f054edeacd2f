#!/bin/sh
# Builds the wheels `guerdon` (the SDK) and `guerdon-server` (the program with its data), and checks their metadata.
#
#   scripts/wheels/build.sh [DEST]               DEST defaults to dist
#   FLOOR=host scripts/wheels/build.sh           links with this machine's toolchain; the wheels run here
#   BINARY=target/release/guerdon ...            packs a program that is built already
#
# FLOOR is the oldest glibc on which the wheels run, by default 2.28, that of the wheel of ONNX Runtime. zig links
# against it, and auditwheel refuses a wheel that needs a later symbol. PROFILE is the cargo profile of the SDK.
set -eu
cd "$(dirname "$0")/../.."

dest=${1:-dist}
floor=${FLOOR:-2.28}
profile=${PROFILE:-release}
venv=.venv-wheels
list=scripts/wheels/requirements.txt
if ! cmp -s "$list" "$venv/installed.txt"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list"
    cp "$list" "$venv/installed.txt"
fi
# The tools call each other by name.
PATH=$(pwd)/$venv/bin:$PATH
export PATH
cargo=${CARGO:-cargo}
target_dir=${CARGO_TARGET_DIR:-target}
# The same inputs give the same wheels.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH

rm -rf "$dest"
mkdir -p "$dest"
if [ "$floor" = host ]; then
    binary=${BINARY:-$target_dir/release/guerdon}
    [ -n "${BINARY:-}" ] || "$cargo" build --release --locked --package guerdon-cli
    sdk="--compatibility linux"
else
    triple=$(rustc -vV | sed -n 's/^host: //p')
    binary=${BINARY:-$target_dir/$triple/release/guerdon}
    [ -n "${BINARY:-}" ] || cargo-zigbuild zigbuild --release --locked --package guerdon-cli --target "$triple.$floor"
    tag=manylinux_$(echo "$floor" | tr . _)_${triple%%-*}
    sdk="--zig --target $triple --compatibility $tag"
fi

# shellcheck disable=SC2086 # several arguments
maturin build --quiet --profile "$profile" --locked --strip $sdk --interpreter "$venv/bin/python" \
    --manifest-path crates/guerdon-python/Cargo.toml --out "$dest"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT HUP INT TERM
binary=$(cd "$(dirname "$binary")" && pwd)/guerdon
GUERDON_BINARY=$binary python -m build --wheel --no-isolation --outdir "$work" crates/guerdon-cli >/dev/null
if [ "$floor" = host ]; then
    mv "$work"/*.whl "$dest"
else
    auditwheel repair --plat "$tag" --only-plat --wheel-dir "$dest" "$work"/*.whl
fi
twine --no-color check --strict "$dest"/*.whl
ls -l "$dest" | awk 'NR > 1 { printf "%s  %.1f MB\n", $NF, $5 / 1e6 }'
