#!/bin/sh
# Tests the reward model recipes in a virtual environment with the packages of examples/reward-model/requirements.txt.
#
#   scripts/test_families.sh [CASE...]     by default every case
#
# PYTHON is the Python to use; VENV the folder of the environment; GUERDON the binary, by default target/debug/guerdon.
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
