"""Tests what the container image and the Debian package install, without a builder and without systemd.

    python deploy/test.py [BINARY]        BINARY defaults to target/release/guerdon

The last stage of the Containerfile is run in a folder as its root: what deploy/install.sh lays out, the C library, and
the stage's user, folder and command. The unit is checked by systemd-analyze, where it is installed.
"""

import json
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PATIENCE = 120  # seconds, on a busy machine


def main() -> None:
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "target/release/guerdon").resolve()
    stage = last_stage((REPOSITORY / "deploy/Containerfile").read_text())
    with tempfile.TemporaryDirectory(prefix="guerdon-image-") as folder:
        root = pathlib.Path(folder)
        root.chmod(0o755)  # as the root of an image; the folder's default shuts out the image's user
        subprocess.run(["sh", "deploy/install.sh", root / "usr", binary], cwd=REPOSITORY, check=True)
        for needed in ("share/man/man1/guerdon.1", "share/bash-completion/completions/guerdon", "lib/guerdon"):
            assert (root / "usr" / needed).exists(), needed
        base_image(root, [root / "usr/bin/guerdon", root / "usr/lib/guerdon/libonnxruntime.so"])
        (root / stage["WORKDIR"].lstrip("/")).mkdir(parents=True)
        image = Image(root, stage)
        check_image(image)
    check_unit(binary)


def last_stage(text: str) -> dict[str, str]:
    """The instructions of the last stage, each once."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    start = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return dict(line.split(maxsplit=1) for line in lines[start:])


def base_image(root: pathlib.Path, programs: list[pathlib.Path]) -> None:
    """Copies the libraries that the base image has: the C library, its loader and the C++ library."""
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        assert "not found" not in listed, listed
        for path in re.findall(r"(/\S+) \(0x", listed):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy(path, target)
                target.chmod(0o755)


class Image:
    def __init__(self, root: pathlib.Path, stage: dict[str, str]) -> None:
        self.root, self.stage = root, stage
        for folder in ("proc", "etc", "tmp"):
            (root / folder).mkdir(exist_ok=True)

    def start(self, **variables: str) -> subprocess.Popen:
        command = json.loads(self.stage["ENTRYPOINT"]) + json.loads(self.stage["CMD"])
        # A free port instead of the one that may be taken on this machine.
        command = [word.replace(":8787", ":0") for word in command]
        # The program reads /proc/self/exe, which every container runtime mounts.
        inner = f"mount -t proc proc {shlex.quote(str(self.root / 'proc'))} && exec chroot " + shlex.join(
            [f"--userspec={self.stage['USER']}", str(self.root), *command]
        )
        # chroot starts in `/`, so the stage's folder is given by its configuration instead.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables}
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", inner],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )


def check_image(image: Image) -> None:
    before = sorted(str(path) for path in image.root.rglob("*") if "/proc/" not in str(path))
    refused = image.start()
    errors = refused.communicate(timeout=PATIENCE)[1]
    assert refused.returncode == 1 and "no token is configured" in errors, (refused.returncode, errors)
    print("ok: without tokens the image refuses an address that other machines reach")

    serving = image.start(GUERDON__AUTH__INSECURE="true")
    try:
        line = serving.stdout.readline()
        found = re.search(r"http://0\.0\.0\.0:(\d+)", line)
        assert found, (line, serving.poll())
        user = pathlib.Path(f"/proc/{serving.pid}/status").read_text()
        assert re.search(r"^Uid:\s+65532\s+65532", user, re.M), user
        body = (REPOSITORY / "examples/data/request.json").read_bytes()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{found[1]}/v1/score", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            results = json.load(reply)["results"]
        assert results and all(isinstance(result["reward"], float) for result in results), results
    finally:
        serving.send_signal(signal.SIGTERM)
    errors = serving.communicate(timeout=PATIENCE)[1]
    assert serving.returncode == 0, (serving.returncode, errors)
    after = sorted(str(path) for path in image.root.rglob("*") if "/proc/" not in str(path))
    assert after == before, "the server wrote into its image"
    print("ok: the image serves as user 65532, scores the README's request, writes nothing and stops with status 0")


def check_unit(binary: pathlib.Path) -> None:
    if not shutil.which("systemd-analyze"):
        print("not checked: guerdon.service, because systemd-analyze is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        # The program need not be installed for the check.
        unit = pathlib.Path(folder, "guerdon.service")
        text = (REPOSITORY / "deploy/guerdon.service").read_text()
        unit.write_text(text.replace("/usr/bin/guerdon", str(binary)))
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        assert verified.returncode == 0 and not verified.stderr.strip(), verified.stderr
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", unit]
        rated = subprocess.run(command, capture_output=True, text=True)
        last = rated.stdout.strip().splitlines()[-1:] or [rated.stderr]
        assert rated.returncode == 0, last
        print(f"ok: guerdon.service; {last[0].strip().lstrip('→ ')}")


if __name__ == "__main__":
    main()
