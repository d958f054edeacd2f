"""A caller for type checkers: checked by scripts/test_python.sh, never run."""

import numpy as np

import guerdon
from guerdon import optim
from guerdon.wire import Rollout


def score(client: guerdon.Client) -> list[float | None]:
    rollouts: list[Rollout] = [
        {"messages": [{"role": "assistant", "content": "420?"}], "context": {"target_price": 420}}
    ]
    scored = client.score(rollouts, advantages="grpo")
    hits = [hit for turn in scored.results[0]["turns"] for hit in turn.get("rules", {"hits": []})["hits"]]
    print(hits, scored.reward_array.mean())
    return client.score([{"messages": [{"role": "user", "content": "plain dictionaries do"}]}]).rewards


async def ask(client: guerdon.AsyncClient) -> int:
    return (await client.score([])).usage["judge_calls"]


def follow(client: guerdon.Client, rollouts: list[Rollout]) -> str:
    with client.stream(rollouts, deadline_ms=500) as stream:
        for result in stream:
            print(result["index"], result["reward"], [entry["why"] for entry in result["turns"][0]["abstained"]])
    return stream.summary["request_id"] if stream.summary else ""


async def follow_async(client: guerdon.AsyncClient, rollouts: list[Rollout]) -> list[float | None]:
    return [result["reward"] async for result in await client.stream(rollouts)]


def learn(logp: np.ndarray, rewards: list[float | None]) -> float:
    repo = optim.Repo({"preset": "grpo", "policy": {"surrogate": "gspo"}, "kl_loss": None})
    update = repo.step({"logp": logp, "old_logp": logp, "rewards": rewards, "groups": ["a", "b"]})
    loss = optim.policy_loss(logp, logp, update.advantages, normaliser=optim.normaliser(logp != 0))
    return update.loss + loss.loss + float(update.dlogp.sum())


def update(client: guerdon.Client, rollouts: list[Rollout], logp: np.ndarray) -> optim.Update:
    feedback = client.score(rollouts, advantages="dr_grpo").feedback(logp.dtype, unscored="drop_incomplete")
    repo = optim.Repo("grpo")
    return repo.step(feedback.batch(logp, logp, mask=[3, 4]))


def share(queue: guerdon.Queue, client: guerdon.Client, rollouts: list[Rollout]) -> None:
    ticket: str = queue.put(rollouts, profile="hotel")
    for claim in queue.claims():
        print(ticket, claim.ticket, claim.score(client).rewards)
        claim.done()


def mistakes(client: guerdon.Client, queue: guerdon.Queue) -> None:
    """Each line has a mistake; a checker that misses one reports an unused comment."""
    client.score([], advantages="grpoo")  # type: ignore[arg-type]
    client.score([], deadline_ms="soon")  # type: ignore[arg-type]
    client.score([]).feedback(np.float32, unscored="dropp")  # type: ignore[arg-type]
    queue.put([], advantages="grpoo")  # type: ignore[arg-type]
    guerdon.Client("http://h", retries="five")  # type: ignore[arg-type]
    guerdon.Client("http://h", bakoff=1.0)  # type: ignore[call-arg]
    optim.Repo("grppo")  # type: ignore[arg-type]
    optim.Repo({"policy": {"surrogate": "gspoo"}})  # type: ignore[arg-type]
