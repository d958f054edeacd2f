"""verifiers: a judge plugin for any taskset, as `guerdon-judge`.

    [[env.taskset.task.judges]]
    id = "guerdon-judge"
    profile = "hotel"

or `GuerdonJudge(GuerdonJudgeConfig(profile="hotel"))` in a task's own code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from guerdon.errors import ConfigError
from guerdon.hook import Settings, facts, numbers
from guerdon.wire import Rollout


@cache
def _classes() -> tuple[type, type]:
    import verifiers.v1 as vf
    from pydantic import ConfigDict, create_model

    own = {"timeout", "key"}
    names = [name for name in Settings.__dataclass_fields__ if name not in own]
    # Settings that are not given come from the environment.
    fields = {name: (Any, None) for name in names}
    base = create_model("_Settings", __base__=vf.JudgeConfig, **fields)  # type: ignore[call-overload, unused-ignore]

    class GuerdonJudgeConfig(base):  # type: ignore[misc, valid-type, unused-ignore]
        """The settings of `guerdon.hook.Settings`, and where the facts are."""

        model_config = ConfigDict(extra="forbid")

        id: vf.ID = "guerdon-judge"
        facts_from: list[str] = []
        """Fields of the task's data that are facts for rules and judge. A field `context` with an object always
        is."""
        timeout_s: float | None = None
        """Seconds for a whole call; by default GUERDON_TIMEOUT, or 300. (`timeout` is verifiers' own, for its
        language models.)"""
        key_var: str = "GUERDON_KEY"
        """The environment variable with the token. verifiers writes its settings to disk, so a token is not one."""

        def settings(self) -> Settings:
            """Returns the settings of the calls."""
            given = {name: getattr(self, name) for name in names}
            given |= {"timeout": self.timeout_s, "key": os.environ.get(self.key_var)}
            return Settings.given({name: value for name, value in given.items() if value is not None})

    class GuerdonJudge(vf.Judge[Any, GuerdonJudgeConfig]):  # type: ignore[misc, valid-type, unused-ignore]
        """Scores the policy's turns of a trace with a guerdon server.

        A rollout that cannot be scored raises, so that verifiers records an error and not a reward of 0; with
        `on_failure` set to a number it gets that number.
        """

        def __init__(self, config: Any = None) -> None:
            super().__init__(config)
            self.settings: Settings = self.config.settings()

        async def score(self, task: Any, trace: Any) -> float:
            """Returns the fused reward, and records every part as a metric `<judge>/<part>`."""
            rollout = self.rollout(task, trace)
            client = self.settings.async_client()
            results = (await client.score([rollout], deadline_ms=self.settings.deadline_ms)).results
            (reward,) = self.settings.numbers_only(results, "verifiers")
            for name, value in numbers(results[0]).items():
                trace.record_metric(f"{self.reward_name}/{name}", value)
            return reward

        def rollout(self, task: Any, trace: Any) -> Rollout:
            """Builds the rollout: the messages before the policy's first turn, and everything after."""
            nodes = trace.branches[-1].nodes if trace.branches else []
            first = next((at for at, node in enumerate(nodes) if node.sampled), None)
            if first is None:
                raise ConfigError("the trace has no turn of the policy, so there is nothing to score")
            said = [_message(node.message) for node in nodes]
            rollout = self.settings.rollout(said[:first], said[first:], task_facts(task, self.config.facts_from))
            if self.settings.score == "all":
                # Messages that verifiers inserted as the assistant's are not the policy's.
                rollout["score"] = [at for at, node in enumerate(nodes) if node.sampled]
            return rollout

    return GuerdonJudge, GuerdonJudgeConfig


def _message(message: Any) -> dict[str, Any]:
    content = message.content
    if not isinstance(content, str):
        content = [part.model_dump() if hasattr(part, "model_dump") else part for part in content or []]
    return {"role": message.role, "content": content}


def task_facts(task: Any, names: Sequence[str]) -> dict[str, Any]:
    """Returns the facts of a task's data: its field `context`, if it has one, and the fields `names`."""
    fields: Mapping[str, Any] = task.model_dump()
    missing = [name for name in names if name not in fields]
    if missing:
        raise ConfigError(f"the task has no field `{missing[0]}`; `facts_from` may name {', '.join(sorted(fields))}")
    context = facts(fields.get("context"), "context")
    return context | {name: fields[name] for name in names if fields[name] is not None}


def __getattr__(name: str) -> Any:
    if name in ("GuerdonJudge", "GuerdonJudgeConfig"):
        return _classes()[name == "GuerdonJudgeConfig"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
