"""What the admin API says of a tenant or a key beyond what is stored: which of its models nobody serves.

That is no reason to refuse: models come and go with the settings, and a right to one that comes tomorrow is a right.
Most of the time it is a name that was typed wrongly, and a key that gets 404 for everything.
"""

from collections.abc import Collection
from typing import Any

from msgspec import Struct, structs

from headrace.accounts.values import ApiKey, IssuedKey, Rights, Tenant


class TenantAnswer(Tenant, frozen=True, kw_only=True):
    """A tenant.

    Attributes:
        unknown_models: those of its rights that are not served now.
    """

    unknown_models: tuple[str, ...] = ()


class KeyAnswer(ApiKey, frozen=True, kw_only=True):
    """A key.

    Attributes:
        unknown_models: those of its rights that are not served now.
    """

    unknown_models: tuple[str, ...] = ()


class IssuedKeyAnswer(Struct, frozen=True, kw_only=True):
    """A key with its newest secret, which is shown this once.

    Attributes:
        key: the key.
        secret: what a client sends.
    """

    key: KeyAnswer
    secret: str


def answer_tenant(tenant: Tenant, served: Collection[str]) -> TenantAnswer:
    """Return a tenant with what is to be said of it.

    Args:
        tenant: as it is stored.
        served: the served names of now.
    """
    fields: dict[str, Any] = structs.asdict(tenant)
    fields["unknown_models"] = find_unknown(tenant.rights, served)
    return TenantAnswer(**fields)


def answer_key(key: ApiKey, served: Collection[str]) -> KeyAnswer:
    """Return a key with what is to be said of it.

    Args:
        key: as it is stored.
        served: the served names of now.
    """
    fields: dict[str, Any] = structs.asdict(key)
    fields["unknown_models"] = find_unknown(key.rights, served)
    return KeyAnswer(**fields)


def answer_issued(issued: IssuedKey, served: Collection[str]) -> IssuedKeyAnswer:
    """Return a key and its secret with what is to be said of it.

    Args:
        issued: what was made.
        served: the served names of now.
    """
    return IssuedKeyAnswer(key=answer_key(issued.key, served), secret=issued.secret)


def find_unknown(rights: Rights, served: Collection[str]) -> tuple[str, ...]:
    """Return the models of rights that are not served."""
    return tuple(name for name in rights.models or () if name not in served)
