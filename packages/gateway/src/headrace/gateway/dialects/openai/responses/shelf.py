"""The responses that this gateway knows: those that run in the background, and those that are kept."""

from collections.abc import Sequence

from msgspec import Struct

from headrace.gateway.dialects.openai.responses.background import BackgroundRuns
from headrace.gateway.dialects.openai.responses.errors import (
    not_in_background,
    unfinished_previous,
    unknown_item,
    unknown_previous,
    unknown_response,
)
from headrace.gateway.dialects.openai.responses.identity import response_of_item
from headrace.gateway.dialects.openai.responses.items import ConversationItem, InputItem, ItemReference
from headrace.gateway.dialects.openai.responses.keeping import read_conversation, read_response
from headrace.gateway.dialects.openai.responses.retained import RetainedResponses
from headrace.gateway.dialects.openai.responses.store import ResponseStore, StoredResponse
from headrace.gateway.sse import EventStreamResponse

_CONTINUABLE = ("completed", "incomplete")


class Said(Struct, frozen=True, kw_only=True):
    """A part of a conversation.

    Attributes:
        items: oldest first.
        local_only: some of it is kept of a call that must not leave for an outside provider.
    """

    items: tuple[ConversationItem, ...] = ()
    local_only: bool = False


class Shelf:
    """Finds responses and what they refer to, each for one tenant: those of others are not there.

    Args:
        store: those that have ended.
        runs: those that run here.
        retained: those that run anywhere.
    """

    def __init__(self, store: ResponseStore, runs: BackgroundRuns, retained: RetainedResponses) -> None:
        self.store = store
        self._runs = runs
        self._retained = retained

    async def find(self, response_id: str, tenant_id: str) -> StoredResponse:
        """Return a response.

        Raises:
            HeadraceError: `not_found`.
        """
        record = await self._look(response_id, tenant_id)
        if record is None:
            raise unknown_response(response_id)
        return record

    async def delete(self, response_id: str, tenant_id: str) -> None:
        """Forget a response; one that runs is cancelled first.

        Raises:
            HeadraceError: `not_found`.
        """
        record = await self.find(response_id, tenant_id)
        ran = await self._runs.cancel(response_id)
        if not ran and record.is_open:
            await self._retained.cancel(record)
        if not await self.store.delete(response_id) and not ran:
            raise unknown_response(response_id)

    async def cancel(self, response_id: str, tenant_id: str) -> StoredResponse:
        """Cancel a response that runs in the background; one that has ended stays as it is.

        Raises:
            HeadraceError: `not_found`, or its client waits for it.
        """
        record = await self.find(response_id, tenant_id)
        if not read_response(record).background:
            raise not_in_background()
        if await self._runs.cancel(response_id):
            return await self.store.get(response_id) or record
        return await self._retained.cancel(record) if record.is_open else record

    async def stream(self, response_id: str, tenant_id: str, *, after: int) -> EventStreamResponse:
        """Return the stream of a response again, without the frames up to a number.

        Raises:
            HeadraceError: `not_found`, or `invalid_request`: its events are not kept.
        """
        return await self._retained.stream(await self.find(response_id, tenant_id), after=after)

    async def read_history(self, previous_id: str | None, tenant_id: str) -> Said:
        """Return all that was said up to the end of a response.

        Raises:
            HeadraceError: `invalid_request`: it is not kept, or has no answer.
        """
        if previous_id is None:
            return Said()
        record = await self._look(previous_id, tenant_id)
        if record is None:
            raise unknown_previous(previous_id)
        if read_response(record).status not in _CONTINUABLE:
            raise unfinished_previous(previous_id)
        return Said(items=read_conversation(record), local_only=record.local_only)

    async def resolve(self, items: Sequence[InputItem], tenant_id: str) -> Said:
        """Return the items of an input, with those that are referred to in the place of the references.

        Raises:
            HeadraceError: `not_found`: an item is not kept.
        """
        resolved: list[ConversationItem] = []
        local_only = False
        for item in items:
            if isinstance(item, ItemReference):
                found, is_private = await self._find_item(item.id, tenant_id)
                resolved.append(found)
                local_only = local_only or is_private
            else:
                resolved.append(item)
        return Said(items=tuple(resolved), local_only=local_only)

    async def _find_item(self, item_id: str, tenant_id: str) -> tuple[ConversationItem, bool]:
        response_id = response_of_item(item_id)
        record = None if response_id is None else await self._look(response_id, tenant_id)
        if record is None:
            raise unknown_item(item_id)
        found = next((item for item in read_conversation(record) if item.id == item_id), None)
        if found is None:
            raise unknown_item(item_id)
        return found, record.local_only

    async def _look(self, response_id: str, tenant_id: str) -> StoredResponse | None:
        # The runs before the store: one that ends puts its response there before it is gone from here.
        running = self._runs.find(response_id)
        record = running or await self.store.get(response_id)
        if record is None or record.tenant_id != tenant_id:
            return None
        return await self._retained.refresh(record) if running is None and record.is_open else record
