"""What tokens cost, by the price table of the moment."""

from collections.abc import Mapping

from headrace.schema.events import Usage
from headrace.schema.settings import PriceSettings

FREE = PriceSettings()


def cost_of(price: PriceSettings, usage: Usage) -> int:
    """Return the cost of what was used, in millionths of the currency, rounded to the nearest.

    A price is that of a million tokens, so it is also that of one token in millionths.
    """
    cached = min(usage.cached_tokens, usage.input_tokens)
    cached_price = price.input if price.cached is None else price.cached
    return round(
        (usage.input_tokens - cached) * price.input + cached * cached_price + usage.output_tokens * price.output
    )


class PriceTable:
    """The prices of served names; they may change while it is used, and what is in the ledger stays as it was.

    Args:
        prices: by served name.
    """

    def __init__(self, prices: Mapping[str, PriceSettings]) -> None:
        self._prices = dict(prices)

    def replace(self, prices: Mapping[str, PriceSettings]) -> None:
        """Use other prices from now on."""
        self._prices = dict(prices)

    def cost(self, model: str, usage: Usage) -> int:
        """Return what a model's tokens cost now, in millionths of the currency; a name without a price is free."""
        return cost_of(self._prices.get(model, FREE), usage)
