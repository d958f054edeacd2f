"""Each hook, called as its trainer calls it, against a real server; the pages' own lines where a page has
some.

ms-swift's registry, OpenRLHF's executor, SkyRL's environment and verl's loader are their own; what stands in
for the rest is in `standins.py`. TRL's trainer is run by scripts/test_trl.py.
"""

import asyncio
import os
import pathlib
import pickle
import re
import subprocess
import sys
import types
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import standins
from conftest import ASKED, FACTS, LEAK, POLITE, TOKEN
from loading import PAGES

import guerdon
from guerdon import errors
from guerdon.hook import numbers

REPLIES = [POLITE, LEAK]


@pytest.fixture
def expected(url, rollouts):
    """The rollouts expected from the hooks: thoughts removed, facts included."""
    return guerdon.Client(url, key=TOKEN).score(rollouts)


def page(name, block=0):
    """The names that the code of a page defines."""
    blocks = (PAGES / name).read_text().split("```python\n")[1:]
    scope = {}
    exec(compile(blocks[block].partition("```")[0], name, "exec"), scope)
    return scope


def overrides(name, start):
    """The settings on lines that begin with `start`, in the syntax of verl's command line."""
    lines = (PAGES / name).read_text()
    return dict(pair.split("=", 1) for pair in lines[lines.index(f"\n{start}") :].partition("```")[0].split())


class Logs:
    """The logging functions that TRL passes."""

    def __init__(self):
        self.metrics, self.columns = {}, {}

    def log_metric(self, name, value):
        assert isinstance(value, float) and np.isfinite(value), (name, value)
        self.metrics[name] = value

    def log_extra(self, column, values):
        self.columns[column] = values


def ask_trl(function, logs, **columns):
    given = {
        "prompts": [ASKED, ASKED],
        "completions": [[{"role": "assistant", "content": reply}] for reply in REPLIES],
        "completion_ids": [[1], [1]],
        "context": [FACTS | {"padded": None}] * 2,
        "target_price": [420, 420],
        "trainer_state": None,
        "log_extra": logs.log_extra,
        "log_metric": logs.log_metric,
    }
    return asyncio.run(function(**given | columns))


def test_trls_function_gives_rewards_and_logs_every_part(asking, expected):
    logs, [function] = Logs(), page("trl.md")["reward_funcs"]
    assert function.__name__ == "guerdon"
    assert ask_trl(function, logs) == expected.rewards
    assert logs.columns["guerdon/rules"] == expected.part("rules").tolist()
    assert logs.columns["guerdon/judge"] == [None, None]
    assert logs.metrics["guerdon/rm"] == pytest.approx(expected.part("rm").mean())
    assert "guerdon/judge" not in logs.metrics
    assert (logs.metrics["guerdon/judge_abstained"], logs.metrics["guerdon/failed"]) == (1.0, 0.0)


def test_trls_function_accepts_texts_and_names_columns(asking, expected):
    from guerdon.trl import reward

    plain = {
        "prompts": ["480 is our best price."] * 2,
        "completions": REPLIES,
        "context": [None, '{"language": "en"}'],
    }
    texts = ask_trl(
        reward(facts_from=list(FACTS)), Logs(), **plain, **{name: [fact] * 2 for name, fact in FACTS.items()}
    )
    assert texts[0] != expected.rewards[0], "the system prompt is missing, so the model reads another text"
    assert all(isinstance(number, float) for number in texts)


def test_trls_missing_reward_is_none_an_error_or_a_number(asking):
    from guerdon.trl import reward

    logs = Logs()
    assert ask_trl(reward(profile="unscorable"), logs) == [None, None]
    assert logs.metrics["guerdon/failed"] == 1.0
    assert ask_trl(reward(profile="unscorable", on_failure=-2.0), Logs()) == [-2.0, -2.0]
    with pytest.raises(errors.UnscoredError, match="item 0 of 2 could not be scored.*on_failure"):
        ask_trl(reward(profile="unscorable", on_failure="error"), Logs())


