#!/bin/sh
# Runs deploy/check.py in a virtual environment with PyYAML and kubernetes-validate.
#
#   deploy/check.sh [BINARY]      BINARY is the program `guerdon`, for the check of its configurations
#
# PYTHON is the Python to use; VENV the folder of the environment.
set -eu
cd "$(dirname "$0")/.."
versions='pyyaml==6.0.4 kubernetes-validate==1.37.0'
venv=${VENV:-.venv-deploy}
if [ "$(cat "$venv/versions" 2>/dev/null)" != "$versions" ]; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $versions
    echo "$versions" > "$venv/versions"
fi
exec "$venv/bin/python" deploy/check.py "$@"
