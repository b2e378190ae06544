"""Where workers leave what orphaned generations have used: the contract, and memory; Redis is its own."""

from headrace.transport.last_words.base import KEPT_SECONDS, LastWords
from headrace.transport.last_words.memory import MemoryLastWords

__all__ = ["KEPT_SECONDS", "LastWords", "MemoryLastWords"]
