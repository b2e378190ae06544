"""Each tenant is served in its own order, and one that floods is overtaken by one that asks for a little."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.scheduler.shares import TenantShares
from headrace.schema.levels import CLASSIC_LEVELS


def enter(shares: TenantShares, tenant: str, priority: int = 5) -> int:
    share = shares.find(tenant, priority)
    shares.add(tenant, priority, share)
    return share


def test_the_more_a_tenant_has_waiting_the_lower_it_enters() -> None:
    shares = TenantShares(CLASSIC_LEVELS)
    assert [enter(shares, "a") for _ in range(9)] == [7, 6, 5, 5, 4, 4, 4, 4, 3]
    assert enter(shares, "b") == 7
    assert enter(shares, "a", priority=6) == 7


def test_where_nobody_is_told_apart_all_enter_at_the_top() -> None:
    shares = TenantShares(CLASSIC_LEVELS)
    assert {enter(shares, "") for _ in range(100)} == {7}
    shares.remove("", 5, 7)


def test_a_tenant_whose_line_is_empty_begins_at_the_top_again() -> None:
    shares = TenantShares(CLASSIC_LEVELS)
    entered = [enter(shares, "a") for _ in range(20)]
    for share in entered[:-1]:
        shares.remove("a", 5, share)
    assert shares.find("a", 5) == entered[-1]
    shares.remove("a", 5, entered[-1])
    assert shares.find("a", 5) == 7


def test_one_that_asks_for_a_little_goes_between_those_of_one_that_floods() -> None:
    shares = TenantShares(CLASSIC_LEVELS)
    queue = [("flood", enter(shares, "flood")) for _ in range(100)] + [("few", enter(shares, "few")) for _ in range(10)]
    served = [tenant for tenant, _ in sorted(queue, key=lambda entry: -entry[1])]
    assert served[:4] == ["flood", "few", "flood", "few"]
    last = max(place for place, tenant in enumerate(served) if tenant == "few")
    # As round robin would have it, but for the width of the last step.
    assert last < 10 + 16


@given(st.lists(st.sampled_from(["ask", "serve"]), max_size=200))
def test_no_request_overtakes_an_older_one_of_its_tenant(steps: list[str]) -> None:
    shares = TenantShares(CLASSIC_LEVELS)
    waiting: list[tuple[int, int]] = []
    served: list[int] = []
    for number, step in enumerate(steps):
        if step == "ask":
            waiting.append((-enter(shares, "a"), number))
        elif waiting:
            first = min(waiting)
            waiting.remove(first)
            shares.remove("a", 5, -first[0])
            served.append(first[1])
    assert served == sorted(served)
