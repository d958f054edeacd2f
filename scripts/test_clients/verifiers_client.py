"""Runs verifiers' NeMo-Gym task against a server: `PYTHON verifiers_client.py SERVER TOKEN`, with verifiers 0.4.0 (566 MB).

The task's own `setup` and `nemo_gym` run unmodified; the trace is a stub with one reply.
"""

import asyncio
import math
import sys
import types

import requests
from loading import pasted_url
from verifiers.v1.tasksets.nemo_gym import NeMoGymData, NeMoGymTask, NeMoGymTaskConfig
from verifiers.v1.tasksets.nemo_gym.toolset import NeMoGymState
from verifiers.v1.types import AssistantMessage, UserMessage

SERVER, TOKEN = sys.argv[1:]
ASKED, REPLY = "480 is our best price.", "The work order says 420."
ROW = {
    "responses_create_params": {"input": [{"role": "user", "content": ASKED}]},
    "verifier_metadata": {"target_price": 420},
}


class StubTrace:
    """Trace of one turn, with the attributes that the task writes to."""

    def __init__(self):
        messages = [(UserMessage(content=ASKED), False), (AssistantMessage(content=REPLY), True)]
        nodes = [types.SimpleNamespace(message=said, sampled=sampled, timestamp=0.0) for said, sampled in messages]
        self.id, self.state, self.info, self.metrics = "trace-1", NeMoGymState(), {}, {}
        self.branches = [types.SimpleNamespace(nodes=nodes)]

    def record_metric(self, name, value):
        self.metrics[name] = value


async def verified() -> tuple[float, StubTrace]:
    config = NeMoGymTaskConfig(resources_url=pasted_url("nemo-gym.md", SERVER), headers={"Authorization": f"Bearer {TOKEN}"})
    task = NeMoGymTask(NeMoGymData(prompt=[UserMessage(content=ASKED)], row=ROW), config)
    trace = StubTrace()
    await task.setup(trace, None)
    return await task.nemo_gym(trace), trace


def main() -> None:
    reward, trace = asyncio.run(verified())
    messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": REPLY}]
    scored = requests.post(
        f"{SERVER}/v1/score",
        json={"rollouts": [{"messages": messages, "context": ROW["verifier_metadata"]}]},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=60,
    ).json()["results"][0]
    assert math.isclose(reward, scored["reward"], rel_tol=1e-5), (reward, scored)
    assert trace.metrics["rules"] < 0 and trace.metrics["failed"] == 0, trace.metrics
    components = trace.info["nemo_gym"]["reward_components"]
    assert math.isclose(sum(components.values()), reward, rel_tol=1e-5, abs_tol=1e-6), components
    print("       verifiers")


if __name__ == "__main__":
    main()
