"""The routing table: one value, replaced as a whole when the settings change."""

import difflib
from collections.abc import Mapping

from msgspec import Struct

from headrace.gateway.catalogue import ServedModel, list_models
from headrace.scheduler.base import OWN_ROUTE
from headrace.schema.settings import RouteSettings, Settings, SettingsError, served_names
from headrace.schema.settings.route_checks import RouteNames, provider_names, resolve_target
from headrace.schema.settings.routes import TargetSettings


class Target(Struct, frozen=True, kw_only=True):
    """Who may answer.

    Attributes:
        provider: an outside provider; empty for our own workers.
        model: our model or adapter, or the provider's name for its model.
        is_local: whether private requests may go there.
        embeds: whether it makes embeddings and nothing else, or answers and nothing else; None if only it knows.
    """

    provider: str = ""
    model: str
    is_local: bool = True
    embeds: bool | None = None

    @property
    def name(self) -> str:
        """Its name in metrics, logs and messages: of ours the model, else `PROVIDER/MODEL`."""
        return f"{self.provider}/{self.model}" if self.provider else self.model

    @property
    def route(self) -> str:
        """The word of a `GenerationRecord` for it."""
        return f"provider:{self.provider}" if self.provider else OWN_ROUTE


class Leg(Struct, frozen=True):
    """One way that a route may go.

    Attributes:
        end: a target, or a route that chooses further.
        weight: its share among the targets of its route.
        for_long_context: it is for requests that are too long for others.
    """

    end: "Target | Route"
    weight: float = 1.0
    for_long_context: bool = False


class Route(Struct, frozen=True, kw_only=True):
    """Who answers to a served name.

    Attributes:
        name: the served name.
        targets: one of them is chosen by weight, the others follow.
        fallbacks: in their order, after the targets.
        retries: how often one provider is asked again.
        on_long_wait_seconds: most that a request waits for a worker of ours while there is another target; 0 is
            no limit.
        first_token_seconds: most that a target may be silent while there is another; 0 is no limit.
    """

    name: str
    targets: tuple[Leg, ...]
    fallbacks: tuple[Leg, ...] = ()
    retries: int = 0
    on_long_wait_seconds: float = 0.0
    first_token_seconds: float = 0.0

    @property
    def own_target(self) -> Target | None:
        """The model of ours that answers, if nobody else may: there is nothing to decide then."""
        if len(self.targets) == 1 and not self.fallbacks:
            end = self.targets[0].end
            if isinstance(end, Route):
                return end.own_target
            return None if end.provider else end
        return None


def build_routes(settings: Settings) -> dict[str, Route]:
    """Return a route for every name that is served: models and adapters, routes, and what providers list.

    Args:
        settings: checked ones; see `find_route_problems`.
    """
    return _Builder(settings).build()


class _Builder:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = RouteNames(models=settings.models, providers=settings.providers, routes=settings.routes)
        self._own = served_names(settings.models)
        self._built: dict[str, Route] = {}

    def build(self) -> dict[str, Route]:
        simple: dict[str, Target] = {name: self._own_target(name) for name in self._own}
        for name, found in provider_names(self._settings.providers).items():
            simple[name] = self._provider_target(found.provider, found.model)
        routes = {
            name: Route(name=name, targets=(Leg(target),), retries=1 if target.provider else 0)
            for name, target in simple.items()
        }
        return routes | {name: self._route(name) for name in self._settings.routes}

    def _route(self, name: str) -> Route:
        if name not in self._built:
            settings: RouteSettings = self._settings.routes[name]
            self._built[name] = Route(
                name=name,
                targets=tuple(self._leg(target) for target in settings.targets),
                fallbacks=tuple(self._leg(target) for target in settings.fallbacks),
                retries=settings.retries,
                on_long_wait_seconds=settings.on_long_wait_seconds,
                first_token_seconds=settings.first_token_seconds,
            )
        return self._built[name]

    def _leg(self, target: TargetSettings) -> Leg:
        found = resolve_target(target, self._names)
        if found is None:
            raise ValueError(f"{target.provider or target.model} leads nowhere")
        end: Target | Route
        match found.kind:
            case "own":
                end = self._own_target(found.model)
            case "provider":
                end = self._provider_target(found.provider, found.model)
            case "route":
                end = self._route(found.model)
        return Leg(end, target.weight, target.for_long_context)

    def _own_target(self, name: str) -> Target:
        return Target(model=name, embeds=self._settings.models[self._own[name]].task == "embed")

    def _provider_target(self, provider: str, model: str) -> Target:
        is_local = self._settings.providers[provider].counts_as_local
        return Target(provider=provider, model=model, is_local=is_local)


def list_served(settings: Settings, routes: Mapping[str, Route]) -> dict[str, ServedModel]:
    """Return every served name as it is listed: routes first, then ours, then those of providers."""
    own = list_models(settings.models)
    created = RouteSettings(targets=()).created
    listed = {name: _list_route(settings.routes[name], routes[name], own) for name in settings.routes}
    for name, served in own.items():
        listed.setdefault(name, served)
    for name, found in provider_names(settings.providers).items():
        listed.setdefault(name, ServedModel(created=created, owned_by=found.provider))
    return listed


def _list_route(settings: RouteSettings, route: Route, own: Mapping[str, ServedModel]) -> ServedModel:
    targets = list(targets_of(route))
    lengths = [own[target.model].max_model_tokens or 0 for target in targets if not target.provider]
    abilities = {target.embeds for target in targets}
    return ServedModel(
        created=settings.created,
        owned_by=settings.owned_by,
        max_model_tokens=max(lengths, default=None),
        embeds=abilities.pop() if len(abilities) == 1 else None,
        answered_by=tuple(target.name for target in targets),
    )


def check_prices(settings: Settings, served: Mapping[str, ServedModel]) -> None:
    """Refuse a price of something that nobody answers as: it would leave what was meant without one.

    Raises:
        SettingsError: naming the price.
    """
    known = {*served, *(name for model in served.values() for name in model.answered_by)}
    problems: list[str] = []
    for name in settings.prices:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"prices.{name}: there is no model, route or PROVIDER/MODEL of that name{hint}")
    if problems:
        raise SettingsError(problems)


def targets_of(route: Route) -> dict[Target, None]:
    """Return every target that a route may lead to, each once."""
    found: dict[Target, None] = {}
    for leg in (*route.targets, *route.fallbacks):
        found |= targets_of(leg.end) if isinstance(leg.end, Route) else {leg.end: None}
    return found
