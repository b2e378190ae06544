"""Puts the gateway together. Nothing is built before `create_app` is called, and nothing is kept outside its app."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.base import CallerDirectory
from headrace.accounts.ledger.report import UsageReport
from headrace.accounts.quota.remaining import LimitsReport
from headrace.gateway.admin.routes import make_admin_routes
from headrace.gateway.asgi import AnyGuard
from headrace.gateway.auth import KeyGuard
from headrace.gateway.catalogue import Catalogue, list_models
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
from headrace.gateway.limits.routes import make_limits_routes
from headrace.gateway.metrics import GatewayMetrics
from headrace.gateway.operations import ReadinessCheck, make_operations_routes
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.gateway.usage.routes import make_usage_routes
from headrace.scheduler.base import GenerationSource
from headrace.schema.settings import GatewaySettings, MeteringSettings, ModelSettings, SchedulerSettings, Secret
from headrace.transport.records import Records


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayAccounts:
    """What the gateway needs of the accounts.

    Attributes:
        callers: knows every key.
        admin_for: returns what changes tenants and keys in the name of somebody.
        admin_key: opens the admin API; None closes it.
        usage: adds up the usage ledger; None where there is none.
        limits: knows what is left of limits; None where nobody counts.
        currency: what costs are in.
    """

    callers: CallerDirectory
    admin_for: Callable[[str], AccountsAdmin]
    admin_key: Secret | None = None
    usage: UsageReport | None = None
    limits: LimitsReport | None = None
    currency: str = MeteringSettings().currency


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayParts:
    """What the process gives the gateway.

    Attributes:
        source: runs generations.
        models: our own models, by name.
        catalogue: what is served, where that is more than our own models, or changes.
        settings: of the HTTP side.
        version: what the API description says.
        checks: what readiness depends on; each raises, with the reason, when it is down.
        optional_checks: what readiness only mentions, because requests are answered without it.
        max_timeout_seconds: most that a call may ask for.
        default_priority: of a call that does not say.
        accounts: who may call; without it, whoever has the one key of the settings.
        metrics: where facts are counted; give it the registry of the process to show other rooms' metrics too.
        draining: begin it when the process wants to end.
        retained: generations that outlive their call, over the same source; None where none can be.
        records: what all gateways share, for the responses that are kept; None keeps them in this process.
    """

    source: GenerationSource
    models: Mapping[str, ModelSettings]
    settings: GatewaySettings
    version: str
    catalogue: Catalogue | None = None
    checks: Mapping[str, ReadinessCheck] = field(default_factory=dict[str, ReadinessCheck])
    default_priority: int = SchedulerSettings().default_priority
    accounts: GatewayAccounts | None = None
    optional_checks: Mapping[str, ReadinessCheck] = field(default_factory=dict[str, ReadinessCheck])
    max_timeout_seconds: float = SchedulerSettings().max_request_timeout_seconds
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    draining: Draining = field(default_factory=Draining)
    retained: RetainedGenerations | None = None
    records: Records | None = None


def create_app(parts: GatewayParts) -> Litestar:
    """Return the ASGI application."""
    observers = (parts.metrics, Journal())
    native, openai, anthropic = NativeDialect(), OpenAIDialect(), AnthropicDialect()
    desk = Desk(
        source=parts.source,
        catalogue=parts.catalogue or Catalogue(list_models(parts.models)),
        settings=parts.settings,
        max_timeout_seconds=parts.max_timeout_seconds,
        default_priority=parts.default_priority,
        draining=parts.draining,
        observers=observers,
        retained=parts.retained,
    )
    operations = make_operations_routes(
        checks=parts.checks,
        optional_checks=parts.optional_checks,
        draining=parts.draining,
        metrics=parts.metrics,
        version=parts.version,
        has_admin=_has_admin(parts),
        has_usage=parts.accounts is not None and parts.accounts.usage is not None,
        has_limits=parts.accounts is not None and parts.accounts.limits is not None,
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
    return Litestar(
        [
            *make_openai_routes(desk, openai),
            *make_responses_routes(desk, parts.records),
            *make_anthropic_routes(desk, anthropic),
            *make_model_routes(desk),
            *make_native_routes(desk, native),
            *operations,
            *_make_admin_routes(parts, desk),
            *_make_usage_routes(parts, desk),
            *_make_limits_routes(parts),
        ],
        guards=_make_guards(parts),
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


def _make_guards(parts: GatewayParts) -> list[AnyGuard]:
    guards: list[AnyGuard] = []
    if parts.settings.allowed_hosts:
        guards.append(HostGuard(parts.settings.allowed_hosts).check)
    key, accounts = parts.settings.api_key, parts.accounts
    if accounts is not None:
        guards.append(KeyGuard(key=key, callers=accounts.callers, admin_key=accounts.admin_key).check)
    elif key:
        guards.append(KeyGuard(key=key).check)
    return guards


def _has_admin(parts: GatewayParts) -> bool:
    return parts.accounts is not None and parts.accounts.admin_key is not None


def _make_admin_routes(parts: GatewayParts, desk: Desk) -> list[HTTPRouteHandler]:
    """Return the admin API; without a key of its own there is none."""
    if parts.accounts is None or not _has_admin(parts):
        return []
    return make_admin_routes(parts.accounts.admin_for, served=lambda: desk.catalogue.models)


def _make_usage_routes(parts: GatewayParts, desk: Desk) -> list[HTTPRouteHandler]:
    if parts.accounts is None or parts.accounts.usage is None:
        return []
    return make_usage_routes(
        parts.accounts.usage,
        currency=parts.accounts.currency,
        has_admin=_has_admin(parts),
        served_to=desk.list_models,
    )


def _make_limits_routes(parts: GatewayParts) -> list[HTTPRouteHandler]:
    if parts.accounts is None or parts.accounts.limits is None:
        return []
    return make_limits_routes(
        parts.accounts.limits,
        currency=parts.accounts.currency,
        admin_for=parts.accounts.admin_for if _has_admin(parts) else None,
    )
