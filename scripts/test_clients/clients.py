"""Checks of each client: its behaviour in a training run, and when the server cannot score.

Run by run.py inside the virtual environment: `clients.py SERVER TOKEN`. Every check is a function; the first that fails
ends the run with its traceback.
"""

import asyncio
import concurrent.futures
import datetime
import json
import logging
import math
import os
import pathlib
import random
import sys
import time
import types
import typing

import aiohttp
import requests
from loading import bare_package, definitions, package_folder, pasted_curl, pasted_url, recorded, run_pasted

SERVER, TOKEN = sys.argv[1:]
# As every client can carry it: the password before the host.
LET_IN = SERVER.replace("http://", f"http://trainer:{TOKEN}@")
KEY = f"key={TOKEN}"
PROMPT = (
    "<|im_start|>system\nYou negotiate room prices.<|im_end|>\n"
    "<|im_start|>user\n480 is our best price.<|im_end|>\n<|im_start|>assistant\n"
)
REPLY = "Could we meet at 420?"
LEAK = "The work order says 420."
LONG = "x" * 20_001


def reward(*messages: dict, profile: str = "hotel") -> float:
    """The reward in our own words: what every client must see."""
    body = {"profile": profile, "rollouts": [{"messages": messages}]}
    answer = requests.post(f"{SERVER}/v1/score", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    return answer.json()["results"][0]["reward"]


def expected(reply: str) -> float:
    return reward(
        {"role": "system", "content": "You negotiate room prices."},
        {"role": "user", "content": "480 is our best price."},
        {"role": "assistant", "content": reply},
    )


def near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def with_key(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{KEY}"


class Engine:
    """Stub of vLLM: the policy returns a given reply."""

    def __init__(self, reply: str):
        self.reply = reply

    async def generate(self, prompt_ids, sampling_params, multi_modal_data=None):
        output = types.SimpleNamespace(token_ids=[self.reply], finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[output])


class Tokenizer:
    """Stub of a tokenizer: a text is its own token."""

    def __call__(self, text, add_special_tokens, return_tensors):
        return {"input_ids": [types.SimpleNamespace(tolist=lambda: [text])]}

    def decode(self, tokens, skip_special_tokens):
        return "".join(tokens) + "<|im_end|>"


def openrlhf() -> None:
    bare_package("openrlhf")
    bare_package("openrlhf.utils")
    from openrlhf.utils.agent import SingleTurnAgentExecutor  # noqa: PLC0415

    def rollout(executor, reply):
        sampling = types.SimpleNamespace(max_tokens=64, logprobs=None)
        return executor.execute(PROMPT, '{"target_price": 420}', sampling, 4096, Tokenizer(), Engine(reply))

    async def rollouts(executor, replies):
        return await asyncio.gather(*(rollout(executor, reply) for reply in replies))

    url = with_key(pasted_url("openrlhf.md", SERVER))
    executor = SingleTurnAgentExecutor([url, url])
    [scored, leaked] = asyncio.run(rollouts(executor, [REPLY, LEAK]))
    # The new executor stacks its input, so it must be lists of numbers.
    for sample in (scored, leaked):
        lists = [sample["reward"], sample["scores"], *sample["extra_logs"].values()]
        assert all(len(numbers) == 1 and isinstance(numbers[0], float) for numbers in lists), sample
    assert near(scored["reward"][0], expected(REPLY)), scored
    assert scored["extra_logs"].keys() == leaked["extra_logs"].keys()
    assert leaked["extra_logs"]["rules"][0] < 0, leaked
    assert 0 <= scored["scores"][0] <= 1, scored

    many = asyncio.run(rollouts(executor, [f"Could we meet at {price}?" for price in range(256)]))
    assert all(sample["reward"] is not None for sample in many)

    valued = SingleTurnAgentExecutor(with_key(f"{SERVER}/get_reward?profile=unscorable&on_failure=value:-1"))
    [failed] = asyncio.run(rollouts(valued, [REPLY]))
    assert failed["reward"] == [-1.0] and failed["extra_logs"]["failed"] == [1.0], failed
    strict = SingleTurnAgentExecutor(with_key(f"{SERVER}/get_reward?profile=unscorable"))
    long = SingleTurnAgentExecutor(url)
    [[unscored], [overlong]] = asyncio.run(both(rollouts(strict, [REPLY]), rollouts(long, [LONG])))
    assert unscored["reward"] is None and overlong["reward"] is None, "it gives up after five tries, and says so"


async def both(*runs):
    return await asyncio.gather(*runs)


def huggingface_hub() -> None:
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    given = {"token": TOKEN, "text": f"{PROMPT}{REPLY}<|im_end|>"}
    scope = run_pasted("tei.md", SERVER, given)
    assert near(scope["probability"], sigmoid(expected(REPLY))), scope["probability"]
    assert near(scope["reward"], expected(REPLY)), scope["reward"]
    assert scope["ready"] and scope["revision"].startswith("sha256:"), scope["revision"]
    asked = {"role": "user", "content": "480 is our best price."}
    wanted = [reward(asked, {"role": "assistant", "content": reply}) for reply in (LEAK, REPLY)]
    ranked = pasted_curl("tei.md", SERVER, KEY)
    assert all(near(rank["score"], wanted[rank["index"]]) for rank in ranked), (ranked, wanted)
    assert ranked[0]["score"] >= ranked[1]["score"], ranked
    try:
        scope["client"].text_classification(LONG)
    except HfHubHTTPError as error:
        assert error.response.status_code == 503, error
    else:
        raise AssertionError("a text that is too long has no score")


def infinity() -> None:
    given = {"texts": [f"{PROMPT}{REPLY}", f"{PROMPT}{LEAK}"], "prompt": PROMPT, "replies": [LEAK, REPLY]}
    scope = run_pasted("infinity.md", LET_IN, given)
    assert [near(*pair) for pair in zip(scope["rewards"], map(expected, [REPLY, LEAK]))] == [True, True], scope["rewards"]
    run_pasted("infinity.md", LET_IN, scope, block=1)
    best = [expected(LEAK), expected(REPLY)]
    assert scope["best"] == best.index(max(best)), (scope["best"], best)
    assert near(scope["ranked"].results[0].relevance_score, max(best)), scope["ranked"]


def llama_factory() -> None:
    file = package_folder("llamafactory") / "train" / "ppo" / "ppo_utils.py"
    # The function uses torch only to make a tensor of the list.
    tensor = types.SimpleNamespace(Tensor=lambda numbers: [float(number) for number in numbers])
    given = {"requests": requests, "json": json, "torch": tensor}
    get_rewards = definitions(file, {"get_rewards_from_server"}, given)["get_rewards_from_server"]
    url = with_key(pasted_url("llama-factory.md", SERVER))
    scores = get_rewards(url, [f"<|endoftext|>{PROMPT}{text}<|im_end|>" for text in (REPLY, LEAK)])
    assert near(scores[0], expected(REPLY)) and near(scores[1], expected(LEAK)), scores
    try:
        get_rewards(url, [LONG])
    except KeyError:
        pass  # It looks for `scores` in an error body.
    else:
        raise AssertionError("a text that is too long has no score")


def reward_kit() -> None:
    bare_package("reward_kit")
    messages = [{"role": "user", "content": "480 is our best price."}, {"role": "assistant", "content": LEAK}]
    scope = run_pasted("reward-kit.md", LET_IN, {"messages": messages})
    result = scope["result"]
    assert near(result.score, reward(*messages)), result
    assert 0 <= result.metrics["rules"].score < 0.5 and "internal-words" in result.metrics["rules"].reason, result
    remote = type(scope["reward_function"])
    try:
        remote(mode="remote", endpoint=with_key(f"{SERVER}/reward?profile=unscorable"))(messages=messages)
    except requests.HTTPError as error:
        assert error.response.status_code == 503, error
    else:
        raise AssertionError("an unscorable dialogue has no score")


def verl() -> None:
    scope = run_pasted("verl.md", LET_IN, {})
    messages = [{"role": "user", "content": "480 is our best price."}]

    async def scored(*replies):
        known = {"messages": messages}
        return await asyncio.gather(*(scope["compute_score"]("hotel", reply, None, known) for reply in replies))

    [plain, leaked] = asyncio.run(scored(REPLY, LEAK))
    assert near(plain["score"], reward(*messages, {"role": "assistant", "content": REPLY})), plain
    # verl takes the names of a batch from its first sample.
    assert plain.keys() == leaked.keys() and leaked["rules"] < 0, leaked


def align_anything() -> None:
    url = with_key(pasted_url("align-anything.md", SERVER))
    rewards = requests.post(url, json=recorded("align-anything"), verify=False, timeout=100).json()["rewards"]
    assert all(isinstance(number, float) for number in rewards), rewards


def nemo_gym() -> None:
    url = pasted_url("nemo-gym.md", SERVER)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    seeded, verified = (
        requests.post(f"{url}{path}", json=recorded("nemo-gym", at), headers=headers, timeout=60).json()
        for at, path in enumerate(["/seed_session", "/verify"])
    )
    assert seeded == {} and near(sum(verified["reward_components"].values()), verified["reward"]), verified
    assert requests.get(f"{url}/reverify_mode", headers=headers, timeout=60).json() == "stateless"
    aggregated = requests.post(f"{url}/aggregate_metrics", json={"verify_responses": [verified]}, headers=headers, timeout=60)
    assert near(aggregated.json()["key_metrics"]["mean/reward"], verified["reward"]), aggregated.text


def vllm() -> None:
    messages = [{"role": "user", "content": "480?"}, {"role": "assistant", "content": "420?"}]
    scored = pasted_curl("vllm.md", SERVER, KEY)
    assert near(scored["data"][0]["probs"][0], reward(*messages)), scored


def slime(checkout: str) -> None:
    file = pathlib.Path(checkout) / "slime" / "rollout" / "rm_hub" / "__init__.py"
    given = {"aiohttp": aiohttp, "asyncio": asyncio, "random": random, "logger": logging.getLogger("slime"), "Sample": object}
    client = definitions(file, {"_shared_session", "_get_shared_session", "remote_rm"}, given)
    url = pasted_url("slime.md", LET_IN)

    async def rewards(url, *replies):
        arguments = types.SimpleNamespace(rm_url=url)
        samples = [types.SimpleNamespace(prompt=PROMPT, response=reply, label=None) for reply in replies]
        try:
            return await asyncio.gather(*(client["remote_rm"](arguments, sample) for sample in samples))
        finally:
            await client["_get_shared_session"]().close()

    [scored, leaked] = asyncio.run(rewards(url, REPLY, LEAK))
    assert near(scored, expected(REPLY)) and near(leaked, expected(LEAK)), (scored, leaked)
    [sample] = asyncio.run(rewards(f"{url}?reply=dict", REPLY))
    assert near(sample["reward"], expected(REPLY)), sample
    [failed] = asyncio.run(rewards(f"{url}?profile=unscorable&on_failure=value:-1", REPLY))
    assert failed == -1, failed


def roll(checkout: str) -> None:
    file = pathlib.Path(checkout) / "roll" / "pipeline" / "rlvr" / "rewards" / "remote_reward_system_worker.py"
    given = {"requests": requests, "time": time, "concurrent": concurrent, "datetime": datetime.datetime}
    given |= {"logger": logging.getLogger("roll")} | {name: getattr(typing, name) for name in ("Dict", "List", "Optional", "Tuple")}
    handler = definitions(file, {"RewardSystemHandler"}, given)["RewardSystemHandler"]
    submit = pasted_url("roll.md", SERVER, "yaml")
    urls = {"xrl_authorization": TOKEN, "submit_url": submit, "get_result_url": submit.replace("submit_task", "task_result")}
    score, parts = handler(urls, []).get_reward(PROMPT, REPLY, {"target_price": 420}, "data-1", "rollout-1")
    assert near(score, expected(REPLY)), (score, parts)
    assert near(sum(part["score"] for part in parts.values()), score), parts
    failing = handler(urls | {"submit_url": f"{submit}?profile=unscorable"}, [])
    assert failing.get_reward(PROMPT, REPLY, {}, "data-1", "rollout-1")[0] is None


def main() -> None:
    logging.disable(logging.ERROR)  # Clients log the faults that these checks cause.
    checks = [openrlhf, huggingface_hub, infinity, llama_factory, reward_kit, verl, align_anything, nemo_gym, vllm]
    for check, checkout in [(slime, os.environ.get("SLIME")), (roll, os.environ.get("ROLL"))]:
        if checkout:
            checks.append(lambda check=check, checkout=checkout: check(checkout))
            checks[-1].__name__ = check.__name__
        else:
            print(f"     -  {check.__name__}: give --{check.__name__} a checkout to run it")
    for check in checks:
        started = time.monotonic()
        check()
        print(f"{time.monotonic() - started:5.1f}s  {check.__name__}", flush=True)


if __name__ == "__main__":
    main()
