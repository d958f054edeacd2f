#!/usr/bin/env python3
"""Tries the shapes of public reward models: the table in docs/reference/reward-models.md.

    python scripts/public_shapes.py OUT [SHAPE ...]          GUERDON: the binary; by default target/debug/guerdon

Each shape is a small model with random weights: the class that the model's configuration names, or its backbone with a head of
the form that its card describes, and the bundled tokenizer with the special tokens that the shape needs. The script exports it
with torch.onnx, writes the manifest lines of the table, and computes reference scores with the model's own class, one text at a
time, in the way of the card. `guerdon rm check` then scores the same dialogues alone and in batches. No weights are downloaded,
so this shows that a form of input and output is read correctly, and nothing about a model's quality. Needs the packages of
examples/reward-model/requirements.txt.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import torch
import transformers
from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import TemplateProcessing

ROOT = pathlib.Path(__file__).resolve().parent.parent
GUERDON = os.environ.get("GUERDON") or ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "guerdon"
TOKENIZER = ROOT / "models" / "e5-hh" / "tokenizer.json"
DIALOGUES = ROOT / "examples" / "reward-model" / "hotel_dialogues.json"
TOLERANCE = 2e-4
MAX_TOKENS = 256
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 600}
DECODER = SMALL | {"num_key_value_heads": 2, "head_dim": 16}
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
GENRM = CHAT + "<|im_start|>user\nIs this reply good? Answer Yes or No.<|im_end|>\n<|im_start|>assistant\n"
ATTRIBUTES = ["helpfulness", "correctness", "coherence", "complexity", "verbosity"]
# The weights in the card of LxzGordon/URM-LLaMa-3-8B.
STEERLM = [0.3, 0.74, 0.46, 0.47, -0.33]


def tokenizer(pair, added):
    """The bundled tokenizer with further special tokens and a post-processor that separates pairs."""
    made = Tokenizer.from_file(str(TOKENIZER))
    made.no_padding()
    made.no_truncation()
    made.add_special_tokens([AddedToken(token, normalized=False) for token in ("<|im_start|>", "<|im_end|>", *added)])
    ids = [(token, made.token_to_id(token)) for token in ("<s>", "</s>")]
    single = "<s> $A </s>"
    made.post_processor = TemplateProcessing(single=single, pair=pair or single + " $B </s>", special_tokens=ids)
    return made


class Headed(torch.nn.Module):
    """A backbone whose hidden states a head turns into named outputs."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, input_ids, attention_mask):
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden, input_ids, attention_mask)


class Own(torch.nn.Module):
    """The logits of a class of transformers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


class OwnPair(Own):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def last(hidden, mask):
    ends = mask.sum(dim=1, keepdim=True) - 1
    return hidden.gather(1, ends.unsqueeze(-1).expand(-1, -1, hidden.size(-1))).squeeze(1)


class ValueHead(torch.nn.Module):
    """A value per token, [batch, tokens]."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, hidden, _ids, _mask):
        return self.layers(hidden).squeeze(-1)


class EndHead(ValueHead):
    """The value of the last token, [batch, 1]."""

    def forward(self, hidden, ids, mask):
        values = super().forward(hidden, ids, mask)
        return values.gather(1, mask.sum(dim=1, keepdim=True) - 1)


class StepHead(ValueHead):
    """Two labels per token, [batch, tokens, 2]."""

    def forward(self, hidden, _ids, _mask):
        return self.layers(hidden)


class BothHead(ValueHead):
    """Scores of all tokens, and of the last one, as beaver's class returns them."""

    def forward(self, hidden, ids, mask):
        scores = self.layers(hidden)
        return scores, last(scores, mask)


