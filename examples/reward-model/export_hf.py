"""Export any Hugging Face sequence-classification reward model for guerdon.

    python export_hf.py --checkpoint run/mine --out model-folder

Takes encoders (BERT, RoBERTa, DeBERTa-v3, ModernBERT ...) and decoders (Llama, Qwen2, Qwen3, Gemma
...). Writes model.onnx, tokenizer.json, chat_template.jinja (if the tokenizer has a template),
reference.jsonl, and guerdon.model.toml with hashes and with the error of each storage.

The reference is the framework: the checkpoint's own class in transformers, its forward pass, its
pooling and its tokenizer call (framework.py), on about 100 dialogues, alone and padded on both sides.
The script fails if its own tokenizer call differs, or if the graph in fp32 differs by more than 1e-3
standard deviations. guerdon replays a few rows of reference.jsonl whenever it loads the model.

The graph of a decoder is packed (packed_decoder.py); `--layout padded` exports other decoders as PyTorch
writes them. guerdon pads on the right. A decoder is checked on both sides; an encoder that pools its
first token is right on the right side only. Of a model with several labels, the score is what their
names tell, or `--label`.

`--device cuda` computes in 16 bits: an encoder with fused attention (onnx_cuda.py), a decoder over a
cache of keys and values. Code that a checkpoint brings is run with `--trust-remote-code`, from a local
folder only."""

import argparse
import copy
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import torch

import framework
import graph_scores
import label_output
import onnx_cuda
import onnx_int8
import packed_decoder
import rm_roles
from hf_reward import HfReward, Texts, deviation
from manifest import sha256, write_manifest
from onnx_store import store
from rm_text import PREFIX, SEPARATOR

# The name of 8-bit arithmetic among the storages.
INT8 = "int8 arithmetic"
# Largest difference of the graph to the framework, in standard deviations, by storage.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.5, "fused fp16": 2e-2, INT8: onnx_int8.LIMIT}
# Beyond this many parameters only the chosen storage is compared.
SMALL = 100_000_000
# Beyond this size weights go to a file of their own.
LARGE_FILE = 1_500_000_000


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True, help="folder: model, tokenizer, perhaps calibration.json")
    p.add_argument("--out", required=True)
    p.add_argument("--storage", choices=("fp32", "fp16", "int8"), help="storage of the weights on a CPU; arithmetic is fp32; default: fp32")
    p.add_argument("--precision", choices=("fp32", "int8"), default="fp32",
                   help="arithmetic on a CPU; int8: large products in 8 bits, with a scale for each token (onnx_int8.py)")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: 16-bit arithmetic")
    p.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16", help="arithmetic of a decoder on CUDA")
    p.add_argument("--layout", choices=("packed", "padded"), default="packed", help="layout of a decoder; packed computes shared tokens once")
    p.add_argument("--label", help="the label that is the score, of a model with several: its number, its name, or `all` for their mean; by default "
                                   "what the names tell")
    p.add_argument("--trust-remote-code", action="store_true", help="run code that the checkpoint brings; from a local folder only")
    p.add_argument("--max-tokens", type=int, default=512, help="as in training")
    p.add_argument("--truncation", choices=("tokens", "messages"), default="tokens", help="of longer dialogues; as in training")
    rm_roles.add_arguments(p)
    p.add_argument("--name", default="reward-model")
    p.add_argument("--about", default="")
    p.add_argument("--license", default="")
    return p.parse_args()


