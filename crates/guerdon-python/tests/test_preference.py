"""Losses on preferences and of imitation, beside torch's autograd and their formulas in NumPy."""

import json

import numpy as np
import pytest
from conftest import ROOT

from guerdon import errors, optim

DATA = json.loads((ROOT / "crates/guerdon-optim/tests/golden/preference.json").read_text())
SHAPE = (len(DATA["desirable"]), -1)
LOGP, REFERENCE = (np.array(DATA[name]).reshape(SHAPE) for name in ("logp", "reference"))
MASK = np.array(DATA["mask"]).reshape(SHAPE) > 0

PAIRS = {
    "dpo": {"loss": "dpo"},
    "cdpo": {"loss": "dpo", "label_smoothing": 0.1},
    "ipo": {"loss": "ipo"},
    "ipo_mean": {"loss": "ipo", "mean": True},
    "simpo": {"loss": "simpo", "gamma": 0.5},
    "orpo": {"loss": "orpo", "lam": 0.1},
}


def agrees(name, got):
    want = DATA["outputs"][name]
    tolerance = 1e-12 if got.dlogp.dtype == np.float64 else 2e-5
    assert got.loss == pytest.approx(want["loss"], rel=tolerance)
    np.testing.assert_allclose(got.dlogp, np.array(want["grad"]).reshape(SHAPE), atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_and_gradients_equal_those_of_torch(dtype):
    logp, reference = LOGP.astype(dtype), REFERENCE.astype(dtype)
    for name, given in PAIRS.items():
        agrees(name, optim.pair_loss(logp, MASK, reference=reference, **given))
    labels = np.array(DATA["desirable"]) > 0
    agrees("kto", optim.kto_loss(logp, reference, labels, MASK, undesirable_weight=1.5, kl=0.25))
    agrees("sft", optim.sft_loss(logp, MASK))
    assert set(DATA["outputs"]) == {*PAIRS, "kto", "sft"}


def test_figures_of_pairs():
    got = optim.pair_loss([[-1.0], [-2.0], [-3.0], [-1.0]], reference=np.full((4, 1), -1.5))
    assert (got.accuracy, got.pairs) == (0.5, 2.0)
    assert (got.margin, got.chosen, got.rejected) == pytest.approx((-0.5, -0.5, 0.0))


def test_micro_batches_add_up():
    whole = optim.pair_loss(LOGP, MASK, reference=REFERENCE)
    halves = [
        optim.pair_loss(LOGP[rows], MASK[rows], reference=REFERENCE[rows], count=whole.pairs)
        for rows in (slice(0, 2), slice(2, 8))
    ]
    assert sum(half.loss for half in halves) == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_allclose(np.concatenate([half.dlogp for half in halves]), whole.dlogp, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optim.pair_loss(LOGP, MASK), "reference is needed"),
        (lambda: optim.pair_loss(LOGP, MASK, loss="dpoo"), "unknown loss 'dpoo'; expected one of: dpo, ipo"),
        (lambda: optim.pair_loss(LOGP, MASK, loss="simpo", label_smoothing=0.1), "`simpo` has no setting `label_smo"),
        (lambda: optim.pair_loss(LOGP, MASK, reference=REFERENCE, beta=-1.0), "beta is -1"),
        (lambda: optim.pair_loss(LOGP[:3], MASK[:3], loss="orpo"), "rows has 3 elements"),
        (lambda: optim.kto_loss(LOGP, REFERENCE, [True], MASK), "desirable has 1 elements, expected 8"),
        (lambda: optim.kto_loss(LOGP, REFERENCE, [True] * 8, MASK, kl=-1.0), "kl is -1"),
        (lambda: optim.sft_loss(np.full((2, 2), np.nan)), "logp is not finite at row 0, token 0"),
    ],
)
def test_invalid_inputs_are_refused(call, words):
    with pytest.raises(errors.OptimError, match=words):
        call()
