"""The names that the settings serve, for commands that ask no gateway."""

from headrace.schema.settings import Settings, served_names
from headrace.schema.settings.route_checks import provider_names


def list_names(settings: Settings) -> frozenset[str]:
    """Return what a request could ask for by these settings: routes, models and their adapters, those of providers."""
    return frozenset({*settings.routes, *served_names(settings.models), *provider_names(settings.providers)})
