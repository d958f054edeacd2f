"""Installs the built wheels in new virtual environments and uses them in empty folders, as a newcomer does.

    python scripts/wheels/test.py [DIST]        DIST is the folder of the wheels, by default dist

Only the wheels and the package index are used: neither the checkout's program, nor its data, nor a compiler. The
request and the expected reward are those of the README.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
import venv
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
OLDEST = (3, 11)  # the oldest CPython, as the wheels and the README name it
START = 120  # seconds for a server to start on a busy machine


def main() -> None:
    dist = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    (sdk,), (server,) = (list(dist.glob(f"{name}-*.whl")) for name in ("guerdon", "guerdon_server"))
    version = sdk.name.split("-")[1]
    check_contents(sdk, server)
    with tempfile.TemporaryDirectory(prefix="guerdon-wheels-") as work:
        root = pathlib.Path(work)
        whole = Environment(root / "whole", ["--find-links", str(dist), f"guerdon[server]=={version}"])
        check_program(whole, version)
        check_example(whole)
        for template in ("hotel", "support", "math", "blank"):
            check_template(whole, template)
        whole.pip("uninstall", "--yes", "--quiet", "guerdon-server")
        check_missing(whole)
        alone = Environment(root / "alone", ["--find-links", str(dist), f"guerdon=={version}"])
        check_missing(alone)
        server_only = Environment(root / "server", ["--find-links", str(dist), f"guerdon-server=={version}"])
        assert not server_only.command.exists(), "the wheel guerdon-server installed a command"
        shown = server_only.run("-m", "guerdon_server", "--version", program=server_only.python)
        assert shown.stdout.strip() == f"guerdon {version}", shown
    print("ok: both wheels")


class Environment:
    """A virtual environment with an empty folder next to it."""

    def __init__(self, folder: pathlib.Path, packages: list[str]) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=True)
        self.python = folder / "venv" / "bin" / "python"
        self.command = folder / "venv" / "bin" / "guerdon"
        self.pip("install", "--quiet", "--only-binary", ":all:", *packages)

    def pip(self, *arguments: str) -> None:
        subprocess.run([self.python, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)

    def empty_folder(self) -> pathlib.Path:
        return pathlib.Path(tempfile.mkdtemp(dir=self.folder))

    def variables(self) -> dict[str, str]:
        """Neither a compiler nor the checkout is in the path, and no variable of guerdon is set."""
        return {"PATH": f"{self.python.parent}:/usr/bin:/bin", "HOME": str(self.folder)}

    def run(self, *arguments: str, program: "pathlib.Path | None" = None, folder: "pathlib.Path | None" = None):
        return subprocess.run(
            [program or self.command, *arguments],
            cwd=folder or self.empty_folder(), env=self.variables(), capture_output=True, text=True,
        )


class Server:
    """`guerdon serve` in a folder. The end of the block stops it by SIGTERM and expects exit status 0."""

    def __init__(self, environment: Environment, folder: pathlib.Path) -> None:
        self.process = subprocess.Popen(
            [environment.command, "serve", "--listen", "127.0.0.1:0"],
            cwd=folder, env=environment.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if not found:
            raise SystemExit(f"the server did not start: {line} {self.process.communicate()[1]}")
        self.url = found.group()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        # The launcher was replaced by the program: the process that was started is the server.
        name = pathlib.Path(f"/proc/{self.process.pid}/exe").resolve().name
        assert name == "guerdon", f"the process runs {name}"
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=START)
        assert self.process.returncode == 0, (self.process.returncode, errors)

    def score(self, body: bytes) -> dict:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/score", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=START) as reply:
            return json.load(reply)


def check_contents(sdk: pathlib.Path, server: pathlib.Path) -> None:
    oldest = f"{OLDEST[0]}.{OLDEST[1]}"
    assert f"-cp{OLDEST[0]}{OLDEST[1]}-abi3-" in sdk.name, sdk.name
    readme = (REPOSITORY / "README.md").read_text()
    assert f"CPython {oldest} or newer" in " ".join(readme.split()), f"the README does not name CPython {oldest}"
    for wheel in (sdk, server):
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            assert f"Requires-Python: >={oldest}\n" in archive.read(name).decode(), f"{wheel.name}: not {oldest}"
    assert "-py3-none-" in server.name, server.name
    with zipfile.ZipFile(server) as archive:
        names = archive.namelist()
        mode = archive.getinfo("guerdon_server/bin/guerdon").external_attr >> 16
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    assert mode & 0o111 == 0o111, f"the program's mode is {mode:o}"
    assert not [name for name in names if ".data/scripts/" in name or "entry_points" in name], names
    for needed in ("guerdon.toml", "models/e5-hh/model.onnx", "rules/guardrails.yaml", "judge-prompts/empathy.md"):
        assert f"guerdon_server/share/guerdon/{needed}" in names, needed
    assert "Requires-Dist: onnxruntime" in text and len([n for n in names if "/licenses/" in n]) >= 2, text
    size = server.stat().st_size / 1e6
    assert size <= 33, f"{server.name} has {size:.1f} MB"
    with zipfile.ZipFile(sdk) as archive:
        names = archive.namelist()
        (scripts,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
        assert "guerdon=guerdon_command:main" in scripts.replace(" ", ""), scripts
        assert [name for name in names if "/licenses/" in name], names
    print(f"{sdk.name}: {sdk.stat().st_size / 1e6:.1f} MB\n{server.name}: {size:.1f} MB")


def check_program(environment: Environment, version: str) -> None:
    shown = environment.run("--version")
    assert shown.returncode == 0 and shown.stdout.strip() == f"guerdon {version}" and not shown.stderr, shown
    assert environment.run("no-such-command").returncode == 2
    missing = environment.run("rules", "check", "nowhere")
    assert missing.returncode == 1 and "nowhere" in missing.stderr, missing
    by_module = environment.run("-m", "guerdon_server", "--version", program=environment.python)
    assert by_module.stdout == shown.stdout, by_module


def check_example(environment: Environment) -> None:
    """The packaged example, served from an empty folder, gives the README's reward."""
    readme = (REPOSITORY / "README.md").read_text()
    rollout, reward = re.search(r'"id": "([^"]+)", "reward": (-?[\d.]+)', readme).groups()
    request = (REPOSITORY / "examples" / "data" / "request.json").read_bytes()
    with Server(environment, environment.empty_folder()) as server:
        results = {result["id"]: result for result in server.score(request)["results"]}
    assert all(isinstance(result["reward"], float) for result in results.values()), results
    assert f"{results[rollout]['reward']:.3f}" == reward, (results[rollout]["reward"], reward)
    print(f"ok: the packaged example; {rollout} has the reward {reward}")


