"""Reads the optimizer's reference files, `crates/guerdon-optim/tests/golden`, and compares with their
tolerances.

The files have results of verl 0.9.1 and OpenRLHF 0.11.2 in f64, and their errors in f32; see the README
there.
"""

import json
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "guerdon-optim/tests/golden"

EXACT = 1e-10
"""Tolerance if the trainer computes the same expression, in f64."""
COUNT = 3e-8
"""Tolerance if verl adds 1e-8 to a count or a sum."""

NAMES = [
    "basic",
    "extreme_ratio",
    "interior_mask",
    "masked_rows",
    "medium_16x32",
    "nan_in_padding_expected",
    "on_policy_ties",
    "one_valid_token",
    "single_token",
    "singleton_groups",
    "zero_std",
]
"""The batches that are stored in full and have finite losses in the trainers."""


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


class Case:
    """One reference batch, in one number type."""

    def __init__(self, name, dtype):
        self.name, self.dtype, self.json = name, dtype, read(name)
        self.mask = np.array(self.json["inputs"]["mask"]) > 0.5
        self.groups = self.json["inputs"]["index"]
        self.compared = 0

    def input(self, name):
        return np.array(self.json["inputs"][name], dtype=np.float32).astype(self.dtype)

    def scored(self, name):
        """A per-rollout input, NaN for rows without tokens."""
        return np.where(self.mask.any(axis=1), self.input(name), np.nan).astype(self.dtype)

    def output(self, op, field):
        found = self.json["outputs"].get(op, {}).get(field)
        return None if found is None else np.array(found, dtype=np.float64)

    def expect(self, got, op, field, rtol):
        """Asserts that `got` is the output `op/field`, of its own type and 0 in padding, where there is such
        an output."""
        want = self.output(op, field)
        if want is None:
            return
        got = np.asarray(got)
        if got.shape == self.mask.shape:
            assert got.dtype == self.dtype, (op, field, got.dtype)
            want = np.where(self.mask, want, 0.0)
        assert got.shape == want.shape, (self.name, op, field)
        # The error of a mean or a sum is relative to its terms (of order one), not to its own size.
        terms = self.mask.sum() if op.endswith("token-sum") else 1.0
        scale = max(np.abs(want).max(), 1e-3 if got.ndim else 0.25 * terms)
        if self.dtype == np.float64:
            limit = rtol * scale + 1e-12
        else:
            lost = self.json["outputs"][op].get(f"{field}_err32", 0.0)
            limit = 4.0 * lost + 4.0 * np.finfo(np.float32).eps * scale
        assert np.abs(got - want).max() <= limit, (self.name, op, field, got, want)
        self.compared += 1
