"""The one key that guards the API, until there are accounts.

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
        values = [value for name, value in connection.scope["headers"] if name == b"authorization"]
        given = values[0] if len(values) == 1 else b""
        has_scheme = given[: len(_SCHEME)].lower() == _SCHEME
        if not (has_scheme and hmac.compare_digest(given[len(_SCHEME) :].strip(), self._key)):
            problem = "the API key is not valid" if values else "an API key is needed"
            raise HeadraceError(ErrorCode.UNAUTHORIZED, f"{problem}: send it as 'Authorization: Bearer KEY'")
