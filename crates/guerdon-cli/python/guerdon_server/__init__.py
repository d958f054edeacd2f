"""The program guerdon: a reward server and its command line.

`pip install 'guerdon[server]'` also installs the command `guerdon`, which calls :func:`run`. Without that package,
`python -m guerdon_server serve` does the same.
"""

import importlib.util
import os
import pathlib
import sys
from typing import NoReturn

__all__ = ["binary", "onnxruntime_library", "run"]


def binary() -> pathlib.Path:
    """The program."""
    return pathlib.Path(__file__).resolve().parent / "bin" / "guerdon"


def onnxruntime_library() -> "pathlib.Path | None":
    """The shared library of the installed package `onnxruntime` or `onnxruntime-gpu`, which is not imported."""
    spec = importlib.util.find_spec("onnxruntime")
    for folder in (spec and spec.submodule_search_locations) or []:
        for library in sorted(pathlib.Path(folder, "capi").glob("libonnxruntime.so*")):
            return library
    return None


def run(arguments: "list[str]") -> NoReturn:
    """Replaces this process by the program, so that signals reach it and its exit status is that of this process.

    ORT_DYLIB_PATH, if it is not set, becomes the library of the package `onnxruntime`. The key `runtime` of a model
    in guerdon.toml takes precedence over it.
    """
    environment = dict(os.environ)
    if not environment.get("ORT_DYLIB_PATH"):
        library = onnxruntime_library()
        if library:
            environment["ORT_DYLIB_PATH"] = str(library)
    try:
        os.execve(binary(), ["guerdon", *arguments], environment)
    except OSError as error:
        sys.exit(f"error: cannot run {binary()}: {error.strerror}; reinstall the package guerdon-server")
