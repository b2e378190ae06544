"""Requests that are too large for the broker: they travel by reference, and are removed when they have ended."""

import asyncio
import math

from msgspec import structs

from headrace.schema.codec import CodecError, encode_request
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import TextFormat
from headrace.schema.payload import PayloadRef
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import ObjectSettings
from headrace.schema.task import GenerationTask
from headrace.schema.tools import ToolChoice
from headrace.transport.objects import PayloadError, PayloadStore
from headrace.transport.tasks import TaskOwner

SWEEP_SECONDS = 3600.0
DAY_SECONDS = 86400.0


class LargeRequests:
    """Moves large requests into the object store, and what is no longer needed out of it.

    Args:
        payloads: the store.
        settings: what is large, and how long leftovers may lie.
    """

    def __init__(self, payloads: PayloadStore, settings: ObjectSettings) -> None:
        self._payloads = payloads
        self._settings = settings
        self._tasks = TaskOwner()

    def start(self) -> None:
        """Begin to sweep, and ask the store to do so itself, should no gateway run any more."""
        days = math.ceil(self._settings.expire_seconds / DAY_SECONDS) + 1
        self._tasks.start(self._payloads.expire(days=days), name="expire payloads")
        self._tasks.start(self._sweep(), name="sweep payloads")

    async def move(self, task: GenerationTask) -> GenerationTask:
        """Return the task with its request moved into the object store, where it is larger than the threshold.

        Raises:
            HeadraceError: `payload_lost`: the store did not take it. `invalid_request`: it can't be encoded.
        """
        try:
            body = encode_request(task.request)
        except CodecError as error:
            param = "generation_parameters.provider_extensions"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, str(error), param=param) from None
        if len(body) <= self._settings.threshold_bytes:
            return task
        try:
            ref = await self._payloads.save(f"tasks/{task.request_id}", body)
        except PayloadError as error:
            raise HeadraceError(ErrorCode.PAYLOAD_LOST, str(error)) from None
        return structs.replace(task, payload=ref, request=without_content(task.request))

    async def load(self, ref: PayloadRef) -> bytes:
        """Return what somebody else has moved there.

        Raises:
            PayloadError: it is gone, or is not what was saved.
        """
        return await self._payloads.load(ref)

    def discard(self, ref: PayloadRef) -> None:
        """Remove a payload, in a while."""
        self._tasks.start(self._payloads.discard(ref), name="discard payload")

    async def _sweep(self) -> None:
        while True:
            await self._payloads.sweep(older_than_seconds=self._settings.expire_seconds)
            await asyncio.sleep(SWEEP_SECONDS)

    async def close(self) -> None:
        """Stop; what was not removed is left to the sweep of others."""
        await self._tasks.close()
        await self._payloads.close()


def without_content(request: ChatCompletionRequest) -> ChatCompletionRequest:
    """Return what the way needs of a request: all but what it says."""
    return structs.replace(
        request, messages=(), prompts=(), tools=(), tool_choice=ToolChoice(), response_format=TextFormat()
    )
