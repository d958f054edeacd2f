"""Export a trained reward model for guerdon: model.onnx (int8-stored), tokenizer.json, guerdon.model.toml.

    python export.py --checkpoint run/a --pairs hh.jsonl.gz zh.jsonl.gz --out model-folder --fp32 run/a/fp32.onnx

The calibration in the manifest is measured with the exported model over the validation replies of --pairs.
"""

import argparse
import hashlib
import json
from pathlib import Path

import onnx
from safetensors.numpy import load_file

import onnx_bert
import rm_onnx
from metrics import is_validation, report, show
from rm_text import PREFIX, SEPARATOR, load_tokenizer, pair_ids, read_pairs


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def manifest(args, out, calibration, measured_on):
    text = json.dumps  # a JSON string is also a TOML basic string
    lines = [
        f"name = {text(args.name)}", f"about = {text(args.about)}", f"license = {text(args.license)}",
        "", "[files]",
        'model = "model.onnx"', f"model_sha256 = {text(sha256(out / 'model.onnx'))}",
        'tokenizer = "tokenizer.json"', f"tokenizer_sha256 = {text(sha256(out / 'tokenizer.json'))}",
        "", "[input]",
        'format = "plain"', f"max_tokens = {args.max_tokens}", f"separator = {text(SEPARATOR)}",
        "", "[input.prefix]", *(f"{role} = {text(prefix)}" for role, prefix in PREFIX.items()),
        "", "[output]", 'name = "logits"',
        "", "[calibration]",
        f"mean = {calibration['mean']:.6f}", f"std = {calibration['std']:.6f}", f"measured_on = {text(measured_on)}",
    ]
    (out / "guerdon.model.toml").write_text("\n".join(lines) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True, help="what train.py wrote")
    p.add_argument("--pairs", nargs="+", required=True, help="the pairs it was trained on (their validation part is used)")
    p.add_argument("--out", required=True)
    p.add_argument("--fp32", help="also write the same graph with fp32 weights here, for check.py")
    p.add_argument("--max-tokens", type=int, default=256, help="as in training")
    p.add_argument("--name", default="minilm-hh")
    p.add_argument("--about", default="MiniLM-L6 preference reward model trained on hh-rlhf and OpenAssistant pairs")
    p.add_argument("--license", default="Apache-2.0")
    args = p.parse_args()
    folder, out = Path(args.checkpoint), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    state = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    onnx.save(onnx_bert.build(state, config, int8=True), out / "model.onnx")
    if args.fp32:
        onnx.save(onnx_bert.build(state, config, int8=False), args.fp32)
    tok = load_tokenizer(folder / "tokenizer.json")
    tok.save(str(out / "tokenizer.json"), pretty=False)

    rows = [r for r in read_pairs(args.pairs) if is_validation(r)]
    ids = [pair_ids(tok, r, args.max_tokens) for r in rows]
    sess = rm_onnx.session(out / "model.onnx")
    chosen, rejected = (rm_onnx.score_all(sess, [pair[side] for pair in ids]) for side in (0, 1))
    rep = report(rows, chosen, rejected)
    show(rep)
    manifest(args, out, rep["calibration"], f"{2 * len(rows)} replies of the validation split (chosen and rejected)")
    total = sum(f.stat().st_size for f in (out / "model.onnx", out / "tokenizer.json"))
    print(f"{out}: model.onnx + tokenizer.json = {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
