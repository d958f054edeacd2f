"""Export any Hugging Face sequence-classification reward model (one label) for guerdon.

    python export_hf.py --checkpoint run/mine --out model-folder --storage int8

Takes encoders (BERT, RoBERTa, DeBERTa-v3, ModernBERT ...) and decoders (Llama, Qwen2, Qwen3, Gemma
...). Writes model.onnx, tokenizer.json, chat_template.jinja (if the tokenizer has a template),
guerdon.model.toml with hashes, and reference.jsonl: PyTorch's scores of a few dialogues, with which
`guerdon rm check` compares its own scores.

The reference is the model's own class in transformers, on one unpadded text at a time. The script
fails if the recipe's wrapper, or a padded graph in fp32, differs from it by more than 1e-3 standard
deviations. The graph of a decoder is packed (packed_decoder.py) and compared by `guerdon rm check`;
`--layout padded` exports other decoders as PyTorch writes them. guerdon pads on the right. A decoder
is checked on both sides; an encoder that pools its first token is right on the right side only.

`--device cuda` computes in 16 bits: an encoder with fused attention (onnx_cuda.py), a decoder over a
cache of keys and values."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

import onnx_cuda
import packed_decoder
import packed_graph
import rm_roles
from hf_reward import HfReward, Texts, collate, deviation, framework_scores
from manifest import write_manifest
from onnx_store import store

# Largest difference of HfReward and the fp32 graph to the framework, in standard deviations.
FRAMEWORK_TOLERANCE = 1e-3
# Largest difference of the stored graph, in standard deviations, or absolute if these are below 1.
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.2, "fused fp16": 2e-2}
PROBES = Path(__file__).with_name("hotel_dialogues.json")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True, help="folder: model, tokenizer, perhaps calibration.json")
    p.add_argument("--out", required=True)
    p.add_argument("--storage", choices=("fp32", "fp16", "int8"), help="storage of the weights on a CPU; arithmetic is fp32; default: int8")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: 16-bit arithmetic")
    p.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16", help="arithmetic of a decoder on CUDA")
    p.add_argument("--layout", choices=("packed", "padded"), default="packed", help="layout of a decoder; packed computes shared tokens once")
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


def probes(texts):
    """Dialogues of all lengths that the template accepts: (their messages, encoded)."""
    dialogues, found = [], []
    for dialogue in json.loads(PROBES.read_text(encoding="utf-8")):
        try:
            found.append(texts.encode(dialogue["messages"]))
            dialogues.append(dialogue["messages"])
        except Exception as refusal:  # such a dialogue cannot be scored
            print(f"template refuses {dialogue['about']}: {refusal}")
    return dialogues, found


def check_framework(reward, rows, expected):
    """Exit if HfReward, which is exported, scores differently from the framework's own class."""
    with torch.inference_mode():
        scores = [float(reward(*collate([row], 0))[0, 0]) for row in rows]
    difference = deviation(scores, expected)
    print(f"{type(reward.model).__name__} vs HfReward: max |diff| {difference:.2e} sd, {len(rows)} texts")
    if difference > FRAMEWORK_TOLERANCE:
        sys.exit(f"HfReward scores {difference:.2e} sd away from {type(reward.model).__name__}, more than {FRAMEWORK_TOLERANCE}; "
                 "nothing was exported. A decoder whose pad token also ends its texts is read one token early by the "
                 "framework: set `pad_token_id` in its config.json to a token that no text contains. An encoder may need "
                 "inputs that HfReward does not pass")


