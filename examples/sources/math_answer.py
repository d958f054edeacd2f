"""1 if the reply's mathematical answer equals `context.answer`, and 0 otherwise (Math-Verify).

    pip install math-verify
    python -m guerdon.source math_answer.py
"""

import guerdon

try:
    from math_verify import parse, verify
except ModuleNotFoundError as missing:
    raise SystemExit(
        "error: math_answer.py needs Math-Verify\n  help: pip install math-verify"
    ) from missing


@guerdon.source
def math_answer(turn):
    answer = turn.context.get("answer")
    if answer is None:
        raise guerdon.Abstain("context.answer is missing")
    # Math-Verify's own time limit uses signals, which work in the main thread only.
    gold = parse(f"${answer}$", parsing_timeout=None)
    if not gold:
        raise guerdon.Abstain(f"context.answer is no mathematical expression: {answer!r}")
    reply = parse(turn.content, parsing_timeout=None)
    correct = bool(reply) and verify(gold, reply, timeout_seconds=None)
    return guerdon.SourceResult(1.0 if correct else 0.0, detail={"read": str(reply[-1]) if reply else None})
