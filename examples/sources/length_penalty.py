"""0 up to a free length, then a linear penalty down to -1 (soft overlong punishment, DAPO, arXiv 2503.14476, eq. 13).

    python -m guerdon.source length_penalty.py
"""

import guerdon

FREE = 600
"""Characters without a penalty."""
WORST = 1200
"""Characters from which the penalty is -1."""


@guerdon.source
def length_penalty(turn):
    over = (len(turn.content) - FREE) / (WORST - FREE)
    return guerdon.SourceResult(-min(max(over, 0.0), 1.0), {"chars": len(turn.content)})
