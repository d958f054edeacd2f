"""1 if the reply ends with the answer of the context, and 0 otherwise.

    python -m guerdon.source exact_match.py

The context is `{"answer": "420"}`. The answer is compared without case, punctuation at its ends and extra spaces.
"""

import guerdon


def plain(text: str) -> str:
    return " ".join(str(text).casefold().strip(" \t\n.,;:!?\"'`*").split())


@guerdon.source
def exact_match(turn):
    answer = turn.context.get("answer")
    if answer is None:
        raise guerdon.Abstain("context.answer is missing")
    last_line = turn.content.strip().rpartition("\n")[2]
    reply = last_line.rpartition(":")[2] if ":" in last_line else last_line
    return 1.0 if plain(reply) == plain(answer) else 0.0
