"""The one key that guards the API, until there are accounts.

It comes as OpenAI's clients send it, or as Anthropic's do; of a client that sends both, one must be right. A header
that comes twice is refused, since a proxy may have read the other one.

A route is open only if it says so: probes, which carry no key, and the description of the API, which says nothing that
the documentation does not. Metrics are not: they tell the names of the models and how much they are used.
"""

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import Secret

OPEN = {"open": True}
_SCHEME = b"bearer "


class KeyGuard:
    """Lets a request pass that carries the key.

    Args:
        key: what it must carry.
    """

    def __init__(self, key: Secret) -> None:
        self._key = key.reveal().encode()

    def check(self, connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        """Check a request.

        Raises:
            HeadraceError: `unauthorized`.
        """
        if route.opt.get("open"):
            return
        bearers, keys = _values_of(connection, b"authorization"), _values_of(connection, b"x-api-key")
        given = [value[len(_SCHEME) :] for value in bearers if value[: len(_SCHEME)].lower() == _SCHEME] + keys
        fits = [hmac.compare_digest(key.strip(), self._key) for key in given]
        if len(bearers) > 1 or len(keys) > 1 or not any(fits):
            problem = "the API key is not valid" if bearers or keys else "an API key is needed"
            raise HeadraceError(
                ErrorCode.UNAUTHORIZED, f"{problem}: send it as 'Authorization: Bearer KEY' or as 'X-Api-Key: KEY'"
            )


def _values_of(connection: ASGIConnection[Any, Any, Any, Any], header: bytes) -> list[bytes]:
    return [value for name, value in connection.scope["headers"] if name == header]
