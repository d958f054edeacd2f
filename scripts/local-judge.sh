#!/bin/sh
# Starts the small local judge in the background and waits until it answers; stops it when the calling shell ends. Sourced
# by run.sh.
venv=${VENV:-.venv-judge}
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import xllamacpp' 2>/dev/null; then
    "${PYTHON:-python3}" examples/local-judge/serve.py install "$venv"
fi
log=.guerdon/local-judge.log
mkdir -p .guerdon
"$venv/bin/python" examples/local-judge/serve.py >"$log" 2>&1 &
judge=$!
trap 'kill $judge 2>/dev/null || true' EXIT
tries=0
until "${PYTHON:-python3}" -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8092/health", timeout=2)' 2>/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 60 ] || ! kill -0 $judge 2>/dev/null; then
        echo "the local judge did not start; see $log" >&2
        exit 1
    fi
    sleep 1
done
