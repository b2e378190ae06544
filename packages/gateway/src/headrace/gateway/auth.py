"""Who may come in: the bearer of the one key, of a tenant's key, or of the administrators' key.

A key comes as OpenAI's clients send it, or as Anthropic's do; of a client that sends both, one must be right, and they
must not be those of two callers. A header that comes twice is refused, since a proxy may have read the other one.

A route is open only if it says so: probes, which carry no key, and the description of the API, which says nothing that
the documentation does not. Metrics tell the names of the models and how much they are used, so they are for those who
run the gateway: where there are accounts, a tenant's key does not open them.
"""

import hmac
from collections.abc import Sequence

from litestar.handlers.base import BaseRouteHandler

from headrace.accounts.base import CallerDirectory
from headrace.gateway.asgi import AnyConnection
from headrace.gateway.callers import set_caller
from headrace.schema.caller import ANONYMOUS, Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import Secret

OPEN = {"open": True}
OPERATORS = {"audience": "operators"}
ADMINISTRATORS = {"audience": "administrators"}
_SCHEME = b"bearer "


class KeyGuard:
    """Lets a request pass that carries a key, and writes down whose it is.

    Args:
        key: the one key for everything, if there is one; it has no limits.
        callers: the keys of tenants, if there are accounts.
        admin_key: the key of the admin API, if there is one.
    """

    def __init__(
        self, *, key: Secret | None = None, callers: CallerDirectory | None = None, admin_key: Secret | None = None
    ) -> None:
        self._key = key
        self._callers = callers
        self._admin_key = admin_key

    async def check(self, connection: AnyConnection, route: BaseRouteHandler) -> None:
        """Check a request.

        Raises:
            HeadraceError: `unauthorized`; `forbidden`: the key is for something else; `accounts_unavailable`.
        """
        if route.opt.get("open"):
            return
        given = _read_keys(connection)
        match route.opt.get("audience"):
            case "administrators":
                if not _fits(given, self._admin_key):
                    raise _refusal(given)
            case "operators":
                if not _fits(given, self._admin_key):
                    await self._check_caller(connection, given, for_operators=self._callers is not None)
            case _:
                await self._check_caller(connection, given, for_operators=False)

    async def _check_caller(self, connection: AnyConnection, given: Sequence[bytes], *, for_operators: bool) -> None:
        found: set[Caller] = {ANONYMOUS} if _fits(given, self._key) else set()
        if self._callers is not None:
            callers = [await self._callers.find(key.decode("latin-1")) for key in given]
            found |= {caller for caller in callers if caller is not None}
        if len(found) != 1:
            raise _refusal(given)
        caller = found.pop()
        set_caller(connection, caller)
        if for_operators and caller != ANONYMOUS:
            raise HeadraceError(ErrorCode.FORBIDDEN, "this is for those who run the gateway")


def _read_keys(connection: AnyConnection) -> list[bytes]:
    """Return the keys that a request carries: none, or one in each of the two headers.

    Raises:
        HeadraceError: `unauthorized`: one of the headers comes twice.
    """
    bearers, keys = _values_of(connection, b"authorization"), _values_of(connection, b"x-api-key")
    if len(bearers) > 1 or len(keys) > 1:
        raise _refusal([*bearers, *keys])
    tokens = [value[len(_SCHEME) :] for value in bearers if value[: len(_SCHEME)].lower() == _SCHEME]
    given = [key.strip() for key in (*tokens, *keys)]
    if bearers and not given:
        raise _refusal(bearers)
    return given


def _values_of(connection: AnyConnection, header: bytes) -> list[bytes]:
    return [value for name, value in connection.scope["headers"] if name == header]


def _fits(given: Sequence[bytes], key: Secret | None) -> bool:
    if key is None:
        return False
    expected = key.reveal().encode()
    # Each is compared, whether or not one has fitted.
    fits = [hmac.compare_digest(value, expected) for value in given]
    return any(fits)


def _refusal(given: Sequence[bytes]) -> HeadraceError:
    problem = "the API key is not valid" if given else "an API key is needed"
    return HeadraceError(
        ErrorCode.UNAUTHORIZED, f"{problem}: send it as 'Authorization: Bearer KEY' or as 'X-Api-Key: KEY'"
    )
