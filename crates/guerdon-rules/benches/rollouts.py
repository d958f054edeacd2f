"""Dialogues of ../shared/data as rollouts, every assistant turn to be scored, for `guerdon rules bench` and `rules diff`.

    python3 rollouts.py zh_hotel_dialogues.jsonl.gz > hotel.jsonl
    guerdon rules bench rules/ --on hotel.jsonl --top 99

These are people's dialogues, none of them the fault of a policy: what the packs hit in them, style aside, is a false
positive.
"""

import gzip
import json
import sys

for path in sys.argv[1:]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
            if not any(m["role"] == "assistant" for m in messages):
                continue
            rollout = {"id": row["id"], "messages": messages, "score": "all", "context": {"language": row["lang"]}}
            print(json.dumps(rollout, ensure_ascii=False))
