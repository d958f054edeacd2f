#!/bin/sh
# The inspector in Chromium: screens, links, filters, attacks, keys and accessibility. Installs
# Chromium from the system's packages where it is missing and this user may, and axe-core by npm into
# .guerdon. PICTURES=FOLDER writes the pictures of docs/how-to/inspect.md.
set -eu
cd "$(dirname "$0")/.."
axe=.guerdon/axe-core/package/axe.min.js
axe_version=4.14.1

if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "test-ui: install Chromium, for example with apt-get install chromium" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
if [ ! -e "$axe" ]; then
    mkdir -p .guerdon/axe-core
    (cd .guerdon/axe-core && npm pack --silent "axe-core@$axe_version" >/dev/null && tar -xzf "axe-core-$axe_version.tgz")
fi
"${CARGO:-cargo}" build --package guerdon-cli --locked
GUERDON=${GUERDON:-$PWD/target/debug/guerdon} AXE=$PWD/$axe exec "${CARGO:-cargo}" test --locked \
    --manifest-path tests/ui/Cargo.toml --target-dir target/ui -- --test-threads "${THREADS:-2}"
