"""Rewards for dialogue agents: a client of the reward server guerdon, its optimizer, and hooks for trainers.

>>> import guerdon
>>> client = guerdon.Client("http://127.0.0.1:8787", profile="hotel")  # doctest: +SKIP
>>> client.score([{"messages": [{"role": "assistant", "content": "420?"}]}]).rewards  # doctest: +SKIP
[0.42]

| module | contents |
|---|---|
| `guerdon` | `Client`, `AsyncClient`, `Scored`, `Feedback`; `ScoreStream`, `AsyncScoreStream`; `Queue` |
| `guerdon.sources`, `.source_server` | `source`, `serve_source`, `SourceServer`: reward functions of your own |
| `guerdon.source` | the command `python -m guerdon.source FILE:FUNCTION` |
| `guerdon.wire` | the types of requests and replies |
| `guerdon.errors` | exceptions |
| `guerdon.optim` | advantages, losses with gradients and whole updates, on NumPy arrays |
| `guerdon.trl`, `.verl`, `.ms_swift`, `.openrlhf`, `.skyrl`, `.nemo_rl`, `.areal` | hooks for trainers |
| `guerdon.ray` | `score`: a dataset of Ray Data of any size |
| `guerdon.verifiers`, `.openenv`, `.art`, `.atropos`, `.tinker` | hooks for environments |

A hook imports its trainer on first use; the package itself depends on NumPy only.
"""

from guerdon.client import AsyncClient, Client
from guerdon.errors import GuerdonError
from guerdon.feedback import Feedback
from guerdon.queue import Claim, Queue
from guerdon.scored import Scored
from guerdon.source_server import SourceServer, serve_source
from guerdon.sources import Abstain, Source, SourceResult, SourceTurn, source
from guerdon.stream import AsyncScoreStream, ScoreStream

__all__ = [
    "Abstain",
    "AsyncClient",
    "AsyncScoreStream",
    "Claim",
    "Client",
    "Feedback",
    "GuerdonError",
    "Queue",
    "ScoreStream",
    "Scored",
    "Source",
    "SourceResult",
    "SourceServer",
    "SourceTurn",
    "serve_source",
    "source",
]
