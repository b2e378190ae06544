"""uvicorn's HTTP protocol with a limit on the head of a request, in bytes and in time.

httptools keeps a header until it is whole, and uvicorn waits for one as long as it takes: without this a single
connection could fill the memory, and many silent ones could use up every file, all before any key was asked for.
"""

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
_HEAD_END = b"\r\n\r\n"

_REFUSAL = (
    b'{"error":{"message":"the request line and headers are larger than 64 KiB","type":"invalid_request_error",'
    b'"param":null,"code":"header_too_large"}}'
)
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b"
) % (len(_REFUSAL), _REFUSAL)

_log = structlog.get_logger("headrace.gateway")


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses a head that is too large with 431, and closes a connection whose head does not come."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._head_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the head."""
        if self.transport.is_closing():
            return
        if self._in_head:
            end = data.find(_HEAD_END)
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > HEAD_LIMIT_BYTES:
                _log.warning("request head refused", limit_bytes=HEAD_LIMIT_BYTES)
                self.transport.write(_ANSWER)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of the head."""
        super().on_message_begin()
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Another request may follow."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.close()
