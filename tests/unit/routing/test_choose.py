"""Which targets, in which order."""

import random as chance
from collections import Counter

import pytest

from headrace.gateway.routing.choose import plan_steps
from headrace.gateway.routing.table import build_routes, list_served, targets_of
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import ModelSettings, ProviderSettings, RouteSettings
from tests.unit.routing.doubles import REMOTE, make_settings, to

EMBEDS = ModelSettings(weights="tiny:random", task="embed")
OWN = ModelSettings(weights="tiny:random")


def _plan(
    route: RouteSettings, *, local_only: bool = False, embeds: bool = False, draws: tuple[float, ...] = ()
) -> list[str]:
    settings = make_settings({"r": route}, models={"own": OWN, "vectors": EMBEDS})
    left = list(draws)
    steps = plan_steps(
        build_routes(settings)["r"],
        local_only=local_only,
        embeds=embeds,
        random=lambda: left.pop(0) if left else 0.0,
    )
    return [step.target.name for step in steps]


def test_targets_by_weight_then_fallbacks_in_order() -> None:
    route = RouteSettings(targets=(to("a/x"), to("b/y", weight=3)), fallbacks=(to("own"), to("near/z")))
    assert _plan(route, draws=(0.24,)) == ["a/x", "b/y", "own", "near/z"]
    assert _plan(route, draws=(0.26,)) == ["b/y", "a/x", "own", "near/z"]


def test_a_target_is_asked_once_however_often_it_is_named() -> None:
    route = RouteSettings(targets=(to("a/x"), to("a/x")), fallbacks=(to("a/x"), to("own")))
    assert _plan(route) == ["a/x", "own"]


def test_weights_are_shares() -> None:
    settings = make_settings({"r": RouteSettings(targets=(to("a/x", weight=1), to("b/y", weight=3)))})
    route = build_routes(settings)["r"]
    draw = chance.Random(7)  # noqa: S311 - a draw that is always the same
    firsts = Counter(
        plan_steps(route, local_only=False, embeds=False, random=draw.random)[0].target.name for _ in range(4000)
    )
    assert 2850 < firsts["b/y"] < 3150


def test_weight_0_takes_a_target_out() -> None:
    assert _plan(RouteSettings(targets=(to("a/x", weight=0), to("own")))) == ["own"]


def test_a_route_among_the_targets_is_chosen_from_in_its_place() -> None:
    settings = make_settings(
        {
            "outer": RouteSettings(targets=(to("inner"), to("own")), fallbacks=(to("near/z"),)),
            "inner": RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"),)),
        }
    )
    steps = plan_steps(build_routes(settings)["outer"], local_only=False, embeds=False, random=lambda: 0.0)
    assert [step.target.name for step in steps] == ["a/x", "b/y", "own", "near/z"]


def test_what_is_private_is_taken_out_before_the_choice() -> None:
    route = RouteSettings(targets=(to("a/x", weight=1000), to("near/z")), fallbacks=(to("b/y"), to("own")))
    assert _plan(route, local_only=True, draws=(0.0,)) == ["near/z", "own"]


@pytest.mark.parametrize("name", ["own", "near/z"])
def test_nobody_left_by_privacy_is_forbidden(name: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        _plan(RouteSettings(targets=(to("a/x"), to(name, weight=0)), fallbacks=(to("b/y"),)), local_only=True)
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_who_can_not_do_it_is_passed_over() -> None:
    route = RouteSettings(targets=(to("own"), to("vectors"), to("a/x")))
    assert _plan(route) == ["own", "a/x"]
    assert _plan(route, embeds=True) == ["vectors", "a/x"]


def test_nobody_who_can_do_it_is_an_invalid_request() -> None:
    with pytest.raises(HeadraceError, match="makes no embeddings") as caught:
        _plan(RouteSettings(targets=(to("own"),)), embeds=True)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_every_served_name_has_a_route_and_is_listed() -> None:
    models = {"own": ModelSettings(weights="tiny:random", adapters={"pirate": "p"}, max_model_tokens=64)}
    providers = {"a": ProviderSettings(kind="openai", models=("x",)), "b": REMOTE}
    chat = RouteSettings(targets=(to("own"), to("b/y")), created=5, owned_by="us")
    settings = make_settings({"chat": chat}, models=models, providers=providers)
    routes = build_routes(settings)
    assert set(routes) == {"own", "pirate", "a/x", "chat"}
    assert [target.name for target in targets_of(routes["chat"])] == ["own", "b/y"]
    own = routes["pirate"].own_target
    assert own is not None
    assert own.model == "pirate"
    assert routes["chat"].own_target is None
    listed = list_served(settings, routes)
    assert list(listed) == ["chat", "own", "pirate", "a/x"]
    assert (listed["chat"].created, listed["chat"].owned_by, listed["chat"].max_model_tokens) == (5, "us", 64)
    assert (listed["a/x"].owned_by, listed["a/x"].max_model_tokens) == ("a", None)


def test_a_route_of_one_model_of_ours_is_that_model() -> None:
    settings = make_settings({"r": RouteSettings(targets=(to("s"),)), "s": RouteSettings(targets=(to("own"),))})
    own = build_routes(settings)["r"].own_target
    assert own is not None
    assert own.model == "own"
