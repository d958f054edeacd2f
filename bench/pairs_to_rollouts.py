#!/usr/bin/env python3
"""Converts preference pairs to rollouts: bench/run.sh rollouts PAIRS.jsonl.gz COUNT > rollouts.jsonl

Each pair {prompt: [{role, content}], chosen, rejected} gives two rollouts that share a group.
"""

import gzip
import json
import sys

path, count = sys.argv[1], int(sys.argv[2])
opener = gzip.open if path.endswith(".gz") else open
written = 0
with opener(path, "rt", encoding="utf-8") as pairs:
    for number, line in enumerate(pairs):
        pair = json.loads(line)
        for reply in (pair["chosen"], pair["rejected"]):
            if written == count:
                sys.exit()
            messages = [{"role": m["role"], "content": m["content"]} for m in pair["prompt"]]
            messages.append({"role": "assistant", "content": reply})
            print(json.dumps({"group": str(number), "messages": messages}, ensure_ascii=False))
            written += 1
