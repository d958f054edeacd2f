"""The score of a model with several labels, by the names that its configuration gives them. The rules are those of
`guerdon rm init`; crates/guerdon-model/tests/label_cases.json holds cases for both."""

import json
import re
import sys
from pathlib import Path

WORDS = json.loads((Path(__file__).parent / "label_words.json").read_text(encoding="utf-8"))
MOST_OBJECTIVES = 64


def normal(name):
    return "_".join(part.lower() for part in re.split(r"[\W_]+", name) if part)


def objectives(names):
    distinct = len(set(names)) == len(names) and all(name.strip() for name in names)
    return {"labels": names} if distinct and len(names) <= MOST_OBJECTIVES else {}


def all_labels(names):
    """All labels as objectives; the score is the usual one of them, or their mean."""
    for number, name in enumerate(names):
        if any(normal(name) == main or normal(name).endswith("_" + main) for main in WORDS["main"]):
            return {"index": number} | objectives(names)
    return {"weights": [1 / len(names)] * len(names)} | objectives(names)


def known_labels(names, problem_type=None):
    """(keys of [output], True if they are a guess), or None if the names do not tell."""
    if any(re.fullmatch(r"LABEL_[0-9]*", name) for name in names):
        return None
    normals = [normal(name) for name in names]
    scores = [number for number, name in enumerate(normals) if name in WORDS["scores"]]
    if len(scores) == 1:
        return {"index": scores[0]} | objectives(names), False
    if len(names) == 2:
        for kind, is_guess in (("preferences", False), ("opposites", True)):
            for good, bad in WORDS[kind]:
                if sorted(normals) == sorted([good, bad]):
                    return {"difference": [normals.index(good), normals.index(bad)]}, is_guess
    grades = [re.match(r"[0-9]{1,3}(?!\w)", name) for name in names]
    if len(names) > 2 and all(grades):
        grades = [int(grade[0]) for grade in grades]
        return ({"activation": "softmax", "weights": grades}, True) if len(set(grades)) == len(grades) else None
    numbers = problem_type in ("regression", "multi_label_classification")
    if numbers or all(any(name == word or name.endswith("_" + word) for word in WORDS["objectives"]) for name in normals):
        return all_labels(names), True
    return None


def choose(names, wanted, problem_type=None):
    """The keys of [output] for `--label wanted`, or by the names. Exits if they do not tell."""
    listed = ", ".join(f"{number} = {name}" for number, name in enumerate(names[:20]))
    if wanted is None:
        known = ({}, False) if len(names) == 1 else known_labels(names, problem_type)
        if known is None:
            sys.exit(f"the model has {len(names)} labels ({listed}); pass the one that is the score as --label, by number or name, or "
                     "`--label all` to report all and score their mean")
        if known[0]:
            print(f"{'guess: ' if known[1] else ''}of the labels {listed}, the score is {known[0]}")
        return known[0]
    if wanted == "all" and len(names) > 1:
        return all_labels(names)
    lower = [name.lower() for name in names]
    if wanted.isdecimal() and int(wanted) < len(names):
        index = int(wanted)
    elif wanted.lower() in lower:
        index = lower.index(wanted.lower())
    else:
        sys.exit(f"--label {wanted}: the model's labels are {listed}")
    return {"index": index} if len(names) > 1 else {}
