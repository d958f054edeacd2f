#!/bin/sh
# Tests the Python package: builds its wheel, installs it in a virtual environment, checks the types, and runs the tests
# against a freshly started server.
#
#   scripts/test_python.sh [SERVER] [PYTEST ARGUMENT...]     SERVER is the `guerdon` binary, by default target/debug/guerdon
#
# PYTHON is the Python to use, CPython 3.11 or newer; VENV the folder of the environment.
set -eu
cd "$(dirname "$0")/.."

server=${1:-${CARGO_TARGET_DIR:-target}/debug/guerdon}
[ $# -eq 0 ] || shift
venv=${VENV:-.venv-python}
package=crates/guerdon-python
if [ ! -x "$server" ]; then
    echo "cannot find $server; build it with \`cargo build -p guerdon-cli\`" >&2
    exit 1
fi

# Installed once, and again when a list changes.
lists="$package/requirements-test.txt $package/requirements-trainers.txt"
# shellcheck disable=SC2086 # two names
if ! cat $lists | cmp -s - "$venv/installed.txt"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    pip="$venv/bin/python -m pip install --quiet --disable-pip-version-check"
    $pip -r "$package/requirements-test.txt"
    $pip --no-deps -r "$package/requirements-trainers.txt"
    cat $lists > "$venv/installed.txt"
fi

# The debug build: these tests check the interface, not the speed of the optimizer.
wheels=$venv/wheels
rm -rf "$wheels"
"$venv/bin/maturin" build --quiet --profile dev --locked --compatibility linux \
    --interpreter "$venv/bin/python" --manifest-path "$package/Cargo.toml" --out "$wheels"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl

"$venv/bin/mypy" --cache-dir "$venv/mypy" --config-file "$package/pyproject.toml" "$package/python/guerdon" "$package/python/guerdon_command" "$package/tests/typed.py"
# Compares the stubs with the native module.
"$venv/bin/python" -m mypy.stubtest guerdon._guerdon
GUERDON_BINARY=$(cd "$(dirname "$server")" && pwd)/$(basename "$server")
export GUERDON_BINARY
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider -c "$package/pyproject.toml" --rootdir "$package" "$package/tests" "$@"
