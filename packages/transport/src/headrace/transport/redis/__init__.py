"""Redis. So far it is only asked whether it is there; it will relay chunks while the reply path is down."""

from headrace.transport.redis.probe import RedisProbe

__all__ = ["RedisProbe"]
