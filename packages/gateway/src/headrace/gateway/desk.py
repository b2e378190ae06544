"""Where the dialects hand in what they have parsed, and get the answer back.

It is the one place that knows the scheduler, the models and the observers; a dialect knows only this.
"""

from collections.abc import Callable, Sequence

from msgspec import structs

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.body import read_body
from headrace.gateway.call import Call, Submits
from headrace.gateway.callers import caller_of
from headrace.gateway.catalogue import Catalogue, ServedModel
from headrace.gateway.costly import read_body_aside
from headrace.gateway.detached import DetachedGenerations
from headrace.gateway.dialects.base import Dialect, Order, ParsedCall
from headrace.gateway.draining import Draining
from headrace.gateway.facts import GatewayObserver
from headrace.gateway.headers import (
    REPLAYED_HEADER,
    RETAINED_HEADER,
    make_request_id,
    read_lane,
    read_priority,
    read_privacy,
    read_timeout,
)
from headrace.gateway.ownership import RunningCalls
from headrace.gateway.response import GenerationResponse
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.gateway.retained.kept import Taken
from headrace.gateway.retained.numbering import NumberedRendering
from headrace.gateway.retained.places import START, NamedPlace
from headrace.gateway.retained.reader import OpenedSource
from headrace.gateway.retained.refusals import RetentionRefusedError, unknown_generation
from headrace.gateway.retained.wish import RetentionWish, read_wish
from headrace.gateway.sse import EventStreamResponse
from headrace.gateway.whole import WholeResponse
from headrace.scheduler.base import GenerationSource, Submission
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import GatewaySettings

REQUEST_ID_STATE = "headrace_request_id"


