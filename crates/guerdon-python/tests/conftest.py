"""A real server for all tests, and the rollouts that they score."""

import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
TOKEN = "let-me-in-please"

ASKED = [
    {"role": "system", "content": "You negotiate hotel room prices."},
    {"role": "user", "content": "480 is our best price."},
]
POLITE = "Thank you. Could we meet at 420 for this weekend only?"
LEAK = "<think>They are weak.</think>Our target price is 420, the work order says so."
FACTS = {"target_price": 420, "net_price": 480, "sop_stage": "negotiate", "language": "en"}


@pytest.fixture(scope="session")
def mute() -> Iterator[str]:
    """The address of a fake server that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def url(mute: str) -> Iterator[str]:
    """The address of a freshly started server that accepts the token `TOKEN` only."""
    binary = os.environ.get("GUERDON_BINARY", ROOT / "target/debug/guerdon")
    command = [binary, "serve", "--config", HERE / "guerdon.toml"]
    environment = os.environ | {"GUERDON_TEST_TOKEN": TOKEN, "GUERDON__JUDGES__MUTE__URL": f"{mute}/v1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout:
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
                if found:
                    break
            else:
                pytest.exit("the server stopped before it listened; its log is above")
            yield found.group()
        finally:
            server.terminate()


@pytest.fixture
def rollouts() -> list[dict]:
    """Two dialogues of one prompt: a polite reply, and one that leaks a secret."""
    replies = [POLITE, LEAK.partition("</think>")[2]]
    return [
        {
            "group": "p",
            "messages": [*ASKED, {"role": "assistant", "content": reply}],
            "context": FACTS,
        }
        for reply in replies
    ]


@pytest.fixture
def asking(url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment variables of the hooks."""
    monkeypatch.setenv("GUERDON_URL", url)
    monkeypatch.setenv("GUERDON_KEY", TOKEN)
    return monkeypatch
