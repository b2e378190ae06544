"""The directory while the database is there, is away, and is back. Its clocks are turned by hand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.accounts.directory import CachedDirectory
from headrace.accounts.directory.directory import MAX_LOADS
from headrace.accounts.directory.lookup import Changed, KnownKey, Loaded
from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.accounts.secrets import NewSecret, Pepper, make_secret
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError

PEPPER = Pepper("a pepper")
STALE_SECONDS = 100.0
LIMITS = CallerLimits(key=KeyLimits(requests_per_minute=3))


class FakeLookup:
    """A database of a few keys, which can be away."""

    def __init__(self) -> None:
        self.keys: dict[str, KnownKey] = {}
        self.number = 1
        self.is_away = False
        self.loads = 0
        self.looks = 0
        self.looked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def add(self, secret: NewSecret) -> None:
        self.keys[secret.prefix] = KnownKey(
            prefix=secret.prefix,
            hash=PEPPER.hash(secret.text),
            caller=Caller(tenant_id="t", key_id=f"key_{secret.prefix}"),
            limits=LIMITS,
            works=True,
            expires_at=None,
        )

    async def load(self, prefix: str) -> Loaded:
        self.loads += 1
        await self.gate.wait()
        return self._answer(self.keys.get(prefix))

    async def load_id(self, key_id: str) -> Loaded:
        self.loads += 1
        return self._answer(next((key for key in self.keys.values() if key.caller.key_id == key_id), None))

    async def read_changes(self, seen: int | None) -> Changed:
        self.looks += 1
        self.looked.set()
        self._answer(None)
        return Changed(number=self.number)

    def _answer(self, key: KnownKey | None) -> Loaded:
        if self.is_away:
            raise HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, "away")
        return Loaded(number=self.number, key=key)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lookup() -> FakeLookup:
    return FakeLookup()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def directory(lookup: FakeLookup, clock: Clock) -> AsyncIterator[CachedDirectory]:
    made = CachedDirectory(
        lookup, PEPPER, cached_keys=9, poll_seconds=0.5, stale_seconds=STALE_SECONDS, monotonic=clock
    )
    made.start()
    await look(made, lookup)
    yield made
    await made.close()


async def look(directory: CachedDirectory, lookup: FakeLookup) -> None:
    """Return when the directory has asked for changes, and has taken the answer in."""
    for _ in range(2):
        lookup.looked.clear()
        directory.look_now()
        await asyncio.wait_for(lookup.looked.wait(), 20)


async def test_a_known_key_costs_no_look_at_the_database(directory: CachedDirectory, lookup: FakeLookup) -> None:
    secret = make_secret()
    lookup.add(secret)
    callers = [await directory.find(secret.text) for _ in range(5)]
    assert (callers[0] is not None, len(set(callers)), lookup.loads) == (True, 1, 1)
    assert callers[0] is not None
    assert await directory.limits_of(callers[0]) == LIMITS
    assert lookup.loads == 1


async def test_known_keys_outlive_the_database_for_a_while(
    directory: CachedDirectory, lookup: FakeLookup, clock: Clock
) -> None:
    known, other = make_secret(), make_secret()
    lookup.add(known)
    lookup.add(other)
    caller = await directory.find(known.text)
    assert caller is not None
    lookup.is_away = True
    clock.now += STALE_SECONDS
    assert await directory.find(known.text) == caller
    assert await directory.limits_of(caller) == LIMITS
    await directory.check()
    with pytest.raises(HeadraceError) as refused:
        await directory.find(other.text)
    assert refused.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE
    clock.now += 0.001
    for attempt in (directory.find(known.text), directory.limits_of(caller), directory.check()):
        with pytest.raises(HeadraceError) as refused:
            await attempt
        assert refused.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE
    lookup.is_away = False
    await look(directory, lookup)
    assert await directory.find(known.text) == caller
    await directory.check()


async def test_a_made_up_key_is_looked_up_once(directory: CachedDirectory, lookup: FakeLookup) -> None:
    secret = make_secret()
    assert [await directory.find(secret.text) for _ in range(5)] == [None] * 5
    assert await directory.find("hr_nonsense") is None
    assert lookup.loads == 1


async def test_those_who_ask_at_once_share_one_look(directory: CachedDirectory, lookup: FakeLookup) -> None:
    secret = make_secret()
    lookup.add(secret)
    lookup.gate.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(directory.find(secret.text)) for _ in range(10)]
        await asyncio.sleep(0)
        # One that leaves does not take the look away from the others.
        tasks[0].cancel()
        lookup.gate.set()
    assert lookup.loads == 1
    assert all(task.result() is not None for task in tasks[1:])


async def test_only_so_many_unknown_keys_are_looked_up_at_once(directory: CachedDirectory, lookup: FakeLookup) -> None:
    lookup.gate.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(MAX_LOADS):
            group.create_task(directory.find(make_secret().text))
        await asyncio.sleep(0)
        with pytest.raises(HeadraceError) as refused:
            await directory.find(make_secret().text)
        assert refused.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE
        lookup.gate.set()


async def test_a_word_from_elsewhere_is_acted_on_at_once(directory: CachedDirectory, lookup: FakeLookup) -> None:
    looks = lookup.looks
    await look(directory, lookup)
    assert lookup.looks >= looks + 2
