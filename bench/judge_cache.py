#!/usr/bin/env python3
"""Measures batches whose verdicts are all cached, over HTTP: 1,024 turns x 4 rubrics, release build.

    bench/run.sh judge [ROLLOUTS.jsonl] [COUNT] [ROUNDS]

The upstream is a stub in this process that chooses the first level of every criterion. The first round calls it; later
rounds must not. Server time is guerdon_http_request_duration_seconds, from the head of the request to the finished reply,
so it includes reading and parsing the body and writing the JSON. Wall time is the client's, up to the last byte.
"""

import http.client
import http.server
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORT = 8796
RUBRICS = ["empathy", "sop", "negotiation", "silence"]
CONFIG = """
default_profile = "judged"
[server]
listen = "127.0.0.1:{port}"
log = "warn"
[judges.stand-in]
url = "http://127.0.0.1:{upstream}/v1"
model = "stand-in"
[profiles.judged]
judge = "stand-in"
prompts = {prompts}
[profiles.judged.fusion]
method = "weighted_sum"
"""


class StubJudge(http.server.BaseHTTPRequestHandler):
    """Chooses the first level of every criterion named by the question's schema."""

    protocol_version = "HTTP/1.1"
    calls = 0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = body["response_format"]["json_schema"]["schema"]["properties"]["findings"]["properties"]
        findings = {
            name: {"level": finding["properties"]["level"]["enum"][0], "evidence": None} for name, finding in asked.items()
        }
        seal = re.findall(r'"turn": "([^"]+)"', body["messages"][-1]["content"])[-1]
        message = {"role": "assistant", "content": json.dumps({"turn": seal, "findings": findings})}
        reply = json.dumps({
            "model": "stand-in",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 600, "completion_tokens": 60},
        }).encode()
        type(self).calls += 1
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def rollouts(path, count):
    lines = [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]
    made = []
    for number in range(count):
        rollout = json.loads(json.dumps(lines[number % len(lines)]))
        rollout.pop("id", None)
        rollout.pop("score", None)
        rollout.setdefault("context", {}).setdefault("sop_stage", "negotiate")
        rollout["messages"][-1]["content"] += f" ({number})"
        made.append(rollout)
    return made


class Server:
    def __init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)

    def send(self, method, path, body=None):
        self.connection.request(method, path, body, {"content-type": "application/json"})
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            sys.exit(f"{path}: {reply.status} {text[:400]!r}")
        return text

    def seconds(self):
        """Total time of all score requests so far, as measured by the server."""
        text = self.send("GET", "/metrics").decode()
        found = re.findall(r'guerdon_http_request_duration_seconds_sum\{[^}]*"/v1/score"[^}]*\} (\S+)', text)
        return sum(map(float, found))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else ROOT / "examples" / "data" / "hotel.jsonl"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 30
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StubJudge)
    upstream.daemon_threads = True
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    prompts = [str(ROOT / "judge-prompts" / f"{rubric}.md") for rubric in RUBRICS]
    body = json.dumps({"rollouts": rollouts(path, count)}, ensure_ascii=False).encode()
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guerdon.toml"
        config.write_text(CONFIG.format(port=PORT, upstream=upstream.server_port, prompts=json.dumps(prompts)))
        binary = os.environ.get("GUERDON", str(ROOT / "target" / "release" / "guerdon"))
        process = subprocess.Popen([binary, "serve", "--config", str(config)], stdout=subprocess.DEVNULL)
        try:
            server = Server()
            for _ in range(200):
                try:
                    server.send("GET", "/readyz")
                    break
                except OSError:
                    server.connection.close()
                    time.sleep(0.1)
            first = json.loads(server.send("POST", "/v1/score", body))
            upstream_calls = StubJudge.calls
            print(f"{count} turns x {len(RUBRICS)} rubrics, {len(body):,} bytes; {upstream_calls} upstream calls, {first['usage']}")
            inside, wall = [], []
            for number in range(rounds + 3):
                before = server.seconds()
                started = time.perf_counter()
                text = server.send("POST", "/v1/score", body)
                took = time.perf_counter() - started
                if number >= 3:
                    wall.append(took * 1e3)
                    inside.append((server.seconds() - before) * 1e3)
            usage = json.loads(text)["usage"]
            if StubJudge.calls != upstream_calls or usage["judge_cache_hits"] != count * len(RUBRICS):
                sys.exit(f"not every verdict was cached: {StubJudge.calls - upstream_calls} more calls, {usage}")
            for name, times in [("server time", inside), ("wall time", wall)]:
                times.sort()
                at = lambda share: times[min(len(times) - 1, int(len(times) * share))]
                print(f"{name}: p50 {statistics.median(times):.1f} ms, p90 {at(0.9):.1f} ms, max {times[-1]:.1f} ms "
                      f"(n = {rounds}), reply {len(text):,} bytes")
        finally:
            process.terminate()
            process.wait(timeout=30)


if __name__ == "__main__":
    main()
