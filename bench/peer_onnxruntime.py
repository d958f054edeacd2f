#!/usr/bin/env python3
"""Peer of the reward model benchmark: the same model on the same rollouts, run as scripts usually run a model.

    bench/run.sh onnxruntime MODEL_FOLDER ROLLOUTS.jsonl [COUNT] [THREADS]

Runs ONNX Runtime from Python with four plans: batches of 32 in file order, batches of 8 in file order (as
text-embeddings-inference runs ONNX Runtime), batches of 32 sorted by length over all rollouts, and batches of 1. Batches are
padded to their longest text; there is no HTTP. The graph is the bundled one in its padded layout, with the same weights
and arithmetic.
Needs onnx, onnxruntime, ml_dtypes, tokenizers and numpy, as in examples/reward-model/requirements.txt.
"""

import json
import pathlib
import sys
import time
import tomllib

import numpy
import onnx
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples" / "reward-model"))
import onnx_encoder
from relayout import state_of
from rm_text import encode, load_tokenizer

folder, file = pathlib.Path(sys.argv[1]), sys.argv[2]
count = int(sys.argv[3]) if len(sys.argv) > 3 else 1024
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[4]) if len(sys.argv) > 4 else 0
graph = onnx_encoder.build(*state_of(onnx.load(folder / "model.onnx")), "padded").SerializeToString()
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
form = tomllib.loads((folder / "guerdon.model.toml").read_text())["input"]
limit, truncation, keep_system = form["max_tokens"], form.get("truncation", "messages"), form.get("keep_system", False)
tokenizer = load_tokenizer(folder / "tokenizer.json")
rollouts = [json.loads(line)["messages"] for line in open(file, encoding="utf-8")][:count]


def rows(messages):
    """Returns the model's inputs for the last turn."""
    encoded = encode(tokenizer, messages, len(messages) - 1, limit, truncation, keep_system)
    first, last = encoded.reply
    reply = numpy.zeros(len(encoded.ids), numpy.int64)
    reply[first:last] = 1
    return {"input_ids": encoded.ids, "attention_mask": numpy.ones(len(encoded.ids), numpy.int64), "reply_mask": reply}


def run(batch_size, sort):
    started = time.perf_counter()
    texts = [rows(messages) for messages in rollouts]
    if sort:
        texts.sort(key=lambda row: len(row["input_ids"]))
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        longest = max(len(row["input_ids"]) for row in batch)
        feed = {name: numpy.zeros((len(batch), longest), numpy.int64) for name in names}
        for at, row in enumerate(batch):
            for name in names:
                feed[name][at, : len(row["input_ids"])] = row[name]
        session.run(None, feed)
    return len(rollouts) / (time.perf_counter() - started)


run(32, False)  # warm-up
for batch_size, sort in ((32, False), (8, False), (32, True), (1, False)):
    order = "sorted by length" if sort else "as they come"
    speed = run(batch_size, sort)
    print(f"peer: Python onnxruntime, batches of {batch_size} {order}, no HTTP: {speed:.1f} rollouts/s")
