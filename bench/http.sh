#!/bin/sh
# Measures the release server over HTTP on loopback: `bench/run.sh http ROLLOUTS.jsonl [PYTHON]`.
# With a Python that has onnxruntime, the peer runs before and after, so that the ratio comes from one run.
set -eu
rollouts=${1:-examples/data/hotel.jsonl}
python=${2:-}
count=1024
port=8799
peer() { [ -z "$python" ] || "$python" bench/peer_onnxruntime.py models/e5-hh "$rollouts" $count; }

echo "$(date -u +%Y-%m-%d), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ *//'), load $(cut -d' ' -f1 /proc/loadavg)"
peer
target/release/guerdon serve --listen 127.0.0.1:$port >/dev/null 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT INT TERM
until "${PYTHON:-python3}" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/readyz', timeout=1)" 2>/dev/null; do sleep 1; done
echo "rm and rules, repo fusion"
target/release/examples/load "$rollouts" http://127.0.0.1:$port $count 256
echo "rules only"
target/release/examples/load "$rollouts" http://127.0.0.1:$port $count 256 rules
peer
