"""Who a key belongs to, answered from memory.

`CachedDirectory` is the `CallerDirectory` and the `LimitsDirectory` of a gateway. It loads a key when it is first seen,
and a watch asks the database for changes several times a second, or at once when another gateway says so over Redis.
"""

from headrace.accounts.directory.announcing import RedisAnnouncements
from headrace.accounts.directory.directory import CachedDirectory

__all__ = ["CachedDirectory", "RedisAnnouncements"]
