"""Where the dialects hand in what they have parsed, and get the answer back.

It is the one place that knows the scheduler, the models and the observers; a dialect knows only this.
"""

from collections.abc import Callable, Sequence

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.body import read_body
from headrace.gateway.call import Call
from headrace.gateway.callers import caller_of
from headrace.gateway.catalogue import Catalogue, ServedModel
from headrace.gateway.costly import read_body_aside
from headrace.gateway.detached import DetachedGenerations
from headrace.gateway.dialects.base import Dialect, Order, ParsedCall
from headrace.gateway.draining import Draining
from headrace.gateway.facts import GatewayObserver
from headrace.gateway.headers import make_request_id, read_lane, read_priority, read_privacy, read_timeout
from headrace.gateway.ownership import RunningCalls
from headrace.gateway.response import GenerationResponse
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
        settings: limits and waits.

    Args:
        source: runs them.
        catalogue: what is served now.
        settings: limits and waits.
        max_timeout_seconds: most that a call may ask for.
        default_priority: of a call that does not say.
        draining: whether new ones are refused.
        observers: are told what happens.
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
    ) -> None:
        self.catalogue = catalogue
        self.source = source
        self.detached = DetachedGenerations(source)
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
        return self.respond(self.open_call(http, dialect=dialect, parsed=parsed))

    async def read(self, http: HttpRequest) -> bytes:
        """Give a call its id, and return its body.

        Raises:
            HeadraceError: the body can't be read, or the process takes no more calls.
        """
        http.scope["state"][REQUEST_ID_STATE] = make_request_id()
        self._draining.refuse_if_begun()
        return await read_body(http, limit_bytes=self.settings.body_limit_bytes)

    def open_call(self, http: HttpRequest, *, dialect: Dialect, parsed: ParsedCall) -> Call:
        """Return the call that was read from a request.

        Raises:
            HeadraceError: its model can't answer it, or a header is wrong.
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
        return Call(order, self._observers)

    def respond(self, call: Call) -> GenerationResponse:
        """Return the answer to a call, whole or as a stream."""
        if call.order.stream:
            return EventStreamResponse(call, self.source, self.settings)
        return WholeResponse(call, self.source)

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

    def cancel(self, request_id: str, caller: Caller) -> None:
        """Cancel a generation.

        Raises:
            HeadraceError: `not_found`: none of that id, and of that caller's tenant, runs here.
        """
        if not self._running.belongs_to(request_id, caller) or not self.source.cancel(request_id):
            raise HeadraceError(ErrorCode.NOT_FOUND, "there is no running generation with this id", param="id")


def _may_use(caller: Caller, model: str) -> bool:
    return caller.models is None or model in caller.models


def model_not_found(model: str) -> HeadraceError:
    """Return the failure of a call for a model that is not served, or not to its caller: it shall not know which."""
    return HeadraceError(ErrorCode.MODEL_NOT_FOUND, f"the model '{model[:128]}' does not exist here", param="model")
