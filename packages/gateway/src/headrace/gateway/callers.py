"""Who sent the request at hand, once its key was checked."""

from headrace.gateway.asgi import AnyConnection
from headrace.schema.caller import ANONYMOUS, Caller

_STATE = "headrace_caller"


def set_caller(connection: AnyConnection, caller: Caller) -> None:
    """Write down whose a request is."""
    connection.scope["state"][_STATE] = caller


def caller_of(connection: AnyConnection) -> Caller:
    """Return whose a request is; anonymous where nobody asked, or nobody knew."""
    caller: Caller = connection.scope["state"].get(_STATE, ANONYMOUS)
    return caller
