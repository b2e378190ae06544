"""Values for tests of the accounts."""

from datetime import UTC, datetime

from headrace.accounts.values import ApiKey


def make_key(*, expires_at: datetime | None = None, revoked_at: datetime | None = None) -> ApiKey:
    """A key, made at the beginning of 2026."""
    return ApiKey(
        id="key_1",
        tenant_id="ten_1",
        name="app",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        expires_at=expires_at,
        revoked_at=revoked_at,
    )
