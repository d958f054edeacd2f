"""Fit the gate and the heads of `rm_model.RewardModel` on preference pairs; the encoder is not
trained.

    python fit_head.py --base run/e5 --pairs hh.jsonl.gz zh.jsonl.gz --out run/a \
        --features run/features

The encoder's features are written in slices of pairs: a stopped run continues where it was, and
further fits read them.

A few thousand noisy pairs are too few to train millions of weights, so every step has a closed form:
1. gate: logistic regression from a text's features, in their leading principal components, to its
   kind (the subset);
2. heads: ridge regression of the pairs' feature differences, each also multiplied by the gate's
   probabilities, on 1, in the leading principal components of the differences;
3. scale: the factor that makes a score difference the log-odds of preference (Bradley-Terry) on
   pairs left out;
4. with `--even`: the units of a kind are scaled and shifted so that the scores of every source (here:
   of every language) have one mean and one standard deviation, those of the largest source. One
   calibration then holds for all of them.
The gate values for the heads, the margins for the scale, and the printed accuracy come from 5-fold
cross-validation by conversation. The validation split is not used."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from metrics import fold, is_validation, report, show
from rm_model import RewardModel, by_length, collate
from rm_text import encode_pair, load_tokenizer, read_pairs, subset_name

FOLDS = 5
SLICE = 100  # pairs; about half a minute on a core


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base", required=True, help="folder written by make_base.py")
    p.add_argument("--pairs", nargs="+", required=True, help=".jsonl or .jsonl.gz files of pairs")
    p.add_argument("--out", required=True)
    p.add_argument("--features", required=True, help="folder of the encoder's features; slices that exist are read")
    p.add_argument("--max-tokens", type=int, default=192)
    p.add_argument("--means", type=int, nargs="+", default=[2, 5, 6], help="depths of the mean over the reply")
    p.add_argument("--ends", type=int, nargs="+", default=[6], help="depths of the last token")
    p.add_argument("--gate-depth", type=int, default=5)
    p.add_argument("--gate-components", type=int, default=112)
    p.add_argument("--gate-c", type=float, default=0.001, help="inverse strength of the gate's L2 penalty")
    p.add_argument("--length-weight", type=float, default=8.0, help="of the length features, against standardised ones")
    p.add_argument("--gain", type=float, default=2.0, help="weight of a kind's own head against the one for all")
    p.add_argument("--components", type=int, default=256)
    p.add_argument("--ridge", type=float, default=10.0)
    p.add_argument("--even", action="store_true", help="give the scores of every source one mean and standard deviation")
    return p.parse_args()


def encode_slice(model, tok, rows, max_tokens):
    """-> (head features, gate features), float32 [pairs, 2, ...]: chosen, rejected"""
    texts = [text for row in rows for text in encode_pair(tok, row, max_tokens)]
    out = [None] * len(texts)
    with torch.inference_mode():
        for part in by_length(texts, 3072):
            head, gate = model.features(*collate([texts[i] for i in part]))
            for i, h, g in zip(part, head.numpy(), gate.numpy()):
                out[i] = h, g
    head, gate = (np.stack([x[k] for x in out]) for k in (0, 1))
    return head.reshape(len(rows), 2, -1), gate.reshape(len(rows), 2, -1)


def encode_all(model, tok, rows, max_tokens, folder):
    """Features of all rows, encoded in slices that survive a stop."""
    texts = [[r["prompt"], r["chosen"], r["rejected"]] for r in rows]
    digest = hashlib.sha256(json.dumps([model.config, max_tokens, texts, tok.to_str()]).encode())
    for weight in model.encoder.state_dict().values():
        digest.update(weight.numpy())
    digest = digest.hexdigest()
    key, slices = folder / "key.txt", []
    folder.mkdir(parents=True, exist_ok=True)
    if key.exists() and key.read_text() != digest:
        raise SystemExit(f"{folder} has features of another base, or of other pairs, depths or lengths; remove it or name another folder")
    key.write_text(digest)
    for start in range(0, len(rows), SLICE):
        path = folder / f"{start:06}.npz"
        if not path.exists():
            head, gate = encode_slice(model, tok, rows[start:start + SLICE], max_tokens)
            part = folder / "part.npz"  # renamed when it is whole
            np.savez(part, head=head, gate=gate)
            part.rename(path)
            print(f"encoded {min(start + SLICE, len(rows))} of {len(rows)} pairs", flush=True)
        slices.append(np.load(path))
    return {name: np.concatenate([part[name] for part in slices]) for name in ("head", "gate")}


def standardise(x):
    flat = x.reshape(-1, x.shape[-1])
    mean, std = flat.mean(0), flat.std(0) + 1e-6
    return (x - mean) / std, mean, std


def fit_gate(x, kinds, c):
    """-> (weight, bias) of a softmax over the kinds"""
    both = np.concatenate([x[:, 0], x[:, 1]])
    model = LogisticRegression(C=c, max_iter=300, tol=1e-3).fit(both, np.concatenate([kinds, kinds]))
    return model.coef_, model.intercept_


def softmax(x, weight, bias):
    z = x @ weight.T + bias
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def expand(z, gate, gain):
    """Each component, and each multiplied by each kind's probability."""
    return np.concatenate([z] + [z * gate[..., k:k + 1] * gain for k in range(gate.shape[-1])], -1)


def components(rows, count):
    """The `count` leading principal directions of `rows` about zero: [features, count]"""
    _, vectors = np.linalg.eigh(rows.T @ rows)
    return np.ascontiguousarray(vectors[:, ::-1][:, :count])


