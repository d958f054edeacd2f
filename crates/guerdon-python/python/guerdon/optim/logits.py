"""Log-probs and entropies of a policy's logits, and gradients by the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon import _guerdon
from guerdon.optim._inputs import Array


def token_logp(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: float = 1.0,
    valid: Sequence[bool] | NDArray[np.bool_] | None = None,
) -> tuple[Array, Array]:
    """Computes the log-prob of every label and the entropy of every distribution, `[N]`, in nats.

    `logits` is `[N, V]`; `labels` (`[N]`) are the tokens that were drawn at `temperature`. Tokens whose
    `valid` is false get 0 and are not read.
    """
    return _guerdon.token_logp(temperature, _flags(valid), logits, labels)


def logits_gradient(
    logits: ArrayLike,
    labels: ArrayLike,
    dlogp: ArrayLike,
    dentropy: ArrayLike,
    *,
    temperature: float = 1.0,
    valid: Sequence[bool] | NDArray[np.bool_] | None = None,
) -> Array:
    """Computes the gradient of a loss by the logits, `[N, V]`, from its gradients by log-probs and
    entropies, `[N]`."""
    return _guerdon.logits_gradient(temperature, _flags(valid), logits, labels, (dlogp, dentropy))


def _flags(valid: Sequence[bool] | NDArray[np.bool_] | None) -> list[bool] | None:
    return None if valid is None else [bool(flag) for flag in valid]
