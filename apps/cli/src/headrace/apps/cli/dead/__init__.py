"""`headrace queue dead`: what is not tried again, why, and what to do with it."""

from headrace.apps.cli.dead.options import DeadOptions
from headrace.apps.cli.dead.run import drop_dead, list_dead, retry_dead, show_dead

__all__ = ["DeadOptions", "drop_dead", "list_dead", "retry_dead", "show_dead"]