class Ridge:
    """Ridge regression of rows on 1 with folds left out; each fold's products are summed once."""

    def __init__(self, rows, folds, strength):
        parts = [rows[folds == k] for k in range(FOLDS)]
        self.products, self.sums = [part.T @ part for part in parts], [part.sum(0) for part in parts]
        self.penalty = strength * np.eye(rows.shape[1], dtype=np.float32)

    def fit(self, without=None):
        kept = [k for k in range(FOLDS) if k != without]
        return np.linalg.solve(sum(self.products[k] for k in kept) + self.penalty, sum(self.sums[k] for k in kept))


def mix(x, weights, bias, gate):
    """Scores [pairs, 2] of features [pairs, 2, components] by units [1 + kinds, components]."""
    units = x @ weights.T + bias
    return units[..., 0] + (gate * units[..., 1:]).sum(-1)


def even(x, weights, bias, gate, kinds, sources):
    """Weights and biases with which the scores of all sources have one mean and one standard deviation.

    sources: of each kind. The gate's probabilities sum to 1, so the unit of all kinds can be a part of
    each kind's own unit, which is then scaled."""
    weights, bias = weights.copy(), bias.copy()
    source_of = np.array(sources)[kinds]
    names = sorted(set(sources), key=lambda name: -(source_of == name).sum())
    scores = mix(x, weights, bias, gate)
    spread = {name: scores[source_of == name].std() for name in names}
    for k, name in enumerate(sources, 1):
        factor = spread[names[0]] / spread[name]
        weights[k] = factor * (weights[0] + weights[k]) - weights[0]
        bias[k] = factor * (bias[0] + bias[k]) - bias[0]
    scores = mix(x, weights, bias, gate)
    for k, name in enumerate(sources, 1):
        bias[k] -= scores[source_of == name].mean()
    return weights, bias


def bradley_terry_scale(margins):
    """The factor t that maximises sum log sigmoid(t * margin): Newton's method in one dimension."""
    t = 1 / margins.std()
    for _ in range(50):
        p = 1 / (1 + np.exp(t * margins))
        t += (p * margins).sum() / ((p * (1 - p)) * margins ** 2).sum()
    return t


def main():
    args = arguments()
    rows = [r for r in read_pairs(args.pairs) if not is_validation(r)]
    base = Path(args.base)
    tok = load_tokenizer(base / "tokenizer.json")
    names = sorted({subset_name(r) for r in rows})
    kinds, folds = np.array([names.index(subset_name(r)) for r in rows]), np.array([fold(r, FOLDS) for r in rows])
    config = json.loads((base / "config.json").read_text()) | {
        "means": args.means, "ends": args.ends, "gate_depth": args.gate_depth, "kinds": len(names)}
    model = RewardModel(config)
    model.encoder.load_state_dict(RewardModel.encoder_state(base))
    model.eval()
    features = encode_all(model, tok, rows, args.max_tokens, Path(args.features))
    x, mean, std = standardise(features["head"])
    x[..., -2:] *= args.length_weight
    std[-2:] /= args.length_weight
    g, gate_mean, gate_std = standardise(features["gate"])
    gate_vectors = components(g.reshape(-1, g.shape[-1]), args.gate_components)
    g = g @ gate_vectors

    gate = np.zeros((*g.shape[:2], len(names)), np.float32)
    for k in range(FOLDS):
        gate[folds == k] = softmax(g[folds == k], *fit_gate(g[folds != k], kinds[folds != k], args.gate_c))
    print(f"gate: {(gate.argmax(-1) == kinds[:, None]).mean():.3f} of {gate[..., 0].size} texts in their kind, "
          f"{len(names)} kinds", flush=True)

    vectors = components(x[:, 0] - x[:, 1], args.components)
    difference = expand(x[:, 0] @ vectors, gate[:, 0], args.gain) - expand(x[:, 1] @ vectors, gate[:, 1], args.gain)
    size = np.sqrt((difference ** 2).sum(1).mean())
    difference /= size
    ridge = Ridge(difference, folds, args.ridge)
    margins = np.zeros(len(rows))
    for k in range(FOLDS):
        margins[folds == k] = difference[folds == k] @ ridge.fit(without=k)
    scale = bradley_terry_scale(margins)
    print(f"{FOLDS}-fold cross-validation, {len(rows)} pairs, scale {scale:.3f}")
    cross = report(rows, scale * margins, np.zeros(len(rows)))
    del cross["calibration"]  # it does not apply to margins
    show(cross)

    weights = (scale / size * ridge.fit()).reshape(1 + len(names), -1)
    weights[1:] *= args.gain
    x = x @ vectors
    unit_bias = np.zeros(len(weights))
    unit_bias[0] = -mix(x, weights, unit_bias, gate).mean()
    sources = [next(r.get("source", "") for r in rows if subset_name(r) == name) for name in names]
    if args.even:
        weights, unit_bias = even(x, weights, unit_bias, gate, kinds, sources)
    for source in sorted(set(sources)):
        of = mix(x, weights, unit_bias, gate)[np.array(sources)[kinds] == source]
        print(f"scores of {source}: mean {of.mean():.3f} std {of.std():.3f}")
    head_weight = weights @ vectors.T / std
    head_bias = unit_bias - head_weight @ mean
    weight, bias = fit_gate(g, kinds, args.gate_c)
    weight = weight @ gate_vectors.T / gate_std
    state = {"head.weight": head_weight, "head.bias": head_bias, "gate.weight": weight, "gate.bias": bias - weight @ gate_mean}
    model.load_state_dict({k: torch.tensor(v, dtype=torch.float32) for k, v in state.items()}, strict=False)
    model.save(args.out)
    tok.save(str(Path(args.out) / "tokenizer.json"), pretty=False)
    info = {"args": vars(args), "kinds": names, "pairs": len(rows), "cross_validation": cross}
    (Path(args.out) / "report.json").write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
