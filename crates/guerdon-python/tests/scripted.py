"""A server that follows a script: it refuses, breaks connections, dies in the middle of an answer, and comes back."""

import contextlib
import http.server
import json
import logging
import socket
import struct
import threading

DIGEST = f"sha256:{'a' * 64}"
"""The configuration of a scripted server, in the header of its streams."""

USAGE = {"judge_calls": 0, "judge_cache_hits": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0}
FAST = {"backoff": 0.001, "backoff_cap": 0.01, "backoff_floor": 0.001}
"""Settings of a client with short waits."""


def score_reply(request):
    """The reward of a rollout is its index."""
    results = [{"id": str(index), "reward": float(index), "turns": []} for index, _ in enumerate(request["rollouts"])]
    versions = {"profile": "hotel", "fusion": {}, "generation": 1}
    return {"request_id": "q", "results": results, "versions": versions, "usage": USAGE}


def lines_reply(request):
    """The reply in lines, for a stream."""
    reply = score_reply(request)
    results = [{"index": index, **result} for index, result in enumerate(reply["results"])]
    summary = {name: reply[name] for name in ("request_id", "versions", "usage")} | {"results": len(results)}
    return "".join(json.dumps(line) + "\n" for line in [*results, summary])


def texts_reply(request):
    numbers = [float(index) for index, _ in enumerate(request["query"])]
    return {"rewards": numbers, "scores": numbers, "extra_logs": {"failed": [0.0] * len(numbers)}}


class Scripted(http.server.ThreadingHTTPServer):
    """Answers with the actions of a script, then scores. An action is a status, `reset` or `half`, or for a stream
    `("lines", N)`: N lines, after which the connection breaks."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, script=(), port=0):
        self.script, self.received, self.lock = list(script), [], threading.Lock()
        self.digest = DIGEST
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Broken connections are the purpose of this server."""

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            self.server.received.append((self.path, dict(self.headers), body))
            action = self.server.script.pop(0) if self.server.script else 200
        if action == "reset":
            # Closes with RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        made = texts_reply if self.path.startswith("/get_reward") else score_reply
        if self.headers["accept"] == "application/x-ndjson":
            whole = lines_reply(json.loads(body))
        else:
            whole = json.dumps(made(json.loads(body)))
        text = whole.encode() if action in (200, "half") or isinstance(action, tuple) else b"no"
        self.send_response(action if isinstance(action, int) else 200)
        self.send_header("x-guerdon-digest", self.server.digest)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if isinstance(action, tuple):
            self.wfile.write(b"".join(text.splitlines(keepends=True)[: action[1]]))
            self.close_connection = True
        elif action == "half":
            self.wfile.write(text[: len(text) // 2])
            self.close_connection = True
        else:
            self.wfile.write(text)


@contextlib.contextmanager
def coming_back(script=()):
    """Yields the URL of a server that is away until a client has said in its log that it keeps trying, and a function
    that returns what the server received."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = []

    class Starter(logging.Handler):
        def emit(self, record):
            if not started:
                started.append(Scripted(script, port))

    handler = Starter()
    logging.getLogger("guerdon").addHandler(handler)
    try:
        yield f"http://127.0.0.1:{port}", lambda: started[0].received if started else []
    finally:
        logging.getLogger("guerdon").removeHandler(handler)
        for server in started:
            server.__exit__()
