"""From values to rows and back."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from headrace.accounts.limits import KeyLimits
from headrace.accounts.values import ApiKey, AuditEntry, JsonObject, KeySecret, Rights, Tenant

AnyRow = Row[Any]


def to_milliseconds(instant: datetime | None) -> int | None:
    """Return how an instant is stored."""
    return None if instant is None else round(instant.timestamp() * 1000)


def to_instant(milliseconds: int) -> datetime:
    """Return what is stored as an instant."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_optional_instant(milliseconds: int | None) -> datetime | None:
    """Return what is stored as an instant, or as none."""
    return None if milliseconds is None else to_instant(milliseconds)


def to_stored(instant: datetime | None) -> datetime | None:
    """Return an instant as it will be read again."""
    return to_optional_instant(to_milliseconds(instant))


def to_json(value: object) -> str:
    """Return how a Struct is stored."""
    return msgspec.json.encode(value).decode()


def read_rights(text: str) -> Rights:
    """Return stored rights; what a newer version has added to them is left out."""
    return msgspec.json.decode(text, type=Rights)


def read_limits(text: str) -> KeyLimits:
    """Return stored limits; what a newer version has added to them is left out."""
    return msgspec.json.decode(text, type=KeyLimits)


def read_object(text: str | None) -> JsonObject | None:
    """Return a stored Struct of the audit log, as it was when it was written."""
    return None if text is None else msgspec.json.decode(text, type=JsonObject)


def to_tenant(row: AnyRow) -> Tenant:
    """Return a tenant of its row."""
    return Tenant(
        id=row.id,
        name=row.name,
        created_at=to_instant(row.created_at),
        disabled_at=to_optional_instant(row.disabled_at),
        rights=read_rights(row.rights),
        limits=read_limits(row.limits),
    )


def to_key(row: AnyRow, secrets: tuple[KeySecret, ...]) -> ApiKey:
    """Return a key of its row, with its tenant's name, and its secrets."""
    return ApiKey(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant_name=row.tenant_name,
        name=row.name,
        created_at=to_instant(row.created_at),
        expires_at=to_optional_instant(row.expires_at),
        revoked_at=to_optional_instant(row.revoked_at),
        secrets=secrets,
        rights=read_rights(row.rights),
        limits=read_limits(row.limits),
    )


def to_key_secret(row: AnyRow) -> KeySecret:
    """Return a secret of its row."""
    return KeySecret(
        prefix=row.prefix, created_at=to_instant(row.created_at), expires_at=to_optional_instant(row.expires_at)
    )


def to_audit_entry(row: AnyRow, *, tenant_name: str | None) -> AuditEntry:
    """Return an entry of its row.

    Args:
        row: of the log.
        tenant_name: what the tenant is called now; None of one that is gone, which is then named as it was.
    """
    before, after = read_object(row.before), read_object(row.after)
    named = after or before or JsonObject()
    own_name = named.get("name") if row.key_id is None else named.get("tenant_name")
    return AuditEntry(
        number=row.number,
        at=to_instant(row.at),
        actor=row.actor,
        action=row.action,
        tenant_id=row.tenant_id,
        key_id=row.key_id,
        before=before,
        after=after,
        tenant_name=tenant_name or own_name,
        key_name=None if row.key_id is None else named.get("name"),
    )
