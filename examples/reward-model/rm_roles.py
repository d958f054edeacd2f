"""Roles that a strict chat template refuses: the changes that guerdon's manifest can ask for.

They apply only to dialogues that the template refuses, as in guerdon
(crates/guerdon-model/src/encode/turns.rs)."""

import json
from typing import NamedTuple


class Roles(NamedTuple):
    """The manifest's keys of the same names."""

    same_role: str = "keep"
    leading_assistant: str = "refuse"
    leading_user: str | None = None

    def adapt(self, messages):
        """The messages with a user's message before a leading assistant's, and with consecutive messages of
        one role merged, as configured; None if that changes nothing."""
        adapted, changed, system = [], False, int(messages[0]["role"] == "system")
        for place, message in enumerate(messages):
            if place == system and message["role"] == "assistant" and self.leading_assistant == "prefix":
                adapted.append({"role": "user", "content": self.leading_user})
                changed = True
            if adapted and self.same_role == "merge" and adapted[-1]["role"] == message["role"]:
                adapted[-1] = adapted[-1] | {"content": adapted[-1]["content"] + "\n\n" + message["content"]}
                changed = True
            else:
                adapted.append(message)
        return adapted if changed else None

    def without_leading(self, messages):
        """The messages without leading ones of the assistant; None if none are dropped."""
        system = int(messages[0]["role"] == "system")
        user = next((i for i, m in enumerate(messages) if i >= system and m["role"] != "assistant"), len(messages))
        if self.leading_assistant != "drop" or user in (system, len(messages)):
            return None
        return messages[:system] + messages[user:]

    def lines(self):
        """The lines of the manifest."""
        text = {key: value for key, value in self._asdict().items() if value != self._field_defaults[key]}
        return [f"{key} = {json.dumps(value)}" for key, value in text.items()]  # a JSON string is also a TOML basic string


def add_arguments(parser):
    parser.add_argument("--same-role", choices=("keep", "merge"), default="keep", help="consecutive messages of one role, if the chat template refuses them")
    parser.add_argument("--leading-assistant", choices=("refuse", "drop", "prefix"), default="refuse", help="assistant messages before the first user's, if the chat template refuses them")
    parser.add_argument("--leading-user", help="the user's message for --leading-assistant prefix")


def of_arguments(args):
    if (args.leading_assistant == "prefix") != (args.leading_user is not None):
        raise SystemExit("`--leading-assistant prefix` and `--leading-user TEXT` come together; give both or neither")
    return Roles(args.same_role, args.leading_assistant, args.leading_user)
