"""What tokens cost, by the price table of the moment."""

from collections.abc import Iterable, Mapping

from headrace.scheduler.base import OWN_ROUTE
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

    def cost(self, model: str, usage: Usage, *, answered_by: str = "") -> int:
        """Return what tokens cost now, in millionths of the currency.

        Args:
            model: the served name that was asked for. Its price goes before all others.
            usage: the tokens.
            answered_by: who answered, where that is another name: a model of a route, or `PROVIDER/MODEL`. What has no
                price by either name is free.
        """
        price = self._prices.get(model) or self._prices.get(answered_by, FREE)
        return cost_of(price, usage)

    def most(self, model: str, usage: Usage, *, answered_by: Iterable[str]) -> int:
        """Return the most that tokens may cost, whoever of these answers."""
        return max([self.cost(model, usage), *(self.cost(model, usage, answered_by=name) for name in answered_by)])


def answerer_of(*, route: str, target: str) -> str:
    """Return the name by which whoever answered is priced: a model of ours, or `PROVIDER/MODEL`."""
    return target if route == OWN_ROUTE else f"{route.partition(':')[2]}/{target}"