def export(reward, pad, path):
    """The graph in fp32, with batch and sequence free."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11], [5, 6, 7, 8, pad, pad, pad]])
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    batch, seq = torch.export.Dim("batch"), torch.export.Dim("seq")
    shape = {0: batch, 1: seq}
    torch.onnx.export(reward, (ids, mask), str(path), input_names=["input_ids", "attention_mask"], output_names=["logits"],
                      dynamic_shapes={"input_ids": shape, "attention_mask": shape}, dynamo=True, external_data=False,
                      opset_version=18, verbose=False)


def fix_rope(model, max_tokens):
    """Exit if rotary angles depend on the longest text of a batch within `max_tokens`; else fix them.

    "dynamic" and "longrope" choose other angles for all tokens once a text is longer than a limit."""
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        config = getattr(module, "config", None)
        for layer, kind in (kinds.items() if isinstance(kinds, dict) else [(None, kinds)]):
            if not isinstance(kind, str) or ("dynamic" not in kind and kind != "longrope"):
                continue
            rope = config.rope_parameters[layer] if layer else config.rope_parameters
            limit = rope["original_max_position_embeddings"] if kind == "longrope" else config.max_position_embeddings
            if max_tokens > limit:
                sys.exit(f"the model's rope scaling `{kind}` changes the angles of all tokens of a batch once a text is longer than {limit} "
                         f"tokens, so a score would depend on other texts; pass --max-tokens {limit} or less")
            module.rope_type = kinds | {layer: "default"} if layer else "default"


def reference(args, texts):
    """The framework's rows, with the label that is the score. Exits if guerdon's encoding differs."""
    original = framework.Framework(args.checkpoint, args.trust_remote_code)
    kind = "chat_template" if texts.template else "plain"
    names = framework.labels(original.model.config)
    settings = SimpleNamespace(format=kind, prefix=PREFIX, separator=SEPARATOR, max_tokens=args.max_tokens,
                               output=label_output.choose(names, args.label, getattr(original.model.config, "problem_type", None)))
    found = framework.rows(original, settings, lambda messages: texts.encode(messages).ids)
    if len(found) < 8:
        sys.exit(f"only {len(found)} dialogues could be encoded; the chat template refuses the others, or --max-tokens is too low")
    for row in found:
        ids = list(texts.encode(row["messages"]).ids)
        if ids != row["ids"]:
            sys.exit(f"`{row['source']}`: the tokenizer's own call gives {len(row['ids'])} ids, the exported tokenizer.json {len(ids)} others")
    expected = np.array([row["score"] for row in found])
    if not np.isfinite(expected).all():
        sys.exit(f"the framework's scores are not all finite: {expected}")
    for side in ("right", "left"):
        padded = [row.get(f"score_padded_{side}") for row in found]
        if None not in padded:
            print(f"{framework.name_of(original)}, alone vs padded {side}: {deviation(padded, expected):.2e} sd, {len(found)} texts")
    # The framework may change its angles while it scores; the model to export is loaded afresh.
    return found, settings.output, framework.name_of(original)


def without_end(ids, token):
    """The ids up to the last one that is not `token`, which guerdon removes from a packed decoder's text; at least one id."""
    end = len(ids)
    while end > 1 and ids[end - 1] == token:
        end -= 1
    return ids[:end]


def difference(model, found, output, pad, reward):
    """The graph's largest and root mean square difference to the framework, in standard deviations."""
    sess = graph_scores.session(model)
    is_packed, is_decoder = graph_scores.is_packed(sess), reward.is_decoder
    expected = np.array([row["score"] for row in found])
    texts = [without_end(row["ids"], reward.pad) if is_packed else row["ids"] for row in found]
    sides = [None] if is_packed else [None, "right", "left"] if is_decoder else [None, "right"]
    worst = rms = 0.0
    for side in sides:
        got = np.array([framework.combined(labels, output) for labels in graph_scores.scores(sess, texts, pad, side)])
        worst = max(worst, deviation(got, expected)) if np.isfinite(got).all() else float("inf")
        rms = max(rms, float(np.sqrt(np.mean((got - expected) ** 2))) / max(float(expected.std()), 1e-3))
    return worst, rms


def stored(model, storage):
    """A copy of the fp32 graph with its weights stored as `storage`."""
    if storage in ("fp32", INT8):
        return model
    return store(copy.deepcopy(model), storage, keep=lambda name: "score" in name or "classifier" in name)


def save(model, path):
    """Write the graph; weights that exceed one ONNX file go to `<path>.data`, which is removed otherwise."""
    data = Path(f"{path}.data")
    data.unlink(missing_ok=True)
    large = sum(len(weight.raw_data) for weight in model.graph.initializer) > LARGE_FILE
    onnx.save_model(model, str(path), save_as_external_data=large, location=data.name)
    for file in (Path(path), data):
        if file.exists():
            os.chmod(file, 0o644)  # a service with another user reads it


def build(args, reward, texts, path):
    """The graph in the precision of its arithmetic, without storage: (model, packed, name of the storage)."""
    is_packed = reward.is_decoder and args.layout == "packed"
    if is_packed:
        attention, dtype = ("chunks", "float32") if args.device == "cpu" else ("paged", args.dtype)
        model = packed_decoder.build(reward.model, dtype, args.max_tokens, attention)
        return model, True, args.storage or "fp32"
    if args.device == "cuda":
        if reward.is_decoder:
            sys.exit("a padded decoder is for a CPU; leave `--layout padded` out, or export it without `--device cuda`")
        print("fused:", onnx_cuda.export(reward, texts.pad, path) or "nothing; ONNX Runtime has no fusion for this model")
        return onnx.load(path), False, "fused fp16"
    export(reward, texts.pad, path)
    return onnx.load(path), False, args.storage or "fp32"


