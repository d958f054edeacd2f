#!/bin/sh
# Compares the public interface of the published libraries with an earlier revision, by cargo-semver-checks.
#
#   scripts/test_semver.sh [REVISION [CRATE...]]     by default the newest tag `v*`, and every published library
#
# Needs `cargo install cargo-semver-checks`. Without the tool or an earlier revision nothing is compared.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
base=${1:-}
[ $# -eq 0 ] || shift

if ! "$cargo" semver-checks --version >/dev/null 2>&1; then
    echo "not compared: cargo-semver-checks is missing; run \`cargo install cargo-semver-checks --locked\`"
    exit 0
fi
[ -n "$base" ] || base=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)
if [ -z "$base" ]; then
    echo "not compared: there is no tag v*; name a revision, as in \`make test-semver BASE=HEAD~20\`"
    exit 0
fi
commit=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "there is no revision $base" >&2; exit 1; }

# The libraries without `publish = false`.
crates=${*:-$("$cargo" metadata --no-deps --format-version 1 --offline | "${PYTHON:-python3}" -c '
import json, sys
packages = json.load(sys.stdin)["packages"]
print(*(p["name"] for p in packages if p["publish"] is None and any("lib" in t["kind"] for t in p["targets"])))')}
for crate in $crates; do
    if ! git cat-file -e "$commit:crates/$crate/Cargo.toml" 2>/dev/null; then
        echo "not compared: $crate is new since $base"
        continue
    fi
    "$cargo" semver-checks check-release --package "$crate" --baseline-rev "$commit"
    echo "ok: $crate since $base"
done
