"""Hooks of the Python package, run by their trainers' own code against a real server: `PYTHON hooks.py SERVER TOKEN`.

PYTHON has the package `guerdon`, and any of verifiers (with `uv` in PATH), openenv, atroposlib, art and tinker_cookbook; a trainer that is
not installed is named and skipped. The lines are those of the trainers' pages. The policy of the negotiation is a script
behind an OpenAI-compatible endpoint.
"""

import asyncio
import http.server
import importlib.util
import json
import math
import os
import random
import sys
import threading
import types

import guerdon
from loading import ROOT, run_pasted

SERVER, TOKEN = sys.argv[1:]
ASKED = {"role": "user", "content": "480 is our best price."}
FACTS = {"target_price": 420, "net_price": 480, "sop_stage": "negotiate", "language": "en"}
REPLIES = ["Could we meet at 420?", "The work order says 420."]
os.environ |= {"GUERDON_URL": SERVER, "GUERDON_KEY": TOKEN}


def expected(*messages: dict, score: object = "last", context: dict = FACTS) -> float:
    rollout = {"messages": list(messages), "score": score, "context": context}
    return guerdon.Client(SERVER, key=TOKEN).score([rollout], profile="hotel").rewards[0]


def near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)


def wanted() -> list[float]:
    rewards = [expected(ASKED, {"role": "assistant", "content": reply}) for reply in REPLIES]
    assert rewards[0] != rewards[1], rewards
    return rewards


class Policy(http.server.BaseHTTPRequestHandler):
    """A stand-in for a language model: it offers 20 more in every turn."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        turns = sum(message["role"] == "assistant" for message in body["messages"])
        base = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
        delta = {"role": "assistant", "content": f"Could you do {300 + 20 * turns} yuan?"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        chunks = [
            {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**base, "choices": [], "usage": usage},
        ]
        text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def scripted_hotel() -> None:
    """Any replies: the hotel's price only falls, stays above its floor, and an agreement is between the two."""
    from hotel_negotiation.partner import Partner  # noqa: PLC0415
    from hotel_negotiation.taskset import scene  # noqa: PLC0415

    for seed in range(500):
        draw, data = random.Random(seed), scene(seed, 0)
        partner, last = Partner(data.list_price, data.floor_price), data.list_price
        for _ in range(20):
            offer = draw.choice([None, draw.randint(1, 2000)])
            answer = partner.answer("no price" if offer is None else f"Could you do {offer} yuan?")
            assert data.floor_price <= partner.price <= last, (seed, offer, answer)
            last = partner.price
            if partner.agreed is not None:
                assert data.floor_price <= partner.agreed <= min(offer, data.list_price), (seed, offer, answer)
                break
        assert scene(seed, 0) == data and str(data.context["target_price"]) not in data.prompt


def verifiers() -> None:
    import verifiers.v1 as vf  # noqa: PLC0415

    sys.path.insert(0, str(ROOT / "examples/environments/hotel"))
    from hotel_negotiation import load_environment  # noqa: PLC0415

    scripted_hotel()
    assert run_pasted("verifiers.md", SERVER, {})["NegotiationConfig"]().judges[0].profile == "hotel"
    os.environ["SCRIPTED_KEY"] = "none"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Policy) as policy:
        threading.Thread(target=policy.serve_forever, daemon=True).start()
        client = vf.EvalClientConfig(base_url=f"http://127.0.0.1:{policy.server_port}/v1", api_key_var="SCRIPTED_KEY")
        model = vf.ModelContext(client=client, model="scripted", sampling=vf.SamplingConfig())

        async def episodes(**judge):
            judges = [{"id": "guerdon-judge", "score": "all", **judge}]
            environment = load_environment(num_tasks=2, max_replies=3, judges=judges)
            async with environment.serving():
                return [await environment.run_episode(task, model) for task in environment.taskset]

        for episode in asyncio.run(episodes(profile="hotel")):
            [trace] = episode.traces
            assert episode.ok and len(trace.assistant_messages) == 3, trace
            said = [{"role": message.role, "content": message.content} for message in trace.messages]
            places = [at for at, message in enumerate(said) if message["role"] == "assistant"]
            reward = trace.rewards["guerdon-judge"].score
            assert near(reward, expected(*said, score=places, context=trace.task.data.context)), (reward, said)
            assert trace.metrics["guerdon-judge/failed"] == 0.0 and "deal" in trace.metrics, trace.metrics
        for episode in asyncio.run(episodes(profile="unscorable")):
            [trace] = episode.traces
            assert not episode.ok and "could not be scored" in trace.errors[0].message, trace.errors
            assert trace.rewards == {"guerdon-judge": None}, "a failure is no reward"
        policy.shutdown()


def openenv() -> None:
    from openenv.core.rubrics import WeightedSum  # noqa: PLC0415

    rubric = run_pasted("openenv.md", SERVER, {})["rubric"]
    both = WeightedSum([rubric], [1.0])
    seen = types.SimpleNamespace(metadata={"messages": [ASKED], "context": FACTS})
    for reply, reward in zip(REPLIES, wanted()):
        assert near(both(types.SimpleNamespace(message=reply), seen), reward)
        assert rubric.last_score == reward and rubric.figures["failed"] == 0.0
    from guerdon.openenv import AsyncGuerdonRubric, GuerdonRubric  # noqa: PLC0415

    action = types.SimpleNamespace(content=REPLIES[0])
    assert near(asyncio.run(AsyncGuerdonRubric(profile="hotel")(action, seen)), wanted()[0])
    try:
        GuerdonRubric(profile="unscorable")(action, seen)
    except guerdon.GuerdonError as error:
        assert "could not be scored" in str(error), error
    else:
        raise AssertionError("a failure is no reward")


