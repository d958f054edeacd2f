"""Streams against a real server, and against fake ones that close the connection."""

import asyncio
import socket
import threading

import pytest
from conftest import TOKEN

import guerdon
from guerdon import errors


@pytest.fixture
def client(url):
    return guerdon.Client(url, key=TOKEN, profile="hotel")


@pytest.fixture
def awaited(url):
    return guerdon.AsyncClient(url, key=TOKEN, profile="hotel")


def test_results_have_an_index_and_the_summary_has_versions(client, rollouts):
    batch = rollouts * 8
    stream = client.stream(batch)
    assert stream.summary is None
    rewards = {result["index"]: result["reward"] for result in stream}
    assert [rewards[index] for index in range(len(batch))] == client.score(batch).rewards
    assert stream.summary["results"] == 16 and stream.summary["versions"]["profile"] == "hotel"
    assert list(stream) == [], "it is read once"


def test_awaited_streams_give_the_same_results(client, awaited, rollouts):
    async def read():
        stream = await awaited.stream(rollouts * 8, advantages="grpo")
        results = [result async for result in stream]
        return results, stream.summary

    results, summary = asyncio.run(read())
    scored = client.score(rollouts * 8, advantages="grpo")
    by_index = {result["index"]: (result["reward"], result["advantage"]) for result in results}
    assert [by_index[index] for index in range(16)] == list(zip(scored.rewards, scored.advantages, strict=True))
    assert summary["results"] == 16


def test_a_final_result_arrives_before_slow_ones(client, rollouts):
    # The second cannot be scored and is final at once; the judge never replies for the first.
    batch = [rollouts[0], {**rollouts[1], "messages": [{"role": "assistant", "content": "x" * 1_100_000}]}]
    with client.stream(batch, profile="patient", deadline_ms=60_000) as stream:
        first = next(stream)
        assert (first["index"], first["reward"], stream.summary) == (1, None, None)
    assert list(stream) == [], "leaving it ends it"


def test_a_refused_request_raises_before_the_first_result(client, awaited, rollouts):
    with pytest.raises(errors.ProblemError, match="hotle"):
        client.stream(rollouts, profile="hotle")
    with pytest.raises(errors.RequestError, match="/rollouts/0"):
        client.stream([{"mesages": []}])

    async def ask():
        await awaited.stream(rollouts, profile="hotle")

    with pytest.raises(errors.ProblemError, match="hotle"):
        asyncio.run(ask())


@pytest.fixture
def breaking():
    """A fake server that closes a stream after one result of two."""
    line = b'{"index": 1, "id": "1", "reward": 0.5, "turns": []}\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(head + b"%x\r\n" % len(line) + line + b"\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_truncated_stream_yields_its_results_and_raises(breaking, rollouts):
    stream = guerdon.Client(breaking).stream(rollouts)
    assert next(stream)["index"] == 1
    with pytest.raises(errors.CutError, match="1 of 2"):
        next(stream)
    assert list(stream) == [] and stream.summary is None


def test_an_awaited_stream_can_be_cancelled_while_it_reads(awaited, rollouts):
    async def leave():
        async with await awaited.stream(rollouts, profile="patient", deadline_ms=60_000) as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), timeout=0.2)
        assert [result async for result in stream] == []

    asyncio.run(leave())


def test_a_stream_can_outlive_its_client(url, rollouts):
    stream = guerdon.Client(url, key=TOKEN).stream(rollouts)
    said = [result["turns"][0]["index"] for result in stream]
    assert said == [2, 2]
