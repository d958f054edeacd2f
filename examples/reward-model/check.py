"""Check an exported model: compare PyTorch, fp32 ONNX and stored ONNX; measure batch invariance and
validation accuracy.

    python check.py --checkpoint run/a --model model-folder --fp32 run/a/fp32.onnx \
        --pairs hh.jsonl.gz zh.jsonl.gz

Exits with 1 if a score depends on its batch or padding by more than 1e-6, or if the scores of fp32
ONNX and PyTorch differ."""

import argparse
import sys
from pathlib import Path

import numpy as np

import rm_onnx
from metrics import is_validation, report, show, with_other_contexts
from rm_model import RewardModel, score_all
from rm_text import encode_pair, load_tokenizer, read_pairs


def compare(name, a, b):
    """Scores of chosen then rejected replies of the same pairs, from two engines."""
    a, b = np.array(a), np.array(b)
    n = len(a) // 2
    agree = np.mean(np.sign(a[:n] - a[n:]) == np.sign(b[:n] - b[n:]))
    print(f"{name}: max |diff| {np.abs(a - b).max():.2e}, rms {np.sqrt(np.mean((a - b) ** 2)):.2e} "
          f"(sd of the scores {a.std():.3f}), pair agreement {agree:.4f}, n = {n} pairs", flush=True)
    return np.abs(a - b).max()


def invariance(sess, seqs):
    """Largest change of a score when the same text is padded, shares a batch, or sits in a shuffled batch."""
    alone = np.array([rm_onnx.score_batch(sess, [s])[0] for s in seqs])
    padded = np.array([rm_onnx.score_batch(sess, [s], pad_to=len(s.ids) + 1 + 37 * i % 200)[0] for i, s in enumerate(seqs)])
    order = np.random.default_rng(0).permutation(len(seqs))
    mixed = np.zeros_like(alone)
    for start in range(0, len(order), 16):
        part = order[start:start + 16]
        mixed[part] = rm_onnx.score_batch(sess, [seqs[i] for i in part])
    worst = 0.0
    for name, other in (("more padding", padded), ("batch of 16, shuffled", mixed)):
        diff = np.abs(other - alone)
        print(f"alone vs {name}: max |diff| {diff.max():.2e}, bit-identical {np.mean(diff == 0):.3f}, n = {len(seqs)}")
        worst = max(worst, diff.max())
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--model", required=True, help="exported folder")
    p.add_argument("--fp32", help="the fp32 ONNX file of export.py")
    p.add_argument("--pairs", nargs="+", required=True)
    p.add_argument("--max-tokens", type=int, default=192)
    p.add_argument("--compare", type=int, default=300, help="validation pairs for the engine comparison")
    args = p.parse_args()
    folder = Path(args.model)
    tok = load_tokenizer(folder / "tokenizer.json")
    rows = [r for r in read_pairs(args.pairs) if is_validation(r)]
    pairs = [encode_pair(tok, r, args.max_tokens) for r in rows]
    sess = rm_onnx.session(folder / "model.onnx")

    scores = rm_onnx.score_all(sess, [c for c, _ in pairs] + [r for _, r in pairs])
    print("ONNX as stored, validation split:")
    show(report(rows, scores[:len(pairs)], scores[len(pairs):]))

    swapped = with_other_contexts(rows)
    both = [encode_pair(tok, r, args.max_tokens) for r in swapped]
    scores = rm_onnx.score_all(sess, [c for c, _ in both] + [r for _, r in both])
    print("the same with contexts of other conversations (an accuracy as high as above means that contexts are not read):")
    show(report(swapped, scores[:len(both)], scores[len(both):]))

    few = pairs[::max(1, len(pairs) // args.compare)][:args.compare]
    seqs = [c for c, _ in few] + [r for _, r in few]
    torch_scores = score_all(RewardModel.load(args.checkpoint), seqs)
    stored = rm_onnx.score_all(sess, seqs)
    compare("PyTorch fp32 vs ONNX as stored", torch_scores, stored)
    ok = True
    if args.fp32:
        fp32 = rm_onnx.score_all(rm_onnx.session(args.fp32), seqs)
        ok &= compare("PyTorch fp32 vs ONNX fp32", torch_scores, fp32) < 1e-4
        compare("ONNX fp32 vs ONNX as stored", fp32, stored)
    ok &= invariance(sess, seqs[:64]) <= 1e-6
    print("ok" if ok else "FAILED")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
