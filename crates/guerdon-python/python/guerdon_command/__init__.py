"""The command `guerdon` of the package guerdon. It runs the program of the package guerdon-server.

It is a package of its own because the command must not wait for the import of `guerdon` and NumPy.
"""

import importlib.metadata
import sys

MISSING = """\
error: the command guerdon needs the package guerdon-server, which is not installed in this environment
  help: pip install 'guerdon[server]'"""


def main() -> None:
    try:
        import guerdon_server
    except ModuleNotFoundError as error:
        if error.name != "guerdon_server":
            raise
        sys.exit(MISSING)
    ours, servers = (importlib.metadata.version(name) for name in ("guerdon", "guerdon-server"))
    if ours != servers:
        print(
            f"warning: guerdon is {ours} and guerdon-server is {servers}\n"
            f"  help: pip install 'guerdon[server]=={ours}'",
            file=sys.stderr,
        )
    guerdon_server.run(sys.argv[1:])
