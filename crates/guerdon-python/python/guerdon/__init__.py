"""Rewards for dialogue agents, from Python: a client of the reward server guerdon, its optimizer, hooks for
trainers.

>>> import guerdon
>>> client = guerdon.Client("http://127.0.0.1:8787", profile="hotel")  # doctest: +SKIP
>>> client.score([{"messages": [{"role": "assistant", "content": "420?"}]}]).rewards  # doctest: +SKIP
[0.42]

| module | what |
|---|---|
| `guerdon` | `Client`, `AsyncClient`, `Scored`; `ScoreStream`, `AsyncScoreStream` |
| `guerdon.wire` | the types of requests and replies |
| `guerdon.errors` | what can go wrong |
| `guerdon.optim` | advantages, losses with gradients, a whole update: on NumPy arrays |
| `guerdon.trl`, `.verl`, `.ms_swift`, `.openrlhf`, `.skyrl`, `.nemo_rl`, `.areal` | hooks for trainers |

A hook imports its trainer when it is used, not before: the package itself needs NumPy alone.
"""

from guerdon.client import AsyncClient, Client
from guerdon.errors import GuerdonError
from guerdon.scored import Scored
from guerdon.stream import AsyncScoreStream, ScoreStream

__all__ = ["AsyncClient", "AsyncScoreStream", "Client", "GuerdonError", "ScoreStream", "Scored"]
