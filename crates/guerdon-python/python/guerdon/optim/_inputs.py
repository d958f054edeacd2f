"""Shared by the modules of this package: array types, and the conversion of settings and groups."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon.errors import OptimError

Array: TypeAlias = NDArray[np.floating[Any]]
"""`float32` or `float64`."""

Groups: TypeAlias = "Iterable[Hashable] | NDArray[Any]"
"""The prompt of each rollout: any hashable name, such as a number or a text."""

Divisors: TypeAlias = tuple[float, float, float]
"""The tokens, rows and horizon of a whole batch."""


def settings(**given: Any) -> str:
    """Converts settings to JSON text."""
    return to_json(given)


def to_json(value: Any) -> str:
    """Converts settings to JSON text; refuses NaN and infinity, which are valid for no setting."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise OptimError(
            f"settings {value!r}: {error}; give finite numbers, names, and None for no bound"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def numbered(groups: Groups) -> list[int]:
    """Numbers groups in the order in which they first appear."""
    numbers: dict[Hashable, int] = {}
    names = groups.tolist() if isinstance(groups, np.ndarray) else groups
    return [numbers.setdefault(name, len(numbers)) for name in names]


def lengths(lens: ArrayLike) -> list[int]:
    """Converts lengths to plain numbers."""
    plain: list[int] = np.asarray(lens).tolist()
    return plain