def test_verls_functions_return_the_score_and_always_the_same_names(asking, monkeypatch, expected):
    standins.verl(monkeypatch)
    from verl.utils.import_utils import load_extern_object

    chosen = overrides("verl.md", "reward.custom_reward_function.path=pkg")
    place, name = (chosen[f"reward.custom_reward_function.{key}"] for key in ("path", "name"))
    compute_score = load_extern_object(place, name)
    compute_score_sync = load_extern_object("pkg://guerdon.verl", "compute_score_sync")
    given = {"data_source": "hotel", "ground_truth": FACTS, "extra_info": {"messages": ASKED, "num_turns": 2}}
    for reply, result in zip(REPLIES, expected.results, strict=True):
        figures = asyncio.run(compute_score(solution_str=reply, reward_router_address="h:1", **given))
        assert figures == {"score": result["reward"], **numbers(result)}
        assert compute_score_sync(solution_str=reply, **given) == figures
    failed = asyncio.run(compute_score(solution_str="a", profile="unscorable", on_failure=-1.0, **given))
    assert failed.keys() == figures.keys() and (failed["score"], failed["failed"]) == (-1.0, 1.0)
    with pytest.raises(errors.UnscoredError):
        asyncio.run(compute_score(solution_str="a", profile="unscorable", **given))
    with pytest.raises(errors.ConfigError, match="extra_info has no `messages`"):
        compute_score_sync("hotel", "a", None, {})


def test_verls_manager_reads_the_prompt(asking, monkeypatch, expected):
    standins.verl(monkeypatch)
    from verl.utils.import_utils import load_extern_object

    asking.setenv("GUERDON_PROFILE", "hotel")
    chosen = overrides("verl.md", "reward.reward_manager.source=importlib")
    place, name = (chosen[f"reward.reward_manager.{key}"] for key in ("module.path", "name"))
    manager = load_extern_object(place, name)(None, standins.Tokenizer(), None)
    for reply, result in zip(REPLIES, expected.results, strict=True):
        figures = asyncio.run(manager.run_single(standins.trajectory(reply, ASKED, FACTS)))
        assert figures["reward_score"] == result["reward"]
        assert figures["reward_extra_info"] == {"score": result["reward"], **numbers(result)}


def test_ms_swifts_reward_is_in_its_registry(asking, monkeypatch, expected):
    rewards = standins.swift(monkeypatch)
    page("ms-swift.md")
    function = rewards.orms["guerdon"](args=None)
    assert isinstance(function, rewards.AsyncORM)
    assert asyncio.iscoroutinefunction(function.__call__)
    columns = {
        "messages": [[*ASKED, {"role": "assistant", "content": reply}] for reply in REPLIES],
        "context": [FACTS] * 2,
        "target_price": [420] * 2,
        "trainer_state": None,
    }
    assert asyncio.run(function(REPLIES, **columns)) == expected.rewards
    # ms-swift would sum None alone to a reward of 0.
    from guerdon.ms_swift import register

    with pytest.raises(errors.UnscoredError):
        asyncio.run(register("strict", profile="unscorable")()(REPLIES, **columns))
    lenient = register("lenient", profile="unscorable", on_failure="none")()
    assert asyncio.run(lenient(REPLIES, **columns)) == [None, None]


class Engine:
    """A fake vLLM: the policy replies with a given text."""

    def __init__(self, reply):
        self.reply = reply

    async def generate(self, prompt_ids, sampling_params, multi_modal_data=None):
        output = types.SimpleNamespace(token_ids=[self.reply], finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[output])


class TextTokenizer:
    """A fake tokenizer: a text is its own token."""

    def __call__(self, text, add_special_tokens, return_tensors):
        return {"input_ids": [types.SimpleNamespace(tolist=lambda: [text])]}

    def decode(self, tokens, skip_special_tokens):
        return "".join(tokens) + "<|im_end|>"


