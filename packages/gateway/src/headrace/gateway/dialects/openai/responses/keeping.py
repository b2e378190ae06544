"""Turns responses into records and back."""

from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import structs

from headrace.gateway.dialects.openai.responses.identity import input_item_id, to_request_id
from headrace.gateway.dialects.openai.responses.items import (
    ContentPart,
    ConversationItem,
    FunctionCallItem,
    InputText,
    MessageItem,
    OutputText,
    ReasoningItem,
)
from headrace.gateway.dialects.openai.responses.objects import ResponseObject
from headrace.gateway.dialects.openai.responses.store import ResponseStore, StoredResponse
from headrace.gateway.unexpected import report_unexpected
from headrace.schema.errors import HeadraceError

OPEN_STATUSES = ("queued", "in_progress")

_items_decoder = msgspec.json.Decoder(tuple[ConversationItem, ...])
_response_decoder = msgspec.json.Decoder(ResponseObject)
_log = structlog.get_logger("headrace.gateway")


class Keeper:
    """Keeps one response, if it is to be kept.

    Args:
        store: where; None for a response that is not to be kept.
        history: what was said up to the previous response.
        items: what the response answers to.
        response_id: its id.
        tenant_id: whose it is.
        local_only: whether it must not leave for an outside provider.
    """

    def __init__(
        self,
        store: ResponseStore | None,
        *,
        history: Sequence[ConversationItem],
        items: Sequence[ConversationItem],
        response_id: str,
        tenant_id: str,
        local_only: bool = False,
    ) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._local_only = local_only
        named = (name_item(item, response_id=response_id, index=i) for i, item in enumerate(items))
        self._items = b"" if store is None else msgspec.json.encode((*history, *named))

    def to_record(self, response: ResponseObject) -> StoredResponse:
        """Return the record of the response."""
        return StoredResponse(
            id=response.id,
            response=msgspec.json.encode(response),
            items=self._items,
            tenant_id=self._tenant_id,
            local_only=self._local_only,
            is_open=response.status in OPEN_STATUSES,
        )

    async def begin(self, response: ResponseObject) -> None:
        """Keep a response that has begun, unless one of its id is kept: then another call began it."""
        try:
            is_known = self._store is not None and await self._store.get(response.id) is not None
        except HeadraceError:
            is_known = False
        if not is_known:
            await self.keep(response)

    async def keep(self, response: ResponseObject | None) -> None:
        """Keep the response. A store that fails must not take the answer with it."""
        if self._store is None or response is None:
            return
        await self._try(self._store.put(self.to_record(response)), response.id)

    async def replace(self, response: ResponseObject) -> None:
        """Keep the response in place of what it was before, if it was not deleted meanwhile; see `keep`."""
        if self._store is not None:
            await self._try(self._store.replace(self.to_record(response)), response.id)

    @staticmethod
    async def _try(keeping: Coroutine[Any, Any, None], response_id: str) -> None:
        try:
            await keeping
        except HeadraceError as error:
            _log.warning("response not kept", request_id=to_request_id(response_id), reason=error.message)
        except Exception as error:  # noqa: BLE001 - an edge: the client has its answer all the same
            report_unexpected(error, request_id=to_request_id(response_id))


def read_response(record: StoredResponse) -> ResponseObject:
    """Return the response of a record."""
    return _response_decoder.decode(record.response)


def read_items(record: StoredResponse) -> tuple[ConversationItem, ...]:
    """Return what the response of a record answers to, oldest first."""
    return _items_decoder.decode(record.items)


def read_conversation(record: StoredResponse) -> tuple[ConversationItem, ...]:
    """Return all that was said up to the end of the response of a record."""
    return (*read_items(record), *read_response(record).output)


def name_item(item: ConversationItem, *, response_id: str, index: int) -> ConversationItem:
    """Return an item of the input as OpenAI lists it: with an id, a status, and parts in place of plain text."""
    match item:
        case MessageItem():
            prefix = "msg"
            item = structs.replace(item, content=_to_parts(item))
        case FunctionCallItem():
            prefix = "fc"
        case ReasoningItem():
            prefix = "rs"
        case _:
            prefix = "fco"
    item_id = item.id or input_item_id(response_id, prefix=prefix, index=index)
    return structs.replace(item, id=item_id, status=item.status or "completed")


def _to_parts(item: MessageItem) -> tuple[ContentPart, ...]:
    parts = (InputText(text=item.content),) if isinstance(item.content, str) else item.content
    return tuple(_to_own(part) for part in parts) if item.role == "assistant" else parts


def _to_own(part: ContentPart) -> ContentPart:
    """Return a part as an assistant says it."""
    if isinstance(part, InputText):
        return OutputText(text=part.text)
    if isinstance(part, OutputText):
        return structs.replace(part, annotations=part.annotations or (), logprobs=part.logprobs or ())
    return part
