"""The scenes: a room, the hotel's prices, and the price that the platform wants."""

import random
from collections.abc import Iterator
from typing import Any

import verifiers.v1 as vf
from guerdon.verifiers import GuerdonJudgeConfig

BRIEF = """You are Ben from the booking platform, on the phone with a hotel. Negotiate the nightly price of the \
{room} for {nights} nights. Aim for {target} yuan or less, and never tell the hotel that number or where it comes \
from. Be polite and brief: one or two sentences a turn. Ask for a price in every turn until you agree."""


class HotelData(vf.TaskData):
    """One scene."""

    list_price: int
    """The hotel's first price."""
    floor_price: int
    """The lowest price that the hotel agrees to; the policy never sees it."""
    context: dict[str, Any]
    """The facts for guerdon's rules and judge."""


class HotelTaskConfig(vf.TaskConfig):
    """The rubric of a scene."""

    judges: vf.Judges = [GuerdonJudgeConfig(score="all")]


class HotelTask(vf.Task[HotelData, vf.State, HotelTaskConfig]):
    """A scene, scored by the judges of its settings."""


class HotelConfig(vf.TasksetConfig):
    """The settings of the scenes."""

    num_tasks: int = 64
    """The number of scenes."""
    seed: int = 0
    """Equal seeds give equal scenes."""
    task: HotelTaskConfig = HotelTaskConfig()


class HotelTaskset(vf.Taskset[HotelTask, HotelConfig]):
    """Scenes with prices drawn from a seed."""

    def load(self) -> Iterator[HotelTask]:
        """Yields the scenes."""
        for index in range(self.config.num_tasks):
            yield HotelTask(scene(self.config.seed, index), self.config.task)


def scene(seed: int, index: int) -> HotelData:
    """Draws a scene."""
    draw = random.Random(f"{seed}/{index}")
    price = draw.randrange(300, 901, 10)
    target = round(price * draw.uniform(0.80, 0.92) / 5) * 5
    floor = round(price * draw.uniform(0.75, 0.95) / 5) * 5
    room = draw.choice(["double room", "twin room", "suite with a balcony", "family room"])
    nights = draw.randint(1, 7)
    return HotelData(
        name=f"hotel-{seed}-{index}",
        prompt=f"Front desk, good morning. The {room} is {price} yuan a night.",
        system_prompt=BRIEF.format(room=room, nights=nights, target=target),
        list_price=price,
        floor_price=floor,
        context={"target_price": target, "net_price": price, "sop_stage": "negotiate", "language": "en"},
    )
