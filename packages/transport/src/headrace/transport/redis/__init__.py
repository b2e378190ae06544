"""Redis: asked whether it is there, and the way round the broker while the reply path is down."""

from headrace.transport.redis.probe import RedisProbe
from headrace.transport.redis.relay import RedisRelay, check_redis_url

__all__ = ["RedisProbe", "RedisRelay", "check_redis_url"]
