"""The hotel's side of the call: a rule that concedes step by step and agrees to a fair offer."""

import re

PRICE = re.compile(r"(?<![\d.])(\d{2,5})(?![\d%])")


class Partner:
    """A hotel that starts at `price` and does not go below `floor`."""

    def __init__(self, price: int, floor: int) -> None:
        self.price, self.first, self.floor = price, price, floor
        self.agreed: int | None = None

    def answer(self, reply: str) -> str:
        """Returns the hotel's next turn. After an agreement, `agreed` is the price."""
        offer = self.offer(reply)
        if offer is not None and offer >= self.price:
            self.agreed = self.price
            return f"Agreed, {self.price} yuan a night. Thank you for calling."
        if offer is None:
            return f"Our price is {self.price} yuan. What do you have in mind?"
        # Half the way to a serious offer, a small step to any other.
        serious = offer >= self.floor
        step = (self.price - offer) // 2 if serious else (self.price - self.floor) // 4
        self.price = max(self.floor, self.price - max(5, step)) if self.price > self.floor else self.price
        if offer >= self.price:
            self.agreed = offer
            return f"Agreed, {offer} yuan a night. Thank you for calling."
        return f"{offer} is too low for us. The best I can do is {self.price} yuan."

    def offer(self, reply: str) -> int | None:
        """Returns the last price in a reply that is between half and all of the first price."""
        prices = [int(found) for found in PRICE.findall(reply)]
        plausible = [price for price in prices if self.first / 2 <= price <= self.first]
        return plausible[-1] if plausible else None