def test_openrlhfs_executor_runs_the_file(asking, expected):
    import json

    import guerdon.openrlhf

    standins.bare_package("openrlhf")
    standins.bare_package("openrlhf.utils")
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in ASKED)
    prompt, sampling = f"{turns}<|im_start|>assistant\n", types.SimpleNamespace(max_tokens=64, logprobs=None)
    (line,) = [line for line in (PAGES / "openrlhf.md").read_text().splitlines() if "hook.__file__" in line]
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    place = subprocess.check_output(["sh", "-c", f"echo {line}"], env={"PATH": path}, text=True).split()[1]
    assert place == guerdon.openrlhf.__file__
    executor = SingleTurnAgentExecutor([place])

    def sample(reply):
        return asyncio.run(
            executor.execute(prompt, json.dumps(FACTS), sampling, 4096, TextTokenizer(), Engine(reply))
        )

    leaked = sample(LEAK)
    assert leaked["reward"] == pytest.approx([expected.rewards[1]], rel=1e-6)
    assert leaked["extra_logs"]["rules"][0] < 0 and leaked["extra_logs"]["thought"] == [1.0]
    asking.setenv("GUERDON_PROFILE", "unscorable")
    asking.setenv("GUERDON_ON_FAILURE", "-1")
    failed = sample(POLITE)
    assert failed["reward"] == [-1.0] and failed["extra_logs"]["failed"] == [1.0]


def test_openrlhfs_function_reports_the_cause_of_a_failure(asking):
    from guerdon import openrlhf

    asking.setenv("GUERDON_RETRIES", "0")
    asking.setenv("GUERDON_PROFILE", "unscorable")
    with pytest.raises(errors.ProblemError, match="answered 503: item 0 of 1 could not be scored") as raised:
        openrlhf.reward_func(["420?"], [""], [None])
    assert (raised.value.status, raised.value.code, raised.value.tries) == (503, "unscored", 1)
    asking.setenv("GUERDON_URL", "http://127.0.0.1:9")
    with pytest.raises(errors.TransportError, match="check that the server runs"):
        openrlhf.reward_func(["420?"], [""], [None])


def test_skyrls_environment_rewards_its_turn(asking, expected):
    import skyrl_gym

    page("skyrl.md")
    try:
        for reply, result in zip(REPLIES, expected.results, strict=True):
            env = skyrl_gym.make("guerdon", env_config={}, extras={"reward_spec": {"ground_truth": FACTS}})
            prompt, _ = env.init(ASKED)
            assert prompt == ASKED
            step = env.step(reply)
            assert (step["reward"], step["done"], step["observations"]) == (result["reward"], True, [])
            assert step["metadata"] == env.get_metrics() == numbers(result)
        assert env.aggregate_metrics([{"rm": 1.0}, {"rm": 2.0}]) == {"rm": 1.5}
    finally:
        skyrl_gym.envs.registration.deregister("guerdon")


def test_skyrls_environment_scores_each_turn_of_a_dialogue(asking):
    env = page("skyrl.md", block=1)["Hotel"]({}, {})
    env.init(ASKED)
    first = env.step(POLITE)
    assert not first["done"] and first["observations"][0]["role"] == "user"
    second = env.step(LEAK)
    assert second["done"] and second["reward"] != first["reward"]
    assert [turn["role"] for turn in env.dialogue[-3:]] == ["assistant", "user", "assistant"]
    assert "<think>" not in env.dialogue[-1]["content"]


def test_areals_function_works_in_its_pool(asking, expected):
    function = page("areal.md")["reward_fn"]
    row = {"messages": ASKED, "context": FACTS, "target_price": 420, "solution": "unused"}
    given = [("<|im_start|>...", f"{reply}<|im_end|>", [1], [2]) for reply in REPLIES]
    assert [function(*args, **row) for args in given] == expected.rewards
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        futures = [pool.submit(function, *args, **row) for args in given]
        assert [future.result(timeout=60) for future in futures] == expected.rewards
    again = pickle.loads(pickle.dumps(function))
    assert (again.settings.timeout, again.patient.timeout) == (12.0, 300.0)
    with pytest.raises(errors.ConfigError, match="no `messages`"):
        function("p", "c", [], [], target_price=420)
    assert [asyncio.run(function.awaited(*args, **row)) for args in given] == expected.rewards


def test_areals_function_raises_no_timeout_that_areal_turns_into_zero(mute):
    from guerdon.areal import Reward

    function = Reward(url=mute, timeout=0.3)
    with pytest.raises(errors.UnscoredError, match="within 300ms") as raised:
        function("p", "420?", [], [], messages=ASKED)
    # AReaL's wrapper catches this class, tries four times, and returns 0.
    assert not isinstance(raised.value, TimeoutError)


