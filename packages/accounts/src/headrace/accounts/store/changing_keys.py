"""Makes, changes, rotates, revokes and removes keys, inside a change."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import structs

from headrace.accounts.database.tables import api_keys, key_secrets
from headrace.accounts.patching import apply_patch
from headrace.accounts.secrets import NewSecret, Pepper, make_secret
from headrace.accounts.store.changing import Change
from headrace.accounts.store.changing_tenants import make_id
from headrace.accounts.store.reading import read_key, read_tenant
from headrace.accounts.store.rows import to_json, to_milliseconds, to_stored
from headrace.accounts.values import KEY_PREFIX, ApiKey, IssuedKey, KeyDraft, KeyPatch, KeySecret, Rotation
from headrace.schema.errors import ErrorCode, HeadraceError

MAX_SECRETS = 10


async def create(change: Change, draft: KeyDraft, pepper: Pepper) -> IssuedKey:
    """Make a key.

    Raises:
        HeadraceError: `not_found`: no such tenant; `invalid_request`: it would have expired already.
    """
    _check_expiry(change, draft.expires_at)
    tenant = await read_tenant(change.connection, draft.tenant)
    secret = make_secret()
    key = ApiKey(
        id=make_id(KEY_PREFIX, change.at_milliseconds),
        tenant_id=tenant.id,
        tenant_name=tenant.name,
        name=draft.name,
        created_at=change.at,
        expires_at=to_stored(draft.expires_at),
        secrets=(KeySecret(prefix=secret.prefix, created_at=change.at),),
        rights=draft.rights,
        limits=draft.limits,
    )
    row = {"id": key.id, "tenant_id": tenant.id, "created_at": change.at_milliseconds, **_columns(key)}
    await change.connection.execute(sa.insert(api_keys), [row])
    await _insert_secret(change, key.id, secret, pepper)
    await change.note("key.create", tenant_id=tenant.id, key_id=key.id, after=key)
    return IssuedKey(key=key, secret=secret.text)


async def patch(change: Change, reference: str, patch: KeyPatch) -> ApiKey:
    """Change a key.

    Raises:
        HeadraceError: `not_found`, `conflict`: it is revoked; `invalid_request`: it would have expired already.
    """
    before = await _read_live(change, reference)
    if isinstance(patch.expires_at, datetime):
        _check_expiry(change, patch.expires_at)
    after = apply_patch(before, patch)
    after = structs.replace(after, expires_at=to_stored(after.expires_at))
    if after != before:
        await _update(change, after)
        await change.note("key.update", tenant_id=before.tenant_id, key_id=before.id, before=before, after=after)
    return after


async def rotate(change: Change, reference: str, rotation: Rotation, pepper: Pepper) -> IssuedKey:
    """Give a key a new secret.

    Raises:
        HeadraceError: `not_found`, or `conflict`: it is revoked, or has too many secrets already.
    """
    before = await _read_live(change, reference)
    overlap = timedelta(milliseconds=round(rotation.overlap_seconds * 1000))
    kept = _still_valid(before, change.at, change.at + overlap)
    if len(kept) >= MAX_SECRETS:
        raise HeadraceError(ErrorCode.CONFLICT, f"the key has {len(kept)} secrets already; rotate without an overlap")
    gone = {old.prefix for old in before.secrets} - {old.prefix for old in kept}
    await change.connection.execute(sa.delete(key_secrets).where(key_secrets.c.prefix.in_(gone)))
    for old in kept:
        statement = sa.update(key_secrets).where(key_secrets.c.prefix == old.prefix)
        await change.connection.execute(statement.values(expires_at=to_milliseconds(old.expires_at)))
    secret = make_secret()
    await _insert_secret(change, before.id, secret, pepper)
    newest = KeySecret(prefix=secret.prefix, created_at=change.at)
    after = structs.replace(before, secrets=(newest, *kept))
    await change.note("key.rotate", tenant_id=before.tenant_id, key_id=before.id, before=before, after=after)
    return IssuedKey(key=after, secret=secret.text)


async def revoke(change: Change, reference: str) -> ApiKey:
    """End a key for ever.

    Raises:
        HeadraceError: `not_found`.
    """
    before = await read_key(change.connection, reference)
    if before.revoked_at is not None:
        return before
    after = structs.replace(before, revoked_at=change.at)
    await _update(change, after)
    await change.note("key.revoke", tenant_id=before.tenant_id, key_id=before.id, before=before, after=after)
    return after


async def delete(change: Change, reference: str) -> None:
    """Remove a key; its secrets go with it.

    Raises:
        HeadraceError: `not_found`.
    """
    key = await read_key(change.connection, reference)
    await change.connection.execute(sa.delete(api_keys).where(api_keys.c.id == key.id))
    await change.note("key.delete", tenant_id=key.tenant_id, key_id=key.id, before=key)


def _still_valid(key: ApiKey, now: datetime, until: datetime) -> tuple[KeySecret, ...]:
    """Return the secrets that go on beside a new one: none longer than it was meant to."""
    ends = ((old, min(old.expires_at or until, until)) for old in key.secrets)
    return tuple(structs.replace(old, expires_at=end) for old, end in ends if end > now)


async def _read_live(change: Change, reference: str) -> ApiKey:
    key = await read_key(change.connection, reference)
    if key.revoked_at is not None:
        raise HeadraceError(ErrorCode.CONFLICT, "the key is revoked, and stays so: make a new one")
    return key


async def _insert_secret(change: Change, key_id: str, secret: NewSecret, pepper: Pepper) -> None:
    row = {
        "prefix": secret.prefix,
        "key_id": key_id,
        "hash": pepper.hash(secret.text),
        "created_at": change.at_milliseconds,
    }
    await change.connection.execute(sa.insert(key_secrets), [row])


async def _update(change: Change, key: ApiKey) -> None:
    await change.connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(_columns(key)))


def _columns(key: ApiKey) -> dict[str, object]:
    return {
        "name": key.name,
        "expires_at": to_milliseconds(key.expires_at),
        "revoked_at": to_milliseconds(key.revoked_at),
        "rights": to_json(key.rights),
        "limits": to_json(key.limits),
    }


def _check_expiry(change: Change, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= change.at:
        raise HeadraceError(ErrorCode.INVALID_REQUEST, "the time is not in the future", param="expires_at")
