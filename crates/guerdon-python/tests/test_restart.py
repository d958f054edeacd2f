"""Calls outlive a server that refuses, dies in the middle of an answer, and comes back; in the clients and in every
hook."""

import asyncio
import itertools
import json
import socket

import pytest
import standins
from scripted import DIGEST, FAST, Scripted, coming_back

import guerdon
from guerdon import errors, hook

ASKED = [{"role": "user", "content": "480?"}]
ROLLOUTS = [{"messages": [*ASKED, {"role": "assistant", "content": reply}]} for reply in ("420?", "400?")]


def sync_client(url, **limits):
    return guerdon.Client(url, **limits).score(ROLLOUTS).rewards[0]


def async_client(url, **limits):
    return asyncio.run(guerdon.AsyncClient(url, **limits).score(ROLLOUTS)).rewards[0]


def stream(url, **limits):
    with guerdon.Client(url, **limits).stream(ROLLOUTS[:1]) as results:
        return [result["reward"] for result in results][0]


def trl(url, **limits):
    from guerdon.trl import reward

    return asyncio.run(reward(url=url, **limits)([ASKED], [[{"role": "assistant", "content": "420?"}]]))[0]


VERL = {"data_source": "d", "solution_str": "420?", "ground_truth": None, "extra_info": {"messages": ASKED}}


def verl(url, **limits):
    from guerdon.verl import compute_score

    return asyncio.run(compute_score(**VERL, url=url, **limits))["score"]


def verl_sync(url, **limits):
    from guerdon.verl import compute_score_sync

    return compute_score_sync(**VERL, url=url, **limits)["score"]


def openrlhf(url, monkeypatch=None, **limits):
    from guerdon.openrlhf import reward_func

    monkeypatch.setenv("GUERDON_URL", url)
    for name, value in limits.items():
        monkeypatch.setenv(f"GUERDON_{name.upper()}", str(value))
    return reward_func(["420?"], [""], [None])["rewards"][0]


def ms_swift(url, monkeypatch=None, **limits):
    pytest.importorskip("swift")
    standins.swift(monkeypatch)
    from guerdon.ms_swift import register

    dialogue = [*ASKED, {"role": "assistant", "content": "420?"}]
    return asyncio.run(register("away", url=url, **limits)()(["420?"], [dialogue]))[0]


def skyrl(url, **limits):
    pytest.importorskip("skyrl_gym")
    from guerdon.skyrl import GuerdonEnv

    env = GuerdonEnv({}, {}, url=url, **limits)
    env.init(ASKED)
    return env.step("420?")["reward"]


def nemo_rl(url, monkeypatch=None, **limits):
    standins.nemo_rl(monkeypatch)
    from guerdon.nemo_rl import GuerdonEnvironment

    log = [*ASKED, {"role": "assistant", "content": "420?"}]
    return float(GuerdonEnvironment({"url": url, **limits}).step([log], [None]).rewards[0])


def areal(url, **limits):
    from guerdon.areal import Reward

    return Reward(url=url, **limits)("p", "420?", [], [], messages=ASKED)


def areal_awaited(url, **limits):
    from guerdon.areal import Reward

    return asyncio.run(Reward(url=url, **limits).awaited("p", "420?", [], [], messages=ASKED))


HOOKS = [trl, verl, verl_sync, openrlhf, ms_swift, skyrl, nemo_rl, areal, areal_awaited]
CALLERS = [sync_client, async_client, *HOOKS]


def call(caller, url, monkeypatch, **limits):
    if "monkeypatch" in caller.__code__.co_varnames:
        limits["monkeypatch"] = monkeypatch
    return caller(url, **limits)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__)
def test_a_call_outlives_a_server_that_is_away_and_then_breaks(caller, monkeypatch):
    script = ["reset", 503, "half", 502, 504]
    with coming_back(script) as (url, received):
        assert call(caller, url, monkeypatch, timeout=60.0, **FAST) == 0.0
        assert len(received()) == len(script) + 1
        assert len({body for _, _, body in received()}) == 1
        assert len({headers["idempotency-key"] for _, headers, _ in received()}) == 1


def test_a_stream_waits_for_a_server_that_comes_back():
    with coming_back([503, "reset", 502]) as (url, received):
        assert stream(url, timeout=60.0, **FAST) == 0.0
        assert len(received()) == 4


def whole_stream(url, **limits):
    with guerdon.Client(url, **limits).stream(MANY) as results:
        return sorted(result["index"] for result in results), results.summary


def whole_async_stream(url, **limits):
    async def read():
        async with await guerdon.AsyncClient(url, **limits).stream(MANY) as results:
            return sorted([result["index"] async for result in results]), results.summary

    return asyncio.run(read())


MANY = ROLLOUTS * 3


@pytest.mark.parametrize("caller", [whole_stream, whole_async_stream], ids=lambda caller: caller.__name__)
def test_a_stream_that_is_cut_goes_on_with_the_missing_results(caller):
    script = [("lines", 2), 503, "reset", ("lines", 0), "half", ("lines", 1)]
    with coming_back(script) as (url, received):
        places, summary = caller(url, timeout=60.0, **FAST)
    assert places == list(range(len(MANY))), "each result arrives once"
    assert summary["results"] == len(MANY)
    requests = [json.loads(body) for _, _, body in received()]
    counts = [len(request["rollouts"]) for request in requests]
    # `half` cuts by bytes, so what is missing after it depends on the length of the summary.
    assert counts[0] == len(MANY) and counts[1:4] == [4, 4, 4], counts
    assert counts == sorted(counts, reverse=True), "no result is asked for again"
    assert "expect" not in requests[0] and all(one["expect"] == {"digest": DIGEST} for one in requests[1:])


