#!/bin/sh
# Builds everything that a release of this commit consists of, with SBOMs and checksums. Uploads nothing.
#
#   scripts/release.sh [DEST]        DEST defaults to dist; it is replaced
#
# Needs `cargo install cargo-deb cargo-cyclonedx`, and a tree without changes (DIRTY=1 for a trial).
set -eu
cd "$(dirname "$0")/.."
dest=${1:-dist}
cargo=${CARGO:-cargo}

if [ -z "${DIRTY:-}" ] && [ -n "$(git status --porcelain)" ]; then
    echo "the tree has changes; commit them, or set DIRTY=1 for a trial" >&2
    exit 1
fi
for tool in deb cyclonedx; do
    if ! "$cargo" "$tool" --version >/dev/null 2>&1; then
        echo "cargo-$tool is missing; run \`cargo install cargo-$tool\`" >&2
        exit 1
    fi
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
if ! grep -q "\"guerdon-server==$version\"" crates/guerdon-python/pyproject.toml; then
    echo "the extra \`server\` in crates/guerdon-python/pyproject.toml does not name version $version" >&2
    exit 1
fi
echo "guerdon $version at $(git rev-parse --short HEAD)" >&2

# First, because it replaces the folder.
sh scripts/wheels/build.sh "$dest"
"${PYTHON:-python3}" scripts/wheels/test.py "$dest"
sh deploy/deb.sh "$dest"
sh scripts/test_packages.sh "$dest"

# The wheel of the SDK holds an SBOM of its own, which maturin writes.
for crate in guerdon-cli guerdon-python; do
    "$cargo" cyclonedx --quiet --format json --spec-version 1.5 --override-filename release-sbom \
        --manifest-path "crates/$crate/Cargo.toml"
    mv "crates/$crate/release-sbom.json" "$dest/$crate-$version.cdx.json"
    # The tool writes one file for each crate of the workspace that this one needs.
    find crates tests examples xtask -name release-sbom.json -delete
done

rm -f "$dest/SHA256SUMS"
(cd "$dest" && sha256sum -- * > ../SHA256SUMS.part && mv ../SHA256SUMS.part SHA256SUMS && sha256sum --quiet --check SHA256SUMS)
ls -1 "$dest"
