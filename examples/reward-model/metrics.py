"""Metrics on held-out pairs, the same for PyTorch and ONNX scores."""

import hashlib
import math
import sys
from statistics import fmean, pstdev

from rm_text import subset_name


def is_validation(row):
    """A fixed tenth of the conversations, by hash of `group`: no conversation is on both sides."""
    return int(hashlib.sha256(row["group"].encode()).hexdigest(), 16) % 10 == 0


def fold(row, folds):
    """The cross-validation fold of a row, by conversation; independent of the validation split."""
    return int(hashlib.sha256(row["group"].encode()).hexdigest(), 16) // 10 % folds


def accuracy(diffs):
    return fmean(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in diffs) if diffs else float("nan")


def matched(row):
    """True if neither reply is more than 1.5 times as long as the other, which limits the effect of length."""
    short, long = sorted((len(row["chosen"]), len(row["rejected"])))
    return long <= 1.5 * short


def with_other_contexts(rows):
    """The rows with the prompt of another conversation of their subset, in turn. Rows without one are left out."""
    out, by_subset = [], {}
    for row in rows:
        by_subset.setdefault(subset_name(row), []).append(row)
    for subset in by_subset.values():
        for i, row in enumerate(subset):
            other = next((o for o in subset[i + 1:] + subset[:i] if o["group"] != row["group"]), None)
            if other:
                out.append(row | {"prompt": other["prompt"]})
    return out


def wilson95(p, n):
    """95% Wilson interval of a proportion."""
    z2 = 1.96 ** 2
    mid, half = p + z2 / (2 * n), 1.96 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (mid - half) / (1 + z2 / n), (mid + half) / (1 + z2 / n)


def summary(rows, diffs):
    """The metrics of these pairs; diffs = score(chosen) - score(rejected)."""
    longer = [d for r, d in zip(rows, diffs) if len(r["chosen"]) > len(r["rejected"])]
    near = [d for r, d in zip(rows, diffs) if matched(r)]
    shorter = [d for r, d in zip(rows, diffs) if len(r["chosen"]) < len(r["rejected"])]
    acc, long_acc, short_acc = accuracy(diffs), accuracy(longer), accuracy(shorter)
    low, high = wilson95(acc, len(rows))
    return {
        "n": len(rows), "accuracy": acc, "low95": low, "high95": high,
        "chosen_longer": long_acc, "n_longer": len(longer),
        "chosen_shorter": short_acc, "n_shorter": len(shorter),
        "length_controlled": (long_acc + short_acc) / 2, "matched": accuracy(near), "n_matched": len(near),
        "longer_wins_baseline": accuracy([len(r["chosen"]) - len(r["rejected"]) for r in rows]),
    }


def report(rows, chosen, rejected):
    """-> {"calibration": mean/std of all reply scores, "all": .., "hh": .., each subset: ..}"""
    diffs = [c - r for c, r in zip(chosen, rejected)]
    names = {}
    for i, row in enumerate(rows):
        keys = ["all", subset_name(row)]
        if "hh" in row.get("source", ""):
            keys.append("hh")
        for key in keys:
            names.setdefault(key, []).append(i)
    out = {k: summary([rows[i] for i in v], [diffs[i] for i in v]) for k, v in sorted(names.items())}
    scores = list(chosen) + list(rejected)
    out["calibration"] = {"mean": fmean(scores), "std": pstdev(scores), "n": len(scores)}
    return out


def show(rep):
    print(f"{'subset':<28}{'n':>5} {'acc':>6}  95% interval   longer shorter  len-ctl  matched (n)   (longer wins)")
    for name, s in rep.items():
        if name != "calibration":
            print(f"{name[:27]:<28}{s['n']:>5} {s['accuracy']:.3f}  [{s['low95']:.3f}, {s['high95']:.3f}]"
                  f"  {s['chosen_longer']:.3f}  {s['chosen_shorter']:.3f}   {s['length_controlled']:.3f}"
                  f"    {s['matched']:.3f} {'(%d)' % s['n_matched']:<7}{s['longer_wins_baseline']:.3f}")
    if "calibration" in rep:
        c = rep["calibration"]
        print(f"scores: mean {c['mean']:.4f} std {c['std']:.4f} over {c['n']} replies")
    sys.stdout.flush()
