"""Dialogues of ../shared/data as rollouts, every assistant turn to be scored, for `guerdon rules bench` and `rules diff`.

    python3 rollouts.py zh_hotel_dialogues.jsonl.gz > hotel.jsonl
    guerdon rules bench rules/ --on hotel.jsonl --top 99

With `--facts` in front, the context has a target price below every price of the dialogues, so that price rules can hit.

These are people's dialogues, none of them the fault of a policy: what the packs hit in them, style aside, is a false
positive.
"""

import gzip
import json
import sys

FACTS = {
    "zh": {"target_price": 50, "currency": "CNY", "sop_stage": "negotiate", "max_discount": 20},
    "en": {"target_price": 0.2, "currency": "USD", "sop_stage": "negotiate", "max_discount": 20},
}
with_facts = "--facts" in sys.argv

for path in [argument for argument in sys.argv[1:] if argument != "--facts"]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
            if not any(m["role"] == "assistant" for m in messages):
                continue
            context = {"language": row["lang"], **(FACTS[row["lang"]] if with_facts else {})}
            rollout = {"id": row["id"], "messages": messages, "score": "all", "context": context}
            print(json.dumps(rollout, ensure_ascii=False))
