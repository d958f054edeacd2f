#!/bin/sh
# Builds the Debian package from the release build and what deploy/install.sh lays out.
#
#   deploy/deb.sh [DEST]        DEST defaults to dist
#
# Needs `cargo install cargo-deb`, and ONNX Runtime from `make onnxruntime`. The package depends on the C library of
# the machine that builds it.
set -eu
cd "$(dirname "$0")/.."
dest=${1:-dist}
cargo=${CARGO:-cargo}

if ! "$cargo" deb --version >/dev/null 2>&1; then
    echo "cargo-deb is missing; run \`cargo install cargo-deb\`" >&2
    exit 1
fi
"$cargo" build --release --locked --package guerdon-cli
# The list of files in crates/guerdon-cli/Cargo.toml names this folder.
root=target/deb-root
rm -rf "$root"
sh deploy/install.sh "$root/usr"
gzip --best --no-name "$root"/usr/share/man/man1/*.1
mkdir -p "$dest"
"$cargo" deb --package guerdon-cli --no-build --quiet --output "$dest/"
ls -l "$dest"/*.deb | awk '{ printf "%s  %.1f MB\n", $NF, $5 / 1e6 }'
