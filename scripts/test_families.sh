#!/bin/sh
# Tests the reward model recipes in a virtual environment with the packages of examples/reward-model/requirements.txt.
#
#   scripts/test_families.sh [CASE...]     by default every case
#
# PYTHON is the Python to use; VENV the folder of the environment; GUERDON the binary, by default target/debug/guerdon. With
# DONE=FILE a stopped run continues, and SECONDS_LIMIT ends one: see test_families.py.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv-recipes}
list=examples/reward-model/requirements.txt
# Installed once, and again when the list changes.
if ! cmp -s "$list" "$venv/installed.txt"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list"
    cp "$list" "$venv/installed.txt"
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT HUP INT TERM
"$venv/bin/python" scripts/test_families.py "$out" "$@"
# The shapes of public reward models; a run of chosen cases leaves them out.
[ $# -gt 0 ] || "$venv/bin/python" scripts/public_shapes.py "$out/shapes"
