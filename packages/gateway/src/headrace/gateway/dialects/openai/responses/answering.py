"""The two ways in which a response is sent to a client that waits; both keep it before its last byte is out."""

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from headrace.gateway.call import Call, Submits
from headrace.gateway.dialects.openai.responses.keeping import Keeper
from headrace.gateway.dialects.openai.responses.render import ResponseRendering, encode_ended
from headrace.gateway.reading import next_batch
from headrace.gateway.response import GenerationResponse
from headrace.gateway.sse import EventStreamResponse
from headrace.scheduler.base import Generation
from headrace.schema.events import is_terminal
from headrace.schema.settings import GatewaySettings

_MEDIA_TYPE = "application/json"


class KeptStream(EventStreamResponse):
    """A stream; a client may go on from its response as soon as it has read it.

    Args:
        call: the call to answer.
        source: where it gets its generation.
        settings: the two waits.
        rendering: writes it.
        keeper: keeps it.
    """

    def __init__(
        self,
        call: Call,
        source: Submits,
        settings: GatewaySettings,
        *,
        rendering: ResponseRendering,
        keeper: Keeper,
    ) -> None:
        super().__init__(call, source, settings)
        self._rendering = rendering
        self._keeper = keeper

    async def conclude(self) -> None:
        """Keep the response."""
        await self._keeper.keep(self._rendering.fold.ended)


class KeptAnswer(GenerationResponse):
    """A response in one piece.

    Args:
        call: the call to answer.
        source: where it gets its generation.
        rendering: writes it.
        keeper: keeps it.
    """

    def __init__(self, call: Call, source: Submits, *, rendering: ResponseRendering, keeper: Keeper) -> None:
        super().__init__(call, source, media_type=_MEDIA_TYPE)
        self._fold = rendering.make_fold()
        self._keeper = keeper

    async def read(self, generation: Generation, send: Send) -> None:  # noqa: ARG002 - nothing is sent before the end
        """Fold the events."""
        ended = False
        while not ended:
            batch = await next_batch(generation)
            ended = is_terminal(batch[-1])
            self.call.note(batch)
            self._fold.add_all(batch)
        self.failure = self._fold.failure

    async def tick(self, send: Send) -> None:
        """Nothing is ever due."""

    async def finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep the response, and send it."""
        await self._keeper.keep(self._fold.ended)
        answer = ASGIResponse(body=encode_ended(self._fold), media_type=_MEDIA_TYPE, headers=self.answer_headers)
        await answer(scope, receive, send)
