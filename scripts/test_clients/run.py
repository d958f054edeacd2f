"""Runs trainers' own, unmodified clients against a freshly started server. `python3 scripts/test_clients/run.py [SERVER]`.

The first run makes a virtual environment (106 MB from PyPI, no torch). SERVER is the `guerdon` binary, by default
target/release/guerdon. `--slime DIR` and `--roll DIR` add clients from checkouts, because no package index has them.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = ROOT / ".venv-clients"
PYTHON = VENV / "bin" / "python"
TOKEN = "let-me-in-please"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", default=ROOT / "target/release/guerdon", type=pathlib.Path)
    parser.add_argument("--slime", help="a checkout of THUDM/slime")
    parser.add_argument("--roll", help="a checkout of alibaba/ROLL")
    parser.add_argument("--verifiers", metavar="PYTHON", help="a Python that has verifiers 0.4.0")
    parser.add_argument(
        "--hooks", metavar="PYTHON", action="append", default=[], help="a Python that has guerdon, and trainers of hooks.py"
    )
    chosen = parser.parse_args()
    if not chosen.server.exists():
        sys.exit(f"cannot find {chosen.server}; build it with `cargo build --release -p guerdon-cli`")
    install()
    command = [chosen.server, "serve", "--config", HERE / "guerdon.toml"]
    environment = os.environ | {"GUERDON_TEST_TOKEN": TOKEN}
    # The server prints its address; the end of this block stops it.
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            checkouts = {"SLIME": chosen.slime or "", "ROLL": chosen.roll or ""}
            url = address(server)
            light = [PYTHON, HERE / "clients.py", url, TOKEN]
            heavy = [chosen.verifiers, HERE / "verifiers_client.py", url, TOKEN]
            hooks = [[python, HERE / "hooks.py", url, TOKEN] for python in chosen.hooks]
            runs = [light, *([heavy] if chosen.verifiers else []), *hooks]
            codes = [subprocess.run(run, env=environment | checkouts, check=False).returncode for run in runs]
            return max(codes, key=abs)
        finally:
            server.terminate()


def address(server: subprocess.Popen) -> str:
    for line in server.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found.group()
    sys.exit("the server stopped before it listened")


def install() -> None:
    """Installs the packages of both lists, if they changed since the last run."""
    wanted = (HERE / "requirements.txt").read_text() + (HERE / "clients.txt").read_text()
    stamp = VENV / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(VENV, with_pip=True, clear=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)
    subprocess.run([*pip, "--no-deps", "-r", HERE / "clients.txt"], check=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    sys.exit(main())