@pytest.mark.parametrize("caller", [whole_stream, whole_async_stream], ids=lambda caller: caller.__name__)
def test_a_stream_does_not_go_on_with_another_configuration_or_without_retries(caller):
    with Scripted([("lines", 2), 503, 409]) as server, pytest.raises(errors.GuerdonError) as raised:
        caller(server.url, timeout=60.0, **FAST)
    assert raised.value.status == 409
    with Scripted([("lines", 2)] * 3) as server:
        with pytest.raises(errors.CutError, match="2 of 6"):
            caller(server.url, timeout=60.0, retries=0, **FAST)
        assert len(server.received) == 1


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__)
def test_a_refused_request_is_sent_once(caller, monkeypatch):
    for status in (400, 401, 403, 404, 409, 413, 422):
        with Scripted([status] * 9) as server:
            with pytest.raises(errors.GuerdonError) as raised:
                call(caller, server.url, monkeypatch, timeout=60.0, **FAST)
            assert (len(server.received), raised.value.status) == (1, status)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__)
def test_the_number_of_retries_is_a_setting_of_every_caller(caller, monkeypatch):
    for retries, fault in itertools.product((0, 1, 4), (503, 500, "half")):
        with Scripted([fault] * 9) as server:
            with pytest.raises(errors.GuerdonError):
                call(caller, server.url, monkeypatch, timeout=60.0, retries=retries, **FAST)
            assert len(server.received) == retries + 1, (retries, fault)


@pytest.mark.parametrize("caller", HOOKS, ids=lambda caller: caller.__name__)
def test_settings_come_from_the_environment(caller, monkeypatch):
    monkeypatch.setenv("GUERDON_RETRIES", "2")
    monkeypatch.setenv("GUERDON_BACKOFF_CAP", "0.01")
    with Scripted([503] * 9) as server:
        with pytest.raises(errors.GuerdonError):
            call(caller, server.url, monkeypatch)
        assert len(server.received) == 3


def test_an_unreachable_server_is_tried_until_the_timeout():
    with pytest.raises(errors.TransportError, match="could not be reached") as raised:
        guerdon.Client("http://127.0.0.1:9", timeout=1.0, backoff_cap=0.1).score(ROLLOUTS)
    assert raised.value.tries > 6


@pytest.mark.parametrize("name", ["timeout", "retries", "backoff", "backoff_cap", "backoff_floor", "chunk", "concurrency"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_a_limit_out_of_range_is_named(name, value):
    if value != value and name in ("retries", "chunk", "concurrency"):
        value = -3
    with pytest.raises(errors.ConfigError, match=f"`{name}`") as raised:
        guerdon.Client("http://127.0.0.1:9", **{name: value})
    assert raised.value.field == name


def groups_of(servers):
    """The server that answered each group: its place in `servers`."""
    return {
        json.loads(body)["rollouts"][0]["group"]: place
        for place, server in enumerate(servers)
        for _, _, body in server.received
    }


@pytest.mark.parametrize("given", [list, tuple, ", ".join])
@pytest.mark.parametrize("call", [sync_client, async_client, stream, trl, verl, verl_sync])
def test_a_list_of_urls_leaves_out_a_server_that_is_away(call, given):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Scripted() as live:
        assert call(given([dead, live.url]), timeout=60, backoff=30, backoff_cap=30) == 0.0
        assert call(given([live.url, dead]), timeout=60, backoff=30, backoff_cap=30) == 0.0
        # Rollouts without a group may have been meant for different servers, in requests of their own.
        assert len(live.received) >= 2


def test_a_list_of_urls_in_the_environment_is_used_by_hooks(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Scripted() as live:
        monkeypatch.setenv("GUERDON_URL", f"{dead},{live.url}")
        rollouts = [{**rollout, "group": "g"} for rollout in ROLLOUTS]
        assert hook.Settings().client().score(rollouts).rewards == [0.0, 1.0]
    assert hook.Settings(url=["http://a", "http://b"]).url == "http://a,http://b"


def test_samples_of_a_group_meet_on_one_server_in_any_process_and_order():
    with Scripted() as one, Scripted() as two, Scripted() as three:
        servers = [one, two, three]
        names = [f"g{n}" for n in range(24)]
        seen = []
        for urls in ([server.url for server in servers], [server.url for server in reversed(servers)]):
            client = guerdon.Client(urls)
            for name in names * 2:
                client.score([{**ROLLOUTS[0], "group": name}])
            seen.append(groups_of(servers))
            assert sum(len(server.received) for server in servers) == 48 * len(seen)
        assert seen[0] == seen[1]
        assert set(seen[0].values()) == {0, 1, 2}


def test_a_client_with_several_urls_shows_no_secret():
    client = guerdon.Client(["http://me:s3cret@a:1/?key=s3cret", "http://b:2"])
    assert "http://a:1/,http://b:2" in repr(client)
    assert "s3cret" not in repr(client)
    with pytest.raises(errors.ConfigError, match="twice"):
        guerdon.Client("http://a,http://a")
    with pytest.raises(errors.ConfigError, match="url"):
        guerdon.Client([])