class Desk:
    """Takes generation calls.

    Attributes:
        catalogue: what is served now.
        source: runs the calls.
        detached: owns those that go on without their HTTP call.
        retained: those that outlive their call; None where none can be.
        settings: limits and waits.

    Args:
        source: runs them.
        catalogue: what is served now.
        settings: limits and waits.
        max_timeout_seconds: most that a call may ask for.
        default_priority: of a call that does not say.
        draining: whether new ones are refused.
        observers: are told what happens.
        retained: those that outlive their call; None where none can be.
    """

    def __init__(
        self,
        *,
        source: GenerationSource,
        catalogue: Catalogue,
        settings: GatewaySettings,
        max_timeout_seconds: float,
        default_priority: int,
        draining: Draining,
        observers: Sequence[GatewayObserver],
        retained: RetainedGenerations | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.source = source
        self.detached = DetachedGenerations(source, cancel_elsewhere=None if retained is None else retained.cancel)
        self.retained = retained
        self.settings = settings
        self._max_timeout_seconds = max_timeout_seconds
        self._default_priority = default_priority
        self._draining = draining
        self._running = RunningCalls()
        self._observers = (self._running, *observers)

    async def answer(
        self, http: HttpRequest, *, dialect: Dialect, parse: Callable[[bytes], ParsedCall]
    ) -> GenerationResponse:
        """Return the answer to a call, which begins when it is sent.

        Raises:
            HeadraceError: the call can't be taken.
        """
        body = await self.read(http)
        parsed = await read_body_aside(body, parse)
        call, source = await self.take(http, dialect=dialect, parsed=parsed)
        return self.respond(call, source)

    async def read(self, http: HttpRequest) -> bytes:
        """Give a call its id, and return its body.

        Raises:
            HeadraceError: the body can't be read, or the process takes no more calls.
        """
        http.scope["state"][REQUEST_ID_STATE] = make_request_id()
        self._draining.refuse_if_begun()
        return await read_body(http, limit_bytes=self.settings.body_limit_bytes)

    async def take(self, http: HttpRequest, *, dialect: Dialect, parsed: ParsedCall) -> tuple[Call, Submits]:
        """Return the call that was read from a request, and where it gets its generation.

        A retained one has begun by then, or was found: the call has the id that it has.

        Raises:
            HeadraceError: its model can't answer it, or a header is wrong; or it can't be retained.
            CallFailedError: it is retained and was not accepted.
        """
        caller = caller_of(http)
        self._check_model(parsed.request, caller)
        priority = read_priority(http.headers)
        submission = Submission(
            request_id=http.scope["state"][REQUEST_ID_STATE],
            request=parsed.request,
            priority=self._lower(parsed.priority if priority is None else priority, caller),
            timeout_seconds=read_timeout(http.headers, most_seconds=self._max_timeout_seconds),
            local_only=read_privacy(http.headers) or parsed.local_only,
            caller=caller,
            lane=read_lane(http.headers) or parsed.lane,
        )
        order = Order(
            submission=submission, dialect=dialect, rendering=parsed.rendering(submission), stream=parsed.stream
        )
        call = Call(order, self._observers)
        wish = read_wish(http.headers, caller)
        if parsed.retention is not None and (wish is None or not wish.is_asked):
            wish = parsed.retention
        if wish is not None and (taken := await self._retain(call, wish)) is not None:
            http.scope["state"][REQUEST_ID_STATE] = taken.submission.request_id
            return self._reading_call(order, parsed, taken, wish.place), OpenedSource(taken.reader)
        return call, self.source

    async def _retain(self, call: Call, wish: RetentionWish) -> Taken | None:
        """Have a generation retained; None where nobody asked and it can't be."""
        if self.retained is None:
            if not wish.is_asked:
                return None
            message = "this gateway retains no generations: that needs redis.url"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param=wish.param)
        try:
            if wish.key is not None and wish.place is not None:
                return await self.retained.go_on(call.order.submission, key=wish.key, place=wish.place)
            return await self.retained.open(call.order.submission, key=wish.key, call=call)
        except RetentionRefusedError:
            if wish.is_asked:
                raise
            return None

    @staticmethod
    def _reading_call(order: Order, parsed: ParsedCall, taken: Taken, named: NamedPlace | None) -> Call:
        """Return the call as one of the readers of its generation, of which others say what becomes of it."""
        submission = taken.submission
        place = START if named is None else named.place
        rendering = parsed.rendering(submission) if taken.is_replay else order.rendering
        numbered = NumberedRendering(rendering, taken.reader, place=place)
        headers = {RETAINED_HEADER: "true"} | ({REPLAYED_HEADER: "true"} if taken.is_replay else {})
        return Call(structs.replace(order, submission=submission, rendering=numbered), (), headers=headers)

    def respond(self, call: Call, source: Submits) -> GenerationResponse:
        """Return the answer to a call, whole or as a stream."""
        if call.order.stream:
            return EventStreamResponse(call, source, self.settings)
        return WholeResponse(call, source)

    def _lower(self, priority: int | None, caller: Caller) -> int | None:
        """Return the priority that a caller gets: what it asks for, or the highest that it may have."""
        asked = self._default_priority if priority is None else priority
        return priority if asked <= caller.max_priority else caller.max_priority

    def _check_model(self, request: ChatCompletionRequest, caller: Caller) -> None:
        embeds = self.find_model(request.model, caller).embeds
        if embeds is not None and embeds != (request.embedding is not None):
            makes = "makes embeddings, and does not answer" if embeds else "answers, and makes no embeddings"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, f"the model '{request.model}' {makes}", param="model")

    def list_models(self, caller: Caller) -> dict[str, ServedModel]:
        """Return the served names that a caller may ask for, with what is said of each."""
        return {name: model for name, model in self.catalogue.models.items() if _may_use(caller, name)}

    def find_model(self, name: str, caller: Caller) -> ServedModel:
        """Return what is said of a served name.

        Raises:
            HeadraceError: `model_not_found`: it is not served, or not to this caller.
        """
        model = self.catalogue.models.get(name)
        if model is None or not _may_use(caller, name):
            raise model_not_found(name)
        return model

    async def take_up(self, request_id: str, caller: Caller) -> Taken:
        """Return a reader of a retained generation, wherever it runs or ran.

        Raises:
            HeadraceError: `not_found`.
        """
        if self.retained is None:
            raise unknown_generation()
        return await self.retained.take_up(request_id, caller)

    async def follow(self, call: Call) -> tuple[Call, OpenedSource]:
        """Return a second reader of what a call reads, which is retained, and the call that it is for.

        Raises:
            HeadraceError: it can't be found any more.
        """
        submission = call.order.submission
        taken = await self.take_up(submission.request_id, submission.caller)
        return Call(call.order, (), headers=call.headers), OpenedSource(taken.reader)

    async def cancel(self, request_id: str, caller: Caller) -> None:
        """Cancel a generation that runs here, or a retained one wherever it runs.

        Raises:
            HeadraceError: `not_found`: none of that id, and of that caller's tenant, runs; or none runs here, and what
                is retained can't be asked.
        """
        refused: RetentionRefusedError | None = None
        try:
            if self.retained is not None and await self.retained.cancel(request_id, caller):
                return
        except RetentionRefusedError as error:
            refused = error
        if not self._running.belongs_to(request_id, caller) or not self.source.cancel(request_id):
            if refused is not None:
                raise refused
            raise HeadraceError(ErrorCode.NOT_FOUND, "there is no running generation with this id", param="id")


def _may_use(caller: Caller, model: str) -> bool:
    return caller.models is None or model in caller.models


def model_not_found(model: str) -> HeadraceError:
    """Return the failure of a call for a model that is not served, or not to its caller: it shall not know which."""
    return HeadraceError(ErrorCode.MODEL_NOT_FOUND, f"the model '{model[:128]}' does not exist here", param="model")
