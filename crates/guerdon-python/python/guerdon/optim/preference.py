"""Losses on preferences (DPO, IPO, SimPO, ORPO, KTO) and of imitation (SFT), with their gradients."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.errors import OptimError
from guerdon.optim._inputs import Array, settings
from guerdon.optim.losses import Aggregation

PairLossName: TypeAlias = Literal["dpo", "ipo", "simpo", "orpo"]
"""The loss of a pair. `h` is the chosen reply's `log pi - log pi_ref`, summed over its tokens, less the
rejected one's; `m` that of the mean log-probs without a reference.

- `dpo`: `-log sigmoid(beta h)` (arXiv 2305.18290); `label_smoothing` is the probability of a wrong label
- `ipo`: `(h - 1 / (2 beta))^2` (arXiv 2310.12036); `mean` takes means over tokens, as TRL does
- `simpo`: `-log sigmoid(beta m - gamma)` (arXiv 2405.14734)
- `orpo`: the negative mean log-prob of the chosen reply, less `lam` times the log sigmoid of the difference
  of the log odds (arXiv 2403.07691)
"""

_DEFAULTS: dict[str, dict[str, float | bool]] = {
    "dpo": {"beta": 0.1, "label_smoothing": 0.0},
    "ipo": {"beta": 0.1, "mean": False},
    "simpo": {"beta": 2.0, "gamma": 0.5},
    "orpo": {"lam": 0.1},
}


class PairLoss(NamedTuple):
    """The result of `pair_loss`. Except for the loss, figures are means over the pairs."""

    loss: float
    """To be minimised."""
    dlogp: Array
    """Its gradient by `logp`, `[2 P, T]`, 0 in padding."""
    accuracy: float
    """Share of pairs whose chosen reply is the likelier one (less the reference, if there is one)."""
    margin: float
    """`h` or `m`, in nats."""
    chosen: float
    """The log-prob of the chosen replies (less the reference): falls when both become unlikely."""
    rejected: float
    pairs: float
    """The weight of these figures in a mean over micro-batches."""


class KtoLoss(NamedTuple):
    """The result of `kto_loss`."""

    loss: float
    """To be minimised."""
    dlogp: Array
    """Its gradient by `logp`, `[B, T]`, 0 in padding."""
    desirable: float
    """Mean `log pi - log pi_ref` of the desirable replies, in nats."""
    undesirable: float
    rows: float


class SftLoss(NamedTuple):
    """The result of `sft_loss`."""

    loss: float
    """To be minimised, in nats."""
    dlogp: Array
    """Its gradient by `logp`, `[B, T]`, 0 in padding."""


def pair_loss(
    logp: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    loss: PairLossName = "dpo",
    reference: ArrayLike | None = None,
    beta: float | None = None,
    label_smoothing: float | None = None,
    mean: bool | None = None,
    gamma: float | None = None,
    lam: float | None = None,
    count: float | None = None,
) -> PairLoss:
    """Computes the mean loss of pairs and its gradient.

    Row `2 i` of `logp` (`[2 P, T]`, nats) is the chosen reply of pair `i`, row `2 i + 1` the rejected one.

    - `reference`: log-probs under the reference policy, which `dpo` and `ipo` need
    - `beta`, `label_smoothing`, `mean`, `gamma`, `lam`: settings of the losses, by default 0.1 (2 for
      `simpo`), 0, false, 0.5 and 0.1; settings that a loss does not have are refused
    - `count`: the pairs of the whole batch, for a micro-batch
    """
    if loss not in _DEFAULTS:
        raise OptimError(f"unknown loss {loss!r}; expected one of: {', '.join(_DEFAULTS)}")
    given: dict[str, float | bool | None] = {
        "beta": beta,
        "label_smoothing": label_smoothing,
        "mean": mean,
        "gamma": gamma,
        "lam": lam,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    stray = sorted(set(chosen) - set(_DEFAULTS[loss]))
    if stray:
        has = ", ".join(f"`{name}`" for name in _DEFAULTS[loss])
        raise OptimError(f"the loss `{loss}` has no setting `{stray[0]}`, only {has}; leave it out")
    values: dict[str, float | bool] = {**_DEFAULTS[loss], **chosen}
    if "lam" in values:
        values["lambda"] = values.pop("lam")
    dlogp, figures = _guerdon.pair_loss(settings(loss=loss, **values), mask, logp, reference, count)
    return PairLoss(dlogp=dlogp, **figures)


def kto_loss(
    logp: ArrayLike,
    reference: ArrayLike,
    desirable: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    kl: float = 0.0,
    count: float | None = None,
) -> KtoLoss:
    """Computes KTO's loss of labelled replies (arXiv 2402.01306) and its gradient.

    `w (1 - sigmoid(beta (r - kl)))` for a desirable reply, `w (1 - sigmoid(beta (kl - r)))` for another,
    with `r` the sum of `log pi - log pi_ref`.

    - `desirable`: flags `[B]`
    - `kl`: the KL to the reference, in nats, 0 or more: a constant that the caller estimates on mismatched
      pairs of prompt and reply
    - `count`: the replies of the whole batch, for a micro-batch
    """
    text = settings(
        beta=beta, desirable_weight=desirable_weight, undesirable_weight=undesirable_weight, kl=kl
    )
    dlogp, figures = _guerdon.kto_loss(text, mask, (logp, reference), desirable, count)
    return KtoLoss(dlogp=dlogp, **figures)


def sft_loss(
    logp: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    aggregation: Aggregation = "token_mean",
    normaliser: tuple[float, float, float] | None = None,
) -> SftLoss:
    """Computes the imitation loss, `-log pi` of every token with its weight, and its gradient."""
    return SftLoss(*_guerdon.sft_loss(aggregation, mask, logp, normaliser))
