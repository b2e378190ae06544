"""Settings of routes: where targets lead, and which mistakes are refused by name."""

from collections.abc import Mapping

import pytest

from headrace.schema.settings import ConfigSource, Settings, SettingsError, load_settings
from headrace.schema.settings.route_checks import RouteNames, provider_names, resolve_target

PARTS = """\
[models.small]
weights = "tiny:random"
adapters = { pirate = "pirate" }

[providers.vendor]
kind = "openai"
models = ["large", "org/huge"]

"""


def _load(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load_settings(
        source=ConfigSource("headrace.toml", PARTS + text), environ=environ or {}, overrides={}, read_file=lambda _: ""
    )


def _problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        _load(text)
    return caught.value.problems


def _leads(settings: Settings, name: str) -> list[str]:
    names = RouteNames(models=settings.models, providers=settings.providers, routes=settings.routes)
    found = [resolve_target(target, names) for target in settings.routes[name].targets]
    return [f"{item.kind}:{item.provider}:{item.model}" for item in found if item is not None]


def test_targets_are_models_adapters_routes_and_models_of_providers() -> None:
    settings = _load(
        """
        [routes.chat]
        targets = [
          { model = "small" },
          { model = "pirate" },
          { model = "other" },
          { model = "vendor/org/huge" },
          { provider = "vendor", model = "unlisted", weight = 3 },
        ]
        [routes.other]
        targets = [{ model = "small" }]
        """
    )
    assert _leads(settings, "chat") == [
        "own::small",
        "own::pirate",
        "route::other",
        "provider:vendor:org/huge",
        "provider:vendor:unlisted",
    ]
    assert list(provider_names(settings.providers)) == ["vendor/large", "vendor/org/huge"]


def test_targets_may_come_from_the_environment_as_json() -> None:
    text = '[routes.chat]\ntargets = [{ model = "small" }]\n'
    settings = _load(text, {"HEADRACE_ROUTES_CHAT_FALLBACKS": '[{"provider": "vendor", "model": "large"}]'})
    assert settings.routes["chat"].fallbacks[0].provider == "vendor"


def test_a_route_may_have_the_name_of_one_of_its_targets() -> None:
    settings = _load('[routes.small]\ntargets = [{ model = "small" }]\nfallbacks = [{ model = "vendor/large" }]\n')
    assert _leads(settings, "small") == ["own::small"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[routes.a]\ntargets = [{ provider = "vender", model = "x" }]\n',
            "headrace.toml, line 10: routes.a.targets: there is no provider vender; did you mean vendor?",
        ),
        (
            '[routes.a]\ntargets = [{ model = "smal" }]\n',
            "headrace.toml, line 10: routes.a.targets: smal is no model, no route and no PROVIDER/MODEL; "
            "did you mean small?",
        ),
        (
            '[routes.a]\ntargets = [{ model = "a" }]\n',
            "headrace.toml, line 9: routes.a: it leads back to itself: a → a",
        ),
        (
            '[routes.a]\ntargets = [{ model = "small", weight = 0 }]\n',
            "headrace.toml, line 10: routes.a.targets: there is nothing to route to",
        ),
        ("[routes.a]\ntargets = []\n", "headrace.toml, line 10: routes.a.targets: there is nothing to route to"),
        (
            '[routes.pirate]\ntargets = [{ model = "small" }]\n',
            "headrace.toml, line 9: routes.pirate: the name pirate is already that of a model, "
            "which is none of its targets",
        ),
        (
            '[routes."vendor/large"]\ntargets = [{ model = "small" }]\n',
            "headrace.toml, line 9: routes.vendor/large: the name vendor/large is already that of a model of a "
            "provider, which is none of its targets",
        ),
        (
            '[models."vendor/large"]\nweights = "tiny:random"\n',
            "headrace.toml, line 7: providers.vendor.models: the name vendor/large is already that of a model",
        ),
        (
            '[routes.a]\ntargets = [{ model = "small" }]\nfallbacks = [{ model = "vendor/large", weight = 2 }]\n',
            "headrace.toml, line 11: routes.a.fallbacks: vendor/large: fallbacks are tried in their order, "
            "and have no weight",
        ),
        (
            '[routes.a]\ntargets = [{ model = "small", wieght = 2 }]\n',
            "headrace.toml, line 10: routes.a.targets[0].wieght: there is no such key; there is model, provider, "
            "weight, for_long_context; did you mean weight?",
        ),
    ],
)
def test_a_mistake_is_refused_by_name(text: str, problem: str) -> None:
    assert _problems(text) == [problem]


def test_a_cycle_through_other_routes_is_shown() -> None:
    text = "".join(
        f'[routes.{name}]\ntargets = [{{ model = "{leads_to}" }}]\n'
        for name, leads_to in {"a": "b", "b": "c", "c": "a"}.items()
    )
    assert [problem.partition(": ")[2] for problem in _problems(text)] == [
        "routes.a: it leads back to itself: a → b → c → a",
        "routes.b: it leads back to itself: b → c → a → b",
        "routes.c: it leads back to itself: c → a → b → c",
    ]
