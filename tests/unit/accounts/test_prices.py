"""Costs are whole millionths."""

from headrace.accounts.prices import PriceTable, answerer_of, cost_of
from headrace.schema.events import Usage
from headrace.schema.settings import PriceSettings


def test_a_million_tokens_cost_their_price() -> None:
    price = PriceSettings(input=0.15, output=0.6)
    assert cost_of(price, Usage(1_000_000, 1_000_000)) == 750_000
    assert cost_of(price, Usage(3, 0)) == 0
    assert cost_of(price, Usage(4, 0)) == 1


def test_tokens_of_the_cache_have_their_own_price() -> None:
    usage = Usage(100, 0, cached_tokens=60)
    assert cost_of(PriceSettings(input=2.0), usage) == 200
    assert cost_of(PriceSettings(input=2.0, cached=0.5), usage) == 110
    assert cost_of(PriceSettings(input=2.0, cached=0.0), Usage(10, 0, cached_tokens=60)) == 0


def test_prices_change_and_what_has_none_is_free() -> None:
    table = PriceTable({"m": PriceSettings(input=1.0)})
    assert (table.cost("m", Usage(5, 5)), table.cost("other", Usage(5, 5))) == (5, 0)
    table.replace({"m": PriceSettings(input=2.0)})
    assert table.cost("m", Usage(5, 5)) == 10


def test_who_answered_has_the_price_unless_what_was_asked_for_has_one() -> None:
    table = PriceTable({"own": PriceSettings(input=1.0), "openai/gpt": PriceSettings(input=7.0)})
    usage = Usage(10, 0)
    assert table.cost("route", usage, answered_by=answerer_of(route="own", target="own")) == 10
    assert table.cost("route", usage, answered_by=answerer_of(route="provider:openai", target="gpt")) == 70
    assert table.cost("route", usage, answered_by="nobody") == 0
    assert table.most("route", usage, answered_by=("own", "openai/gpt")) == 70
    table.replace({"route": PriceSettings(input=2.0), "own": PriceSettings(input=1.0)})
    assert table.cost("route", usage, answered_by="own") == 20
    assert table.most("route", usage, answered_by=("own",)) == 20
