"""Whose request it is, as the guard of the front door found out."""

from headrace.gateway.asgi import HttpRequest
from headrace.schema.caller import ANONYMOUS, Caller

CALLER_STATE = "headrace_caller"
"""The name under which a guard leaves the `Caller` in the state of a request."""


def caller_of(http: HttpRequest) -> Caller:
    """Return whose request it is; nobody's in particular, where there are no accounts."""
    caller: Caller = http.scope["state"].get(CALLER_STATE, ANONYMOUS)
    return caller
