#!/bin/sh
# Runs one benchmark: `bench/run.sh NAME [ARGUMENT...]`. docs/reference/benchmarks.md has the results.
#
#   http ROLLOUTS.jsonl [PYTHON]                         release server over HTTP, with a peer if PYTHON is given
#   wrk GUERDON [PEER]                                  single rules-only requests by wrk
#   ledger GUERDON [rules|model] [drop|wait]           scoring with the ledger beside scoring without
#   judge [ROLLOUTS.jsonl] [COUNT] [ROUNDS]              batches that the judge's cache answers
#   judge-calls [MEASURE...]                             overhead of judge calls, with a bare HTTP call as peer
#   source                                               turns per second of a source of kind `http`
#   judge-limits                                         calls, recovery, ramp and quotas in virtual time
#   onnxruntime MODEL ROLLOUTS.jsonl [COUNT] [THREADS]   peer: Python's ONNX Runtime, no HTTP
#   transformers FOLDER ROLLOUTS.jsonl [COUNT] [ROUNDS]  peers: transformers and ONNX Runtime
#   memory MODEL ROLLOUTS.jsonl ROUNDS GUERDON[,KEY=VALUE]...  memory and CPU time of builds and settings
#   tei TEI GUERDON FOLDER ROLLOUTS.jsonl [COUNT] [ROUNDS]  peer: text-embeddings-inference
#   serve-rm MODEL DIALOGUES.jsonl.gz [OPTION...]        peer: OpenRLHF's serve_rm or vLLM
#   hyperscan [RULES] [ROUNDS]                          peer: hyperscan with `re`, on generated rules (200,1000)
#   rollouts PAIRS.jsonl.gz COUNT                        prints rollouts made of preference pairs
#
# PYTHON in the environment is the Python to use.
set -eu
cd "$(dirname "$0")/.."
name=${1:-}
[ $# -eq 0 ] || shift
python=${PYTHON:-python3}
case $name in
    http) exec sh bench/http.sh "$@" ;;
    wrk) exec sh bench/rules_wrk.sh "$@" ;;
    ledger) exec "$python" bench/ledger.py "$@" ;;
    judge) exec "$python" bench/judge_cache.py "$@" ;;
    judge-calls) exec cargo bench --locked -p guerdon-judge --bench judge -- "$@" ;;
    source) exec cargo bench --locked -p guerdon-remote --bench http ;;
    judge-limits)
        exec cargo nextest run --locked -p guerdon-judge --no-capture -j 1 endless_refusals \
            questions_are_answered_soon the_first_step every_way_of_counting ;;
    onnxruntime | transformers | tei) exec "$python" "bench/peer_$name.py" "$@" ;;
    memory) exec "$python" bench/model_memory.py "$@" ;;
    serve-rm) exec "$python" bench/peer_serve_rm/run.py "$@" ;;
    hyperscan)
        export GUERDON_BENCH_PEER="$PWD/bench/peer_hyperscan.py" GUERDON_BENCH_RULES="${1:-200,1000}"
        export GUERDON_BENCH_ROUNDS="${2:-3}" PYTHON="$python"
        exec cargo bench -p guerdon-rules --bench rules
        ;;
    rollouts) exec "$python" bench/pairs_to_rollouts.py "$@" ;;
    *) sed -n '2,/^# PYTHON/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
