"""`python -m guerdon_server`: the command `guerdon`."""

import sys

from guerdon_server import run

run(sys.argv[1:])
