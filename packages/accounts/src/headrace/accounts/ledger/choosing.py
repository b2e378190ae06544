"""Which rows of the ledger a question is about: tenants, keys and models as people name them.

What was deleted is found by its id for as long as it has rows. What nobody knows is said to be unknown: an empty answer
would be taken for "nothing was used".
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.ledger.table import usage
from headrace.accounts.store.finding import NUL, find_key, find_tenant_id, list_known, quoted
from headrace.schema.errors import ErrorCode, HeadraceError


async def choose_tenant(connection: AsyncConnection, reference: str) -> str:
    """Return the id of a tenant by its id or name.

    Raises:
        HeadraceError: `not_found`.
    """
    try:
        return await find_tenant_id(connection, reference)
    except HeadraceError:
        if await _is_in(connection, usage.c.tenant_id, reference):
            return reference
        raise


async def choose_key(connection: AsyncConnection, reference: str, *, tenant_id: str | None) -> str:
    """Return the id of a key by its id, prefix or name.

    Args:
        connection: to the database.
        reference: what somebody typed.
        tenant_id: whose keys there are; None for everybody's.

    Raises:
        HeadraceError: `not_found`, or `conflict`: several have this name.
    """
    try:
        row = await find_key(connection, reference, tenant_id=tenant_id)
    except HeadraceError as error:
        if error.code == ErrorCode.NOT_FOUND and await _is_in(connection, usage.c.key_id, reference, tenant_id):
            return reference
        raise
    return row.id


async def check_model(
    connection: AsyncConnection, model: str, *, served: Collection[str], tenant_id: str | None
) -> None:
    """Check that a model is served, or was used.

    Args:
        connection: to the database.
        model: the served name.
        served: those of now, as far as whoever asks may know them.
        tenant_id: who asks; None for everybody.

    Raises:
        HeadraceError: `model_not_found`.
    """
    if model not in served and not await _is_in(connection, usage.c.model, model, tenant_id):
        message = f"no model is called {quoted(model)}; {list_known(sorted(served))}"
        raise HeadraceError(ErrorCode.MODEL_NOT_FOUND, message, param="model")


async def _is_in(
    connection: AsyncConnection, column: ColumnElement[str], value: str, tenant_id: str | None = None
) -> bool:
    """Tell whether some row has a value, of one tenant or of all."""
    if NUL in value:
        return False
    statement = select(usage.c.request_id).where(column == value).limit(1)
    if tenant_id is not None:
        statement = statement.where(usage.c.tenant_id == tenant_id)
    return (await connection.execute(statement)).first() is not None
