"""What people type of times, limits and rights."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from msgspec import UNSET

from headrace.accounts.limits import KeyLimits
from headrace.accounts.values import KeySecret, LimitsPatch, Rights, RightsPatch, TenantDraft
from headrace.apps.cli.accounts.client import AdminClient
from headrace.apps.cli.accounts.doing import checked, rotate_key
from headrace.apps.cli.accounts.options import GivenLimits, GivenRights
from headrace.apps.cli.accounts.tables import show_limits, show_rights, show_state
from headrace.apps.cli.accounts.typed import (
    read_cost,
    read_instant,
    read_limit,
    read_models,
    read_overlap,
    read_seconds,
    to_limits_patch,
    to_rights_patch,
)
from tests.unit.accounts.values import make_key

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2592000), ("2w", 1209600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert read_seconds(text) == seconds
    assert read_instant(text, now=NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        ("none", None),
    ],
)
def test_instants(text: str, instant: datetime | None) -> None:
    assert read_instant(text, now=NOW) == instant


@pytest.mark.parametrize("text", ["", "soon", "30", "d", "-1d", "30 d", "2027-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="no time: type 30d"):
        read_instant(text, now=NOW)


@pytest.mark.parametrize(("text", "limit"), [("500", 500), ("20k", 20_000), ("1.5M", 1_500_000), ("none", None)])
def test_limits(text: str, limit: int | None) -> None:
    assert read_limit(text) == limit


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1kk", ""])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="no limit: type 500"):
        read_limit(text)


@pytest.mark.parametrize(
    ("text", "micros"), [("25", 25_000_000), ("12.50", 12_500_000), ("0.000001", 1), ("none", None)]
)
def test_costs(text: str, micros: int | None) -> None:
    assert read_cost(text) == micros


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "0.0000001", "much"])
def test_what_is_no_cost(text: str) -> None:
    with pytest.raises(ValueError, match="no amount: type 25"):
        read_cost(text)


def test_what_is_not_given_stays() -> None:
    assert to_rights_patch(GivenRights()) is UNSET
    assert to_limits_patch(GivenLimits()) is UNSET
    assert to_rights_patch(GivenRights(models="a, b", local_only=False)) == RightsPatch(
        models=("a", "b"), local_only=False
    )
    assert read_models("all") is None
    patch = to_limits_patch(GivenLimits(rpm="2k", tokens_per_day="none"))
    assert patch == LimitsPatch(requests_per_minute=2000, tokens_per_day=None)


def test_a_bad_name_is_explained() -> None:
    with pytest.raises(ValueError, match=r"--name: 'a b' is given, .* a name has no spaces"):
        checked(TenantDraft(name="a b"))
    with pytest.raises(ValueError, match="--models: '' is given, and allowed is text of 1 to 256 characters"):
        checked(TenantDraft(name="a", rights=Rights(models=("",))))


def test_what_is_wrong_is_said_with_the_name_of_its_option() -> None:
    with pytest.raises(ValueError, match="--tokens-per-day: 'many' is no limit"):
        to_limits_patch(GivenLimits(tokens_per_day="many"))
    with pytest.raises(ValueError, match="--rpm: '999999999999M' is given, and allowed is a limit of up to"):
        to_limits_patch(GivenLimits(rpm="999999999999M"))
    with pytest.raises(ValueError, match="--cost-per-month: '1e20' is given, and allowed is an amount of up to"):
        to_limits_patch(GivenLimits(cost_per_month="1e20"))


async def test_an_overlap_that_is_too_long_says_how_long_one_may_be() -> None:
    async with httpx.AsyncClient() as http:
        # Nobody is asked.
        with pytest.raises(ValueError, match="--overlap: '31d' is given, and allowed is 0s to 30d"):
            await rotate_key("key_a", "31d")(AdminClient(http))
    assert read_overlap("30d") == 30 * 86400


def test_a_time_beyond_all_calendars_is_no_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="'999999w' is too far away"):
        read_instant("999999w", now=NOW)


def test_what_is_shown() -> None:
    assert (show_rights(Rights()), show_limits(KeyLimits())) == ("everything", "none")
    rights = Rights(models=("a", "b"), max_priority=4, local_only=True, retains=True)
    assert show_rights(rights) == "a, b; priority up to 4; local only; retains"
    limits = KeyLimits(requests_per_minute=2000, cost_per_month_micros=12_500_000)
    assert show_limits(limits) == "2,000 rpm; 12.50/month"
    assert show_state(make_key(), now=NOW) == "works"
    assert show_state(make_key(expires_at=NOW + timedelta(days=1)), now=NOW) == "works until 2026-01-02 12:00"
    assert show_state(make_key(expires_at=NOW), now=NOW) == "expired 2026-01-01 12:00"
    assert show_state(make_key(revoked_at=NOW), now=NOW) == "revoked 2026-01-01 12:00"
    assert KeySecret(prefix="p", created_at=NOW).expires_at is None
