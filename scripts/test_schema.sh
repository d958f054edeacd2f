#!/bin/sh
# Sends generated requests to a fresh server and compares every reply with the OpenAPI document: no server error, and only
# documented statuses, content types and bodies. Schemathesis is installed in a virtual environment.
#
#   scripts/test_schema.sh [SECONDS]     time of the run, by default 120
#
# PYTHON is the Python to use; VENV the folder of the environment; GUERDON the binary, by default target/debug/guerdon.
set -eu
cd "$(dirname "$0")/.."
version=4.32.5
venv=${VENV:-.venv-schemathesis}
guerdon=${GUERDON:-target/debug/guerdon}
if [ "$(cat "$venv/version" 2>/dev/null)" != "$version" ]; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "schemathesis==$version"
    echo "$version" > "$venv/version"
fi
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$folder/rules"
cp rules/guardrails.yaml "$folder/rules/"
cat > "$folder/guerdon.toml" <<'TOML'
[server]
listen = "127.0.0.1:0"
log = "warn"
[profiles.light]
rules = ["rules"]
[profiles.light.fusion]
method = "weighted_sum"
TOML
"$guerdon" serve --config "$folder/guerdon.toml" > "$folder/out" 2> "$folder/log" &
server=$!
tries=0
until url=$(grep -o 'http://[0-9.:]*' "$folder/out" | head -n 1) && [ -n "$url" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] && kill -0 "$server" || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
done
status=0
"$venv/bin/schemathesis" --config-file scripts/schemathesis.toml run "$url/openapi.json" --url "$url" \
    --phases examples,coverage,fuzzing --max-time "${1:-120}" --max-examples 100 --seed 15 --generation-database none \
    --continue-on-failure --request-timeout 30 --suppress-health-check all --warnings off --no-color || status=$?
# The server must still stop cleanly.
kill "$server"
wait "$server" || { echo "the server ended with status $?" >&2; cat "$folder/log" >&2; status=1; }
server=
exit "$status"
