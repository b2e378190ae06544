"""Tenants and keys as tables for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table

from headrace.accounts.limits import KeyLimits
from headrace.accounts.secrets import START
from headrace.accounts.values import ALL_RIGHTS, ApiKey, AuditEntry, KeySecret, Rights, Tenant

_LIMITS = {
    "requests_per_minute": "rpm",
    "tokens_per_minute": "tpm",
    "concurrent_generations": "at once",
    "tokens_per_day": "tokens/day",
    "tokens_per_month": "tokens/month",
}
_COPIED = ("NAME", "ID", "KEY", "TENANT")


def make_tenant_table(tenants: Sequence[Tenant]) -> Table:
    """Return a line for each tenant."""
    table = _make_table("NAME", "ID", "STATE", "CREATED", "MAY", "LIMITS")
    for tenant in tenants:
        state = "works" if tenant.disabled_at is None else f"disabled {show_instant(tenant.disabled_at)}"
        table.add_row(
            tenant.name,
            tenant.id,
            state,
            show_instant(tenant.created_at),
            show_rights(tenant.rights),
            show_limits(tenant.limits),
        )
    return table


def make_key_table(keys: Sequence[ApiKey], *, now: datetime) -> Table:
    """Return a line for each key. A key is named by its prefix, which all commands take; its id is in `--json`."""
    table = _make_table("NAME", "KEY", "TENANT", "STATE", "MAY", "LIMITS")
    for key in keys:
        prefixes = "\n".join(_show_secret(secret, now=now) for secret in key.secrets)
        table.add_row(
            key.name,
            prefixes,
            key.tenant_name or key.tenant_id,
            show_state(key, now=now),
            show_rights(key.rights),
            show_limits(key.limits),
        )
    return table


def _show_secret(secret: KeySecret, *, now: datetime) -> str:
    """Return how a secret begins, and until when an old one goes on."""
    begins = f"{START}{secret.prefix}_…"
    if secret.expires_at is None:
        return begins
    return f"{begins} {'until' if secret.expires_at > now else 'expired'} {show_instant(secret.expires_at)}"


def make_audit_table(entries: Sequence[AuditEntry]) -> Table:
    """Return a line for each change."""
    table = _make_table("AT", "WHO", "DID", "TENANT", "KEY")
    for entry in entries:
        table.add_row(
            show_instant(entry.at), entry.actor, entry.action, entry.tenant_name or entry.tenant_id, _show_key(entry)
        )
    return table


def _show_key(entry: AuditEntry) -> str:
    if entry.key_id is None:
        return ""
    return entry.key_id if entry.key_name is None else f"{entry.key_name} {entry.key_id}"


def show_state(key: ApiKey, *, now: datetime) -> str:
    """Say whether a key works, and how long."""
    if key.revoked_at is not None:
        return f"revoked {show_instant(key.revoked_at)}"
    if key.expires_at is None:
        return "works"
    return f"{'works until' if key.expires_at > now else 'expired'} {show_instant(key.expires_at)}"


def show_rights(rights: Rights) -> str:
    """Say what differs from everything."""
    words: list[str] = []
    if rights.models is not None:
        words.append(", ".join(rights.models) or "no model")
    if rights.max_priority != ALL_RIGHTS.max_priority:
        words.append(f"priority up to {rights.max_priority}")
    if rights.local_only:
        words.append("local only")
    if rights.retains:
        words.append("retains")
    return "; ".join(words) or "everything"


def show_limits(limits: KeyLimits) -> str:
    """Say which limits there are."""
    values = {name: getattr(limits, name) for name in _LIMITS}
    words = [f"{value:,} {_LIMITS[name]}" for name, value in values.items() if value is not None]
    if limits.cost_per_month_micros is not None:
        words.append(f"{limits.cost_per_month_micros / 1_000_000:,.2f}/month")
    return "; ".join(words) or "none"


def show_instant(instant: datetime) -> str:
    """Return a time, in UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _make_table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        # What is there to be copied stays in one piece.
        table.add_column(title, overflow="fold", no_wrap=title in _COPIED)
    return table
