"""Write a decoder reward model of random weights and rollouts to score with it: the work of one GRPO
step.

    python scripts/gpu/make_workload.py OUT [--shape qwen3-0.6b | tiny] [--attention paged rows]
        [--prompts 128] [--samples 8]

OUT/paged and OUT/rows are packed graphs of one model, each with its manifest, tokenizer, chat template
and reference.jsonl (64 rollouts scored by transformers in 32 bits). OUT/rollouts.jsonl holds prompts x
samples rollouts: prompts of 200 to 800 tokens, replies of 16 to 512 (log-normal), as in earlier
measurements of the same workload. Weights are random, so scores have no meaning; speed and parity do.
Needs torch, transformers, onnx and tokenizers.
"""

import argparse
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Qwen3Config, Qwen3ForSequenceClassification

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "reward-model"))
import packed_decoder  # noqa: E402
from manifest import write_manifest  # noqa: E402

SHAPES = {
    "qwen3-0.6b": dict(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
                       intermediate_size=3072, vocab_size=151936),
    "tiny": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                 intermediate_size=128, vocab_size=1024),
}
TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }} end {% endfor %}"
WORDS = ["[UNK]", "system", "user", "assistant", "tool", "end"]
MAX_TOKENS = 2048


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--attention", nargs="+", choices=packed_decoder.ATTENTION, default=["paged", "rows"])
    parser.add_argument("--dtype", choices=packed_decoder.TYPES, default="float16")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--reference", type=int, default=64, help="rollouts scored by transformers")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    config = Qwen3Config(num_labels=1, pad_token_id=None, max_position_embeddings=4096, use_cache=False, **SHAPES[args.shape])
    model = Qwen3ForSequenceClassification(config).eval()
    with torch.no_grad():
        model.score.weight.normal_(0, 1 / math.sqrt(config.hidden_size))
    vocabulary = WORDS + [f"w{i}" for i in range(config.vocab_size - len(WORDS))]
    ids = {word: i for i, word in enumerate(vocabulary)}
    rows = list(rollouts(args, len(vocabulary)))
    with (args.out / "rollouts.jsonl").open("w") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
    reference = scored(model, ids, rows[: args.reference])
    for attention in args.attention:
        folder = args.out / attention
        folder.mkdir(exist_ok=True)
        packed_decoder.save(packed_decoder.build(model, args.dtype, MAX_TOKENS, attention), str(folder / "model.onnx"))
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "reference.jsonl").write_text(reference)
        options = types.SimpleNamespace(name="workload", about="random weights, for measurements", license="", max_tokens=MAX_TOKENS)
        write_manifest(folder, options, chat={})
    print(f"{len(rows)} rollouts, {sum(len(m['content'].split()) + 2 for row in rows for m in row['messages'])} tokens")


@torch.inference_mode()
def scored(model, ids, rows):
    """The rows and their scores by transformers in 32 bits, as lines of JSON."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    lines = []
    for row in rows:
        text = "".join(f"{m['role']} {m['content']} end " for m in row["messages"])
        tokens = torch.tensor([[ids[word] for word in text.split()]], device=device)
        score = float(model(input_ids=tokens).logits[0, 0])
        lines.append(json.dumps({"messages": row["messages"], "index": 1, "score": score}) + "\n")
    model.to("cpu")
    return "".join(lines)


def rollouts(args, vocabulary):
    rng = np.random.default_rng(1)

    def say(count):
        return " ".join(f"w{i}" for i in rng.integers(0, vocabulary - len(WORDS), count))

    for prompt in range(args.prompts):
        question = say(int(rng.integers(200, 800)))
        for _ in range(args.samples):
            reply = say(int(np.clip(rng.lognormal(5, 0.7), 16, 512)))
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
            yield {"group": f"prompt-{prompt}", "messages": messages}


if __name__ == "__main__":
    main()
