"""The clients against a real server."""

import asyncio
import http.server
import multiprocessing
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from conftest import TOKEN

import guerdon
from guerdon import errors, optim


@pytest.fixture
def client(url: str) -> guerdon.Client:
    return guerdon.Client(url, key=TOKEN, profile="hotel")


def test_rewards_have_the_order_of_the_request_and_every_part(client, rollouts):
    scored = client.score(rollouts)
    polite, leak = scored.results
    assert [polite["id"], leak["id"]] == ["0", "1"]
    assert scored.rewards == [polite["reward"], leak["reward"]]
    assert {hit["rule"] for hit in leak["turns"][0]["rules"]["hits"]} >= {"internal-words"}
    assert scored.versions[0]["profile"] == "hotel" and scored.version_of == [0, 0]
    assert np.isnan(scored.part("judge")).all(), "a profile without a judge has no points of one"
    rm, points = scored.part("rm"), scored.part("rules")
    expected = [optim.repo_reward(*pair) for pair in zip(rm, points, strict=True)]
    np.testing.assert_allclose(scored.reward_array, expected, rtol=1e-12)
    assert points[1] < 0 and scored.rewards[1] <= rm[1]


def test_a_batch_larger_than_a_chunk_is_split_and_merged(url, rollouts):
    client = guerdon.Client(url, key=TOKEN, chunk=2)
    scored = client.score(rollouts * 3)
    assert len(scored.request_ids) == 3
    assert scored.rewards == client.score(rollouts).rewards * 3


def test_server_advantages_equal_those_of_the_optimizer(client, rollouts):
    scored = client.score(rollouts, advantages="grpo")
    np.testing.assert_allclose(
        scored.advantage_array, optim.group_advantages(scored.reward_array, "pp"), rtol=1e-9
    )


def test_a_missing_reward_is_none_or_nan_and_never_zero(client, rollouts):
    scored = client.score(rollouts, profile="unscorable")
    assert scored.rewards == [None, None]
    assert np.isnan(scored.reward_array).all()
    assert all(result["error"]["code"] == "unscored" for result in scored.results)
    assert {entry["source"] for entry in scored.results[0]["turns"][0]["abstained"]} == {"judge"}


def test_a_source_that_misses_the_deadline_abstains(client, rollouts):
    scored = client.score(rollouts, profile="patient", deadline_ms=300)
    assert all(reward is not None for reward in scored.rewards)
    assert scored.abstained("judge").all() and not scored.abstained("rm").any()
    assert np.isnan(scored.part("judge")).all() and not np.isnan(scored.part("rules")).any()
    silent = [entry for entry in scored.results[0]["turns"][0]["abstained"] if entry["source"] == "judge"]
    assert silent and {entry["why"] for entry in silent} == {"deadline"}


def test_a_group_with_different_sources_is_named_and_not_comparable(url, rollouts):
    rollouts[0]["messages"][-1]["content"] = ""  # has a fixed verdict, so that no judge is asked
    client = guerdon.Client(url, key=TOKEN, profile="patient", chunk=1)
    scored = client.score(rollouts, deadline_ms=300)
    missing = [{"source": "judge", "rollout": "1"}]
    assert scored.groups == [{"id": rollouts[0]["group"], "comparable": False, "missing": missing}]
    assert scored.comparable == [False, False]


def test_another_configuration_than_the_expected_one_is_refused(url, client, rollouts):
    digest = client.score(rollouts).versions[0]["digest"]
    expecting = guerdon.Client(url, key=TOKEN, profile="hotel", expect_digest=digest)
    assert expecting.score(rollouts).comparable == [True, True]
    with pytest.raises(errors.ProblemError) as raised:
        pickle.loads(pickle.dumps(expecting)).score(rollouts, profile="patient")
    assert raised.value.code == "conflict"
    with pytest.raises(errors.ConfigError, match="expect_digest"):
        guerdon.Client(url, expect_digest="sha256:1")


def test_numpy_numbers_are_accepted_as_facts(client, rollouts):
    plain = client.score(rollouts).rewards
    for rollout in rollouts:
        rollout["context"] = {**rollout["context"], "target_price": np.int64(420), "seen": np.arange(2)}
    assert client.score(rollouts).rewards == plain


@pytest.mark.parametrize("broken", [float("nan"), object(), np.float32("inf")])
def test_values_without_json_form_are_refused_with_their_place_before_sending(client, rollouts, broken):
    rollouts[1]["context"] = {"target_price": broken}
    with pytest.raises(errors.RequestError, match="/rollouts/1") as raised:
        client.score(rollouts)
    assert raised.value.pointer == "/rollouts/1"


@pytest.mark.parametrize("wrong", [{"messages": []}, "messages", b"messages"])
def test_one_rollout_in_place_of_a_list_is_refused_with_a_hint(client, wrong):
    with pytest.raises(errors.RequestError, match="give a list of rollouts") as raised:
        client.score(wrong)
    assert raised.value.pointer == "/rollouts"


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused_with_its_place(client, rollouts, text):
    rollouts[1]["messages"][-1]["content"] = text
    with pytest.raises(errors.RequestError, match="surrogates not allowed") as raised:
        client.score(rollouts)
    assert raised.value.pointer == "/rollouts/1"


def test_an_invalid_request_is_refused_with_its_place(client, rollouts):
    rollouts[0]["mesages"] = rollouts[0].pop("messages")
    with pytest.raises(errors.RequestError, match="unknown field `mesages`") as raised:
        client.score(rollouts)
    assert raised.value.pointer == "/rollouts/0/mesages"
    assert "line" not in str(raised.value)


