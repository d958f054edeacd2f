#!/bin/sh
# Packages the crates that a registry publishes, and builds packages alone, without the rest of the workspace.
#
#   scripts/test_packages.sh [DEST]             copies the packages to DEST
#   BUILD="guerdon-client" scripts/test_packages.sh       builds these packages; BUILD= builds none
#
# A package must hold every file that its crate includes, its README and both licences.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
dest=${1:-}

# The packages without `publish = false`.
published=$("$cargo" metadata --no-deps --format-version 1 --offline | "${PYTHON:-python3}" -c '
import json, sys
print(*("--package=" + p["name"] for p in json.load(sys.stdin)["packages"] if p["publish"] is None))')
# --allow-dirty: links of licences count as changes in some checkouts, and a trial may have changes.
rm -f "$target"/package/*.crate
# shellcheck disable=SC2086 # several arguments
"$cargo" package $published --locked --no-verify --allow-dirty --quiet
for package in "$target"/package/*.crate; do
    list=$(tar -tzf "$package")
    for needed in README.md LICENSE-MIT LICENSE-APACHE Cargo.toml; do
        if ! echo "$list" | grep -q "^[^/]*/$needed\$"; then
            echo "$package has no $needed" >&2
            exit 1
        fi
    done
done

# Each crate with the crates that it needs, from their packages alone.
for crate in ${BUILD-guerdon-text guerdon-types guerdon-optim guerdon-client}; do
    needed=$("$cargo" tree --quiet --package "$crate" --edges normal,build --prefix none --format '{p}' \
        | sed -n 's/^\(guerdon-[a-z]*\) .*/\1/p' | sort -u)
    # shellcheck disable=SC2046 # several arguments
    "$cargo" package --locked --allow-dirty --quiet $(for name in $needed; do echo "--package $name"; done)
    echo "ok: $crate builds from its package"
done
[ -z "$dest" ] || cp "$target"/package/*.crate "$dest"
echo "ok: $(ls "$target"/package/*.crate | wc -l) packages"