def errors_of(args, model, reward, found, output, pad, storage):
    """{storage: (largest, rms) difference to the framework}; without the graph of paged attention, which needs a GPU."""
    if args.device == "cuda" and any(node.op_type == "PagedAttention" for node in model.graph.node):
        return {}
    small = sum(parameter.numel() for parameter in reward.parameters()) <= SMALL
    wanted = [storage] if args.device == "cuda" or storage == INT8 else ["fp32", "fp16", "int8"] if small else list(dict.fromkeys(["fp32", storage]))
    errors = {}
    for name in wanted:
        path = Path(args.out) / ".compared.onnx"
        try:
            graph = stored(model, name) if args.device == "cpu" else model
            save(graph, path)
            errors[name] = difference(path, found, output, pad, reward)
        except SystemExit as unfit:  # values beyond fp16's range
            print(f"{name}: {unfit}")
            if name == storage:
                raise
        finally:
            path.unlink(missing_ok=True)
            Path(f"{path}.data").unlink(missing_ok=True)
    return errors


def main():
    args = arguments()
    out, folder = Path(args.out), Path(args.checkpoint)
    if args.device == "cuda" and args.storage:
        sys.exit("`--storage` is for a CPU; on CUDA, weights are stored in the type of the arithmetic")
    if args.precision == "int8" and (args.device == "cuda" or args.storage not in (None, "fp32")):
        sys.exit("`--precision int8` is for a CPU and stores the weights in 8 bits itself; leave `--device` and `--storage` out")
    texts = Texts(args.checkpoint, args.max_tokens, args.truncation, roles=rm_roles.of_arguments(args),
                  tokenizer=framework.load_tokenizer(args.checkpoint, args.trust_remote_code))
    found, output, by = reference(args, texts)
    reward = HfReward(framework.load_model(args.checkpoint, args.trust_remote_code, attn_implementation="eager"))
    fix_rope(reward.model, args.max_tokens)
    pad = texts.pad if reward.pad is None else reward.pad
    texts.pad = pad
    out.mkdir(parents=True, exist_ok=True)
    path = out / "model.onnx"
    (out / "guerdon.model.toml").unlink(missing_ok=True)  # an export that fails leaves no model that loads
    model, is_packed, storage = build(args, reward, texts, path)
    errors = errors_of(args, model, reward, found, output, pad, storage)
    if args.precision == "int8":
        rows = [row | {"ids": without_end(row["ids"], reward.pad)} for row in found] if is_packed else found
        model, storage = onnx_int8.Quantised(copy.deepcopy(model), onnx_int8.usable(rows, "the reference"), output, pad).model, INT8
        errors |= errors_of(args, model, reward, found, output, pad, INT8)
    for name, (worst, rms) in errors.items():
        print(f"{by} vs ONNX {name}: max |diff| {worst:.2e} sd, rms {rms:.2e} sd, {len(found)} texts")
    for name in [name for name in ("fp32", storage) if name in errors]:
        if errors[name][0] > TOLERANCE[name]:
            sys.exit(f"FAILED: the graph ({name}) scores {errors[name][0]:.2e} sd away from the framework, more than {TOLERANCE[name]}; nothing "
                     "can be served from this folder. The model may need inputs that HfReward does not pass, or a pooling of its own")
    save(stored(model, storage) if args.device == "cpu" else model, path)
    args.precision = "int8" if storage == INT8 else None
    texts.tokenizer.backend_tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    chat = None
    if texts.template:
        (out / "chat_template.jinja").write_text(texts.template, encoding="utf-8")
        chat = {"bos_token": texts.tokenizer.bos_token, "eos_token": texts.tokenizer.eos_token}
    measured = folder / "calibration.json"
    calibration = json.loads(measured.read_text()) if measured.exists() else None
    where = f"{calibration['n']} replies of the validation split (PyTorch)" if calibration else ""
    framework.write(found, out / "reference.jsonl")
    stated = {"sha256": sha256(out / "reference.jsonl"), "by": by, "storage": storage}
    if storage in errors:
        stated |= {"error": errors[storage][0], "rms": errors[storage][1]}
    stated["errors"] = {name: worst for name, (worst, _) in errors.items() if np.isfinite(worst)}
    # A packed decoder pools the last token of a text; the framework, the last one that is not padding.
    ends = is_packed and reward.pad is not None and any(row["ids"][-1] == reward.pad for row in found)
    pad_token = None if reward.pad is None and texts.tokenizer.pad_token is None else texts.tokenizer.convert_ids_to_tokens(pad)
    write_manifest(out, args, calibration, where, chat, pad_token, reference=stated,
                   output=output, ignored_end=pad_token if ends else None)
    if is_packed and args.device == "cuda":
        print(f"compare the graph on the GPU: guerdon rm check {out} --device cuda")
    print(f"{out}: {path.stat().st_size / 1e6:.2f} MB, ok")


if __name__ == "__main__":
    main()
