"""Puts the gateway together. Nothing is built before `create_app` is called, and nothing is kept outside its app."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from litestar import Litestar

from headrace.gateway.auth import KeyGuard
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.anthropic.errors import AnthropicDialect
from headrace.gateway.dialects.anthropic.routes import make_anthropic_routes
from headrace.gateway.dialects.models import make_model_routes
from headrace.gateway.dialects.native.errors import NativeDialect
from headrace.gateway.dialects.native.routes import make_native_routes
from headrace.gateway.dialects.openai.completions.errors import to_completion_param
from headrace.gateway.dialects.openai.embeddings.errors import to_embedding_param
from headrace.gateway.dialects.openai.errors import OpenAIDialect
from headrace.gateway.dialects.openai.responses.errors import ResponsesDialect
from headrace.gateway.dialects.openai.responses.routes import make_responses_routes
from headrace.gateway.dialects.openai.routes import make_openai_routes
from headrace.gateway.draining import Draining
from headrace.gateway.errors import FailureEdge
from headrace.gateway.hosts import HostGuard
from headrace.gateway.journal import Journal
from headrace.gateway.metrics import GatewayMetrics
from headrace.gateway.operations import ReadinessCheck, make_operations_routes
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.scheduler.base import GenerationSource
from headrace.schema.settings import GatewaySettings, ModelSettings, SchedulerSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayParts:
    """What the process gives the gateway.

    Attributes:
        source: runs generations.
        models: the served models, by name.
        settings: of the HTTP side.
        version: what the API description says.
        checks: what readiness depends on; each raises, with the reason, when it is down.
        max_timeout_seconds: most that a call may ask for.
        metrics: where facts are counted; give it the registry of the process to show other rooms' metrics too.
        draining: begin it when the process wants to end.
        retained: generations that outlive their call, over the same source; None where none can be.
    """

    source: GenerationSource
    models: Mapping[str, ModelSettings]
    settings: GatewaySettings
    version: str
    checks: Mapping[str, ReadinessCheck] = field(default_factory=dict[str, ReadinessCheck])
    max_timeout_seconds: float = SchedulerSettings().max_request_timeout_seconds
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    draining: Draining = field(default_factory=Draining)
    retained: RetainedGenerations | None = None


def create_app(parts: GatewayParts) -> Litestar:
    """Return the ASGI application."""
    observers = (parts.metrics, Journal())
    native, openai, anthropic = NativeDialect(), OpenAIDialect(), AnthropicDialect()
    desk = Desk(
        source=parts.source,
        models=parts.models,
        settings=parts.settings,
        max_timeout_seconds=parts.max_timeout_seconds,
        draining=parts.draining,
        observers=observers,
        retained=parts.retained,
    )
    operations = make_operations_routes(
        checks=parts.checks, draining=parts.draining, metrics=parts.metrics, version=parts.version
    )
    edge = FailureEdge(
        native=native,
        openai=openai,
        anthropic=anthropic,
        prefixes={
            "/v1/generations": native,
            "/v1/messages": anthropic,
            "/v1/responses": ResponsesDialect(),
            "/v1/completions": OpenAIDialect(to_completion_param),
            "/v1/embeddings": OpenAIDialect(to_embedding_param),
        },
        observers=observers,
    )
    key = parts.settings.api_key
    guards = [HostGuard(parts.settings.allowed_hosts).check] if parts.settings.allowed_hosts else []
    return Litestar(
        [
            *make_openai_routes(desk, openai),
            *make_responses_routes(desk),
            *make_anthropic_routes(desk, anthropic),
            *make_model_routes(desk),
            *make_native_routes(desk, native),
            *operations,
        ],
        guards=[*guards, KeyGuard(key).check] if key else guards,
        exception_handlers={Exception: edge.answer},
        # The scheduler ends what is left when the drain is over.
        on_startup=[parts.retained.start] if parts.retained else [],
        on_shutdown=[desk.detached.join, *([parts.retained.finish] if parts.retained else [])],
        # Bodies are read by us, up to our own limit; logs are set up by the process; the description is our own.
        request_max_body_size=None,
        logging_config=None,
        openapi_config=None,
        debug=False,
    )
