"""The work of one GRPO step: a decoder reward model of random weights, and rollouts to score with it.

The shape is Qwen3-0.6B's, or a tiny one for a rehearsal on a CPU. Weights are random, so scores have no
meaning; speed and parity do. pack.py and prove.py use this file; it needs torch and transformers."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

HERE = Path(__file__).resolve().parent
# In the repository the recipe is two folders up; in a bundle it is next to this file.
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "examples" / "reward-model")]

SHAPES = {
    "qwen3-0.6b": dict(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
                       intermediate_size=3072, vocab_size=151936),
    "tiny": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                 intermediate_size=128, vocab_size=1024),
}
# Folder: attention and the first step of the MLP (packed_decoder.py).
GRAPHS = {"paged": ("paged", "separate"), "paged-fused": ("paged", "fused"), "rows": ("rows", "separate")}
TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }} end {% endfor %}"
WORDS = ["[UNK]", "system", "user", "assistant", "tool", "end"]
# A rehearsal's texts are a sixteenth as long: its stand-in for paged attention needs memory for every pair of tokens.
MAX_TOKENS = {"qwen3-0.6b": 2048, "tiny": 128}
DATA = "model.onnx.data"
PAGE = 4096


def model_of(shape, device):
    """The model on `device`. On "meta" it has shapes and rotary angles, but no weights."""
    torch.manual_seed(0)
    config = Qwen3Config(num_labels=1, pad_token_id=None, max_position_embeddings=4096, use_cache=False, **SHAPES[shape])
    with torch.device(device):
        model = Qwen3ForSequenceClassification(config).eval()
        with torch.no_grad():
            model.score.weight.normal_(0, 1 / math.sqrt(config.hidden_size))
    model.model.rotary_emb = Qwen3RotaryEmbedding(config)
    return model


def after(offset, size):
    """The offset of the next weight: weights start at pages."""
    return -(-(offset + size) // PAGE) * PAGE


def ids_of(vocabulary):
    return {word: i for i, word in enumerate(WORDS + [f"w{i}" for i in range(vocabulary - len(WORDS))])}


def rollouts(prompts, samples, shape):
    """Prompts of 200 to 800 tokens with replies of 16 to 512 (log-normal)."""
    rng, part, vocabulary = np.random.default_rng(1), 2048 // MAX_TOKENS[shape], SHAPES[shape]["vocab_size"]

    def say(count):
        return " ".join(f"w{i}" for i in rng.integers(0, vocabulary - len(WORDS), count))

    for prompt in range(prompts):
        question = say(int(rng.integers(200, 800)) // part)
        for _ in range(samples):
            reply = say(int(np.clip(rng.lognormal(5, 0.7), 16, 512)) // part)
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
            yield {"group": f"prompt-{prompt}", "messages": messages}


def read_rollouts(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tokens_of(row, ids):
    return [ids[word] for m in row["messages"] for word in f"{m['role']} {m['content']} end".split()]
