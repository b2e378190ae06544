"""Which models a worker runs."""

import pytest

from headrace.schema.settings import WorkerSettings, load_settings


@pytest.mark.parametrize(
    ("environ", "served"),
    [
        ({}, ("smollm2-135m-instruct",)),
        ({"HEADRACE_WORKER_MODEL": "a"}, ("a",)),
        ({"HEADRACE_WORKER_MODELS": "a, b,a"}, ("a", "b")),
        ({"HEADRACE_WORKER_MODEL": "c", "HEADRACE_WORKER_MODELS": "a"}, ("a",)),
    ],
)
def test_several_models_go_before_the_one(environ: dict[str, str], served: tuple[str, ...]) -> None:
    settings = load_settings(source=None, environ=environ, overrides={}, read_file=lambda _: "")
    assert settings.worker.served == served


def test_one_model_is_the_default() -> None:
    assert WorkerSettings(model="a").served == ("a",)
