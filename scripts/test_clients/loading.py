"""Loads clients' own code without their training stacks, and runs the snippets of docs/how-to/trainers.

No client is changed. A package's `__init__` is skipped because it imports torch, and a function is compiled from the text of
its own file because other functions in that file need torch.
"""

import ast
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / "docs" / "how-to" / "trainers"
RECORDED = ROOT / "tests" / "it" / "adapters" / "recorded"
PASTED = "http://127.0.0.1:8787"


def bare_package(name: str) -> None:
    """Lets modules of an installed package be imported without running the package's `__init__`."""
    parent, _, last = name.rpartition(".")
    if parent:
        folder = pathlib.Path(sys.modules[parent].__path__[0]) / last
    else:
        folder = pathlib.Path(importlib.util.find_spec(name).origin).parent
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def definitions(path: pathlib.Path, names: set[str], given: dict) -> dict:
    """Compiles the functions, classes and variables called `names` from the text of the file."""
    def defines(node: ast.stmt) -> bool:
        target = getattr(node, "target", None)
        return getattr(node, "name", None) in names or getattr(target, "id", None) in names

    body = [node for node in ast.parse(path.read_text()).body if defines(node)]
    scope = dict(given)
    exec(compile(ast.Module(body, []), str(path), "exec"), scope)  # noqa: S102
    return scope


def package_folder(name: str) -> pathlib.Path:
    return pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0])


def pasted(page: str, language: str, block: int = 0) -> str:
    """Returns a code block of a page in `language`, by default the first."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)
    return [text for tag, text in blocks if tag == language][block]


def pasted_url(page: str, server: str, language: str = "sh") -> str:
    """Returns the first URL of a snippet, with the server under test as its host."""
    return re.search(r"http://[^\s'\",]+", pasted(page, language)).group().replace(PASTED, server)


def run_pasted(page: str, server: str, given: dict, block: int = 0) -> dict:
    """Runs a page's Python against the server under test in the scope `given`, and returns the scope."""
    exec(compile(pasted(page, "python", block).replace(PASTED, server), page, "exec"), given)  # noqa: S102
    return given


def pasted_curl(page: str, server: str, key: str) -> object:
    """Runs a page's `curl` against the server under test with `key` in the URL, and returns the JSON."""
    line = re.sub(r"(http://[^\s']+)", rf"\1&{key}", pasted(page, "sh")).replace(PASTED, server)
    return json.loads(subprocess.check_output(["sh", "-c", line], timeout=60))


def recorded(client: str, request: int = 0) -> dict:
    """Returns the body of a request that was recorded from a client's source."""
    return json.loads((RECORDED / f"{client}.json").read_text())["requests"][request]["body"]
