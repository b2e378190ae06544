"""What of the settings changes while the gateway runs: models, providers, routes and prices. All of it, or nothing.

A request goes on with what it began with: its route, and the providers of that route.
"""

from collections.abc import Callable, Iterator, Sequence

import structlog
from msgspec import Struct, structs

from headrace.gateway.catalogue import Catalogue
from headrace.gateway.routing.leases import ProviderPool
from headrace.gateway.routing.source import RoutedSource, Routing
from headrace.gateway.routing.table import build_routes, check_prices, list_served
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.settings import Settings, served_names

LIVE_SECTIONS = frozenset({"models", "prices", "providers", "routes"})

_log = structlog.get_logger("headrace.gateway")


class LiveSettings:
    """Puts new settings in the place of the old.

    Args:
        settings: those of now.
        scheduler: learns which models there are.
        routed: learns where names lead.
        pool: makes providers, and closes them.
        catalogue: learns what is listed.
        followers: others who go by the settings; each is told of the new ones once they are in force.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        scheduler: Scheduler,
        routed: RoutedSource,
        pool: ProviderPool,
        catalogue: Catalogue,
        followers: Sequence[Callable[[Settings], None]] = (),
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._routed = routed
        self._pool = pool
        self._catalogue = catalogue
        self._followers = followers

    async def apply(self, settings: Settings) -> None:
        """Go by new settings from now on.

        Raises:
            SettingsError: a provider can't be made; the old ones stay.
        """
        leases = self._pool.prepare(settings.providers)
        try:
            routes = build_routes(settings)
            served = list_served(settings, routes)
            check_prices(settings, served)
            # Last of what may fail or wait: from here on everything changes in one turn of the loop.
            await self._scheduler.serve(served_names(settings.models))
        except BaseException:
            self._pool.discard(leases)
            raise
        self._routed.use(Routing(routes=routes, providers=leases))
        self._pool.adopt(leases)
        self._catalogue.use(served)
        for follow in self._followers:
            follow(settings)
        if fixed := list(changed_for_good(self._settings, settings)):
            _log.warning("settings need a restart", settings=fixed)
        self._settings = settings
        _log.info("settings reloaded", models=list(settings.models), routes=list(settings.routes))


def changed_for_good(before: Settings, after: Settings) -> Iterator[str]:
    """Yield the names of the settings that differ and that only a new process goes by."""
    for section in structs.fields(Settings):
        if section.name not in LIVE_SECTIONS:
            yield from _changed(section.name, getattr(before, section.name), getattr(after, section.name))


def _changed(path: str, before: object, after: object) -> Iterator[str]:
    if isinstance(before, Struct) and type(before) is type(after):
        for field in before.__struct_fields__:
            yield from _changed(f"{path}.{field}", getattr(before, field), getattr(after, field))
    elif before != after:
        yield path
