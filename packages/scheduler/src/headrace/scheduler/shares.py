"""Which share of its priority a request enters at: the more its tenant has in the line, the lower."""

from headrace.schema.levels import Levels


class TenantShares:
    """What the tenants of one line have waiting, priority by priority.

    Args:
        levels: how the queue divides its levels.
    """

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._waiting: dict[tuple[str, int], list[int]] = {}

    def find(self, tenant: str, priority: int) -> int:
        """Return the share of the next request of a tenant.

        It never enters above one of its own that waits, so each tenant is served in the order in which it asked. Where
        nobody is told apart, all enter at the top.
        """
        counts = self._waiting.get((tenant, priority))
        if not tenant or counts is None:
            return self._levels.top_share
        lowest = next(share for share, count in enumerate(counts) if count)
        return min(lowest, self._levels.share_of(sum(counts)))

    def add(self, tenant: str, priority: int, share: int) -> None:
        """Count a request in."""
        if tenant:
            self._waiting.setdefault((tenant, priority), [0] * self._levels.shares)[share] += 1

    def remove(self, tenant: str, priority: int, share: int) -> None:
        """Count a request out."""
        if not tenant:
            return
        counts = self._waiting[tenant, priority]
        counts[share] -= 1
        if not any(counts):
            del self._waiting[tenant, priority]
