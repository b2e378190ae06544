"""The source between the gateway and whatever generates: it reserves before, and settles and records after."""

from headrace.accounts.metering.source import MeteredSource

__all__ = ["MeteredSource"]