class GatedHead(torch.nn.Module):
    """Objectives of the last token, and a gate over them from the last token of the prompt."""

    def __init__(self, width, objectives, turn):
        super().__init__()
        self.turn = turn
        self.regression = torch.nn.Linear(width, objectives, bias=False)
        self.gate = torch.nn.Sequential(torch.nn.Linear(width, 48), torch.nn.ReLU(), torch.nn.Linear(48, objectives))
        self.register_buffer("transform", torch.eye(objectives) - 0.1)

    def forward(self, hidden, ids, mask):
        rewards = self.regression(last(hidden, mask)) @ self.transform
        # The start of the last turn, which the original looks for in a Python loop.
        places = torch.arange(ids.size(1)).unsqueeze(0) * (ids == self.turn)
        start = places.max(dim=1, keepdim=True).values
        prompt = hidden.gather(1, start.unsqueeze(-1).expand(-1, -1, hidden.size(-1))).squeeze(1)
        gating = torch.softmax(self.gate(prompt) / 10, dim=1)
        return rewards, gating, (rewards * gating).sum(dim=1)


class AttributeHead(torch.nn.Module):
    """Five attributes of the last token."""

    def __init__(self, width):
        super().__init__()
        self.regression = torch.nn.Linear(width, len(ATTRIBUTES))

    def forward(self, hidden, _ids, mask):
        return self.regression(last(hidden, mask))


def config(family, tokens, **options):
    shape = DECODER if family in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2") else SMALL
    return getattr(transformers, family + "Config")(**({"vocab_size": tokens, "pad_token_id": 1} | shape | options))


def backbone(family, tokens, **options):
    return getattr(transformers, family + "Model")(config(family, tokens, **options))


def classifier(family, tokens, **options):
    return Own(getattr(transformers, family + "ForSequenceClassification")(config(family, tokens, **options)))


def linear(out=1, bias=False):
    return torch.nn.Linear(64, out, bias=bias)


def mlp(out):
    return torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, out))


def chat(messages, source=CHAT):
    return transformers.utils.chat_template_utils.render_jinja_template([messages], chat_template=source)[0][0]


DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 64, "norm_rel_ebd": "layer_norm",
           "share_att_key": True, "type_vocab_size": 0, "position_biased_input": False, "num_labels": 1}
ROPE = {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 256}}
STEP = 'mark = "<extra_0>"'
SHEPHERD = 'split = "\\n\\n"\nmark = " step."\njoin = "\\n"\ntoken = "▁step"'

