"""Send all rollouts of a file to a guerdon server in one request: once to warm up, then three times.

    python ask.py URL SERVER_PID NAME ROLLOUTS.jsonl

NAME is printed with the figures.
"""

import json
import pathlib
import sys
import time
import urllib.request

URL = sys.argv[1]


def wait_for(pid):
    while True:
        try:
            return urllib.request.urlopen(URL + "/readyz")
        except OSError:
            if has_ended(pid):
                sys.exit("the server ended before it was ready; see the log")
            time.sleep(0.5)


def has_ended(pid):
    """True if the process is gone, or a zombie of the shell that started it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def post(rollouts):
    body = json.dumps({"rollouts": rollouts}).encode()
    request = urllib.request.Request(URL + "/v1/score", body, {"Content-Type": "application/json"})
    reply = json.load(urllib.request.urlopen(request))
    without = sum(result["reward"] is None for result in reply["results"])
    if without:
        sys.exit(f"{without} of {len(rollouts)} rollouts have no reward")


def main():
    wait_for(int(sys.argv[2]))
    rollouts = [json.loads(line) for line in open(sys.argv[4], encoding="utf-8")]
    post(rollouts)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        post(rollouts)
        times.append(time.perf_counter() - started)
    middle = sorted(times)[1]
    print(f"{sys.argv[3]}: {len(rollouts)} rollouts in one request: {middle:.3f} s, {len(rollouts) / middle:.1f} rollouts/s (median of {times})")


main()
