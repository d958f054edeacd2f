"""Write tests/tiny-decoder/, tests/tiny-decoder-cpu/, tests/tiny-decoder-paged/ and
tests/tiny-decoder-cuda/: a packed decoder of 30 kilobytes with attention by rows, by chunks, and over
the blocks of a cache, the last one with a stand-in for the CUDA operator and with the operator itself.
Reference scores are computed by transformers.

    python tests/make_tiny_decoder.py    needs torch, transformers, onnx and jinja2

The weights are random. The test compares the packed graph, its prefix trees and the chat template with
the score of Hugging Face's own model for each dialogue alone. The tokenizer is that of tests/tiny.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import jinja2.sandbox
import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

HERE = Path(__file__).parent
OUT = {"rows": HERE / "tiny-decoder", "chunks": HERE / "tiny-decoder-cpu", "paged": HERE / "tiny-decoder-paged",
       "cuda": HERE / "tiny-decoder-cuda"}
sys.path.insert(0, str(HERE.parents[2] / "examples" / "reward-model"))
sys.path.insert(0, str(HERE))
import packed_decoder  # noqa: E402
import packed_graph  # noqa: E402
from make_tiny import VOCAB  # noqa: E402
from paged_stand_in import stand_in  # noqa: E402

MAX_TOKENS = 160
TEMPLATE = "{{ bos_token }}{% for m in messages %} {{ m.role }} : {{ m.content }} {{ eos_token }}{% endfor %}"


def ids(messages):
    render = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE).render
    text = render(messages=messages, bos_token="[CLS]", eos_token="[SEP]")
    words = [word if word.startswith("[") else word.lower() for word in text.replace("[CLS]", "[CLS] ").split()]
    return [VOCAB.get(word, VOCAB["[UNK]"]) for word in words]


def dialogues():
    """Samples of three prompts, one longer than a chunk; every turn of one dialogue; an unrelated dialogue."""
    for prompt in ("480 is our best price .", "Could we meet at 420 ?", " ".join(["We could meet at 420 , not 480 !"] * 14)):
        for reply in ("No .", "No deal .", "Deal !", "400 and breakfast included ."):
            yield [{"role": "system", "content": "be kind"}, {"role": "user", "content": prompt}, {"role": "assistant", "content": reply}], 2
    turns = [("user", "480 ?"), ("assistant", "420 !"), ("user", "no ."), ("assistant", "500 for two ?"), ("user", "yes"), ("assistant", "deal .")]
    messages = [{"role": role, "content": content} for role, content in turns]
    for index in (1, 3, 5):
        yield messages, index
    yield [{"role": "assistant", "content": "zebra"}], 0


def main():
    torch.manual_seed(3)
    config = Qwen3Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
                         intermediate_size=48, vocab_size=len(VOCAB), num_labels=1, pad_token_id=None, max_position_embeddings=MAX_TOKENS)
    model = Qwen3ForSequenceClassification(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1, 0.2) if weight.dim() == 1 else weight.normal_(0, 0.3)
    for attention, out in OUT.items():
        out.mkdir(exist_ok=True)
        write(model, attention, out)


def write(model, attention, out):
    if attention == "cuda":
        graph = packed_decoder.build(model, "float16", MAX_TOKENS, "paged")
    elif attention == "paged":
        # In 32 bits, which the operator does not support; the stand-in replaces it at once.
        graph = stand_in(packed_decoder.build(model, "float32", MAX_TOKENS, "paged"))
    else:
        graph = packed_decoder.build(model, "float32", MAX_TOKENS, attention)
    packed_graph.save(graph, str(out / "model.onnx"))
    shutil.copy(HERE / "tiny" / "tokenizer.json", out / "tokenizer.json")
    (out / "chat_template.jinja").write_text(TEMPLATE)
    digest = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in ("model.onnx", "tokenizer.json", "chat_template.jinja")}
    (out / "guerdon.model.toml").write_text(f"""# Written by make_tiny_decoder.py.
name = "{out.name}"
about = "a packed test model with random weights"
license = "MIT OR Apache-2.0"

[files]
model = "model.onnx"
model_sha256 = "{digest["model.onnx"]}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{digest["tokenizer.json"]}"
chat_template = "chat_template.jinja"
chat_template_sha256 = "{digest["chat_template.jinja"]}"

[input]
format = "chat_template"
max_tokens = {MAX_TOKENS}
bos_token = "[CLS]"
eos_token = "[SEP]"
""")
    with (out / "reference.jsonl").open("w") as file, torch.inference_mode():
        for messages, index in dialogues():
            tokens = ids(messages[: index + 1])
            assert len(tokens) <= MAX_TOKENS
            score = float(model(input_ids=torch.tensor([tokens])).logits[0, 0])
            row = {"messages": messages, "index": index, "ids": tokens, "truncated": False, "score": score}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
