#!/bin/sh
# Runs `guerdon rules lsp` under pytest-lsp, a client with the capabilities of VS Code and Neovim, installed in a virtual
# environment. On shipped packs, opened from a copy.
#
#   scripts/test_lsp.sh [PYTEST-OPTION...]
#
# PYTHON is the Python to use; VENV the folder of the environment; GUERDON the binary.
set -eu
cd "$(dirname "$0")/.."
versions='pytest-lsp==1.0.1'
venv=${VENV:-.venv-lsp}
if [ "$(cat "$venv/versions" 2>/dev/null)" != "$versions" ]; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$versions"
    echo "$versions" > "$venv/versions"
fi
GUERDON=${GUERDON:-target/debug/guerdon} timeout 300 "$venv/bin/python" -m pytest -q -p no:cacheprovider -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function scripts/test_lsp "$@"
