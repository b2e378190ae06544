"""The one way to a provider: a pool of HTTP connections that is owned, bounded and closed.

An upstream may be slow, ill or hostile. So nothing is followed elsewhere (a redirect would carry the key along),
nothing is decompressed, every read is bounded in bytes and in time, and all that an answer does wrong is a
`ProviderError`.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import aiohttp
from msgspec import Struct
from yarl import URL

from headrace.providers.failing import Complaints
from headrace.schema.errors import ErrorCode
from headrace.schema.settings import ProviderSettings
from headrace.transport.tasks import TaskOwner

MAX_ERROR_BYTES = 64 * 1024
MAX_WHOLE_BYTES = 128 * 1024 * 1024
KEEP_ALIVE_SECONDS = 30.0
CHECK_SECONDS = 5.0
# An answer that is whole may lack the end of its last chunk, and with it the connection can be used again.
TAIL_SECONDS = 1.0


class HttpCall(Struct, frozen=True, kw_only=True):
    """One call, as it goes out.

    Attributes:
        path: below the base URL.
        headers: of this call alone.
        body: JSON.
        query: parameters beside those of the base URL.
        answer: `stream` for server-sent events, `whole` for JSON.
    """

    path: str
    body: bytes
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    answer: Literal["stream", "whole"] = "stream"


class Patience(Struct, frozen=True, kw_only=True):
    """How long a call may take, as instants of the event loop's clock.

    Attributes:
        first: until its first piece.
        last: until its end.
        idle_seconds: between two pieces.
    """

    first: float
    last: float
    idle_seconds: float


class HttpAnswer:
    """An answer whose headers are here and whose body comes.

    Attributes:
        status: the HTTP status.
        headers: by any case of their names.
    """

    def __init__(self, response: aiohttp.ClientResponse, complaints: Complaints, patience: Patience) -> None:
        self._response = response
        self._complaints = complaints
        self._patience = patience
        self._has_begun = False
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def content_type(self) -> str:
        """The media type, without its parameters, in lower case; empty where none is said."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def begin(self) -> None:
        """Say that the answer has begun: from here on its pauses are measured, and not the wait for it."""
        self._has_begun = True

    async def read(self) -> bytes:
        """Return what has come, at least a byte, or nothing at the end.

        Raises:
            ProviderError: it broke off, or nothing came in time.
        """
        content = self._response.content
        try:
            # Most pieces are here already, and then there is no need for a clock.
            if data := content.read_nowait():
                return data
            async with asyncio.timeout_at(self._until()):
                return await content.readany()
        except TimeoutError as error:
            raise self._late() from error
        except aiohttp.ClientError as error:
            raise self._complaints.broken(_reason_of(error)) from error

    async def read_whole(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            ProviderError: as `read`, or it is larger than `limit` bytes.
        """
        pieces: list[bytes] = []
        size = 0
        while data := await self.read():
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise self._complaints.garbled(f"a body above {limit} bytes")
        return b"".join(pieces)

    def close(self) -> None:
        """Close the connection, unless the body has ended and it is back in the pool."""
        self._response.close()

    @property
    def has_ended(self) -> bool:
        """Whether the body has come to its end."""
        return self._response.content.is_eof()

    async def finish(self) -> None:
        """Wait a moment for the end of the body, with which the connection goes back to the pool."""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(TAIL_SECONDS):
                while await self._response.content.readany():
                    pass

    def _until(self) -> float:
        patience = self._patience
        if not self._has_begun:
            return min(patience.first, patience.last)
        return min(asyncio.get_running_loop().time() + patience.idle_seconds, patience.last)

    def _late(self) -> Exception:
        if asyncio.get_running_loop().time() >= self._patience.last:
            return self._complaints.too_late()
        if not self._has_begun:
            return self._complaints.ill(ErrorCode.PROVIDER_TIMEOUT, "did not begin its answer in time")
        seconds = self._patience.idle_seconds
        return self._complaints.ill(
            ErrorCode.PROVIDER_TIMEOUT, f"stopped for {seconds:g} s in the middle of its answer"
        )


class HttpUpstream:
    """Connections to one provider.

    Args:
        settings: of the provider.
        headers: that every call carries, the key among them.
        tls: checks its certificate; None where no TLS is spoken.
        complaints: say what goes wrong.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
        complaints: Complaints,
    ) -> None:
        self._settings = settings
        self._base = URL(settings.url)
        self._headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", **headers}
        self._tls = tls
        self._complaints = complaints
        self._session: aiohttp.ClientSession | None = None
        self._tails = TaskOwner()
        self._open = 0

    @property
    def open_calls(self) -> int:
        """Calls that have a connection now."""
        return self._open

    async def send(self, call: HttpCall, *, timeout_seconds: float) -> HttpAnswer:
        """Send a call and return its answer once its headers are here. Give it back by `leave`.

        Raises:
            ProviderError: it can't be reached, did not answer in time, or answered with what is no HTTP.
        """
        if self._open >= self._settings.max_connections:
            raise self._complaints.full(self._settings.max_connections)
        now = asyncio.get_running_loop().time()
        patience = Patience(
            first=now + self._settings.first_token_seconds,
            last=now + timeout_seconds,
            idle_seconds=self._settings.idle_seconds,
        )
        self._open += 1
        try:
            return HttpAnswer(await self._post(call, patience), self._complaints, patience)
        except BaseException:
            self._open -= 1
            raise

    def leave(self, answer: HttpAnswer, *, is_whole: bool) -> None:
        """Give an answer back: one that is whole to the pool, and any other by closing its connection at once."""
        self._open -= 1
        if is_whole and not answer.has_ended:
            # Closed by a callback, because a task that is cancelled before it runs has no `finally`.
            tail = self._tails.start(answer.finish(), name="provider tail")
            tail.add_done_callback(lambda _: answer.close())
        else:
            answer.close()

    async def get(self, path: str) -> HttpAnswer:
        """Ask for something that costs nothing, within a short time. Give it back by `leave`.

        Raises:
            ProviderError: as `send`.
        """
        last = asyncio.get_running_loop().time() + CHECK_SECONDS
        patience = Patience(first=last, last=last + 1.0, idle_seconds=CHECK_SECONDS)
        self._open += 1
        try:
            response = await self._request("GET", self._to_url(path, {}), {}, None, patience)
            return HttpAnswer(response, self._complaints, patience)
        except BaseException:
            self._open -= 1
            raise

    async def close(self) -> None:
        """Close every connection."""
        await self._tails.close()
        if self._session is not None:
            await self._session.close()

    async def _post(self, call: HttpCall, patience: Patience) -> aiohttp.ClientResponse:
        accept = "text/event-stream" if call.answer == "stream" else "application/json"
        url = self._to_url(call.path, call.query)
        return await self._request("POST", url, {"Accept": accept, **call.headers}, call.body, patience)

    async def _request(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None, patience: Patience
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(min(patience.first, patience.last)):
                return await self._pool().request(method, url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ConnectionTimeoutError as error:
            seconds = self._settings.connect_seconds
            raise self._complaints.ill(
                ErrorCode.PROVIDER_UNAVAILABLE, f"can't be reached: no connection within {seconds:g} s"
            ) from error
        except TimeoutError as error:
            if asyncio.get_running_loop().time() >= patience.last:
                raise self._complaints.too_late() from error
            raise self._complaints.ill(ErrorCode.PROVIDER_TIMEOUT, "did not begin its answer in time") from error
        except (aiohttp.ClientConnectorError, aiohttp.ClientOSError, ssl.SSLError) as error:
            what = f"can't be reached: {_reason_of(error)}"
            raise self._complaints.ill(ErrorCode.PROVIDER_UNAVAILABLE, what) from error
        except aiohttp.ClientError as error:
            # The library's own exception may hold the headers that we sent, and the key is one.
            raise self._complaints.ill(ErrorCode.PROVIDER_ERROR, f"failed: {_reason_of(error)}") from None

    def _to_url(self, path: str, query: dict[str, str]) -> URL:
        base = self._base
        return base.with_path(base.raw_path.rstrip("/") + path, encoded=True).with_query({**base.query, **query})

    def _pool(self) -> aiohttp.ClientSession:
        """Return the session; it is made by the first call, because it belongs to an event loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                ssl=True if self._tls is None else self._tls,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                enable_cleanup_closed=False,
                ttl_dns_cache=30,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent",),
            )
        return self._session


def _reason_of(error: Exception) -> str:
    """Say in a few words what a library found; its own words may hold addresses and headers."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name has no address"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not to be trusted"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "it speaks no TLS that we do"
        case aiohttp.ClientConnectorError():
            return (
                "the connection is refused" if isinstance(error.os_error, ConnectionRefusedError) else "no connection"
            )
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case aiohttp.ClientPayloadError():
            return "the connection was cut"
        case aiohttp.ClientResponseError():
            return "its headers are no HTTP, or too large"
        case _:
            return "the connection was lost"
