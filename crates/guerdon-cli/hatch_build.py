"""Adds the program and its data to the wheel, and gives the wheel the platform's tag.

GUERDON_BINARY names the program; without it, `cargo build --release` makes one. In the wheel they have the layout of
every other package of guerdon: `bin/guerdon` next to `share/guerdon`, here below the folder of the Python package.
"""

import os
import pathlib
import subprocess
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Paths of the repository, and their places below share/guerdon.
DATA = {
    "guerdon.toml": "guerdon.toml",
    "models/e5-hh": "models/e5-hh",
    "rules": "rules",
    "judge-prompts": "judge-prompts",
    "examples/data": "examples/data",
}


class ServerHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable install has the data in the checkout, where the program finds it.
        repository = pathlib.Path(self.root, "..", "..").resolve()
        binary = pathlib.Path(os.environ.get("GUERDON_BINARY") or built(repository))
        if not binary.is_file():
            raise SystemExit(f"there is no program {binary}; build it, or leave GUERDON_BINARY unset")
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        include = build_data["force_include"]
        include[str(binary)] = "guerdon_server/bin/guerdon"
        for source, place in DATA.items():
            include[str(repository / source)] = f"guerdon_server/share/guerdon/{place}"


def built(repository: pathlib.Path) -> pathlib.Path:
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--release", "--locked", "--package", "guerdon-cli"]
    subprocess.run(command, cwd=repository, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return repository / target / "release" / "guerdon"
