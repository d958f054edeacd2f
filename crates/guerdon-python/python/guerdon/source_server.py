"""The HTTP server of a source: what a server asks through a profile's source of kind `http`.

>>> import guerdon
>>> with guerdon.SourceServer("reward.py:price", port=0) as server:  # doctest: +SKIP
...     print(server.url)
http://127.0.0.1:43117/score
"""

from __future__ import annotations

import hashlib
import hmac
import http.server
import ipaddress
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from guerdon.errors import ConfigError
from guerdon.sources import Source, SourceTurn, load_source

__all__ = ["SourceServer", "serve_source"]

MAX_BODY = 64 << 20
"""The largest request, in bytes."""
SECRET = "GUERDON_SOURCE_SECRET"
"""The environment variable that holds the secret of the signatures by default."""


class SourceServer:
    """An HTTP server of one source, on threads of its own. It runs inside `with`, or between `start` and `stop`."""

    def __init__(
        self,
        source: Source | Callable[..., Any] | str,
        host: str = "127.0.0.1",
        port: int = 9001,
        *,
        secret: str | None = None,
    ) -> None:
        """Binds the port.

        - `source`: a `Source`, a function, or `FILE.py:FUNCTION`
        - `host`, `port`: the address; port 0 is a free one
        - `secret`: refuses requests that are not signed with it (HMAC-SHA256); by default the environment variable
          `GUERDON_SOURCE_SECRET`. An address that other machines reach needs one.
        """
        if isinstance(source, str):
            source = load_source(source)
        self.source: Source = source if isinstance(source, Source) else Source(source)
        secret = secret or os.environ.get(SECRET) or None
        if secret is None and not _is_loopback(host):
            raise ConfigError(f"{host} can be reached from other machines: set `secret`, or {SECRET}")
        self._secret = secret.strip().encode() if secret else None
        self._server = _Server((host, port), _handler(self))
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL for the source's configuration."""
        host, port = self._server.server_address[:2]
        text = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
        return f"http://{f'[{text}]' if ':' in text else text}:{port}/score"

    def start(self) -> SourceServer:
        """Starts to answer, on a thread of its own."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="source-server", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops to answer, and closes the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def serve_forever(self) -> None:
        """Answers until the program is interrupted."""
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            self._server.server_close()

    def __enter__(self) -> SourceServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reply(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Returns the status and the body of the reply to one request."""
        if self._secret is not None:
            signed = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            if not hmac.compare_digest(signed.encode(), headers.get("x-guerdon-signature", "").encode()):
                return 401, {"error": "the signature is missing or wrong; both sides need the same secret"}
        try:
            turns = _turns(json.loads(body))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            return 400, {"error": f"the body is not a request about turns: {error!r}"[:500]}
        deadline = _deadline(headers.get("x-guerdon-deadline-ms"))
        results = self.source.results(turns)
        if deadline is not None and time.monotonic() > deadline:
            # Nobody waits for it any more.
            return 503, {"error": "the deadline passed"}
        return 200, {"version": self.source.version, "results": results}


def serve_source(
    source: Source | Callable[..., Any] | str,
    host: str = "127.0.0.1",
    port: int = 9001,
    *,
    secret: str | None = None,
) -> None:
    """Serves a source until the program is interrupted. The parameters are those of `SourceServer`.

    >>> import guerdon
    >>> guerdon.serve_source("reward.py:price", port=9001)  # doctest: +SKIP
    """
    server = SourceServer(source, host, port, secret=secret)
    print(f"listening on {server.url} (source {server.source.name}, version {server.source.version})", flush=True)
    server.serve_forever()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def _handler(owner: SourceServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A reply is one packet where possible, and never waits for the other side's acknowledgement.
        disable_nagle_algorithm = True
        wbufsize = 1 << 16
        # An idle or stuck connection holds its thread no longer.
        timeout = 120

        def do_GET(self) -> None:
            if self.path.partition("?")[0] in ("/health", "/healthz"):
                self._send(200, {"status": "ok", "source": owner.source.name, "version": owner.source.version})
            else:
                self._send(404, {"error": "there is /score (POST) and /health (GET)"})

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdigit():
                self.close_connection = True
                return self._send(411, {"error": "the request has no Content-Length"})
            if int(length) > MAX_BODY:
                self.close_connection = True
                return self._send(413, {"error": f"the body is larger than {MAX_BODY} bytes"})
            body = self.rfile.read(int(length))
            if self.path.partition("?")[0].rstrip("/") not in ("", "/score"):
                return self._send(404, {"error": "there is /score (POST) and /health (GET)"})
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(*owner.reply(body, headers))

        def _send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content, allow_nan=False, default=_plain).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            if str(code) >= "400":
                print(f"{self.command} {self.path}: {code}", file=sys.stderr, flush=True)

    return Handler


def _turns(request: Any) -> list[SourceTurn]:
    """The turns of a request, each with the messages up to it."""
    dialogues = request["dialogues"]
    turns = []
    for asked in request["turns"]:
        dialogue, message = dialogues[asked["dialogue"]], asked["message"]
        messages = dialogue["messages"]
        if not 0 <= message < len(messages):
            raise IndexError(f"message {message} of {len(messages)}")
        turns.append(
            SourceTurn(
                messages=messages[: message + 1],
                context=dialogue.get("context") or {},
                tools=dialogue.get("tools") or (),
                rollout=dialogue.get("rollout"),
                group=dialogue.get("group"),
                id=asked.get("id", ""),
            )
        )
    return turns


def _deadline(milliseconds: str | None) -> float | None:
    if milliseconds is None or not milliseconds.isdigit():
        return None
    return time.monotonic() + int(milliseconds) / 1000


def _plain(value: Any) -> Any:
    """NumPy's and other libraries' values as JSON has them."""
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    return str(value)


def _is_loopback(host: str) -> bool:
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
