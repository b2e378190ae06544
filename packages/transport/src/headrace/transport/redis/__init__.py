"""Redis: whether it is there, the way round the broker while the reply path is down, what is kept, last words."""

from headrace.transport.redis.last_words import RedisLastWords
from headrace.transport.redis.probe import RedisProbe
from headrace.transport.redis.records import RedisRecords
from headrace.transport.redis.relay import RedisRelay, check_redis_url
from headrace.transport.redis.retention import RedisRetentionStore

__all__ = [
    "RedisLastWords",
    "RedisProbe",
    "RedisRecords",
    "RedisRelay",
    "RedisRetentionStore",
    "check_redis_url",
]
