"""Reward functions of one's own: what they return, the server around them, and one that is live in a reward."""

import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator

import numpy as np
import pytest

import guerdon
from guerdon import errors
from guerdon.sources import load_source

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent


def request(*contents: str, context: dict | None = None) -> dict:
    """A request about the last message of one dialogue for each content."""
    dialogues = [
        {
            "rollout": f"r-{index}",
            "messages": [{"role": "user", "content": "How much?"}, {"role": "assistant", "content": content}],
            "context": context or {},
        }
        for index, content in enumerate(contents)
    ]
    turns = [{"id": f"{index:064}", "dialogue": index, "message": 1} for index in range(len(contents))]
    return {"source": "s", "request_id": "q", "dialogues": dialogues, "turns": turns}


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict]:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("POST", parts.path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def results(source, *contents: str, **more) -> list[dict]:
    with guerdon.SourceServer(source, port=0) as server:
        status, reply = post(server.url, json.dumps(request(*contents, **more)).encode())
    assert status == 200, reply
    return reply["results"]


def test_a_function_returns_a_number_a_result_or_a_reason():
    @guerdon.source
    def length(turn):
        return {
            "int": 3,
            "numpy": np.float32(0.5),
            "bool": True,
            "mapping": {"value": 1, "veto": True},
            "result": guerdon.SourceResult(
                np.float64(2), {"a": np.int64(1)}, [(0, 3)], detail={"n": np.arange(2)}
            ),
            "none": None,
            "reason": guerdon.Abstain("no price"),
        }[turn.content]

    contents = ["int", "numpy", "bool", "mapping", "result", "none", "reason", "unknown"]
    got = results(length, *contents)
    assert [one.get("value") for one in got] == [3.0, 0.5, 1.0, 1.0, 2.0, None, None, None]
    assert got[3]["veto"] is True
    assert got[4] == {"value": 2.0, "components": {"a": 1.0}, "spans": [[0, 3]], "detail": {"n": [0, 1]}}
    assert got[6] == {"abstain": "no price"}
    assert "KeyError" in got[7]["abstain"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.nan, "3", [1, 2], object()])
def test_a_value_that_is_no_finite_number_abstains(value):
    (got,) = results(guerdon.Source(lambda turn: value, name="odd"), "a")
    assert set(got) == {"abstain"}, got


def test_a_function_sees_the_messages_up_to_the_turn_only():
    seen = []
    body = request("x", context={"price": 420})
    body["dialogues"][0]["messages"] += [
        {"role": "user", "content": "later"},
        {"role": "assistant", "content": "last"},
    ]
    body["turns"].append({"id": "", "dialogue": 0, "message": 3})

    def remember(turn):
        seen.append((len(turn.messages), turn.content, turn.context["price"], turn.rollout))
        return 0

    with guerdon.SourceServer(remember, port=0) as server:
        assert post(server.url, json.dumps(body).encode())[0] == 200
    assert sorted(seen) == [(2, "x", 420, "r-0"), (4, "last", 420, "r-0")]


def test_async_batched_and_class_sources():
    @guerdon.source
    async def waits(turn):
        return len(turn.content)

    @guerdon.source(batched=True, version="7")
    def together(turns):
        return np.array([len(turn.content) for turn in turns]) / len(turns)

    @guerdon.source
    class Counts:
        def __init__(self):
            self.calls = 0

        def __call__(self, turn):
            self.calls += 1
            return self.calls

    assert [one["value"] for one in results(waits, "a", "bb")] == [1.0, 2.0]
    assert [one["value"] for one in results(together, "a", "bbb")] == [0.5, 1.5]
    assert [one["value"] for one in results(Counts, "a", "b", "c")] == [1.0, 2.0, 3.0]
    assert together.version == "7"
    short = guerdon.Source(lambda turns: [1.0], name="short", batched=True)
    assert all("1 results for 2 turns" in one["abstain"] for one in results(short, "a", "b"))


def test_requests_and_replies_are_those_of_the_openapi_document():
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads((ROOT / "openapi/source.v1.json").read_text())

    def check(value, name: str) -> None:
        jsonschema.validate(value, {"$ref": f"#/components/schemas/{name}", "components": document["components"]})

    got = results(lambda turn: guerdon.SourceResult(1.0, {"a": 2.0}, [(0, 1)], True, {"b": [3]}), "text")
    check({"version": "1", "results": [*got, {"abstain": "none"}]}, "SourceReply")
    check(request("a", "b", context={"price": 420}), "SourceRequest")
    with pytest.raises(jsonschema.ValidationError):
        check({"results": [{"valu": 1}]}, "SourceReply")


def test_only_signed_requests_are_answered_if_there_is_a_secret():
    body = json.dumps(request("a")).encode()
    signature = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    with guerdon.SourceServer(lambda turn: 1.0, port=0, secret="s3cret") as server:
        assert post(server.url, body)[0] == 401
        assert post(server.url, body, {"x-guerdon-signature": signature[:-1] + "x"})[0] == 401
        assert post(server.url, body + b" ", {"x-guerdon-signature": signature})[0] == 401
        assert post(server.url, body, {"X-Guerdon-Signature": signature})[0] == 200


def test_an_address_of_other_machines_needs_a_secret():
    with pytest.raises(errors.ConfigError, match="secret"):
        guerdon.SourceServer(lambda turn: 1.0, "0.0.0.0", 0)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"3", b'{"turns": []}', json.dumps(request("a") | {"turns": [{"dialogue": 3, "message": 0}]}).encode()],
)
def test_a_body_that_is_no_request_is_refused(body):
    with guerdon.SourceServer(lambda turn: 1.0, port=0) as server:
        status, reply = post(server.url, body)
    assert status == 400 and "error" in reply


