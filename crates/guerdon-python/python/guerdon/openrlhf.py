"""OpenRLHF: a `reward_func` for those who want one instead of a URL.

    --reward.remote_url "$(python -c 'import guerdon.openrlhf as hook; print(hook.__file__)')"

Its settings come from the environment: see `guerdon.hook`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.hook import Settings
from guerdon.texts import get_reward


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any
) -> dict[str, Any]:
    """`rewards`, `scores` (their sigmoids, in [0, 1]) and `extra_logs` (every part): lists of one number a
    query, as OpenRLHF has them from a URL.

    Raises `ProblemError` with the server's words, `TransportError` if it cannot be reached.
    """
    texts = {"query": list(queries), "prompts": list(prompts), "labels": list(labels)}
    return get_reward(texts, Settings(), "OpenRLHF")