def compare(reward, sess, rows, pad, storage, expected):
    """Largest difference of the framework's scores of each text alone to ONNX's, alone and padded."""
    def run(part, left):
        ids, mask = collate(part, pad, left)
        return sess.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0][:, 0]

    worst = 0.0
    runs = {"alone": np.concatenate([run([row], False) for row in rows]), "padded right": run(rows, False)}
    if reward.is_decoder:
        runs["padded left"] = run(rows, True)
    for name, got in runs.items():
        difference = np.abs(got - expected).max() / max(1.0, expected.std())
        print(f"{type(reward.model).__name__} alone vs ONNX {storage} {name}: max |diff| {difference:.2e} "
              f"({deviation(got, expected):.2e} sd), {len(rows)} texts")
        worst = max(worst, difference)
        if storage == "fp32" and deviation(got, expected) > FRAMEWORK_TOLERANCE:
            worst = float("inf")
    return worst


def packed(args, reward, path):
    """Write a decoder's packed graph: in 32 bits for a CPU; over a cache and in 16 bits for CUDA."""
    attention, dtype = ("chunks", "float32") if args.device == "cpu" else ("paged", args.dtype)
    packed_graph.save(packed_decoder.build(reward.model, dtype, args.max_tokens, attention), str(path))


def write_reference(dialogues, rows, expected, path):
    """Write the framework's scores of the dialogues that fit whole, for `guerdon rm check`."""
    with path.open("w", encoding="utf-8") as file:
        for dialogue, row, score in zip(dialogues, rows, expected.tolist()):
            if not row.truncated:
                line = {"messages": dialogue, "index": len(dialogue) - 1, "score": score}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def main():
    args = arguments()
    out, folder = Path(args.out), Path(args.checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    texts = Texts(args.checkpoint, args.max_tokens, args.truncation, roles=rm_roles.of_arguments(args))
    reward = HfReward.load(args.checkpoint).eval()
    path = out / "model.onnx"
    storage = args.storage or ("fp32" if args.device == "cuda" else "int8")
    if args.device == "cuda" and args.storage:
        sys.exit("`--storage` is for a CPU; on CUDA, weights are stored in the type of the arithmetic")
    dialogues, rows = probes(texts)
    expected = framework_scores(reward.model, rows)
    check_framework(reward, rows, expected)
    is_packed = reward.is_decoder and args.layout == "packed"
    if is_packed:
        packed(args, reward, path)
    elif args.device == "cuda":
        if reward.is_decoder:
            sys.exit("a padded decoder is for a CPU; leave `--layout padded` out, or export it without `--device cuda`")
        print("fused:", onnx_cuda.export(reward, texts.pad, path) or "nothing; ONNX Runtime has no fusion for this model")
        storage = "fused fp16"
    else:
        export(reward, texts.pad, path)
    if storage in ("fp16", "int8"):
        model = store(onnx.load(path), storage, keep=lambda name: "score" in name or "classifier" in name)
        if not is_packed:  # packed graphs use operators of ONNX Runtime, which the checker does not know
            onnx.checker.check_model(model)
        onnx.save(model, path)
    texts.tokenizer.backend_tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    chat = None
    if texts.template:
        (out / "chat_template.jinja").write_text(texts.template, encoding="utf-8")
        chat = {"bos_token": texts.tokenizer.bos_token, "eos_token": texts.tokenizer.eos_token}
    measured = folder / "calibration.json"
    calibration = json.loads(measured.read_text()) if measured.exists() else None
    where = f"{calibration['n']} replies of the validation split (PyTorch)" if calibration else ""
    write_manifest(out, args, calibration, where, chat, texts.tokenizer.pad_token)
    write_reference(dialogues, rows, expected, out / "reference.jsonl")

    if is_packed:
        tolerance = TOLERANCE["fp16" if args.device == "cuda" else storage]
        print(f"{out}: {path.stat().st_size / 1e6:.2f} MB; compare it with PyTorch: guerdon rm check {out} --device {args.device} --tolerance {tolerance}")
        return
    sess = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = compare(reward, sess, rows, texts.pad, storage, expected)
    print(f"{out}: {path.stat().st_size / 1e6:.2f} MB, {'ok' if worst <= TOLERANCE[storage] else 'FAILED'}")
    sys.exit(0 if worst <= TOLERANCE[storage] else 1)


if __name__ == "__main__":
    main()
