#!/usr/bin/env python3
"""Agreement and cost of absolute, listwise and pairwise rubrics, with a simulated judge of known noise and bias.

    python3 bench/judge_modes.py PAIRS.jsonl.gz --guerdon target/debug/guerdon

PAIRS has objects with `prompt`, `output_a`, `output_b` and `human_label` (`a` or `b`). The judge is
simulated: it knows the label and adds noise. The numbers therefore show what guerdon makes of a judge
with that noise (calls, tokens, position bias before and after shuffling), not how good a model is.
Only the standard library is used. Nothing of PAIRS is written anywhere.
"""

import argparse
import gzip
import hashlib
import http.server
import json
import math
import pathlib
import random
import re
import subprocess
import tempfile
import threading
import time
import urllib.request

LEVELS = ["best", "good", "fair", "poor", "worst"]
POINTS = [0, -5, -10, -15, -20]
CRITERIA = ["answers", "correct", "clear", "complete", "polite"]
BLOCK = re.compile(r"<(reply-[0-9a-f]+|turn-[0-9a-f]+)>\n(.*?)\n</\1>", re.S)


def rubric(name, settings):
    criteria = "".join(
        f'[[criteria]]\nid = "{one}"\nkind = "deduct"\nabout = "How {one} the reply is."\nfails_empty = true\nlevels = [\n'
        + "".join(
            f'  {{ name = "{level}", points = {points}, anchor = "{level} {one}" }},\n'
            for level, points in zip(LEVELS, POINTS)
        )
        + "]\n"
        for one in CRITERIA
    )
    return (
        f'+++\nid = "{name}"\nabout = "Quality."\nversion = 1\nmax_tokens = 400\n{settings}\n{criteria}+++\n# system\nJudge.\n'
        "{% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}\n# user\n{{ dialogue }}\n{{ turn }}\n"
    )


def gauss(*parts):
    """A standard normal number that depends on the parts alone."""
    return random.Random(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()).gauss(0, 1)


class Judge:
    """Levels by quality, noise of the reply, noise of the call, and place in the list."""

    def __init__(self, quality, args):
        self.quality, self.args = quality, args
        self.calls = self.prompt = self.completion = 0
        self.lock = threading.Lock()

    def level(self, call, text, place, criterion):
        args = self.args
        value = self.quality.get(text, 0.5)
        value += args.noise * gauss("reply", text, criterion)
        value += args.call_noise * gauss("call", call)
        value += args.bias * (0.5 - place)
        return LEVELS[min(max(math.floor((1 - value) * 5), 0), 4)]

    def preferred(self, call, texts, criterion):
        """The place of the better one of two replies; None for a tie. The noise of a call is the same for
        both replies and cancels, so each comparison has noise of its own."""
        args = self.args
        first, second = (self.quality.get(text, 0.5) + args.noise * gauss("reply", text, criterion) for text in texts)
        margin = first - second + args.bias + args.pair_noise * gauss("pair", call, criterion)
        return None if abs(margin) < args.tie else int(margin < 0)

    def answer(self, body):
        shown = body["messages"][-1]["content"]
        text = json.dumps(body["messages"])
        call = hashlib.sha256(re.sub(r"(reply|turn)-[0-9a-f]+", "", text).encode()).hexdigest()
        blocks = [
            (name, "\n".join(line.removeprefix("> ") for line in quoted.split("\n")))
            for name, quoted in BLOCK.findall(shown)
        ]
        last = max(len(blocks) - 1, 1)
        asked = [one for one in CRITERIA if f"{one}: How" in body["messages"][0]["content"]]
        if "\"preferred\"" in body["messages"][0]["content"]:
            names, texts = [name for name, _ in blocks], [reply for _, reply in blocks]
            choices = {one: self.preferred(call, texts, one) for one in asked}
            answer = {"preferred": {one: "tie" if place is None else names[place] for one, place in choices.items()}}
        elif blocks and blocks[0][0].startswith("reply-"):
            answer = {"replies": {
                name: {one: self.level(call, reply, place / last, one) for one in asked}
                for place, (name, reply) in enumerate(blocks)
            }}
        else:
            seal = re.search(r'beginning with "turn": "([^"]+)"', shown)
            reply = blocks[-1][1]
            findings = {one: {"level": self.level(call, reply, 0.5, one), "evidence": None} for one in asked}
            answer = ({"turn": seal.group(1)} if seal else {}) | {"findings": findings}
        content = json.dumps(answer)
        with self.lock:
            self.calls += 1
            self.prompt += len(text) // 4
            self.completion += len(content) // 4
        return {
            "id": "s", "object": "chat.completion", "created": 0, "model": "simulated",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(text) // 4, "completion_tokens": len(content) // 4,
                      "total_tokens": (len(text) + len(content)) // 4},
        }