def test_a_file_is_loaded_by_its_name_and_its_content_is_the_version(tmp_path):
    file = tmp_path / "reward.py"
    file.write_text("import guerdon\n@guerdon.source\ndef price(turn):\n    return 1.0\n")
    first = load_source(f"{file}:price")
    assert load_source(str(file)).version == first.version
    file.write_text("import guerdon\n@guerdon.source\ndef price(turn):\n    return 2.0\n")
    assert load_source(f"{file}:price").version != first.version
    for target, text in [(f"{file}:cost", "price"), (str(tmp_path / "none.py"), "no file")]:
        with pytest.raises(errors.ConfigError, match=text):
            load_source(target)


def test_the_decorator_stays_a_decorator_if_the_module_of_its_name_is_imported():
    program = "import guerdon, guerdon.source\nprint(guerdon.source(lambda turn: 1.0).concurrency)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def example(name: str) -> guerdon.Source:
    return load_source(str(ROOT / "examples/sources" / name))


def test_the_exact_match_example():
    source = example("exact_match.py")
    got = results(source, "The price is: 420.", "I think 430", "420", context={"answer": "420"})
    assert [one["value"] for one in got] == [1.0, 0.0, 1.0]
    assert "answer" in results(source, "420")[0]["abstain"]


def test_the_length_penalty_example():
    got = results(example("length_penalty.py"), "", "x" * 600, "x" * 900, "x" * 5000)
    assert [one["value"] for one in got] == [0.0, 0.0, -0.5, -1.0]


def test_the_tool_schema_example():
    pytest.importorskip("jsonschema")
    parameters = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
    tools = [{"type": "function", "function": {"name": "book", "parameters": parameters}}]
    source = example("tool_schema.py")

    def value(*calls: tuple[str, str]) -> float:
        written = [{"type": "function", "function": {"name": name, "arguments": text}} for name, text in calls]
        message = {"role": "assistant", "content": None, "tool_calls": written}
        (got,) = source.results([guerdon.SourceTurn([message], tools=tools)])
        return got["value"]

    assert value() == 0.0
    assert value(("book", '{"price": 420}')) == 0.0
    assert value(("book", '{"price": "420"}'), ("book", "{"), ("cancel", "{}"), ("book", '{"price": 1}')) == -3.0


def test_the_embedding_example_batches_and_abstains_without_a_reference():
    source = example("embedding_similarity.py")
    vectors = {"a": [1.0, 0.0], "b": [0.0, 2.0], "ab": [3.0, 3.0]}
    similarity = source._function.__new__(source._function)
    similarity.encode = lambda texts: np.array([vectors[text] for text in texts])
    source._object = similarity
    turn = lambda text, context: guerdon.SourceTurn([{"role": "assistant", "content": text}], context)
    turns = [turn("a", {"reference": "ab"}), turn("a", {}), turn("a", {"reference": "b"})]
    first, second, third = source.results(turns)
    assert first["value"] == pytest.approx(2**-0.5) and third["value"] == pytest.approx(0.0)
    assert "reference" in second["abstain"]


def test_the_math_example():
    pytest.importorskip("math_verify")
    got = results(example("math_answer.py"), "So it is $\\frac{1}{2}$.", "It is $2$.", context={"answer": "0.5"})
    assert [one["value"] for one in got] == [1.0, 0.0]


# The whole work of a user: this file, the table of the configuration, and two commands.
FIVE_LINES = """\
import guerdon, numpy as np

@guerdon.source
def brevity(turn):
    return -np.log1p(len(turn.content) / 100)
"""
# The weighted sum divides points by its bound, 100.
CONFIG = """\
default_profile = "hotel"

[profiles.hotel]
fusion = {{ method = "weighted_sum" }}

[profiles.hotel.sources.brevity]
kind = "http"
url = "{url}"
secret_env = "GUERDON_SOURCE_SECRET"
scale = 100
"""


@pytest.fixture
def listening(tmp_path) -> Iterator:
    """Starts programs and reads the address that they print; stops them in the end."""
    programs = []

    def start(command: list, environment: dict[str, str]) -> str:
        program = subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | environment, stdout=subprocess.PIPE, text=True
        )
        programs.append(program)
        for line in program.stdout:
            found = re.search(r"http://127\.0\.0\.1:\d+(/score)?", line)
            if found:
                threading.Thread(target=program.stdout.read, daemon=True).start()
                return found.group()
        pytest.fail(f"{command} ended before it listened")

    yield start
    for program in programs:
        program.terminate()
        program.wait(10)


def test_a_numpy_function_of_five_lines_is_live_in_a_reward(tmp_path, listening):
    secret = {"GUERDON_SOURCE_SECRET": "one-secret-for-both-sides"}
    (tmp_path / "reward.py").write_text(FIVE_LINES)
    source = listening([sys.executable, "-m", "guerdon.source", "reward.py:brevity", "--port", "0"], secret)
    (tmp_path / "guerdon.toml").write_text(CONFIG.format(url=source))
    binary = os.environ.get("GUERDON_BINARY", ROOT / "target/debug/guerdon")
    url = listening([binary, "serve", "--config", "guerdon.toml", "--listen", "127.0.0.1:0"], secret)
    texts = ["x" * 50, "x" * 100]
    rollouts = [{"messages": [{"role": "assistant", "content": text}]} for text in texts]
    scored = guerdon.Client(url).score(rollouts)
    assert scored.rewards == pytest.approx([-np.log1p(0.5), -np.log1p(1.0)], rel=1e-12)
