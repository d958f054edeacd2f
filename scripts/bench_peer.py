#!/usr/bin/env python3
"""The peer of the reward model benchmark: the same ONNX file on the same rollouts, the way scripts usually run one.

    bench_peer.py MODEL_FOLDER ROLLOUTS.jsonl [COUNT] [THREADS]

ONNX Runtime from Python, batches of 32 in the order they come, padded to the longest, no HTTP; and batches of 1.
Needs onnxruntime, tokenizers and numpy, as in examples/reward-model/requirements.txt.
"""

import json
import pathlib
import sys
import time

import numpy
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples" / "reward-model"))
from rm_text import encode, load_tokenizer

folder, file = pathlib.Path(sys.argv[1]), sys.argv[2]
count = int(sys.argv[3]) if len(sys.argv) > 3 else 1024
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[4]) if len(sys.argv) > 4 else 0
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
tokenizer = load_tokenizer(folder / "tokenizer.json")
rollouts = [json.loads(line)["messages"] for line in open(file, encoding="utf-8")][:count]


def run(batch_size):
    started = time.perf_counter()
    for start in range(0, len(rollouts), batch_size):
        rows = [encode(tokenizer, m, len(m) - 1, 256)[0] for m in rollouts[start : start + batch_size]]
        longest = max(map(len, rows))
        feed = {name: numpy.zeros((len(rows), longest), numpy.int64) for name in names}
        for at, row in enumerate(rows):
            feed["input_ids"][at, : len(row)] = row
            feed["attention_mask"][at, : len(row)] = 1
        session.run(None, feed)
    return len(rollouts) / (time.perf_counter() - started)


run(32)  # warm-up
for batch_size in (32, 1):
    print(f"peer: Python onnxruntime, batches of {batch_size} as they come, no HTTP: {run(batch_size):.1f} rollouts/s")
