"""Quotas that all gateways share, in Redis: each step is one script, so no two gateways ever see half of one."""

from headrace.accounts.quota.redis.store import RedisQuotaStore

__all__ = ["RedisQuotaStore"]
