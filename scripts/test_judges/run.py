#!/usr/bin/env python3
"""Tests guerdon-judge against two third-party servers: llama.cpp's, with a small model, and LiteLLM's proxy.

    make test-judges

Installs both into virtual environments of their own (about 1 GB, minutes the first time), starts them on loopback, runs
`cargo test -p guerdon-judge --test it real_servers`, and stops them.
"""

import argparse
import os
import pathlib
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOCAL_JUDGE = ROOT / "examples" / "local-judge" / "serve.py"
LITELLM = "litellm[proxy]==1.106.2"


def installed(venv: pathlib.Path, *requirements: str) -> pathlib.Path:
    """Returns the `bin` of the virtual environment, with `requirements` installed."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        if requirements:
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *requirements], check=True)
    return venv / "bin"


def wait_for(url: str, server: subprocess.Popen, seconds: int) -> None:
    """Returns once `url` answers 200."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            sys.exit(f"the server for {url} ended with {server.returncode}; its output is above")
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.5)
    sys.exit(f"{url} did not answer within {seconds} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama-venv", type=pathlib.Path, default=ROOT / ".venv-judge")
    parser.add_argument("--litellm-venv", type=pathlib.Path, default=ROOT / ".venv-litellm")
    options = parser.parse_args()

    installed(options.llama_venv)
    subprocess.run([sys.executable, str(LOCAL_JUDGE), "install", str(options.llama_venv)], check=True)
    litellm = installed(options.litellm_venv, LITELLM)

    key = "sk-" + secrets.token_hex(24)
    environment = {**os.environ, "LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    servers = []
    try:
        llama = subprocess.Popen([str(options.llama_venv / "bin" / "python"), str(LOCAL_JUDGE), "--port", "8092"])
        servers.append(llama)
        proxy = subprocess.Popen(
            [str(litellm / "litellm"), "--config", str(HERE / "litellm.yaml"), "--host", "127.0.0.1",
             "--port", "4010", "--num_workers", "1"],
            env=environment,
        )
        servers.append(proxy)
        wait_for("http://127.0.0.1:8092/health", llama, 120)
        wait_for("http://127.0.0.1:4010/health/liveliness", proxy, 300)
        tests = [os.environ.get("CARGO", "cargo"), "test", "-p", "guerdon-judge", "--test", "it", "real_servers", "--",
                 "--nocapture", "--test-threads", "1"]
        settings = {
            "GUERDON_TEST_JUDGE_URL": "http://127.0.0.1:8092/v1",
            "GUERDON_TEST_LITELLM_URL": "http://127.0.0.1:4010/v1",
            "GUERDON_TEST_LITELLM_KEY": key,
        }
        return subprocess.run(tests, env={**os.environ, **settings}, cwd=ROOT, check=False).returncode
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main())
