"""How much each fusion moves when one source is mis-scaled or fails: rank changes within groups, on recorded
rollouts. Deterministic and without training; needs Python only.

    python3 examples/training/analysis/sensitivity.py [ROLLOUTS.jsonl] [--svg FILE]

A line of the file has `group`, `rm` (the reward model's score) and `rules` (points). The figure is the share of
pairs of siblings whose order changes: the better one becomes the worse one, or a difference appears or vanishes.
A pair with a reward that is missing after the change counts as changed, because nothing compares its two any more.
"""
import argparse
import hashlib
import itertools
import json
import math
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
BOUND = 100.0
TIE = 1e-12


def clip(points):
    return max(-BOUND, min(BOUND, points))


def repo(rm, rules, delta=0.0):
    if rm is None:
        return None
    return rm + max(abs(rm), delta) * clip(0.0 if rules is None else rules) / BOUND


def terms(rm, rules):
    return [x for x in (rm, None if rules is None else clip(rules) / BOUND) if x is not None]


def weighted_sum(rm, rules):
    return sum(terms(rm, rules)) if terms(rm, rules) else None


def soft_min(rm, rules, beta=0.3):
    given = terms(rm, rules)
    return -beta * math.log(sum(math.exp(-x / beta) for x in given) / len(given)) if given else None


FUSIONS = {
    "repo": repo,
    "repo, delta 0.2": lambda rm, rules: repo(rm, rules, 0.2),
    "weighted_sum": weighted_sum,
    "soft_min": soft_min,
    "reward model alone": lambda rm, rules: rm,
}


def fails(row, number):
    """True for 30 % of the rollouts, always the same ones."""
    return hashlib.sha256(f"{row['group']}/{number}".encode()).digest()[0] < 0.3 * 256


CHANGES = {
    "model x 2": lambda row, n: (2 * row["rm"], row["rules"]),
    "model x 5": lambda row, n: (5 * row["rm"], row["rules"]),
    "model x 10": lambda row, n: (10 * row["rm"], row["rules"]),
    "rules x 2": lambda row, n: (row["rm"], 2 * row["rules"]),
    "rules x 5": lambda row, n: (row["rm"], 5 * row["rules"]),
    "rules x 10": lambda row, n: (row["rm"], 10 * row["rules"]),
    "model fails 30 %": lambda row, n: (None if fails(row, n) else row["rm"], row["rules"]),
    "rules fail 30 %": lambda row, n: (row["rm"], None if fails(row, n) else row["rules"]),
}


def order(a, b):
    if a is None or b is None:
        return None
    return 0 if abs(a - b) <= TIE else (1 if a > b else -1)


def shares(rows):
    groups = {}
    for number, row in enumerate(rows):
        groups.setdefault(row["group"], []).append((number, row))
    pairs = [pair for group in groups.values() for pair in itertools.combinations(group, 2)]
    table = {}
    for fusion, fuse in FUSIONS.items():
        for change, apply in CHANGES.items():
            moved = 0
            for (i, a), (j, b) in pairs:
                before = order(fuse(a["rm"], a["rules"]), fuse(b["rm"], b["rules"]))
                moved += before != order(fuse(*apply(a, i)), fuse(*apply(b, j)))
            table[fusion, change] = moved / len(pairs)
    return table, len(groups), len(pairs)


def svg(table):
    """Bars, one panel for each change."""
    colours = ["#1f77b4", "#17becf", "#d62728", "#2ca02c", "#7f7f7f"]
    width, height, columns = 250, 150, 4
    parts = []
    for at, change in enumerate(CHANGES):
        x0, y0 = (at % columns) * width, (at // columns) * height
        parts.append(f'<text x="{x0 + 10}" y="{y0 + 18}" font-weight="bold">{change}</text>')
        for bar, (fusion, colour) in enumerate(zip(FUSIONS, colours)):
            share, x = table[fusion, change], x0 + 12 + bar * 46
            top = y0 + 130 - share * 96
            parts.append(f'<rect x="{x}" y="{top:.1f}" width="36" height="{share * 96:.1f}" fill="{colour}"/>')
            parts.append(f'<text x="{x + 18}" y="{top - 3:.1f}" text-anchor="middle">{100 * share:.0f} %</text>')
        parts.append(f'<path d="M{x0 + 8} {y0 + 130.5}h{width - 18}" stroke="#444"/>')
    legend = 2 * height + 16
    for at, (fusion, colour) in enumerate(zip(FUSIONS, colours)):
        parts.append(f'<rect x="{12 + at * 190}" y="{legend - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{30 + at * 190}" y="{legend}">{fusion}</text>')
    size = f'width="{columns * width}" height="{legend + 12}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rollouts", nargs="?", default=HERE / "rollouts.jsonl", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path, help="also draw the table")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.rollouts.read_text().splitlines()]
    table, groups, pairs = shares(rows)
    print(f"{len(rows)} rollouts, {groups} groups, {pairs} pairs of siblings\n")
    print("| fusion | " + " | ".join(CHANGES) + " |")
    print("|---" * (len(CHANGES) + 1) + "|")
    for fusion in FUSIONS:
        cells = " | ".join(f"{100 * table[fusion, change]:.1f} %" for change in CHANGES)
        print(f"| {fusion} | {cells} |")
    if given.svg:
        given.svg.write_text(svg(table))


if __name__ == "__main__":
    main()
