#!/bin/sh
# Tests guerdon.ray on a local Ray: builds the package's wheel, installs it and Ray (700 MB) in a virtual environment.
#
#   scripts/test_ray.sh BINARY [ROWS]
#
# PYTHON is the Python to use, CPython 3.11 or newer; VENV the folder of the environment.
set -eu
cd "$(dirname "$0")/.."
binary=$1
shift
versions='ray[data]>=2.50,<3 maturin>=1.9.4,<2 numpy>=1.24'
venv=${VENV:-.venv-ray}
if [ "$(cat "$venv/versions" 2>/dev/null)" != "$versions" ]; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $versions
    echo "$versions" > "$venv/versions"
fi
wheels=$venv/wheels
rm -rf "$wheels"
"$venv/bin/maturin" build --quiet --profile "${PROFILE:-release}" --locked --compatibility linux \
    --interpreter "$venv/bin/python" --manifest-path crates/guerdon-python/Cargo.toml --out "$wheels"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
RAY_USAGE_STATS_ENABLED=0 exec "$venv/bin/python" scripts/test_ray.py "$binary" "$@"