def test_areals_own_wrapper_gets_rewards_and_never_records_a_zero(asking, mute, monkeypatch, expected):
    checkout = os.environ.get("AREAL") or pytest.skip("give AREAL=CHECKOUT of inclusionAI/AReaL to run it")
    wrapper = standins.areal(monkeypatch, checkout).AsyncRewardWrapper
    from guerdon.areal import Reward

    row = {"messages": ASKED, "context": FACTS, "target_price": 420}
    given = [("<|im_start|>...", f"{reply}<|im_end|>", [1], [2]) for reply in REPLIES]

    async def ask(function):
        wrapped = wrapper(function, timeout_seconds=10)
        return await asyncio.gather(*(wrapped(*args, **row) for args in given))

    assert asyncio.run(ask(page("areal.md")["reward_fn"])) == expected.rewards
    with pytest.raises(errors.UnscoredError, match="within 300ms"):
        asyncio.run(ask(Reward(url=mute, timeout=0.3)))


def test_nemo_rls_own_registry_creates_the_environment(asking, monkeypatch, expected):
    if not os.environ.get("NEMO_RL"):
        pytest.skip("give NEMO_RL=CHECKOUT of NVIDIA-NeMo/RL to run it")
    standins.nemo_rl(monkeypatch)
    page("nemo-rl.md")
    from nemo_rl.environments.utils import create_env

    config = re.search(r"  guerdon:\n((?:    .*\n)+)", (PAGES / "nemo-rl.md").read_text()).group(1)
    environment = create_env("guerdon", dict(line.strip().split(": ") for line in config.splitlines()))
    logs = [[*ASKED, {"role": "assistant", "content": reply}] for reply in REPLIES]
    step = environment.step(logs, [FACTS, FACTS])
    np.testing.assert_allclose(np.asarray(step.rewards), expected.rewards, rtol=1e-6)


def test_nemo_rls_environment_scores_a_batch(asking, monkeypatch, expected):
    standins.nemo_rl(monkeypatch)
    from guerdon.nemo_rl import GuerdonEnvironment

    environment = GuerdonEnvironment({"profile": "hotel"})
    logs = [[*ASKED, {"role": "assistant", "content": reply, "token_ids": np.arange(3)}] for reply in REPLIES]
    step = environment.step(logs, [FACTS, FACTS])
    np.testing.assert_allclose(np.asarray(step.rewards), expected.rewards, rtol=1e-6)
    assert all(np.asarray(step.terminateds)) and step.answers == REPLIES and step.metadata == [FACTS, FACTS]
    batch, metrics = environment.global_post_process_and_metrics({"rewards": step.rewards})
    assert metrics["guerdon/rules"] == pytest.approx(expected.part("rules").mean())
    assert environment.global_post_process_and_metrics(batch) == (batch, {})
    assert all(figures["role"] == "environment" and figures["content"] for figures in step.observations)
    with pytest.raises(errors.UnscoredError):
        GuerdonEnvironment({"profile": "unscorable"}).step(logs, [None, None])
    with pytest.raises(errors.ConfigError, match="NeMo-RL cannot represent a missing reward"):
        GuerdonEnvironment({"profile": "unscorable", "on_failure": "none"}).step(logs, [None, None])


def test_nemo_rls_environment_accepts_template_markers_in_a_prompt(asking, monkeypatch, expected):
    standins.nemo_rl(monkeypatch)
    from guerdon.nemo_rl import GuerdonEnvironment

    turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in ASKED)
    asked = {"role": "user", "content": f"{turns}<|im_start|>assistant\n"}
    environment = GuerdonEnvironment({"profile": "hotel"})
    logs = [[asked, {"role": "assistant", "content": reply}] for reply in REPLIES]
    step = environment.step(logs, [FACTS, FACTS])
    np.testing.assert_allclose(np.asarray(step.rewards), expected.rewards, rtol=1e-6)
    metrics = environment.global_post_process_and_metrics({})[1]
    assert metrics["guerdon/rules"] == pytest.approx(expected.part("rules").mean())
    assert metrics["guerdon/recognised"] == 1.0 and metrics["guerdon/thought"] == 0.5
    with pytest.raises(errors.ProblemError, match="could not be scored"):
        GuerdonEnvironment({"profile": "unscorable", "retries": 0}).step(logs, [None, None])