SDK = """
import json, sys, guerdon
rollouts = [json.loads(line) for line in open("rollouts.jsonl", encoding="utf-8")]
scored = guerdon.Client(sys.argv[1]).score(rollouts)
print(json.dumps(scored.rewards))
"""


def check_template(environment: Environment, template: str) -> None:
    """A new folder is served, and the command and the SDK read the same rewards from the server."""
    folder = environment.empty_folder()
    made = environment.run("init", "--template", template, folder=folder)
    assert made.returncode == 0, made
    again = environment.run("init", "--template", template, folder=folder)
    assert again.returncode == 1 and "nothing was written" in again.stderr, again
    with Server(environment, folder) as server:
        scored = environment.run("score", "rollouts.jsonl", "--url", server.url, folder=folder)
        assert scored.returncode == 0, scored
        rewards = [json.loads(line)["reward"] for line in scored.stdout.splitlines()]
        sdk = environment.run("-c", SDK, server.url, program=environment.python, folder=folder)
        assert sdk.returncode == 0 and json.loads(sdk.stdout) == rewards, (sdk, rewards)
    assert len(rewards) >= 3 and all(isinstance(reward, float) for reward in rewards), rewards
    print(f"ok: the template {template}; rewards {', '.join(f'{reward:.3f}' for reward in rewards)}")


def check_missing(environment: Environment) -> None:
    """Without guerdon-server the command names the line that installs it, and the SDK works."""
    shown = environment.run("serve")
    assert shown.returncode == 1 and "pip install 'guerdon[server]'" in shown.stderr, shown
    sdk = environment.run("-c", "import guerdon; guerdon.Client('http://127.0.0.1:1')", program=environment.python)
    assert sdk.returncode == 0, sdk


if __name__ == "__main__":
    main()
