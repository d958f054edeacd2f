"""The command `guerdon`, which runs the program of the package guerdon-server."""

import importlib.metadata
import subprocess
import sys
import types
from typing import Any

import guerdon_command
import pytest


class ServerPackage(types.ModuleType):
    """Stands for the package guerdon-server, whose program would replace this process."""

    def __init__(self) -> None:
        super().__init__("guerdon_server")
        self.arguments: list[str] = []

    def run(self, arguments: list[str]) -> None:
        self.arguments = arguments


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ServerPackage:
    package = ServerPackage()
    monkeypatch.setitem(sys.modules, "guerdon_server", package)
    monkeypatch.setattr(sys, "argv", ["guerdon", "score", "--table"])
    return package


def versions(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found[name.replace("-", "_")])


def test_arguments_reach_the_program(server: ServerPackage, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    versions(monkeypatch, guerdon="1.2.3", guerdon_server="1.2.3")
    guerdon_command.main()
    assert server.arguments == ["score", "--table"]
    assert capsys.readouterr().err == ""


def test_another_version_is_reported_with_the_line_that_installs_the_right_one(
    server: ServerPackage, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    versions(monkeypatch, guerdon="1.2.3", guerdon_server="1.3.0")
    guerdon_command.main()
    shown = capsys.readouterr().err
    assert "1.2.3" in shown and "1.3.0" in shown and "pip install 'guerdon[server]==1.2.3'" in shown
    assert server.arguments == ["score", "--table"]


def test_missing_program_is_reported_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "guerdon_server", None)
    with pytest.raises(SystemExit) as ended:
        guerdon_command.main()
    assert "pip install 'guerdon[server]'" in str(ended.value)


def test_command_does_not_wait_for_the_import_of_numpy() -> None:
    script = "import sys, guerdon_command; sys.exit('numpy' in sys.modules or 'guerdon' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