# The model of the table; how it is made; the outputs; the manifest's [input] and [output] lines; the score of the outputs.
SHAPES = {
    "Skywork-Reward-V2-Qwen3": dict(make=lambda t: classifier("Qwen3", t, num_labels=1), score=lambda o, ids, t: o[0][0, 0]),
    "Skywork-Reward-V2-Llama": dict(make=lambda t: classifier("Llama", t, num_labels=1, **ROPE), score=lambda o, ids, t: o[0][0, 0]),
    "RM-Mistral-7B": dict(make=lambda t: classifier("Mistral", t, num_labels=1, sliding_window=None), score=lambda o, ids, t: o[0][0, 0]),
    "Skywork-Reward-Gemma-2": dict(make=lambda t: classifier("Gemma2", t, num_labels=1), score=lambda o, ids, t: o[0][0, 0]),
    "reward-model-deberta-v3-large-v2": dict(
        make=lambda t: OwnPair(transformers.DebertaV2ForSequenceClassification(config("DebertaV2", t, **DEBERTA | {"type_vocab_size": 2}))),
        pair="<s> $A </s> $B:1 </s>:1", score=lambda o, ids, t: o[0][0, 0]),
    "bge-reranker-v2-m3": dict(make=lambda t: classifier("XLMRoberta", t, num_labels=1), pair="<s> $A </s> </s> $B </s>",
                               output='activation = "sigmoid"', score=lambda o, ids, t: torch.sigmoid(o[0][0, 0].double())),
    "ArmoRM-Llama3-8B": dict(
        make=lambda t: Headed(backbone("Llama", t), GatedHead(64, 19, t - 2)), names=["rewards", "gating_output", "score"],
        output='name = "rewards"\ngating = "gating_output"\nlabels = ' + json.dumps([f"objective-{n}" for n in range(19)]),
        score=lambda o, ids, t: o[2][0]),
    "QRM-Llama3.1-8B": dict(
        make=lambda t: Headed(backbone("Llama", t, **ROPE), GatedHead(64, 5, t - 2)), names=["rewards", "gating_output", "score"],
        output='name = "score"\nobjectives = "rewards"\nlabels = ' + json.dumps(ATTRIBUTES), score=lambda o, ids, t: o[2][0]),
    "URM-LLaMa-3-8B": dict(make=lambda t: Headed(backbone("Llama", t), AttributeHead(64)),
                           output=f"weights = {STEERLM}\nlabels = {json.dumps(ATTRIBUTES)}",
                           score=lambda o, ids, t: o[0][0].double() @ torch.tensor(STEERLM, dtype=torch.float64)),
    "internlm2-7b-reward": dict(make=lambda t: Headed(backbone("Llama", t), ValueHead(linear())), added=["<|reward|>"],
                                input='suffix = "<|reward|>"', output='position = "last"', end=["<|reward|>"],
                                score=lambda o, ids, t: o[0][0, -1]),
    "Athene-RM-8B": dict(make=lambda t: Headed(backbone("Llama", t, **ROPE), ValueHead(linear())), added=["<|cls|>"],
                         input='suffix = "<|cls|>"', output='position = "last"', end=["<|cls|>"], score=lambda o, ids, t: o[0][0, -1]),
    "Nemotron-70B-Reward": dict(make=lambda t: Own(transformers.LlamaForCausalLM(config("Llama", t, **ROPE))),
                                output='position = "last"\ntokens = [0]', score=lambda o, ids, t: o[0][0, -1, 0]),
    "GRM-llama3-8B-sftreg": dict(make=lambda t: Headed(backbone("Llama", t), EndHead(mlp(1))), score=lambda o, ids, t: o[0][0, 0]),
    "UltraRM-13b": dict(make=lambda t: Headed(backbone("Llama", t), EndHead(linear())), score=lambda o, ids, t: o[0][0, 0]),
    "Eurus-RM-7b": dict(make=lambda t: Headed(backbone("Mistral", t, sliding_window=None), EndHead(linear())), score=lambda o, ids, t: o[0][0, 0]),
    "Starling-RM-7B-alpha": dict(make=lambda t: Headed(backbone("Llama", t), ValueHead(linear())), output='position = "last"',
                                 score=lambda o, ids, t: o[0][0, -1]),
    "beaver-7b-v1.0-reward": dict(make=lambda t: Headed(backbone("Llama", t), BothHead(linear())), names=["scores", "end_scores"],
                                  output='name = "end_scores"', score=lambda o, ids, t: o[1][0, 0]),
    "Qwen2.5-Math-PRM-7B": dict(
        make=lambda t: Headed(backbone("Qwen2", t), StepHead(mlp(2))), added=["<extra_0>"], steps=STEP, mark="<extra_0>", at="<extra_0>",
        output='position = "step"\nactivation = "softmax"\nindex = 1\naggregate = "min"',
        score=lambda o, ids, t: torch.softmax(o[0][0][ids == t].double(), dim=-1)[:, 1].min()),
    "math-shepherd-mistral-7b-prm": dict(
        make=lambda t: Own(transformers.MistralForCausalLM(config("Mistral", t, sliding_window=None))), steps=SHEPHERD, mark=" step.", join="\n",
        at="▁step", output='position = "step"\ntokens = [5, 6]\nactivation = "softmax"\nindex = 0\naggregate = "prod"',
        score=lambda o, ids, t: torch.softmax(o[0][0][ids == t][:, [5, 6]].double(), dim=-1)[:, 0].prod()),
    "a yes/no GenRM": dict(make=lambda t: Own(transformers.Qwen2ForCausalLM(config("Qwen2", t))), template=GENRM,
                           output='position = "last"\ntokens = [7, 8]\nactivation = "softmax"\nindex = 0',
                           score=lambda o, ids, t: torch.softmax(o[0][0, -1, [7, 8]].double(), dim=-1)[0]),
}


