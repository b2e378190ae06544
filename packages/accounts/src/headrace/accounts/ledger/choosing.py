"""Which rows of the ledger a question is about: tenants, keys and models as people name them.

What was deleted is found by its id for as long as it has rows. What nobody knows is said to be unknown: an empty answer
would be taken for "nothing was used".
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.ledger.table import usage
from headrace.accounts.store.finding import find_key, find_tenant_id, list_known, quoted
from headrace.schema.errors import ErrorCode, HeadraceError


async def choose_tenant(connection: AsyncConnection, reference: str) -> str:
    """Return the id of a tenant by its id or name.

    Raises:
        HeadraceError: `not_found`.
    """
    try:
        return await find_tenant_id(connection, reference)
    except HeadraceError:
        if await _has_rows(connection, usage.c.tenant_id == reference):
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
        if error.code == ErrorCode.NOT_FOUND and await _has_rows(
            connection, usage.c.key_id == reference, *_of(tenant_id)
        ):
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
    if model not in served and not await _has_rows(connection, usage.c.model == model, *_of(tenant_id)):
        message = f"no model is called {quoted(model)}; {list_known(sorted(served))}"
        raise HeadraceError(ErrorCode.MODEL_NOT_FOUND, message, param="model")


def _of(tenant_id: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if tenant_id is None else (usage.c.tenant_id == tenant_id,)


async def _has_rows(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> bool:
    statement = select(usage.c.request_id).where(*conditions).limit(1)
    return (await connection.execute(statement)).first() is not None
