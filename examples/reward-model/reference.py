"""Write reference.jsonl: ids and scores of about 40 dialogues, the Python side of guerdon's parity test.

    python reference.py --checkpoint run/a --model model-folder --pairs hh.jsonl.gz zh.jsonl.gz

Dialogues: hand-written hotel negotiations (hotel_dialogues.json), a few rows of hh-rlhf's helpful
subsets (MIT) and of OpenAssistant's Chinese rows (Apache-2.0), chosen to be short and inoffensive.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np

import rm_onnx
from manifest import number, sha256
from rm_model import RewardModel, score_all
from rm_text import encode, load_tokenizer, read_pairs

ROWS = [("helpful-base/test/" + n, side) for n, side in (
    ("17", "chosen"), ("17", "rejected"), ("45", "chosen"), ("92", "chosen"), ("122", "chosen"), ("280", "chosen"),
    ("347", "chosen"), ("383", "chosen"), ("573", "chosen"), ("636", "chosen"), ("652", "chosen"),
    ("697", "chosen"), ("777", "chosen"), ("801", "chosen"), ("959", "chosen"), ("1467", "chosen"),
    ("1494", "chosen"), ("1550", "chosen"), ("1587", "chosen"))]
ROWS += [("oasst_zh/" + n + "/1", "chosen") for n in (
    "5", "54", "215", "220", "462", "526", "616", "624", "766")]


def dialogues(pair_files):
    """-> (source, messages, index)"""
    for d in json.loads(Path(__file__).with_name("hotel_dialogues.json").read_text(encoding="utf-8")):
        messages = d["messages"]
        messages[-1]["content"] *= d.get("repeat", 1)
        yield "hand-written: " + d["about"], messages, d.get("index", len(messages) - 1)
    rows = {r["id"]: r for r in read_pairs(pair_files)}
    for name, side in ROWS:
        row = rows[name]
        yield f"{name} {side} ({row['license']})", row["prompt"] + [{"role": "assistant", "content": row[side]}], len(row["prompt"])


def state(folder):
    """Write the section [reference] of the manifest: the error of the graph, whose weights have 4 bits, against PyTorch in fp32."""
    rows = [json.loads(line) for line in (folder / "reference.jsonl").open(encoding="utf-8")]
    expected, found = (np.array([row[key] for row in rows]) for key in ("score", "graph_score"))
    apart = np.abs(found - expected) / max(float(expected.std()), 1e-3)
    section = {"sha256": sha256(folder / "reference.jsonl"), "by": "PyTorch, RewardModel of rm_model.py", "storage": "4 bits",
               "error": float(apart.max()), "rms": float(np.sqrt(np.mean(apart**2)))}
    manifest = folder / "guerdon.model.toml"
    text = re.sub(r"(?ms)^\[reference\]\n.*?(?=^\[|\Z)", "", manifest.read_text(encoding="utf-8")).rstrip()
    manifest.write_text("\n".join([text, "", "[reference]", *(f"{key} = {number(value)}" for key, value in section.items()), ""]), encoding="utf-8")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--model", required=True, help="exported folder; reference.jsonl is written into it")
    p.add_argument("--pairs", nargs="+", required=True)
    p.add_argument("--max-tokens", type=int, default=192)
    args = p.parse_args()
    folder = Path(args.model)
    tok = load_tokenizer(folder / "tokenizer.json")
    items = list(dialogues(args.pairs))
    coded = [encode(tok, messages, index, args.max_tokens) for _, messages, index in items]
    torch_scores = score_all(RewardModel.load(args.checkpoint), coded)
    sess = rm_onnx.session(folder / "model.onnx")
    with open(folder / "reference.jsonl", "w", encoding="utf-8") as f:
        for (source, messages, index), row, score in zip(items, coded, torch_scores):
            line = {"source": source, "messages": messages, "index": index, "ids": row.ids, "truncated": row.truncated,
                    "score": round(score, 6), "graph_score": round(float(rm_onnx.score_batch(sess, [row])[0]), 6)}
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
    state(folder)
    print(f"{len(items)} rows, {sum(row.truncated for row in coded)} truncated")


if __name__ == "__main__":
    main()
