"""Names for the types that Litestar leaves open."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler

HttpRequest = Request[Any, Any, State]
AnyConnection = ASGIConnection[Any, Any, Any, Any]
AnyGuard = Callable[[AnyConnection, BaseRouteHandler], Awaitable[None] | None]
