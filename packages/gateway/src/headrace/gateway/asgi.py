"""Names for the types that Litestar leaves open."""

from typing import Any

from litestar import Request
from litestar.datastructures import State

HttpRequest = Request[Any, Any, State]
