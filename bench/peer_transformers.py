#!/usr/bin/env python3
"""Compares guerdon with transformers and Python's onnxruntime on an encoder of MiniLM's shape.

    bench/run.sh transformers FOLDER ROLLOUTS.jsonl [COUNT] [ROUNDS]

The model is a `BertForSequenceClassification` of 6 layers, 384 wide, with random weights and the bundled model's tokenizer:
its scores mean nothing, but speeds and differences of scores can be compared. transformers loads FOLDER/checkpoint;
`export_hf.py` writes FOLDER/model-DEVICE from it. All compute in 32 bits on all cores and score the same rollouts,
tokenization included. With DEVICE=cuda in the environment they compute in 16 bits on the GPU, and guerdon and onnxruntime
use the graph that `export_hf.py --device cuda` fuses.

- transformers: batches of 32, in file order and sorted by length
- onnxruntime: the same, and batches of 8 in file order (the plan of text-embeddings-inference on ONNX Runtime)
- guerdon: `guerdon rm bench` of the release build (or of GUERDON), with batches of its own, in 32 bits and, on a CPU, in 8 bits
  (`export_hf.py --precision int8`)

Rollouts per second, and milliseconds of CPU time of a rollout, which other work on the machine changes less. guerdon's CPU time
is that of the run less that of a run with one rollout, which loads the model.

Needs torch, transformers, onnx, onnxscript, onnxruntime and ml_dtypes, as in examples/reward-model/requirements.txt.
"""

import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

import onnxruntime
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECIPE = ROOT / "examples" / "reward-model"
GUERDON = os.environ.get("GUERDON") or ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "guerdon"
sys.path.insert(0, str(RECIPE))
from hf_reward import HfReward, Texts, collate

DEVICE = os.environ.get("DEVICE", "cpu")
MODEL = f"model-{DEVICE}"
MAX_TOKENS = 192


# 8 bits of random weights are far off, relative to the small spread of their scores. Only the speed counts here.
ANY_ERROR = "import onnx_int8, runpy, sys; onnx_int8.LIMIT = 100; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"


def export(folder, target, *options):
    subprocess.run([sys.executable, "-c", ANY_ERROR, RECIPE / "export_hf.py", "--checkpoint", folder / "checkpoint", "--out", folder / target,
                    "--device", DEVICE, "--max-tokens", str(MAX_TOKENS), *options], check=True, env=os.environ | {"PYTHONPATH": str(RECIPE)})


def make(folder):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(ROOT / "models/e5-hh/tokenizer.json"), pad_token="<pad>")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                        intermediate_size=1536, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    BertForSequenceClassification(config).save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    export(folder, MODEL, *(["--storage", "fp32"] if DEVICE == "cpu" else []))


def speed(score, dialogues, size, sort):
    """Returns rollouts per second, milliseconds of CPU time of a rollout, and scores in the order of `dialogues`."""
    texts = Texts(FOLDER / "checkpoint", MAX_TOKENS)
    started, busy = time.perf_counter(), time.process_time()
    rows = [texts.encode(dialogue) for dialogue in dialogues]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids)) if sort else range(len(rows))
    scores = [0.0] * len(rows)
    for start in range(0, len(rows), size):
        part = order[start:start + size]
        for i, value in zip(part, score(*collate([rows[i] for i in part], texts.pad))):
            scores[i] = value
    each = (time.process_time() - busy) / len(rows) * 1e3
    return len(rows) / (time.perf_counter() - started), each, scores


def guerdon(model, rollouts):
    """Returns rollouts per second and seconds of CPU time, with those of the load."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([GUERDON, "rm", "bench", FOLDER / model, "--device", DEVICE, "--on", rollouts], check=True, capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(re.search(r"([0-9.]+) turns/s", result.stdout)[1]), busy


def main():
    if not (FOLDER / MODEL / "guerdon.model.toml").exists():
        make(FOLDER)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 512
    lines = pathlib.Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()[:count]
    dialogues = [json.loads(line)["messages"] for line in lines]
    asked = FOLDER / "rollouts.jsonl"
    asked.write_text("\n".join(lines) + "\n", encoding="utf-8")

    # transformers chooses the attention, as in a script that serves such a model.
    model = HfReward(BertForSequenceClassification.from_pretrained(FOLDER / "checkpoint").eval()).to(DEVICE)
    model = model.half() if DEVICE == "cuda" else model
    provider = "CUDAExecutionProvider" if DEVICE == "cuda" else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(str(FOLDER / MODEL / "model.onnx"), providers=[provider])
    assert session.get_providers()[0] == provider, "onnxruntime fell back to the CPU"

    @torch.inference_mode()
    def torch_scores(ids, mask):
        return model(ids.to(DEVICE), mask.to(DEVICE))[:, 0].tolist()

    def onnx_scores(ids, mask):
        return session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0][:, 0].tolist()

    plans = [("transformers", torch_scores, 32, False), ("transformers", torch_scores, 32, True),
             ("onnxruntime", onnx_scores, 32, False), ("onnxruntime", onnx_scores, 8, False), ("onnxruntime", onnx_scores, 32, True)]
    models = {"32 bits": MODEL}
    if DEVICE == "cpu":
        models["8 bits"] = "model-int8"
        if not (FOLDER / "model-int8" / "guerdon.model.toml").exists():
            export(FOLDER, "model-int8", "--precision", "int8")
    one = FOLDER / "one.jsonl"
    one.write_text(lines[0] + "\n", encoding="utf-8")
    for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 2):
        ours, first = {}, None
        for bits, name in models.items():
            (rate, busy), (_, load) = guerdon(name, asked), guerdon(name, one)
            ours[bits] = rate, (busy - load) / (len(lines) - 1) * 1e3
            print(f"guerdon, {bits}: {rate:.1f} rollouts/s, {ours[bits][1]:.1f} CPU ms", flush=True)
        for name, score, size, sort in plans:
            theirs, each, scores = speed(score, dialogues, size, sort)
            first = first or scores
            apart = max(abs(a - b) for a, b in zip(first, scores))
            order = "sorted by length" if sort else "as they come"
            ratios = ", ".join(f"guerdon in {bits} {rate / theirs:.2f} times ({each / own:.2f} by CPU time)" for bits, (rate, own) in ours.items())
            print(f"{name}, batches of {size} {order}: {theirs:.1f} rollouts/s, {each:.1f} CPU ms; {ratios}; scores at most {apart:.0e} apart",
                  flush=True)


FOLDER = pathlib.Path(sys.argv[1])
main()
