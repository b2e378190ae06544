"""Two gateways that share a database: what one changes, the other knows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from headrace.accounts.database import Database
from headrace.accounts.directory import CachedDirectory
from headrace.accounts.directory.lookup import DatabaseLookup
from headrace.accounts.limits import UNLIMITED, CallerLimits, KeyLimits
from headrace.accounts.secrets import Pepper, make_secret
from headrace.accounts.store import StoreAdmin
from headrace.accounts.values import (
    KeyDraft,
    KeyPatch,
    LimitsPatch,
    Rights,
    RightsPatch,
    Rotation,
    TenantDraft,
    TenantPatch,
)
from headrace.schema.caller import ANONYMOUS, Caller

SOON_SECONDS = 10.0


@pytest.fixture
async def directories(database: Database, pepper: Pepper) -> AsyncIterator[list[CachedDirectory]]:
    lookup = DatabaseLookup(database)
    made = [CachedDirectory(lookup, pepper, cached_keys=100, poll_seconds=0.02, stale_seconds=60.0) for _ in range(2)]
    for directory in made:
        directory.start()
    yield made
    for directory in made:
        await directory.close()


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not await claim():  # noqa: ASYNC110 - another process would not set an event of ours
            await asyncio.sleep(0.005)


async def everywhere(directories: list[CachedDirectory], key: str, *, known: bool) -> None:
    async def claim() -> bool:
        found = [await directory.find(key) for directory in directories]
        return all((caller is not None) is known for caller in found)

    await until(claim)


async def make_key(admin: StoreAdmin) -> str:
    await admin.create_tenant(TenantDraft(name="acme"))
    return (await admin.create_key(KeyDraft(tenant="acme", name="app"))).secret


async def test_a_key_is_somebodys(directories: list[CachedDirectory], admin: StoreAdmin) -> None:
    rights = Rights(models=("a", "b"), max_priority=7, retains=True)
    limits = KeyLimits(tokens_per_day=5)
    tenant = await admin.create_tenant(TenantDraft(name="acme", rights=rights, limits=limits))
    rights = Rights(models=("b", "c"), max_priority=8, local_only=True)
    limits = KeyLimits(requests_per_minute=2)
    issued = await admin.create_key(KeyDraft(tenant="acme", name="app", rights=rights, limits=limits))
    caller = await directories[0].find(issued.secret)
    assert caller is not None
    assert caller == Caller(
        tenant_id=tenant.id,
        key_id=issued.key.id,
        models=frozenset({"b"}),
        max_priority=7,
        local_only=True,
        retains=True,
    )
    expected = CallerLimits(key=KeyLimits(requests_per_minute=2), tenant=KeyLimits(tokens_per_day=5))
    assert await directories[0].limits_of(caller) == expected
    assert await directories[1].limits_of(caller) == expected
    assert await directories[0].limits_of(ANONYMOUS) == UNLIMITED


async def test_what_is_no_key_is_nobodys(directories: list[CachedDirectory], admin: StoreAdmin) -> None:
    secret = await make_key(admin)
    assert await directories[0].find(secret) is not None
    prefix = secret.split("_")[1]
    for wrong in (
        "",
        "hr_",
        "hr__",
        secret[:-1],
        secret + "0",
        secret.lower(),
        make_secret().text,
        "ü" * 40,
        "x" * 9000,
    ):
        assert await directories[0].find(wrong) is None
    # The prefix of a key, and a secret that fits its checksum, but is not the key's.
    other = make_secret()
    assert await directories[0].find(other.text.replace(other.prefix, prefix)) is None


async def test_a_new_key_works_at_once_also_where_it_was_asked_for(
    directories: list[CachedDirectory], admin: StoreAdmin
) -> None:
    secret = await make_key(admin)
    await everywhere(directories, secret, known=True)


async def test_a_revoked_key_stops_everywhere(directories: list[CachedDirectory], admin: StoreAdmin) -> None:
    secret = await make_key(admin)
    await everywhere(directories, secret, known=True)
    await admin.revoke_key(secret)
    await everywhere(directories, secret, known=False)


async def test_a_disabled_tenant_stops_and_goes_on(directories: list[CachedDirectory], admin: StoreAdmin) -> None:
    secret = await make_key(admin)
    await everywhere(directories, secret, known=True)
    await admin.change_tenant("acme", TenantPatch(disabled=True))
    await everywhere(directories, secret, known=False)
    await admin.change_tenant("acme", TenantPatch(disabled=False))
    await everywhere(directories, secret, known=True)


async def test_both_secrets_of_a_rotated_key_work_until_the_old_one_ends(
    directories: list[CachedDirectory], admin: StoreAdmin
) -> None:
    old = await make_key(admin)
    await everywhere(directories, old, known=True)
    new = (await admin.rotate_key(old, Rotation(overlap_seconds=3600))).secret
    await everywhere(directories, new, known=True)
    await everywhere(directories, old, known=True)
    newest = (await admin.rotate_key(new, Rotation())).secret
    await everywhere(directories, newest, known=True)
    await everywhere(directories, old, known=False)
    await everywhere(directories, new, known=False)


async def test_what_is_changed_holds_everywhere(directories: list[CachedDirectory], admin: StoreAdmin) -> None:
    secret = await make_key(admin)
    await everywhere(directories, secret, known=True)
    patch = KeyPatch(rights=RightsPatch(models=("only",)), limits=LimitsPatch(concurrent_generations=1))
    await admin.change_key(secret, patch)

    async def claim() -> bool:
        for directory in directories:
            caller = await directory.find(secret)
            if caller is None or caller.models != frozenset({"only"}):
                return False
            if (await directory.limits_of(caller)).key != KeyLimits(concurrent_generations=1):
                return False
        return True

    await until(claim)


async def test_a_key_ends_by_itself(database: Database, admin: StoreAdmin, pepper: Pepper) -> None:
    now = [datetime.now(UTC).timestamp()]
    directory = CachedDirectory(
        DatabaseLookup(database), pepper, cached_keys=9, poll_seconds=0.02, stale_seconds=60.0, wall=lambda: now[0]
    )
    await admin.create_tenant(TenantDraft(name="acme"))
    expires_at = datetime.fromtimestamp(now[0], UTC) + timedelta(hours=1)
    secret = (await admin.create_key(KeyDraft(tenant="acme", name="app", expires_at=expires_at))).secret
    directory.start()
    assert await directory.find(secret) is not None
    now[0] += 3601
    assert await directory.find(secret) is None
    await directory.close()


async def test_a_deleted_key_is_nobodys(directories: list[CachedDirectory], admin: StoreAdmin) -> None:
    secret = await make_key(admin)
    await everywhere(directories, secret, known=True)
    await admin.delete_key(secret)
    await everywhere(directories, secret, known=False)
