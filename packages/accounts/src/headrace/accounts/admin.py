"""What can be done to tenants and keys, whichever way in is used: the database itself, or the admin API."""

from typing import Protocol

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


class AccountsAdmin(Protocol):
    """Changes tenants and keys for one actor.

    A tenant is named by its id or its name; a key by its id, a prefix, or its name where no other key has it. Every
    method raises HeadraceError: `not_found` where there is none of that name, with those that there are; `conflict`
    where several are meant, or what is asked for does not fit what is there; `invalid_request` for a value that can't
    be, `accounts_unavailable` without a database. What was changed holds on every gateway within a second.
    """

    async def create_tenant(self, draft: TenantDraft) -> Tenant:
        """Make a tenant; `conflict` if the name is taken."""
        ...

    async def list_tenants(self, *, after: str | None = None, limit: int = PAGE_SIZE) -> Page[Tenant]:
        """Return tenants, the oldest first, from after a tenant's id."""
        ...

    async def find_tenant(self, tenant: str) -> Tenant:
        """Return a tenant."""
        ...

    async def change_tenant(self, tenant: str, patch: TenantPatch) -> Tenant:
        """Change a tenant, and return it as it is now."""
        ...

    async def delete_tenant(self, tenant: str) -> None:
        """Remove a tenant and its keys; `conflict` unless it is disabled."""
        ...

    async def create_key(self, draft: KeyDraft) -> IssuedKey:
        """Make a key, and return its secret, which nobody can see again."""
        ...

    async def list_keys(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = PAGE_SIZE
    ) -> Page[ApiKey]:
        """Return keys, of one tenant or of all, the oldest first, from after a key's id."""
        ...

    async def find_key(self, key: str) -> ApiKey:
        """Return a key."""
        ...

    async def change_key(self, key: str, patch: KeyPatch) -> ApiKey:
        """Change a key, and return it as it is now; `conflict` if it is revoked."""
        ...

    async def rotate_key(self, key: str, rotation: Rotation) -> IssuedKey:
        """Give a key a new secret; the ones that it has end when the overlap does. `conflict` if it is revoked."""
        ...

    async def revoke_key(self, key: str) -> ApiKey:
        """End a key for ever, and keep it in lists; a key that is revoked already stays as it is."""
        ...

    async def delete_key(self, key: str) -> None:
        """Remove a key from lists too."""
        ...

    async def list_audit(
        self, *, tenant: str | None = None, before: int | None = None, limit: int = PAGE_SIZE
    ) -> Page[AuditEntry]:
        """Return who changed what, the newest first, from before a number; of one tenant, or of all.

        A tenant that was deleted is named by its id.
        """
        ...