def serve(judge):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = json.dumps(judge.answer(body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def score(port, profile, rollouts):
    body = json.dumps({"profile": profile, "rollouts": rollouts}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/score", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        return json.load(reply)["results"]


def points(result):
    part = result["turns"][-1].get("judge")
    return None if part is None else part["points"]


def spearman(first, second):
    def ranks(values):
        order = sorted(range(len(values)), key=values.__getitem__)
        ranks, at = [0.0] * len(values), 0
        while at < len(order):
            end = at
            while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
                end += 1
            for index in order[at : end + 1]:
                ranks[index] = (at + end) / 2
            at = end + 1
        return ranks

    first, second = ranks(first), ranks(second)
    mean = (len(first) - 1) / 2
    both = sum((a - mean) * (b - mean) for a, b in zip(first, second))
    size = math.sqrt(sum((a - mean) ** 2 for a in first) * sum((b - mean) ** 2 for b in second))
    return both / size if size else float("nan")


def rollout(group, prompt, reply):
    messages = [{"role": one["role"], "content": one["content"]} for one in prompt]
    return {"group": group, "messages": [*messages, {"role": "assistant", "content": reply}]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("--guerdon", default="target/debug/guerdon")
    parser.add_argument("--noise", type=float, default=0.35, help="noise of a reply and criterion")
    parser.add_argument("--call-noise", type=float, default=0.3, help="noise that all replies of a call share")
    parser.add_argument("--bias", type=float, default=0.4, help="what the first place has more than the last, in lists and pairs")
    parser.add_argument("--pair-noise", type=float, default=0.3, help="noise of a comparison of two replies")
    parser.add_argument("--tie", type=float, default=0.05, help="difference below which two replies tie")
    parser.add_argument("--groups", type=int, default=60, help="synthetic groups of 8 replies of known quality")
    args = parser.parse_args()
    opened = gzip.open if args.pairs.endswith(".gz") else open
    with opened(args.pairs, "rt", encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    pairs = [one for one in pairs if one["human_label"] in ("a", "b") and one["output_a"] != one["output_b"]]
    quality, groups = {}, []
    for number, one in enumerate(pairs):
        prompt = [{"role": "system", "content": f"pair {number}"}, *one["prompt"]]
        replies = [f"{text}\n[{number}{side}]" for side, text in (("a", one["output_a"]), ("b", one["output_b"]))]
        for side, reply in zip("ab", replies):
            quality[reply] = 0.7 if one["human_label"] == side else 0.4
        groups.append((f"pair-{number}", prompt, replies))
    draw = random.Random(7)
    for number in range(args.groups):
        replies = [f"Reply {number}.{sample}" for sample in range(8)]
        quality |= {reply: draw.uniform(0.1, 0.9) for reply in replies}
        groups.append((f"eight-{number}", [{"role": "user", "content": f"Prompt {number}"}], replies))
    judge = Judge(quality, args)
    port = serve(judge)
    modes = {
        "absolute": "", "absolute, a call a criterion": 'grouping = "criterion"',
        "listwise, 1 order": 'mode = "listwise"', "listwise, 2 orders": 'mode = "listwise"\nshuffles = 2',
        "listwise, 4 orders": 'mode = "listwise"\nshuffles = 4',
        "pairwise, 1 Swiss round": 'mode = "pairwise"\nrounds = { swiss = 1 }',
        "pairwise, 3 Swiss rounds": 'mode = "pairwise"\nrounds = { swiss = 3 }',
        "pairwise, round robin": 'mode = "pairwise"',
    }
    with tempfile.TemporaryDirectory() as folder:
        root, config = pathlib.Path(folder), ['default_profile = "p0"\n[judges.simulated]\n'
            f'url = "http://127.0.0.1:{port}/v1"\nmodel = "simulated"\n']
        for number, settings in enumerate(modes.values()):
            (root / f"q{number}.md").write_text(rubric(f"q{number}", settings), encoding="utf-8")
            config.append(f'[profiles.p{number}]\njudge = "simulated"\nprompts = ["q{number}.md"]\n'
                          'fusion = { method = "weighted_sum" }\n')
        (root / "guerdon.toml").write_text("".join(config), encoding="utf-8")
        own = 20_000 + random.SystemRandom().randrange(20_000)
        server = subprocess.Popen([args.guerdon, "serve", "--config", str(root / "guerdon.toml"),
                                   "--listen", f"127.0.0.1:{own}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{own}/readyz", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            print(f"simulated judge: noise {args.noise}, noise of a call {args.call_noise}, of a comparison "
                  f"{args.pair_noise}, ties below {args.tie}, bias {args.bias} towards the first place; {len(pairs)} pairs, {args.groups} groups of 8, {len(CRITERIA)} criteria\n")
            print(f"| {'rubric':28} | agreement on pairs | rank correlation in groups of 8 | calls a pair | calls a group of 8 "
                  "| tokens a group of 8 | position bias, points |\n|---|---|---|---|---|---|---|")
            for number, name in enumerate(modes):
                agreed, ranks, biases, cost = [], [], [], {2: [0, 0, 0], 8: [0, 0, 0]}
                for group, prompt, replies in groups:
                    before = judge.calls, judge.prompt + judge.completion
                    results = score(own, f"p{number}", [rollout(group, prompt, reply) for reply in replies])
                    spent = cost[len(replies)]
                    spent[0] += 1
                    spent[1] += judge.calls - before[0]
                    spent[2] += judge.prompt + judge.completion - before[1]
                    got, wanted = [points(one) for one in results], [quality[reply] for reply in replies]
                    if None in got:
                        raise SystemExit(f"{group} was not judged: {results[0]['turns'][-1]['abstained']}")
                    bias = (results[0]["turns"][-1]["judge"].get("group") or {}).get("position_bias")
                    biases += [] if bias is None else [bias]
                    if len(replies) == 2:
                        better = (got[0] > got[1]) - (got[0] < got[1])
                        agreed.append(0.5 if better == 0 else float((better > 0) == (wanted[0] > wanted[1])))
                    else:
                        ranks.append(spearman(got, wanted))
                mean = lambda values: sum(values) / len(values) if values else float("nan")
                print(f"| {name:28} | {mean(agreed):.3f} | {mean([one for one in ranks if one == one]):.3f} "
                      f"| {cost[2][1] / max(cost[2][0], 1):.1f} | {cost[8][1] / max(cost[8][0], 1):.1f} "
                      f"| {cost[8][2] / max(cost[8][0], 1):.0f} | {mean(biases):.1f} |")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
