"""Where a target leads, and what is wrong with the routes as a whole. Whoever builds routes resolves by this too."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from headrace.schema.settings.models import ModelSettings, served_names
from headrace.schema.settings.providers import ProviderSettings
from headrace.schema.settings.routes import RouteSettings, TargetSettings


class Resolved(Struct, frozen=True):
    """Where a target leads.

    Attributes:
        kind: to our own workers, to a provider, or to another route.
        model: the model or adapter, the provider's name for it, or the route.
        provider: which provider.
    """

    kind: Literal["own", "provider", "route"]
    model: str
    provider: str = ""


class RouteNames(Struct, frozen=True, kw_only=True):
    """Every name that a target may lead to."""

    models: Mapping[str, ModelSettings]
    providers: Mapping[str, ProviderSettings]
    routes: Mapping[str, RouteSettings]


def provider_names(providers: Mapping[str, ProviderSettings]) -> dict[str, Resolved]:
    """Return the names `PROVIDER/MODEL` that are served without a route."""
    return {
        f"{provider}/{model}": Resolved("provider", model, provider)
        for provider, settings in providers.items()
        for model in settings.models
    }


def resolve_target(target: TargetSettings, names: RouteNames) -> Resolved | None:
    """Return where a target leads; None if it leads nowhere.

    A name alone is a model of ours if there is one, else a route, else it begins with a provider.
    """
    if target.provider:
        known = target.provider in names.providers
        return Resolved("provider", target.model, target.provider) if known else None
    if target.model in served_names(names.models):
        return Resolved("own", target.model)
    if target.model in names.routes:
        return Resolved("route", target.model)
    provider, _, model = target.model.partition("/")
    return Resolved("provider", model, provider) if model and provider in names.providers else None


def find_route_problems(names: RouteNames) -> Iterator[tuple[str, str]]:
    """Yield the path of each setting that is wrong, with what is wrong with it."""
    own, outside = served_names(names.models), provider_names(names.providers)
    for name, resolved in outside.items():
        if name in own:
            yield f"providers.{resolved.provider}.models", f"the name {name} is already that of a model"
    for name, route in names.routes.items():
        for key, targets in (("targets", route.targets), ("fallbacks", route.fallbacks)):
            for target in targets:
                if problem := _find_problem(target, names, is_fallback=key == "fallbacks"):
                    yield f"routes.{name}.{key}", problem
        if not any(target.weight for target in route.targets) and not route.fallbacks:
            yield f"routes.{name}.targets", "there is nothing to route to"
        taken = "a model" if name in own else "a model of a provider" if name in outside else ""
        if taken and not _leads_to(route, Resolved("own", name) if name in own else outside[name], names):
            yield f"routes.{name}", f"the name {name} is already that of {taken}, which is none of its targets"
        if cycle := _find_cycle(name, names):
            yield f"routes.{name}", f"it leads back to itself: {' → '.join(cycle)}"


def _find_problem(target: TargetSettings, names: RouteNames, *, is_fallback: bool) -> str | None:
    if is_fallback and target.weight != 1.0:
        return f"{target.model}: fallbacks are tried in their order, and have no weight"
    if resolve_target(target, names) is not None:
        return None
    if target.provider:
        return f"there is no provider {target.provider}{_suggest(target.provider, list(names.providers))}"
    known = [*served_names(names.models), *names.routes, *provider_names(names.providers)]
    return f"{target.model} is no model, no route and no PROVIDER/MODEL{_suggest(target.model, known)}"


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _leads_to(route: RouteSettings, wanted: Resolved, names: RouteNames) -> bool:
    return any(resolve_target(target, names) == wanted for target in (*route.targets, *route.fallbacks))


def _find_cycle(name: str, names: RouteNames) -> tuple[str, ...]:
    """Return the way from a route back to itself, if there is one."""
    paths: list[tuple[str, ...]] = [(name,)]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        route = names.routes[path[-1]]
        for target in (*route.targets, *route.fallbacks):
            resolved = resolve_target(target, names)
            if resolved is None or resolved.kind != "route":
                continue
            if resolved.model == name:
                return (*path, name)
            if resolved.model not in seen:
                seen.add(resolved.model)
                paths.append((*path, resolved.model))
    return ()
