"""Settings of the routes: which targets answer to a served name, and in which order."""

from typing import Annotated

from msgspec import Meta, Struct

MAX_TARGETS = 64


class TargetSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One that may answer.

    Attributes:
        model: a model or adapter of ours, another route, or `PROVIDER/MODEL`; with `provider`, that provider's own name
            for its model.
        provider: an outside provider; empty for what `model` says alone.
        weight: its share among the targets; 0 takes it out. Fallbacks have none.
        for_long_context: it is tried where a target before it said that the request is too long, and not skipped then.
    """

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    provider: str = ""
    weight: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    for_long_context: bool = False


class RouteSettings(Struct, frozen=True, kw_only=True):
    """One served name that is answered by others."""

    targets: Annotated[
        tuple[TargetSettings, ...],
        Meta(
            max_length=MAX_TARGETS,
            description='Who answers: tables like `{ model = "NAME" }` or `{ provider = "NAME", model = "NAME", '
            "weight = 3 }`. One is chosen by weight for each request; the others are tried where it can't answer.",
        ),
    ]
    fallbacks: Annotated[
        tuple[TargetSettings, ...],
        Meta(max_length=MAX_TARGETS, description="Who answers where no target can, tried in this order."),
    ] = ()
    retries: Annotated[
        int, Meta(ge=0, le=10, description="How often one provider is asked again before the next target is.")
    ] = 1
    on_long_wait_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86400.0,
            description="A request that would wait longer than this for a worker of ours, or that has waited so long, "
            "goes to the next target; 0 lets it wait.",
        ),
    ] = 0.0
    first_token_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86400.0,
            description="A target that has said nothing after this time is given up for the next; 0 waits up to the "
            "deadline.",
        ),
    ] = 0.0
    created: Annotated[
        int, Meta(ge=0, description="When the route was made, Unix seconds, as /v1/models shows it.")
    ] = 1730419200
    owned_by: Annotated[str, Meta(description="Owner, as /v1/models shows it.")] = "headrace"


class RoutingSettings(Struct, frozen=True, kw_only=True):
    """How targets at providers are watched, and the settings file too."""

    breaker_min_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Calls of one model of a provider that must have been made within breaker_window_seconds "
            "before it can be set aside.",
        ),
    ] = 10
    breaker_ratio: Annotated[
        float,
        Meta(gt=0, le=1, description="Share of those calls that failed at which it is set aside."),
    ] = 0.5
    breaker_window_seconds: Annotated[float, Meta(gt=0, le=3600.0, description="How far back failures count.")] = 30.0
    breaker_open_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=3600.0,
            description="How long it is set aside before one call is tried; twice as long after each that fails, up to "
            "5 minutes.",
        ),
    ] = 5.0
    reload_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600.0,
            description="How often a gateway looks whether the settings file has changed; 0 leaves it to SIGHUP.",
        ),
    ] = 2.0
