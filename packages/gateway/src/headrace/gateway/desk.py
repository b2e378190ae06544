"""Where the dialects hand in what they have parsed, and get the answer back.

It is the one place that knows the scheduler, the models and the observers; a dialect knows only this.
"""

from collections.abc import Callable, Mapping, Sequence

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.body import read_body
from headrace.gateway.call import Call
from headrace.gateway.costly import read_body_aside
from headrace.gateway.detached import DetachedGenerations
from headrace.gateway.dialects.base import Dialect, Order, ParsedCall
from headrace.gateway.draining import Draining
from headrace.gateway.facts import GatewayObserver
from headrace.gateway.headers import make_request_id, read_lane, read_priority, read_timeout
from headrace.gateway.response import GenerationResponse
from headrace.gateway.sse import EventStreamResponse
from headrace.gateway.whole import WholeResponse
from headrace.scheduler.base import GenerationSource, Submission
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import GatewaySettings, ModelSettings, served_names

REQUEST_ID_STATE = "headrace_request_id"


class Desk:
    """Takes generation calls.

    Attributes:
        deployments: every served name, with the model whose workers answer to it.
        source: runs the calls.
        detached: owns those that go on without their HTTP call.
        settings: limits and waits.

    Args:
        source: runs them.
        models: the models, by name.
        settings: limits and waits.
        max_timeout_seconds: most that a call may ask for.
        draining: whether new ones are refused.
        observers: are told what happens.
    """

    def __init__(
        self,
        *,
        source: GenerationSource,
        models: Mapping[str, ModelSettings],
        settings: GatewaySettings,
        max_timeout_seconds: float,
        draining: Draining,
        observers: Sequence[GatewayObserver],
    ) -> None:
        self.deployments = served_names(models)
        self._models = models
        self.source = source
        self.detached = DetachedGenerations(source)
        self.settings = settings
        self._max_timeout_seconds = max_timeout_seconds
        self._draining = draining
        self._observers = observers

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
        self._check_model(parsed.request)
        priority = read_priority(http.headers)
        submission = Submission(
            request_id=http.scope["state"][REQUEST_ID_STATE],
            request=parsed.request,
            priority=parsed.priority if priority is None else priority,
            timeout_seconds=read_timeout(http.headers, most_seconds=self._max_timeout_seconds),
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

    def _check_model(self, request: ChatCompletionRequest) -> None:
        deployment = self.deployments.get(request.model)
        if deployment is None:
            raise model_not_found(request.model)
        embeds = self._models[deployment].task == "embed"
        if embeds != (request.embedding is not None):
            makes = "makes embeddings, and does not answer" if embeds else "answers, and makes no embeddings"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, f"the model '{request.model}' {makes}", param="model")

    def find_model(self, name: str) -> ModelSettings:
        """Return the settings of the model behind a served name.

        Raises:
            HeadraceError: `model_not_found`.
        """
        if name not in self.deployments:
            raise model_not_found(name)
        return self._models[self.deployments[name]]

    def cancel(self, request_id: str) -> None:
        """Cancel a generation.

        Raises:
            HeadraceError: `not_found`: none of that id runs here.
        """
        if not self.source.cancel(request_id):
            raise HeadraceError(ErrorCode.NOT_FOUND, "there is no running generation with this id", param="id")


def model_not_found(model: str) -> HeadraceError:
    """Return the failure of a call for a model that is not served."""
    return HeadraceError(ErrorCode.MODEL_NOT_FOUND, f"the model '{model[:128]}' does not exist here", param="model")
