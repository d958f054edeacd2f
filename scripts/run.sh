#!/bin/sh
# Starts the server, and with JUDGE=local a small judge. `make run` calls it; both stop together.
set -eu
judge_flag=
if [ "${JUDGE:-}" = local ]; then
    . scripts/local-judge.sh # starts it, waits until it answers, and stops it when this shell ends
    judge_flag="--judge local"
elif [ -n "${JUDGE:-}" ]; then
    judge_flag="--judge $JUDGE" # a name under [judges] in guerdon.toml
fi
# No exec: the trap that stops the judge needs this shell.
# shellcheck disable=SC2086
target/release/guerdon serve --listen "${LISTEN:-127.0.0.1:8787}" $judge_flag &
server=$!
trap 'kill -TERM $server 2>/dev/null || true' INT TERM
# The first wait ends when a signal arrives, the second when the server has drained its requests.
wait $server || wait $server
