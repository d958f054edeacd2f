#!/bin/sh
# Measures single rules-only requests by wrk: `bench/run.sh wrk GUERDON [PEER]`, both release
# binaries. With a peer (a build of another commit) both run in turn, so that the ratios come from
# one run. ROUNDS (3) and SECONDS_EACH (12) in the environment change the length.
set -eu
guerdon=$1
peer=${2:-}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-12}
folder=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT INT TERM

cp -r rules "$folder/rules"
cat >"$folder/guerdon.toml" <<'TOML'
[profiles.light]
rules = ["rules"]
[profiles.light.fusion]
method = "weighted_sum"
TOML
cat >"$folder/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{"rollouts":[{"messages":[
  {"role":"user","content":"Could I have the room for 420 yuan?"},
  {"role":"assistant","content":"I can offer 450 yuan with breakfast, and you may cancel until Friday."}]}]}]]
done = function(summary, latency)
  io.write(string.format("%.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
LUA

measure() { # NAME BINARY PORT
    "$2" serve --config "$folder/guerdon.toml" --listen "127.0.0.1:$3" >/dev/null 2>&1 &
    server=$!
    until "${PYTHON:-python3}" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$3/readyz', timeout=1)" 2>/dev/null; do sleep 0.2; done
    line=$(wrk -t1 -c32 -d"${seconds}s" -s "$folder/post.lua" "http://127.0.0.1:$3/v1/score" | tail -1)
    memory=$(awk '/VmRSS/ {printf "%.0f", $2 / 1024}' "/proc/$server/status")
    kill $server && wait $server 2>/dev/null || true
    echo "$1 $line $memory" | awk '{printf "%-8s %6s requests/s  p50 %s ms  p99 %s ms  %s errors  RSS %s MiB\n", $1, $2, $3, $4, $5, $6}' | tee -a "$folder/log"
}

echo "$(date -u +%Y-%m-%d), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ *//'), load $(cut -d' ' -f1 /proc/loadavg)"
round=0
while [ $round -lt "$rounds" ]; do
    [ -z "$peer" ] || measure peer "$peer" 8797
    measure guerdon "$guerdon" 8798
    round=$((round + 1))
done
awk '{sum[$1] += $2} END {if (sum["peer"]) printf "ratio of the sums: %.3f\n", sum["guerdon"] / sum["peer"]}' "$folder/log"
