"""Finds the tenant or the key that somebody names, and where there is none says which there are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.database.tables import api_keys, audit_entries, key_secrets, tenants
from headrace.accounts.secrets import START, to_reference
from headrace.accounts.store.naming import read_key_names
from headrace.accounts.store.rows import AnyRow
from headrace.schema.errors import ErrorCode, HeadraceError

SHOWN_NAMES = 20
SHOWN_LENGTH = 64
NUL = "\0"
"""PostgreSQL takes it in no text, and says so as it says that it is in trouble: it is never asked about one."""


async def find_tenant(connection: AsyncConnection, reference: str) -> AnyRow:
    """Return the row of the tenant of an id or a name.

    Raises:
        HeadraceError: `not_found`, with the names that there are.
    """
    # A name never looks like an id.
    statement = select(tenants).where((tenants.c.id == reference) | (tenants.c.name == reference))
    row = None if NUL in reference else (await connection.execute(statement)).one_or_none()
    if row is None:
        raise await _unknown_tenant(connection, reference)
    return row


async def find_tenant_id(connection: AsyncConnection, reference: str) -> str:
    """Return the id of a tenant by its id or name, also of one that was deleted by its id.

    Raises:
        HeadraceError: `not_found`: there never was one.
    """
    if NUL in reference:
        raise await _unknown_tenant(connection, reference)
    statement = select(tenants.c.id).where((tenants.c.id == reference) | (tenants.c.name == reference))
    found = (await connection.execute(statement)).scalar_one_or_none()
    if found is not None:
        return found
    # Its making is in the audit log, which is never cut.
    once = select(audit_entries.c.tenant_id).where(audit_entries.c.tenant_id == reference).limit(1)
    if (await connection.execute(once)).first() is None:
        raise await _unknown_tenant(connection, reference)
    return reference


async def find_key(connection: AsyncConnection, reference: str, *, tenant_id: str | None = None) -> AnyRow:
    """Return the row of the key of an id, a prefix, or a name that no other key has; with its tenant's name.

    Args:
        connection: to the database.
        reference: what somebody typed; of a whole key only the prefix is looked at.
        tenant_id: whose keys there are; None for everybody's.

    Raises:
        HeadraceError: `not_found`, or `conflict`: several have this name; with those that there are.
    """
    sought = to_reference(reference)
    if NUL in sought:
        raise await _unknown_key(connection, reference, tenant_id)
    by_prefix = select(key_secrets.c.key_id).where(key_secrets.c.prefix == sought)
    by_id = select_keys(tenant_id).where((api_keys.c.id == sought) | api_keys.c.id.in_(by_prefix))
    row = (await connection.execute(by_id)).one_or_none()
    if row is not None:
        return row
    by_name = select_keys(tenant_id).where(api_keys.c.name == sought).limit(SHOWN_NAMES)
    rows = (await connection.execute(by_name)).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        shown = ", ".join(await _show_keys(connection, rows))
        message = f"several keys are called {quoted(reference)}: {shown}; name one by its prefix"
        raise HeadraceError(ErrorCode.CONFLICT, message, param="key")
    raise await _unknown_key(connection, reference, tenant_id)


def select_keys(tenant_id: str | None) -> Select[*tuple[Any, ...]]:
    """Return the statement for keys, the oldest first, each with its tenant's name."""
    statement = select(api_keys, tenants.c.name.label("tenant_name")).join(
        tenants, api_keys.c.tenant_id == tenants.c.id
    )
    if tenant_id is not None:
        statement = statement.where(api_keys.c.tenant_id == tenant_id)
    return statement.order_by(api_keys.c.id)


def list_known(names: Sequence[str]) -> str:
    """Say which names there are, as far as they are worth reading."""
    if not names:
        return "there is none yet"
    more = ", …" if len(names) > SHOWN_NAMES else ""
    return f"you have: {', '.join(names[:SHOWN_NAMES])}{more}"


def quoted(reference: str) -> str:
    """Return what was typed for a message; never a secret."""
    shown = f"{START}{to_reference(reference)}" if reference.startswith(START) else reference
    return repr(shown[:SHOWN_LENGTH])


async def _unknown_tenant(connection: AsyncConnection, reference: str) -> HeadraceError:
    statement = select(tenants.c.name).order_by(tenants.c.name).limit(SHOWN_NAMES + 1)
    names = (await connection.execute(statement)).scalars().all()
    message = f"no tenant is called {quoted(reference)}; {list_known(names)}"
    return HeadraceError(ErrorCode.NOT_FOUND, message, param="tenant")


async def _unknown_key(connection: AsyncConnection, reference: str, tenant_id: str | None) -> HeadraceError:
    rows = (await connection.execute(select_keys(tenant_id).limit(SHOWN_NAMES + 1))).all()
    message = f"no key is called {quoted(reference)}; {list_known(await _show_keys(connection, rows))}"
    return HeadraceError(ErrorCode.NOT_FOUND, message, param="key")


async def _show_keys(connection: AsyncConnection, rows: Sequence[AnyRow]) -> list[str]:
    names = await read_key_names(connection, [row.id for row in rows])
    return [f"{row.tenant_name}'s {row.name} ({START}{names[row.id].prefix})" for row in rows]
