"""Tenants and keys in both databases, and what is written down of every change."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select

from headrace.accounts.database import Database
from headrace.accounts.database.tables import key_secrets
from headrace.accounts.limits import KeyLimits
from headrace.accounts.secrets import Pepper, find_prefix
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
from headrace.schema.errors import ErrorCode, HeadraceError


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def make_key(admin: StoreAdmin, *, tenant: str = "acme", name: str = "app") -> str:
    await admin.create_tenant(TenantDraft(name=tenant))
    return (await admin.create_key(KeyDraft(tenant=tenant, name=name))).key.id


async def test_a_tenant_is_found_by_id_and_by_name(admin: StoreAdmin) -> None:
    limits = KeyLimits(requests_per_minute=10)
    made = await admin.create_tenant(TenantDraft(name="acme", rights=Rights(models=("m",)), limits=limits))
    assert made == await admin.find_tenant(made.id) == await admin.find_tenant("acme")
    with pytest.raises(HeadraceError) as caught:
        await admin.find_tenant("nobody")
    assert caught.value.code == ErrorCode.NOT_FOUND


async def test_no_two_tenants_have_one_name(admin: StoreAdmin) -> None:
    await admin.create_tenant(TenantDraft(name="acme"))
    other = await admin.create_tenant(TenantDraft(name="other"))
    for attempt in (
        admin.create_tenant(TenantDraft(name="acme")),
        admin.change_tenant(other.id, TenantPatch(name="acme")),
    ):
        with pytest.raises(HeadraceError) as caught:
            await attempt
        assert (caught.value.code, caught.value.param) == (ErrorCode.CONFLICT, "name")


async def test_lists_come_in_pages(admin: StoreAdmin) -> None:
    for number in range(5):
        await admin.create_tenant(TenantDraft(name=f"t{number}"))
    names: list[str] = []
    after: str | None = None
    sizes: list[int] = []
    while True:
        page = await admin.list_tenants(after=after, limit=2)
        names += [tenant.name for tenant in page.data]
        sizes.append(len(page.data))
        after = page.next
        if after is None:
            break
    assert (sorted(names), sizes) == ([f"t{number}" for number in range(5)], [2, 2, 1])


async def test_a_key_is_stored_as_a_hash_and_shown_once(admin: StoreAdmin, database: Database, pepper: Pepper) -> None:
    await admin.create_tenant(TenantDraft(name="acme"))
    issued = await admin.create_key(KeyDraft(tenant="acme", name="app", expires_at=later(3600)))
    prefix = find_prefix(issued.secret)
    assert prefix == issued.key.secrets[0].prefix
    async with database.reading() as connection:
        row = (await connection.execute(select(key_secrets))).one()
    assert bytes(row.hash) == pepper.hash(issued.secret) != Pepper("another pepper").hash(issued.secret)
    assert (
        await admin.find_key(issued.key.id) == await admin.find_key(issued.secret) == await admin.find_key(prefix or "")
    )
    secret = issued.secret.rpartition("_")[2]
    everything = [*(await admin.list_keys()).data, *(await admin.list_audit()).data]
    assert secret not in str(everything)
    assert b"hash" not in msgspec.json.encode(everything)


async def test_what_is_not_given_stays_and_null_takes_away(admin: StoreAdmin) -> None:
    await admin.create_tenant(TenantDraft(name="acme"))
    limits = KeyLimits(requests_per_minute=10, tokens_per_day=1000)
    draft = KeyDraft(tenant="acme", name="app", expires_at=later(60), limits=limits, rights=Rights(models=("a", "b")))
    key = (await admin.create_key(draft)).key
    patch = KeyPatch(
        expires_at=None,
        limits=LimitsPatch(tokens_per_day=None, concurrent_generations=3),
        rights=RightsPatch(local_only=True),
    )
    changed = await admin.change_key(key.id, patch)
    assert changed == await admin.find_key(key.id)
    assert (changed.name, changed.expires_at) == ("app", None)
    assert changed.limits == KeyLimits(requests_per_minute=10, concurrent_generations=3)
    assert changed.rights == Rights(models=("a", "b"), local_only=True)


async def test_a_rotated_key_has_both_secrets_for_a_while(admin: StoreAdmin) -> None:
    key_id = await make_key(admin)
    first = (await admin.find_key(key_id)).secrets[0].prefix
    second = await admin.rotate_key(key_id, Rotation(overlap_seconds=60))
    assert [secret.prefix for secret in second.key.secrets] == [find_prefix(second.secret), first]
    assert [secret.expires_at is None for secret in second.key.secrets] == [True, False]
    assert second.key == await admin.find_key(first)
    third = await admin.rotate_key(key_id, Rotation())
    assert [secret.prefix for secret in third.key.secrets] == [find_prefix(third.secret)]
    assert third.key == await admin.find_key(key_id)


async def test_a_key_has_only_so_many_secrets(admin: StoreAdmin) -> None:
    key_id = await make_key(admin)
    for _ in range(9):
        await admin.rotate_key(key_id, Rotation(overlap_seconds=60))
    with pytest.raises(HeadraceError, match="secrets already") as caught:
        await admin.rotate_key(key_id, Rotation(overlap_seconds=60))
    assert caught.value.code == ErrorCode.CONFLICT


async def test_a_revoked_key_stays_so(admin: StoreAdmin) -> None:
    key_id = await make_key(admin)
    revoked = await admin.revoke_key(key_id)
    assert revoked.revoked_at is not None
    assert await admin.revoke_key(key_id) == revoked == await admin.find_key(key_id)
    for attempt in (admin.rotate_key(key_id, Rotation()), admin.change_key(key_id, KeyPatch(name="other"))):
        with pytest.raises(HeadraceError) as caught:
            await attempt
        assert caught.value.code == ErrorCode.CONFLICT
    await admin.delete_key(key_id)
    with pytest.raises(HeadraceError) as caught:
        await admin.revoke_key(key_id)
    assert caught.value.code == ErrorCode.NOT_FOUND


async def test_only_a_disabled_tenant_is_deleted_and_its_keys_with_it(admin: StoreAdmin) -> None:
    await make_key(admin)
    with pytest.raises(HeadraceError) as caught:
        await admin.delete_tenant("acme")
    assert caught.value.code == ErrorCode.CONFLICT
    disabled = await admin.change_tenant("acme", TenantPatch(disabled=True))
    assert disabled.disabled_at is not None
    assert (await admin.change_tenant("acme", TenantPatch(disabled=True))).disabled_at == disabled.disabled_at
    await admin.delete_tenant("acme")
    assert (await admin.list_tenants()).data == (await admin.list_keys()).data == ()


async def test_a_time_that_is_over_is_refused(admin: StoreAdmin) -> None:
    key_id = await make_key(admin)
    attempts = (
        admin.create_key(KeyDraft(tenant="acme", name="late", expires_at=later(-1))),
        admin.change_key(key_id, KeyPatch(expires_at=later(-1))),
    )
    for attempt in attempts:
        with pytest.raises(HeadraceError) as caught:
            await attempt
        assert (caught.value.code, caught.value.param) == (ErrorCode.INVALID_REQUEST, "expires_at")


async def test_keys_of_one_tenant(admin: StoreAdmin) -> None:
    mine = await make_key(admin, tenant="mine")
    theirs = await make_key(admin, tenant="theirs")
    assert [key.id for key in (await admin.list_keys(tenant="mine")).data] == [mine]
    assert [key.id for key in (await admin.list_keys(tenant="theirs", limit=1)).data] == [theirs]
    assert {key.id for key in (await admin.list_keys()).data} == {mine, theirs}


async def test_the_audit_log_says_who_did_what(admin: StoreAdmin) -> None:
    tenant = await admin.create_tenant(TenantDraft(name="acme"))
    key = (await admin.as_actor("alice").create_key(KeyDraft(tenant="acme", name="app"))).key
    await admin.change_key(key.id, KeyPatch(name="app"))
    await admin.change_key(key.id, KeyPatch(name="application"))
    await admin.revoke_key(key.id)
    entries = (await admin.list_audit()).data
    assert [(entry.actor, entry.action, entry.key_id) for entry in entries] == [
        ("tests", "key.revoke", key.id),
        ("tests", "key.update", key.id),
        ("alice", "key.create", key.id),
        ("tests", "tenant.create", None),
    ]
    assert {entry.tenant_id for entry in entries} == {tenant.id}
    update = entries[1]
    assert update.before is not None
    assert update.after is not None
    assert update.before["name"] == "app"
    assert update.after["name"] == "application"
    first = await admin.list_audit(limit=3)
    rest = await admin.list_audit(before=int(first.next or 0))
    assert [*first.data, *rest.data] == list(entries)
    assert {entry.tenant_name for entry in entries} == {"acme"}
    assert [entry.key_name for entry in entries] == ["application", "application", "app", None]
    await admin.change_tenant("acme", TenantPatch(name="acme-ltd"))
    assert {entry.tenant_name for entry in (await admin.list_audit(tenant="acme-ltd")).data} == {"acme-ltd"}
    await admin.change_tenant("acme-ltd", TenantPatch(disabled=True))
    await admin.delete_tenant("acme-ltd")
    newest, *_ = entries = (await admin.list_audit(tenant=tenant.id)).data
    assert (newest.action, newest.tenant_name, len(entries)) == ("tenant.delete", "acme-ltd", 7)
    for unknown in ("ten_nobody", "acme-ltd"):
        with pytest.raises(HeadraceError, match=r"no tenant is called '\S+'; there is none yet"):
            await admin.list_audit(tenant=unknown)


async def test_a_key_is_found_by_what_people_call_it(admin: StoreAdmin) -> None:
    await admin.create_tenant(TenantDraft(name="beta"))
    issued = await admin.create_key(KeyDraft(tenant="beta", name="night"))
    prefix = issued.key.secrets[0].prefix
    for reference in (issued.key.id, prefix, f"hr_{prefix}", f"hr_{prefix}_…", issued.secret, "night"):
        assert await admin.find_key(reference) == issued.key
    assert issued.key.tenant_name == "beta"
    assert [key.tenant_name for key in (await admin.list_keys()).data] == ["beta"]
    key_id = await make_key(admin, name="night")
    with pytest.raises(
        HeadraceError, match=rf"several keys are called 'night': beta's night \(hr_{prefix}\), "
    ) as caught:
        await admin.revoke_key("night")
    assert (caught.value.code, caught.value.param) == (ErrorCode.CONFLICT, "key")
    assert (await admin.find_key(key_id)).revoked_at is None
    with pytest.raises(
        HeadraceError, match=r"no key is called 'day'; you have: beta's night \(hr_\w+\), acme's"
    ) as caught:
        await admin.find_key("day")
    assert (caught.value.code, caught.value.param) == (ErrorCode.NOT_FOUND, "key")
    wrong = issued.secret[:-1]
    with pytest.raises(HeadraceError) as caught:
        await admin.find_key("hr_nobody0000_" + wrong.rpartition("_")[2])
    assert "'hr_nobody0000'" in caught.value.message
    assert wrong.rpartition("_")[2] not in caught.value.message


async def test_what_there_is_is_said_as_far_as_it_is_worth_reading(admin: StoreAdmin) -> None:
    with pytest.raises(HeadraceError, match="no tenant is called 'acme'; there is none yet"):
        await admin.find_tenant("acme")
    for number in range(21):
        await admin.create_tenant(TenantDraft(name=f"t{number:02}"))
    with pytest.raises(HeadraceError, match=r"you have: t00, t01, .*, t19, …$"):
        await admin.find_tenant("acme")


async def test_changes_at_the_same_time_happen_one_after_the_other(admin: StoreAdmin) -> None:
    key_id = await make_key(admin)
    patches = [LimitsPatch(requests_per_minute=7), LimitsPatch(tokens_per_day=8), LimitsPatch(tokens_per_month=9)]
    await asyncio.gather(*(admin.change_key(key_id, KeyPatch(limits=patch)) for patch in patches))
    expected = KeyLimits(requests_per_minute=7, tokens_per_day=8, tokens_per_month=9)
    assert (await admin.find_key(key_id)).limits == expected


@pytest.mark.parametrize("text", ["\0", "key_\0", "ten_\0", "hr_\0", "x" * 5000])
async def test_whatever_is_named_is_only_unknown(admin: StoreAdmin, text: str) -> None:
    await make_key(admin)
    for asking in (
        admin.find_tenant(text),
        admin.find_key(text),
        admin.list_audit(tenant=text),
        admin.list_keys(tenant=text),
        admin.revoke_key(text),
        admin.create_key(KeyDraft(tenant=text, name="app")),
    ):
        with pytest.raises(HeadraceError) as caught:
            await asking
        assert caught.value.code in (ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST)
