#!/usr/bin/env python3
"""Tests the reward model recipes on small random models of every supported family. `make test-recipes`.

    python scripts/test_recipes.py OUT [FAMILY ...]          GUERDON: the binary; by default target/debug/guerdon

Each checkpoint is made here with two layers and the bundled tokenizer, so nothing is downloaded. `train.py` trains one encoder
and one decoder on pairs made of the hotel dialogues. `export_hf.py` writes each model for a CPU (32 bits, and stored in 16 and
in 8) and for CUDA, decoders packed and padded. `guerdon rm check` scores the CPU models alone and in batches, and compares the
scores with PyTorch's. Needs the packages of examples/reward-model/requirements.txt.
"""

import json
import os
import pathlib
import subprocess
import sys

import torch
import transformers
from transformers import PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECIPE = ROOT / "examples" / "reward-model"
GUERDON = os.environ.get("GUERDON") or ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "guerdon"
TOKENIZER = ROOT / "models" / "e5-hh" / "tokenizer.json"
MAX_TOKENS = 256
# In standard deviations of the scores, or absolute below one; the same as in export_hf.py.
STORED = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.2}
SMALL = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, max_position_embeddings=600, num_labels=1)
DECODER = SMALL | dict(num_key_value_heads=2, head_dim=16)
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
ENCODERS = {
    "Bert": {},
    # These count positions from the padding id plus one.
    "Roberta": {},
    "XLMRoberta": {},
    "Camembert": {},
    "MPNet": {},
    "ModernBert": {"cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2},
    "DebertaV2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 64, "norm_rel_ebd": "layer_norm",
                  "share_att_key": True, "type_vocab_size": 0, "position_biased_input": False},
}
DECODERS = {"Llama": {}, "Mistral": {"sliding_window": None}, "Qwen2": {}, "Qwen3": {}, "Gemma": {}}


def checkpoint(family, folder):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), pad_token="<pad>", eos_token="</s>", bos_token="<s>")
    if family in DECODERS:
        tokenizer.chat_template = TEMPLATE
    options = (DECODER | DECODERS[family]) if family in DECODERS else (SMALL | ENCODERS[family])
    config = getattr(transformers, family + "Config")(vocab_size=len(tokenizer) + 64, pad_token_id=tokenizer.pad_token_id, **options)
    torch.manual_seed(0)
    model = getattr(transformers, family + "ForSequenceClassification")(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:  # large enough for scores to differ
                weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pairs(path):
    """Writes pairs of each dialogue's last message and the same message backwards, which is worse."""
    dialogues = json.loads((RECIPE / "hotel_dialogues.json").read_text(encoding="utf-8"))
    with path.open("w", encoding="utf-8") as file:
        for number in range(8 * len(dialogues)):
            *prompt, last = dialogues[number % len(dialogues)]["messages"]
            row = {"group": f"dialogue-{number}", "source": "made", "prompt": prompt, "chosen": last["content"],
                   "rejected": last["content"][::-1]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def run(what, *command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    print(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {what}", flush=True)
    if result.returncode:
        print(result.stdout[-2000:], result.stderr[-4000:], sep="\n")
    return result.returncode == 0


def python(what, script, *arguments):
    return run(what, sys.executable, RECIPE / script, *arguments)


def family(name, out):
    folder = out / name.lower()
    checkpoint(name, folder / "checkpoint")
    right, source = [], folder / "checkpoint"
    if name in ("Bert", "Qwen3"):
        pairs(folder / "pairs.jsonl")
        right.append(python(f"{name}: trained", "train.py", "--base", source, "--pairs", folder / "pairs.jsonl", "--out", folder / "trained",
                            "--epochs", 1, "--max-tokens", MAX_TOKENS, "--margin", 0.5))
        source = folder / "trained"
    for storage, tolerance in STORED.items():
        for layout in ("packed", "padded") if name in DECODERS else ("padded",):
            target, what = folder / f"{layout}-{storage}", f"{name}, {layout}, {storage}"
            right.append(python(f"{what}: exported", "export_hf.py", "--checkpoint", source, "--out", target, "--storage", storage,
                                "--layout", layout, "--max-tokens", MAX_TOKENS))
            right.append(run(f"{what}: as PyTorch scores", GUERDON, "rm", "check", target, "--tolerance", tolerance))
    target = folder / "cuda"
    right.append(python(f"{name}, cuda: exported", "export_hf.py", "--checkpoint", source, "--out", target, "--device", "cuda",
                        "--max-tokens", MAX_TOKENS))
    if name not in DECODERS:
        right.append(run(f"{name}, cuda: as PyTorch scores, on a CPU", GUERDON, "rm", "check", target, "--tolerance", 2e-2))
    return right


def main():
    out = pathlib.Path(sys.argv[1])
    right = [done for name in sys.argv[2:] or [*ENCODERS, *DECODERS] for done in family(name, out)]
    print(f"{sum(right)} of {len(right)} steps")
    sys.exit(0 if all(right) else 1)


main()
