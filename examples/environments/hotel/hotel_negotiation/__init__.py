"""A platform's agent negotiates the price of a hotel room, and guerdon scores its turns."""

from typing import Any

from hotel_negotiation.env import HotelEnv, HotelEnvConfig
from hotel_negotiation.taskset import HotelTaskset

__all__ = ["HotelEnv", "HotelTaskset", "load_environment"]


def load_environment(*, judges: list[dict[str, Any]] | None = None, **settings: Any) -> HotelEnv:
    """Loads the environment.

    - `judges`: the rubric, by default a guerdon server with its own default profile
    - `settings`: those of the taskset (`num_tasks`, `seed`), and `max_replies`
    """
    task = {} if judges is None else {"task": {"judges": judges}}
    limits = {"max_replies": settings.pop("max_replies")} if "max_replies" in settings else {}
    return HotelEnv(HotelEnvConfig(taskset={"id": "hotel-negotiation", **settings, **task}, **limits))
