"""Runs every query of the Grafana dashboard and of the alerts against a Prometheus that scrapes a live server.

    python3 scripts/test_metrics.py [SERVER]

SERVER is the `guerdon` binary, by default target/release/guerdon. Needs `prometheus` and `promtool` on the path (Debian's
package `prometheus`). The server has rules, a reward model if ONNX Runtime is there, and a stand-in for a judge. The test fails if
a query does not parse, or names a series that the server does not have; and if the tests of the alerts fail.
"""

import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "deploy/grafana/guerdon.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"

CONFIG = """
default_profile = "light"
[server]
listen = "127.0.0.1:0"
[models.tiny]
path = "{root}/crates/guerdon-model/tests/tiny"
runtime = "{root}/.guerdon/onnxruntime"
[judges.stand-in]
url = "http://127.0.0.1:{judge}/v1"
model = "stand-in"
prices = {{ prompt_per_million = 1.0, completion_per_million = 2.0 }}
[judges.stand-in.budget]
per_day = 100.0
[profiles.light]
model = "tiny"
judge = "stand-in"
prompts = ["kind.md"]
rules = ["words.yaml"]
[profiles.light.judging]
probe_every = "2s"
"""

PROMPT = '''+++
id = "kind"
about = "Kindness of the reply."
version = 1

[[criteria]]
id = "kind"
kind = "deduct"
about = "The reply is cold to the partner."
fails_empty = true
quote = false
levels = [
  { name = "warm", points = 0, anchor = "It is kind." },
  { name = "cold", points = -20, anchor = "It is not kind." },
]
+++
# system
You judge one turn. {% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}
# user
{{ dialogue }}
{{ turn }}
'''

PACK = """
pack: words
about: Words that cost points.
facts: { target_price: number }
rules:
  - id: hello
    about: A greeting costs points.
    points: -100
    veto: true
    match: { any_of: [hello] }
    examples: { hits: [hello], misses: [no] }
  - id: above
    about: Nothing above the target.
    points: -10
    match: { number: { unit: [USD] } }
    where: value > context.target_price
    examples:
      hits: [{ text: 480 USD, context: { target_price: 420 } }]
      misses: [{ text: 400 USD, context: { target_price: 420 } }]
"""


class StandInJudge(http.server.BaseHTTPRequestHandler):
    """Answers that every turn is cold."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = re.search(r'beginning with "turn": "([^"]+)"', asked["messages"][-1]["content"])
        findings = [{"id": "kind", "level": "cold", "evidence": None}]
        answer = json.dumps({"turn": name.group(1) if name else None, "findings": findings})
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        body = json.dumps({"model": "stand-in", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/guerdon").resolve()
    for tool in ("prometheus", "promtool"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install prometheus")
    subprocess.run(["promtool", "test", "rules", "alerts.test.yaml"], cwd=ALERTS.parent, check=True)
    subprocess.run(["promtool", "check", "config", "prometheus.yaml"], cwd=ALERTS.parent, check=True)
    judge = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandInJudge)
    threading.Thread(target=judge.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "guerdon.toml").write_text(CONFIG.format(root=ROOT, judge=judge.server_port))
        (place / "kind.md").write_text(PROMPT)
        (place / "words.yaml").write_text(PACK)
        server = subprocess.Popen([binary, "serve"], cwd=place, stdout=subprocess.PIPE, text=True)
        try:
            url = next((found.group() for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
            if url is None:
                sys.exit("the server stopped before it listened")
            threading.Thread(target=server.stdout.read, daemon=True).start()
            return observed(url, place)
        finally:
            server.terminate()
            server.wait()


def observed(url: str, place: pathlib.Path) -> int:
    """Scrapes the server at `url` until it has every series, for at most 90 s, then runs all queries."""
    target = url.removeprefix("http://")
    (place / "prometheus.yaml").write_text(
        "global: { scrape_interval: 1s }\n"
        f"scrape_configs: [{{ job_name: guerdon, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
    )
    port = free_port()
    command = ["prometheus", "--config.file=prometheus.yaml", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    prometheus = subprocess.Popen([*command, "--storage.tsdb.path=data"], cwd=place)
    try:
        base = f"http://127.0.0.1:{port}/api/v1"
        named = {one for _, query in queries() for one in re.findall(r"\bguerdon_[a-z_]+", query)}
        # The drift of a judge is reported once a minute.
        for step in range(60):
            send(url, step)
            time.sleep(1.5)
            known = set(ask(f"{base}/label/__name__/values"))
            if step > 4 and named <= known:
                break
        failures = [f"no series {one}" for one in sorted(named - known)]
        count = 0
        for name, query in queries():
            count += 1
            try:
                ask(f"{base}/query", query=query)
            except (RuntimeError, urllib.error.HTTPError) as error:
                failures.append(f"{name}: {query}: {error}")
        print("\n".join(failures) or f"ok: {count} queries, {len(known)} series names")
        return 1 if failures else 0
    finally:
        prometheus.terminate()
        prometheus.wait()


def queries() -> list[tuple[str, str]]:
    """The queries of the dashboard's panels and of the alerts, with the names of their places."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [(panel["title"], one["expr"]) for panel in dashboard["panels"] for one in panel.get("targets", [])]
    found += [(one["name"], one["expr"]) for one in dashboard["annotations"]["list"]]
    found = [(name, query.replace("$__rate_interval", "10s").replace("$profile", ".*")) for name, query in found]
    # The form of the file is fixed: `expr:` with a text, or with a block that is indented further.
    text = ALERTS.read_text()
    for alert in re.finditer(r"- alert: (\w+)\n +expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", text):
        found.append((alert.group(1), " ".join((alert.group(2) or alert.group(3)).split())))
    if text.count("- alert:") != sum(name.startswith("Guerdon") for name, _ in found):
        sys.exit("an alert has no query that this script reads")
    return found


def send(url: str, step: int) -> None:
    rollouts = [
        {"group": "a", "messages": [{"role": "assistant", "content": f"hello {step}"}], "context": {"target_price": 1}},
        {"group": "a", "messages": [{"role": "assistant", "content": f"hello {step}"}], "context": {"target_price": 1}},
        {"messages": [{"role": "assistant", "content": f"480 USD , {step}"}]},
        {"messages": []},
    ]
    request = urllib.request.Request(
        f"{url}/v1/score", json.dumps({"rollouts": rollouts}).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        reply.read()


def ask(url: str, **parameters: str) -> list:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(f"{url}{query}", timeout=30) as reply:
        body = json.load(reply)
    if body["status"] != "success":
        raise RuntimeError(body)
    data = body["data"]
    return data if isinstance(data, list) else data["result"]


def free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), StandInJudge) as server:
        return server.server_port


if __name__ == "__main__":
    sys.exit(main())