def atroposlib() -> None:
    scope = run_pasted("atropos.md", SERVER, {})
    scope["dialogues"] = [[ASKED, {"role": "assistant", "content": reply}] for reply in REPLIES]
    run_pasted("atropos.md", SERVER, scope, block=1)
    rewards = [
        expected(*dialogue, context={"target_price": 420}) for dialogue in scope["dialogues"]
    ]
    assert all(map(near, scope["scores"], rewards)), (scope["scores"], rewards)
    twice = scope["registry"].create("guerdon", profile="hotel", weight=2.0)
    assert near(twice(REPLIES[:1], prompts=[[ASKED]], context={"target_price": 420})[0], 2 * rewards[0])
    try:
        scope["registry"].create("guerdon", profile="unscorable")(scope["dialogues"])
    except guerdon.GuerdonError as error:
        assert "could not be scored" in str(error), error
    else:
        raise AssertionError("a failure is no reward")


def art() -> None:
    import art  # noqa: PLC0415
    from openai.types.chat import ChatCompletionMessage  # noqa: PLC0415
    from openai.types.chat.chat_completion import Choice  # noqa: PLC0415

    def trajectory(reply):
        message = ChatCompletionMessage(role="assistant", content=reply)
        said = Choice(index=0, finish_reason="stop", message=message)
        return art.Trajectory(messages_and_choices=[ASKED, said], reward=0.5, metadata={"target_price": 420})

    group = art.TrajectoryGroup([trajectory(reply) for reply in REPLIES])
    made = asyncio.run(run_pasted("art.md", SERVER, {})["scored"](group))
    for reply, one in zip(REPLIES, made.trajectories):
        assert near(one.reward, expected(ASKED, {"role": "assistant", "content": reply}, context={"target_price": 420}))
        assert one.metrics["independent_reward"] == 0.5 and one.metrics["guerdon/failed"] == 0.0
    assert [one.reward for one in group.trajectories] == [0.5, 0.5], "the given group is unchanged"
    from guerdon.art import score_group  # noqa: PLC0415

    failed = asyncio.run(score_group(group, profile="unscorable"))
    assert failed.trajectories == [] and len(failed.exceptions) == 2, failed


class Letters:
    """A tokenizer whose tokens are characters."""

    name_or_path = "letters"
    bos_token = eos_token = bos_token_id = eos_token_id = None

    def encode(self, text: str, **_: object) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, tokens: list[int], **_: object) -> str:
        return "".join(map(chr, tokens))


def tinker_cookbook() -> None:
    from tinker_cookbook import renderers  # noqa: PLC0415
    from tinker_cookbook.completers import TokenCompleter, TokensWithLogprobs  # noqa: PLC0415
    from tinker_cookbook.rl.rollouts import do_group_rollout  # noqa: PLC0415

    renderer, replies = renderers.get_renderer("role_colon", Letters()), iter(REPLIES * 2)

    class Scripted(TokenCompleter):
        async def __call__(self, model_input, stop, **_):
            tokens = Letters().encode(next(replies) + stop[0])
            return TokensWithLogprobs(tokens=tokens, maybe_logprobs=[0.0] * len(tokens))

    made = run_pasted("tinker.md", SERVER, {"__name__": "tinker_page"})
    group = asyncio.run(do_group_rollout(made["HotelGroup"]([ASKED], FACTS, renderer, size=2), Scripted()))
    by_reply = dict(zip(REPLIES, wanted()))
    for trajectory, reward, metrics in zip(group.trajectories_G, group.get_total_rewards(), group.metrics_G):
        text = Letters().decode(trajectory.transitions[0].ac.tokens)
        assert near(reward, next(value for reply, value in by_reply.items() if text.startswith(reply))), (text, reward)
        assert metrics["guerdon/failed"] == 0.0 and "guerdon/rm" in metrics, metrics
    assert len(set(group.get_total_rewards())) == 2, "both replies were scored"

    from guerdon.tinker import dialogue_rewards  # noqa: PLC0415

    dialogue = [ASKED, {"role": "assistant", "content": REPLIES[0]}, ASKED, {"role": "assistant", "content": REPLIES[1]}]
    [(reward, _)] = asyncio.run(dialogue_rewards([dialogue], context=FACTS, profile="hotel", score="all"))
    assert near(reward, expected(*dialogue, score=[1, 3]))
    try:
        asyncio.run(dialogue_rewards([dialogue], profile="unscorable"))
    except guerdon.GuerdonError as error:
        assert "could not be scored" in str(error), error
    else:
        raise AssertionError("a failure is no reward")


def main() -> None:
    for check in (verifiers, openenv, atroposlib, art, tinker_cookbook):
        if importlib.util.find_spec(check.__name__) is None:
            print(f"     -  {check.__name__}: not installed in {sys.executable}")
        else:
            check()
            print(f"    ok  {check.__name__}", flush=True)


if __name__ == "__main__":
    main()
