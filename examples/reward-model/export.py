"""Export the bundled model: model.onnx (weights stored in 4 bits), tokenizer.json, guerdon.model.toml.

    python export.py --checkpoint run/a --pairs hh.jsonl.gz zh.jsonl.gz --out model-folder --fp32 run/a/fp32.onnx

The calibration in the manifest is measured with the exported model over the validation replies of --pairs.
"""

import argparse
import json
from pathlib import Path

import onnx
from safetensors.numpy import load_file

import onnx_encoder
import rm_onnx
from manifest import write_manifest
from metrics import is_validation, report, show
from rm_text import encode_pair, load_tokenizer, read_pairs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True, help="folder written by fit_head.py")
    p.add_argument("--pairs", nargs="+", required=True, help="the training pairs; their validation part is used")
    p.add_argument("--out", required=True)
    p.add_argument("--fp32", help="also write the same graph with fp32 weights here, for check.py")
    p.add_argument("--bits", type=int, choices=(4, 8), default=4, help="of the encoder's matrices; heads stay fp32")
    p.add_argument("--layout", choices=onnx_encoder.LAYOUTS, default="packed", help="of the graph's input")
    p.add_argument("--max-tokens", type=int, default=192, help="as in training")
    p.add_argument("--name", default="e5-hh")
    p.add_argument("--about", default="multilingual-e5-small, 6 layers, with heads fitted on hh-rlhf and OpenAssistant pairs")
    p.add_argument("--license", default="MIT")
    args = p.parse_args()
    folder, out = Path(args.checkpoint), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    state = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    for path, bits in ((out / "model.onnx", args.bits), (args.fp32, 32)):
        if path:
            stored = {"words": bits, "layers": [bits] * config["layers"]}
            onnx.save(onnx_encoder.build(state, config, stored, args.layout), path)
    load_tokenizer(folder / "tokenizer.json").save(str(out / "tokenizer.json"), pretty=False)

    rows = [r for r in read_pairs(args.pairs) if is_validation(r)]
    tok = load_tokenizer(out / "tokenizer.json")
    pairs = [encode_pair(tok, r, args.max_tokens) for r in rows]
    sess = rm_onnx.session(out / "model.onnx")
    chosen, rejected = (rm_onnx.score_all(sess, [pair[side] for pair in pairs]) for side in (0, 1))
    rep = report(rows, chosen, rejected)
    show(rep)
    measured_on = f"{2 * len(rows)} replies of the validation split (chosen and rejected)"
    write_manifest(out, args, calibration=rep["calibration"], measured_on=measured_on)
    total = sum(f.stat().st_size for f in (out / "model.onnx", out / "tokenizer.json"))
    print(f"{out}: model.onnx + tokenizer.json = {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
