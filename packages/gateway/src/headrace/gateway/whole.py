"""The answer in one piece, folded from the events that a stream would have carried."""

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from headrace.gateway.answer import AnswerFold
from headrace.gateway.call import Call, Submits
from headrace.gateway.failure import failure_of_error, failure_of_event
from headrace.gateway.reading import next_batch
from headrace.gateway.response import GenerationResponse
from headrace.scheduler.base import Generation
from headrace.schema.errors import HeadraceError
from headrace.schema.events import is_terminal

_MEDIA_TYPE = "application/json"


class WholeResponse(GenerationResponse):
    """Reads the generation to its end, then sends the answer.

    Args:
        call: the call to answer.
        source: takes its submission.
    """

    def __init__(self, call: Call, source: Submits) -> None:
        super().__init__(call, source, media_type=_MEDIA_TYPE)
        self._rendered = b""

    async def read(self, generation: Generation, send: Send) -> None:  # noqa: ARG002 - nothing is sent before the end
        """Fold the events, and render the answer."""
        fold = AnswerFold()
        ended = False
        while not ended:
            batch = await next_batch(generation)
            ended = is_terminal(batch[-1])
            self.call.note(batch)
            fold.add(batch)
        if fold.failure is not None:
            self.failure = failure_of_event(fold.failure)
            return
        try:
            self._rendered = self.call.order.rendering.render_answer(fold.answer())
        except HeadraceError as error:
            self.failure = failure_of_error(error)

    async def tick(self, send: Send) -> None:
        """Nothing is ever due."""

    async def finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await ASGIResponse(body=self._rendered, media_type=_MEDIA_TYPE, headers=self.answer_headers)(
            scope, receive, send
        )
