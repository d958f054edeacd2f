"""Scores of a checkpoint by its own framework: transformers' class, forward pass, pooling and tokenizer call.

    python framework.py --checkpoint DIR --settings settings.json --out reference.jsonl

export_hf.py compares an exported graph with these scores and writes them to reference.jsonl, which guerdon replays before a
model goes live. `guerdon rm init` runs this file as a script; it imports nothing of this folder. settings.json has `format`
("plain" or "pair" with `prefix` and `separator`, or "chat_template"), `max_tokens`, and for a model of several labels `output`, the keys
of [output] that make one score of them. If the folder has no weights (as `optimum-cli export onnx` leaves it), the rows have token ids and no score.

Code that a checkpoint brings (`trust_remote_code`) is run only from a local folder, and only with --trust-remote-code."""

import argparse
import inspect
import json
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).parent
DIALOGUES = ("hotel_dialogues.json", "dialogues.json")
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
# guerdon gives a template that prints the date always this one.
DATE = {"%d %b %Y": "26 Jul 2024", "%Y-%m-%d": "2024-07-26", "%B %d, %Y": "July 26, 2024"}


def dialogues():
    """Every reply of every dialogue with at least one earlier message: (about, messages up to the reply)."""
    for name in DIALOGUES:
        for dialogue in json.loads((HERE / name).read_text(encoding="utf-8")):
            messages = dialogue["messages"]
            for index, message in enumerate(messages):
                if index and message["role"] == "assistant":
                    yield dialogue["about"], messages[:index + 1]


def own_code(folder, trust):
    """Exit if the checkpoint brings code that may not be run. Returns the options with which transformers loads it."""
    local = Path(folder).is_dir()
    if trust and not local:
        sys.exit(f"{folder} is not a local folder; code that a checkpoint brings is only run from a local folder: download it and read the code")
    named = {}
    for name in ("config.json", "tokenizer_config.json"):
        file = Path(folder) / name
        if local and file.exists():
            named |= json.loads(file.read_text(encoding="utf-8")).get("auto_map") or {}
    classes = [str(part) for value in named.values() for part in (value if isinstance(value, list) else [value]) if part]
    if classes and not trust:
        sys.exit(f"{folder} brings its own code ({', '.join(sorted(set(classes)))}); read it, and pass --trust-remote-code to run it")
    foreign = [name for name in classes if "--" in name]
    if foreign:
        sys.exit(f"{folder} names code of another repository ({', '.join(foreign)}); copy that code into the folder, and remove the part up "
                 "to `--` in its auto_map")
    if trust:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return {"trust_remote_code": bool(trust)}


def load_tokenizer(folder, trust=False):
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, **own_code(folder, trust))
    except Exception as error:
        sys.exit(f"{folder}: transformers cannot load the tokenizer ({type(error).__name__}: {error}); the folder needs tokenizer.json, or the "
                 "files from which transformers makes one (vocab.txt, spm.model, sentencepiece.bpe.model ...)")


def load_model(folder, trust=False, **options):
    """The checkpoint's sequence classifier in fp32, in evaluation mode. Exits if transformers would make up weights."""
    import torch
    import transformers

    options |= own_code(folder, trust)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=bool(trust))
    named = next(iter(getattr(config, "architectures", None) or []), "")
    kind = transformers.AutoModelForSequenceClassification
    if not trust and type(config) not in kind._model_mapping and named.endswith("ForSequenceClassification") and hasattr(transformers, named):
        kind = getattr(transformers, named)
    try:
        model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
    except ValueError as error:
        sys.exit(f"{folder}: transformers has no sequence classifier for `{config.model_type}` ({named or 'no architecture named'}): {str(error)[:500]}")
    made_up = sorted(name for name in info["missing_keys"] if "position_ids" not in name and "inv_freq" not in name)
    if made_up:
        sys.exit(f"{folder} lacks {', '.join(made_up[:5])}: transformers fills them with random numbers. The checkpoint ({named or 'no architecture named'}) "
                 "is not a sequence classifier; train its head first (train.py)")
    return model.eval()


def labels(config):
    """The names of the labels, in order."""
    named = getattr(config, "id2label", None) or {}
    return [str(named.get(number, named.get(str(number), f"LABEL_{number}"))) for number in range(config.num_labels)]


