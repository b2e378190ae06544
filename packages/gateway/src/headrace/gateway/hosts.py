"""Which names this gateway answers to.

A page of another site can make a browser send requests to this machine under a name of that site's own, which its name
server answers with a loopback address. Where no key is asked for, the name is all that tells such a request.
"""

from collections.abc import Collection
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from headrace.schema.errors import ErrorCode, HeadraceError

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class HostGuard:
    """Lets a request pass that calls us by a name of ours.

    Args:
        hosts: the names, without ports, in lower case.
    """

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = frozenset(hosts)

    def check(self, connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        """Check a request.

        Raises:
            HeadraceError: `forbidden`.
        """
        if route.opt.get("open"):
            return
        given = [value for name, value in connection.scope["headers"] if name == b"host"]
        if len(given) != 1 or _name_of(given[0]) not in self._hosts:
            raise HeadraceError(
                ErrorCode.FORBIDDEN,
                "this gateway does not answer to the name in the Host header; see the setting gateway.allowed_hosts",
                param="Host",
            )


def _name_of(host: bytes) -> str:
    """Return a host without its port."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]
