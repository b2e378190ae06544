"""Responses where every gateway finds them."""

import msgspec

from headrace.gateway.dialects.openai.responses.store import StoredResponse
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.transport.records import Records, RecordsUnavailableError

_decoder = msgspec.msgpack.Decoder(StoredResponse)


class SharedResponseStore:
    """A `ResponseStore` over records that all gateways share; it forgets by time, and by what bounds the records.

    Args:
        records: keeps them.
        max_bytes: a larger response is not kept; 0 keeps nothing.
        max_seconds: how long it keeps one.
    """

    def __init__(self, records: Records, *, max_bytes: int, max_seconds: float) -> None:
        self._records = records
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds

    async def put(self, record: StoredResponse) -> None:
        """Keep a response; see `ResponseStore`."""
        await self._put(record, only_if_there=False)

    async def replace(self, record: StoredResponse) -> None:
        """Keep a response in place of what it was before; see `ResponseStore`."""
        await self._put(record, only_if_there=True)

    async def _put(self, record: StoredResponse, *, only_if_there: bool) -> None:
        if record.size_bytes > self._max_bytes:
            await self.delete(record.id)
            return
        data = msgspec.msgpack.encode(record)
        try:
            await self._records.put(record.id, data, seconds=self._max_seconds, only_if_there=only_if_there)
        except RecordsUnavailableError as error:
            raise _unavailable(error) from None

    async def get(self, response_id: str) -> StoredResponse | None:
        """Return a response; see `ResponseStore`."""
        try:
            data = await self._records.get(response_id)
        except RecordsUnavailableError as error:
            raise _unavailable(error) from None
        try:
            return None if data is None else _decoder.decode(data)
        except msgspec.DecodeError:
            # A newer gateway kept it, in words that are unknown here.
            return None

    async def delete(self, response_id: str) -> bool:
        """Forget a response; see `ResponseStore`."""
        try:
            return await self._records.delete(response_id)
        except RecordsUnavailableError as error:
            raise _unavailable(error) from None


def _unavailable(error: RecordsUnavailableError) -> HeadraceError:
    return HeadraceError(ErrorCode.BROKER_UNAVAILABLE, f"{error}, where responses are kept; try again soon")