class Framework:
    """A checkpoint's tokenizer and, if `weights`, its model."""

    def __init__(self, folder, trust=False, weights=True):
        self.tokenizer = load_tokenizer(folder, trust)
        self.model = load_model(folder, trust) if weights else None
        self.takes = set(inspect.signature(self.model.forward).parameters) if weights else {"input_ids"}

    def inputs(self, text=None, second=None, messages=None):
        """The model's inputs for a text or for two, or for messages by the chat template: the tokenizer's own call."""
        if messages is None:
            # As a list, since an empty second text is otherwise taken for none.
            called = self.tokenizer(text) if second is None else {
                name: value[0] for name, value in self.tokenizer([[text, second]]).items()}
        else:
            now = lambda form: DATE.get(form, "2024-07-26")  # noqa: E731
            called = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, strftime_now=now)
        return {name: list(value) for name, value in called.items() if name in self.takes}

    def scores(self, inputs):
        """The scores of one unpadded text, one per label."""
        import torch

        with torch.inference_mode():
            return self.model(**{name: torch.tensor([value]) for name, value in inputs.items()}).logits[0].float().tolist()

    def padded(self, rows, side, batch=8):
        """The scores of texts padded on `side` by the tokenizer, or None if it has no padding token."""
        import torch

        if self.tokenizer.pad_token is None or getattr(self.model.config, "pad_token_id", None) is None:
            return None
        tokenizer, found = self.tokenizer, []
        before, tokenizer.padding_side = tokenizer.padding_side, side
        for start in range(0, len(rows), batch):
            with torch.inference_mode():
                inputs = tokenizer.pad(rows[start:start + batch], return_tensors="pt")
                found += self.model(**{name: value for name, value in inputs.items() if name in self.takes}).logits.float().tolist()
        tokenizer.padding_side = before
        return found


def combined(labels, output):
    """The score of a text with these labels, by the keys of [output]: activation, and one of index, difference and weights."""
    labels = [float(label) for label in labels]
    if output.get("activation") == "softmax":
        shares = [math.exp(label - max(labels)) for label in labels]
        labels = [share / sum(shares) for share in shares]
    elif output.get("activation") == "sigmoid":
        labels = [1 / (1 + math.exp(-label)) if label >= 0 else math.exp(label) / (1 + math.exp(label)) for label in labels]
    if output.get("difference"):
        first, second = output["difference"]
        return labels[first] - labels[second]
    if output.get("weights"):
        return sum(weight * label for weight, label in zip(output["weights"], labels, strict=True))
    return labels[output.get("index") or 0]


def rows(framework, settings, cut=None):
    """The reference rows: dialogues that the format accepts, with token ids and scores.

    settings: has format, prefix, separator, max_tokens and output (see `combined`). cut: the ids of messages whose
    text is too long, or None if such dialogues are left out."""
    found, inputs = [], []
    for about, messages in dialogues():
        try:
            if settings.format in ("plain", "pair"):
                lines = [settings.prefix[m["role"]] + m["content"] for m in messages]
                text = settings.separator.join(lines if settings.format == "plain" else lines[:-1])
                called = framework.inputs(text=text, second=messages[-1]["content"] if settings.format == "pair" else None)
            else:
                called = framework.inputs(messages=messages)
        except Exception as refusal:  # a template may refuse a dialogue, which cannot be scored then
            print(f"the template refuses `{about}`: {str(refusal)[:200]}", file=sys.stderr)
            continue
        truncated = len(called["input_ids"]) > settings.max_tokens
        if truncated and cut is None:
            continue
        if truncated:
            ids = list(cut(messages))
            one = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
            called = {name: one[name] for name in called}
        found.append({"source": about, "messages": messages, "index": len(messages) - 1, "ids": called["input_ids"], "truncated": truncated})
        inputs.append(called)
    if framework.model is None:
        return found
    for row, called in zip(found, inputs):
        row["labels"] = framework.scores(called)
        row["score"] = combined(row["labels"], settings.output)
    for side in ("right", "left"):
        for row, scores in zip(found, framework.padded(inputs, side) or []):
            row[f"score_padded_{side}"] = combined(scores, settings.output)
    return found


def write(found, path):
    """Write the rows, all or nothing."""
    part = Path(f"{path}.part")
    with part.open("w", encoding="utf-8") as file:
        for row in found:
            kept = {name: value for name, value in row.items() if name != "labels" or len(value) > 1}
            file.write(json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n")
    part.replace(path)


def name_of(framework):
    """The framework and the class, for the manifest."""
    import transformers

    kind = type(framework.model if framework.model is not None else framework.tokenizer).__name__
    return f"transformers {transformers.__version__}, {kind}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--settings", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--trust-remote-code", action="store_true", help="run code of the checkpoint, from a local folder only")
    args = parser.parse_args()
    settings = SimpleNamespace(**{"output": {}} | json.loads(Path(args.settings).read_text(encoding="utf-8")))
    weights = any(any(Path(args.checkpoint).glob(form)) for form in WEIGHTS)
    framework = Framework(args.checkpoint, args.trust_remote_code, weights)
    found = rows(framework, settings)
    write(found, args.out)
    print(json.dumps({"by": name_of(framework), "rows": len(found), "weights": weights}))


if __name__ == "__main__":
    main()
