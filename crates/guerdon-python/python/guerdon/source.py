"""The command `python -m guerdon.source FILE.py:FUNCTION`, which serves a reward function.

    python -m guerdon.source reward.py:price --port 9001

The decorator `guerdon.source` has the same name: this module can be called as it is.
"""

from __future__ import annotations

import argparse
import os
import sys
import types
from typing import Any

from guerdon.errors import GuerdonError
from guerdon.source_server import SECRET, serve_source
from guerdon.sources import source as _source

__all__ = ["main"]


class _CallableModule(types.ModuleType):
    """A module that is the decorator, too: `import guerdon.source` puts it in the decorator's place."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return _source(*arguments, **settings)


sys.modules[__name__].__class__ = _CallableModule


def main(arguments: list[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m guerdon.source", description="Serves a reward function.")
    parser.add_argument("target", metavar="FILE.py:FUNCTION", help="the function, or MODULE:FUNCTION")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9001, help="the port; 0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--secret-env",
        metavar="VARIABLE",
        default=SECRET,
        help="the variable with the secret of the signatures (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    try:
        serve_source(given.target, given.host, given.port, secret=os.environ.get(given.secret_env))
    except (GuerdonError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
