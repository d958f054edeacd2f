"""OpenRLHF: a `reward_func` as an alternative to a URL.

    --reward.remote_url "$(python -c 'import guerdon.openrlhf as hook; print(hook.__file__)')"

The settings are read from the environment: see `guerdon.hook`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.hook import Settings
from guerdon.texts import get_reward


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any
) -> dict[str, Any]:
    """Returns `rewards`, `scores` (their sigmoids, in [0, 1]) and `extra_logs` (every part).

    Each is a list with one number per query, as OpenRLHF gets it from a URL. Raises `ProblemError` with the
    server's message, and `TransportError` if the server cannot be reached.
    """
    texts = {"query": list(queries), "prompts": list(prompts), "labels": list(labels)}
    return get_reward(texts, Settings(), "OpenRLHF")
