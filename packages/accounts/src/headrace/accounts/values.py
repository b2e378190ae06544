"""Tenants and keys as values: what is stored, what the admin API says, and what the command line shows.

All of it is JSON somewhere: append only, and a default for every new field.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from headrace.accounts.limits import NO_LIMITS, KeyLimits, Positive
from headrace.schema.task import MAX_PRIORITY

TENANT_PREFIX = "ten_"
KEY_PREFIX = "key_"
MAX_OVERLAP_SECONDS = 30 * 86400
PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

# Printable, of use in a path, and never to be taken for an id.
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^(?!ten_|key_|hr_)[^\x00-\x20\x7f/?#%]+$")]
ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
Priority = Annotated[int, Meta(ge=0, le=MAX_PRIORITY)]
Instant = Annotated[datetime, Meta(tz=True)]
JsonObject = dict[str, Any]
T = TypeVar("T")


class Rights(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key, or all keys of a tenant, may ask for. Where both say something, the narrower holds.

    Attributes:
        models: served names; None is all.
        max_priority: a higher one is lowered to it.
        local_only: requests never leave for an outside provider.
        retains: streams may be taken up again, also where the request does not ask for it.
    """

    models: tuple[ModelName, ...] | None = None
    max_priority: Priority = MAX_PRIORITY
    local_only: bool = False
    retains: bool = False


ALL_RIGHTS = Rights()


class Tenant(Struct, frozen=True, kw_only=True):
    """A customer, a team, a project: whoever shares limits and a bill.

    Attributes:
        id: for ever.
        name: for people; no two tenants have the same.
        created_at: when it was made.
        disabled_at: since when none of its keys works; None while they do.
        rights: what its keys may ask for at most.
        limits: what its keys may use together.
    """

    id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None = None
    rights: Rights = ALL_RIGHTS
    limits: KeyLimits = NO_LIMITS


class KeySecret(Struct, frozen=True, kw_only=True):
    """One secret of a key, without the secret.

    Attributes:
        prefix: how it begins, after `hr_`: what lists and logs show.
        created_at: when it was made.
        expires_at: when it ends before its key does; None for the newest one.
    """

    prefix: str
    created_at: datetime
    expires_at: datetime | None = None


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key of a tenant.

    Attributes:
        id: for ever, through all rotations.
        tenant_id: whose it is.
        name: for people.
        created_at: when it was made.
        expires_at: when it ends; None is never.
        revoked_at: since when it does not work; None while it does.
        secrets: the newest first, and those that a rotation has left valid for a while.
        rights: what it may ask for.
        limits: what it may use.
        tenant_name: what its tenant is called.
    """

    id: str
    tenant_id: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    secrets: tuple[KeySecret, ...] = ()
    rights: Rights = ALL_RIGHTS
    limits: KeyLimits = NO_LIMITS
    tenant_name: str | None = None


class IssuedKey(Struct, frozen=True, kw_only=True):
    """A key with its newest secret, which is shown this once.

    Attributes:
        key: the key.
        secret: what a client sends.
    """

    key: ApiKey
    secret: str


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who changed what.

    Attributes:
        number: later changes have higher ones.
        at: when.
        actor: who, as far as the way in could tell.
        action: what was done, `key.rotate` for example.
        tenant_id: to which tenant.
        key_id: to which of its keys, if it was one.
        before: what was there, without secrets.
        after: what is there now.
        tenant_name: what the tenant is called, or was at last.
        key_name: what the key was called.
    """

    number: int
    at: datetime
    actor: str
    action: str
    tenant_id: str
    key_id: str | None = None
    before: JsonObject | None = None
    after: JsonObject | None = None
    tenant_name: str | None = None
    key_name: str | None = None


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list.

    Attributes:
        data: what is on it.
        next: what to ask for to get the next part; None on the last.
    """

    data: tuple[T, ...]
    next: str | None = None


class TenantDraft(Struct, frozen=True, kw_only=True):
    """A tenant that is to be made."""

    name: Name
    rights: Rights = ALL_RIGHTS
    limits: KeyLimits = NO_LIMITS


class KeyDraft(Struct, frozen=True, kw_only=True):
    """A key that is to be made, for the tenant of this id or name."""

    tenant: str
    name: Name
    expires_at: Instant | None = None
    rights: Rights = ALL_RIGHTS
    limits: KeyLimits = NO_LIMITS


class RightsPatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be changed of `Rights`; what is not given stays."""

    models: tuple[ModelName, ...] | UnsetType | None = UNSET
    max_priority: Priority | UnsetType = UNSET
    local_only: bool | UnsetType = UNSET
    retains: bool | UnsetType = UNSET


class LimitsPatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be changed of `KeyLimits`; what is not given stays, and null takes a limit away."""

    requests_per_minute: Positive | UnsetType | None = UNSET
    tokens_per_minute: Positive | UnsetType | None = UNSET
    concurrent_generations: Positive | UnsetType | None = UNSET
    tokens_per_day: Positive | UnsetType | None = UNSET
    tokens_per_month: Positive | UnsetType | None = UNSET
    cost_per_month_micros: Positive | UnsetType | None = UNSET


class TenantPatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be changed of a tenant; what is not given stays."""

    name: Name | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    rights: RightsPatch | UnsetType = UNSET
    limits: LimitsPatch | UnsetType = UNSET


class KeyPatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be changed of a key; what is not given stays, and null takes the expiry away."""

    name: Name | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET
    rights: RightsPatch | UnsetType = UNSET
    limits: LimitsPatch | UnsetType = UNSET


class Rotation(Struct, frozen=True, kw_only=True):
    """How long the secrets that a key has now go on working beside the new one, in seconds."""

    overlap_seconds: Annotated[float, Meta(ge=0, le=MAX_OVERLAP_SECONDS)] = 0.0
