"""`AccountsAdmin` on the database itself."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.exc import IntegrityError

from headrace.accounts.database import Database
from headrace.accounts.secrets import Pepper
from headrace.accounts.store import changing_keys, changing_tenants, reading
from headrace.accounts.store.changing import Change, begin_change
from headrace.accounts.store.finding import find_tenant_id
from headrace.accounts.values import (
    PAGE_SIZE,
    ApiKey,
    AuditEntry,
    IssuedKey,
    KeyDraft,
    KeyPatch,
    Page,
    Rotation,
    Tenant,
    TenantDraft,
    TenantPatch,
)
from headrace.schema.errors import ErrorCode, HeadraceError


async def tell_nobody() -> None:
    """Announce nothing: gateways ask the database by themselves."""


class StoreAdmin:
    """Changes accounts for one actor.

    Args:
        database: at the newest version.
        pepper: for the hashes of new keys.
        actor: who it is, for the audit log.
        announce: is called after each change, so that gateways need not wait for their next poll; it never raises.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        pepper: Pepper,
        *,
        actor: str,
        announce: Callable[[], Awaitable[None]] = tell_nobody,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._actor = actor
        self._announce = announce
        self._clock = clock

    def as_actor(self, actor: str) -> "StoreAdmin":
        """Return the same for somebody else."""
        return StoreAdmin(self._database, self._pepper, actor=actor, announce=self._announce, clock=self._clock)

    async def create_tenant(self, draft: TenantDraft) -> Tenant:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            return await changing_tenants.create(change, draft)

    async def list_tenants(self, *, after: str | None = None, limit: int = PAGE_SIZE) -> Page[Tenant]:
        """See `AccountsAdmin`."""
        async with self._database.reading() as connection:
            return await reading.read_tenants(connection, after=after, limit=limit)

    async def find_tenant(self, tenant: str) -> Tenant:
        """See `AccountsAdmin`."""
        async with self._database.reading() as connection:
            return await reading.read_tenant(connection, tenant)

    async def change_tenant(self, tenant: str, patch: TenantPatch) -> Tenant:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            return await changing_tenants.patch(change, tenant, patch)

    async def delete_tenant(self, tenant: str) -> None:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            await changing_tenants.delete(change, tenant)

    async def create_key(self, draft: KeyDraft) -> IssuedKey:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            return await changing_keys.create(change, draft, self._pepper)

    async def list_keys(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = PAGE_SIZE
    ) -> Page[ApiKey]:
        """See `AccountsAdmin`."""
        async with self._database.reading() as connection:
            tenant_id = None if tenant is None else (await reading.read_tenant(connection, tenant)).id
            return await reading.read_keys(connection, tenant_id=tenant_id, after=after, limit=limit)

    async def find_key(self, key: str) -> ApiKey:
        """See `AccountsAdmin`."""
        async with self._database.reading() as connection:
            return await reading.read_key(connection, key)

    async def change_key(self, key: str, patch: KeyPatch) -> ApiKey:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            return await changing_keys.patch(change, key, patch)

    async def rotate_key(self, key: str, rotation: Rotation) -> IssuedKey:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            return await changing_keys.rotate(change, key, rotation, self._pepper)

    async def revoke_key(self, key: str) -> ApiKey:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            return await changing_keys.revoke(change, key)

    async def delete_key(self, key: str) -> None:
        """See `AccountsAdmin`."""
        async with self._changing() as change:
            await changing_keys.delete(change, key)

    async def list_audit(
        self, *, tenant: str | None = None, before: int | None = None, limit: int = PAGE_SIZE
    ) -> Page[AuditEntry]:
        """See `AccountsAdmin`."""
        async with self._database.reading() as connection:
            tenant_id = None if tenant is None else await find_tenant_id(connection, tenant)
            return await reading.read_audit(connection, tenant_id=tenant_id, before=before, limit=limit)

    @asynccontextmanager
    async def _changing(self) -> AsyncGenerator[Change]:
        try:
            async with self._database.writing() as connection:
                yield await begin_change(connection, actor=self._actor, now=self._clock())
        except IntegrityError:
            # Ids and prefixes are random, and what they refer to is read in the same transaction: it is the name.
            raise HeadraceError(ErrorCode.CONFLICT, "another tenant has this name already", param="name") from None
        await self._announce()