def test_rollout_that_cannot_be_scored_gets_an_error_and_the_others_are_scored(client, rollouts):
    scored = client.score([{"messages": []}, rollouts[0]])
    error = scored.results[0]["error"]
    assert "no assistant turn" in error["detail"] and error["hint"]
    assert error["pointer"] == "/rollouts/0/messages"
    assert scored.rewards[0] is None and scored.rewards[1] is not None


def test_a_problem_error_has_the_message_of_the_server(url, client, rollouts):
    with pytest.raises(errors.ProblemError, match="hotle") as raised:
        client.score(rollouts, profile="hotle")
    assert (raised.value.status, raised.value.code) == (422, "unknown_profile")
    assert raised.value.request_id and raised.value.tries == 1
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.status, again.code) == (str(raised.value), 422, "unknown_profile")
    with pytest.raises(errors.ProblemError) as raised:
        guerdon.Client(url, key="wrong").score(rollouts)
    assert raised.value.status == 401


def test_an_invalid_setting_is_named():
    with pytest.raises(errors.ConfigError, match="`url`"):
        guerdon.Client("127.0.0.1:8787")
    with pytest.raises(errors.ConfigError, match="`timeout`"):
        guerdon.Client("http://127.0.0.1:8787", timeout=-1.0)


def test_an_unreachable_server_is_a_connection_error(rollouts):
    with pytest.raises(ConnectionError, match="could not be reached"):
        guerdon.Client("http://127.0.0.1:9", retries=0).score(rollouts)


def test_info_and_ready(client):
    assert client.ready() is True
    assert {"hotel", "unscorable"} <= set(client.info()["profiles"])


def test_many_threads_can_block_at_the_same_time(client, rollouts):
    expected = client.score(rollouts).rewards
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.score(rollouts).rewards)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


def test_other_threads_run_while_one_blocks(mute, rollouts):
    def ask():
        with pytest.raises(TimeoutError, match="within 1s"):
            guerdon.Client(mute, timeout=1.0).score(rollouts)

    thread = threading.Thread(target=ask)
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 100, "the waiting thread held the interpreter's lock"


@pytest.fixture
def interruptible():
    """Restores the handler of Ctrl-C, which shells disable for background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_interrupts_a_blocked_call(mute, rollouts, interruptible):
    began = time.monotonic()
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        guerdon.Client(mute, timeout=30.0).score(rollouts)
    assert time.monotonic() - began < 10.0


def test_dropping_a_client_in_use_does_not_block(mute, rollouts):
    async def leave():
        call = asyncio.ensure_future(guerdon.AsyncClient(mute).score(rollouts))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(leave())


def test_awaited_calls_run_concurrently_and_agree_with_blocking_ones(url, client, rollouts):
    async def ask():
        awaited = guerdon.AsyncClient(url, key=TOKEN)
        assert await awaited.ready() is True
        assert (await awaited.info())["default_profile"] == "hotel"
        return await asyncio.gather(*(awaited.score([rollout]) for rollout in rollouts * 4))

    rewards = [scored.rewards[0] for scored in asyncio.run(ask())]
    assert rewards == client.score(rollouts).rewards * 4


def test_an_awaited_call_raises_the_same_error(url, rollouts):
    async def ask():
        await guerdon.AsyncClient(url, key=TOKEN).score(rollouts, profile="hotle")

    with pytest.raises(errors.ProblemError, match="hotle"):
        asyncio.run(ask())


def test_one_async_client_serves_one_event_loop_after_another(url, rollouts):
    awaited = guerdon.AsyncClient(url, key=TOKEN)
    first = asyncio.run(awaited.score(rollouts)).rewards
    assert asyncio.run(awaited.score(rollouts)).rewards == first


def _in_child(client, rollouts, results):
    results.put(client.score(rollouts).rewards)


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_used_client_works_in_a_worker_process(way, client, rollouts):
    expected = client.score(rollouts).rewards
    context = multiprocessing.get_context(way)
    results = context.SimpleQueue()
    worker = context.Process(target=_in_child, args=(client, rollouts, results))
    worker.start()
    worker.join(timeout=60)
    assert worker.exitcode == 0
    assert results.get() == expected
    assert client.score(rollouts).rewards == expected


def test_unicode_round_trips(client):
    reply = "工单上目标价是420元 🏨"
    scored = client.score([{"messages": [{"role": "assistant", "content": reply}]}])
    spans = [span for hit in scored.results[0]["turns"][0]["rules"]["hits"] for span in hit["spans"]]
    assert spans and all(0 <= start < end <= len(reply) for start, end in spans)


def test_an_incompatible_server_is_a_version_error_with_url_and_field():
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("guerdon-version", "9.8.7")
            self.end_headers()
            self.wfile.write(b"{}")

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(errors.VersionError, match="runs guerdon 9.8.7") as raised:
            guerdon.Client(url).info()
        server.shutdown()
    error = pickle.loads(pickle.dumps(raised.value))
    assert error.url == f"{url}/v1/info" and error.field in ("MAJOR", "0.MINOR")
    assert (error.server_version, error.client_version) == ("9.8.7", "0.1.0")


def test_every_public_class_has_a_repr_that_says_something(url, client, rollouts):
    scored = client.score(rollouts)
    shown = [
        repr(each)
        for each in (
            client,
            guerdon.AsyncClient(url, key=TOKEN),
            scored,
            scored.feedback("float32"),
            client.stream(rollouts),
            optim.Repo("grpo"),
            optim.Monitor(),
            optim.KlController(0.1),
        )
    ]
    assert not [text for text in shown if " object at 0x" in text or len(text) > 300 or TOKEN in text]
    assert url in shown[0] and "2 rollouts" in shown[2] and "profile hotel" in shown[2]