def export(model, inputs, names, path):
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    shapes = {name: {0: batch, 1: tokens} for name in inputs}
    example = {name: torch.ones(2, 9, dtype=torch.int64) for name in inputs}
    example["input_ids"] = torch.arange(18).reshape(2, 9) + 5
    torch.onnx.export(model, kwargs=example, f=str(path), input_names=list(inputs), output_names=names, dynamic_shapes=shapes, dynamo=True,
                      external_data=False, opset_version=18, verbose=False)


def dialogues(steps):
    found = []
    for dialogue in json.loads(DIALOGUES.read_text(encoding="utf-8")):
        messages = [{"role": m["role"], "content": m["content"]} for m in dialogue["messages"]]
        if steps:
            messages[-1]["content"] = "First, the price.\n\n" + messages[-1]["content"] + "\n\nThen the date."
        found.append(messages)
    return found


def shape(name, out):
    spec = SHAPES[name]
    folder = out / name.replace("/", "-").replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer(spec.get("pair"), spec.get("added", []))
    made.save(str(folder / "tokenizer.json"))
    torch.manual_seed(16)
    model = spec["make"](made.get_vocab_size()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:  # large enough for scores to differ
                weight.normal_(0, 0.15)
    pair = "pair" in spec
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if isinstance(model, OwnPair) else [])
    export(model, inputs, spec.get("names", ["logits"]), folder / "model.onnx")

    template = spec.get("template", CHAT)
    rows = []
    for messages in dialogues("steps" in spec):
        read = messages
        if "steps" in spec:
            steps = [step for step in messages[-1]["content"].split("\n\n") if step.strip()]
            read = [*messages[:-1], messages[-1] | {"content": spec.get("join", "").join(step + spec["mark"] for step in steps)}]
        if pair:
            encoding = made.encode("\n".join(m["content"] for m in read[:-1]), read[-1]["content"])
        else:
            encoding = made.encode(chat(read, template) + "".join(spec.get("end", [])), add_special_tokens=False)
        if len(encoding.ids) > MAX_TOKENS:
            continue
        ids = torch.tensor([encoding.ids])
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "token_type_ids" in inputs:
            given["token_type_ids"] = torch.tensor([encoding.type_ids])
        with torch.inference_mode():
            outputs = model(**given)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        token = made.token_to_id(spec["at"]) if "at" in spec else None
        rows.append({"messages": messages, "index": len(messages) - 1, "score": float(spec["score"](outputs, ids[0], token))})
    (folder / "reference.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    lines = ['name = "shape"', "[files]"]
    files = [("model", "model.onnx"), ("tokenizer", "tokenizer.json")]
    if not pair:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        files.append(("chat_template", "chat_template.jinja"))
    for key, file in files:
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        lines += [f'{key} = "{file}"', f'{key}_sha256 = "{digest}"']
    lines += ["[input]", f'format = "{"pair" if pair else "chat_template"}"', f"max_tokens = {MAX_TOKENS}", 'pad_token = "<pad>"']
    lines += [spec["input"]] if "input" in spec else []
    lines += ["[input.steps]", spec["steps"]] if "steps" in spec else []
    lines += ["[output]", spec.get("output", 'name = "logits"')]
    (folder / "guerdon.model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    result = subprocess.run([str(GUERDON), "rm", "check", str(folder), "--tolerance", str(TOLERANCE)], capture_output=True, text=True, check=False)
    scores = [row["score"] for row in rows]
    spread = f"{len(rows)} scores from {min(scores):.3f} to {max(scores):.3f}"
    print(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {name}: {spread}", flush=True)
    print("     " + "\n     ".join((result.stdout + result.stderr).strip().splitlines()[-3:]), flush=True)
    return result.returncode == 0


def main():
    out = pathlib.Path(sys.argv[1])
    right = [shape(name, out) for name in sys.argv[2:] or SHAPES]
    print(f"{sum(right)} of {len(right)} shapes")
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
