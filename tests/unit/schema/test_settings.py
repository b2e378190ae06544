"""Settings: what wins, what is refused, and how a refusal reads."""

from collections.abc import Mapping
from typing import Any

import pytest

from headrace.schema.settings import (
    ConfigSource,
    ModelSettings,
    Settings,
    SettingsError,
    load_settings,
    served_names,
)


def _read_nothing(name: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", name)


def _load(text: str = "", environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    return load_settings(
        source=ConfigSource("headrace.toml", text),
        environ=environ or {},
        overrides={path.replace("__", "."): value for path, value in overrides.items()},
        read_file=_read_nothing,
    )


def _problems(text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        _load(text, environ)
    return caught.value.problems


def test_without_anything_there_are_defaults_and_the_demo_model() -> None:
    settings = load_settings(source=None, environ={}, overrides={}, read_file=_read_nothing)
    assert settings.gateway.host == "127.0.0.1"
    assert list(settings.models) == ["smollm2-135m-instruct"]


def test_the_file_then_the_environment_then_the_command_line() -> None:
    text = "[gateway]\nport = 1\nhost = '::1'\nkeepalive_seconds = 3\n"
    settings = _load(text, {"HEADRACE_GATEWAY_PORT": "2", "HEADRACE_GATEWAY_HOST": "localhost"}, gateway__port=3)
    assert settings.gateway.port == 3
    assert settings.gateway.host == "localhost"
    assert settings.gateway.keepalive_seconds == 3.0


def test_an_unknown_key_is_named_with_its_line_and_a_suggestion() -> None:
    assert _problems("[gateway]\n\nprot = 1\n") == [
        "headrace.toml, line 3: gateway.prot is not a setting; did you mean port?"
    ]


def test_an_unknown_section_is_named_with_its_line() -> None:
    assert _problems("\n[gatway]\nport = 1\n") == [
        "headrace.toml, line 2: [gatway] is not a section of settings; did you mean gateway?"
    ]


def test_every_mistake_is_reported_at_once() -> None:
    text = '[gateway]\nport = "x"\n[worker]\nconsumer_priority = 5000\n'
    assert _problems(text, {"HEADRACE_ENGINE_KIND": "llama"}) == [
        "HEADRACE_ENGINE_KIND: engine.kind: 'llama' is given, and allowed is vllm or scripted; did you mean vllm?",
        "headrace.toml, line 2: gateway.port: 'x' is given, and allowed is a whole number from 0 to 65535",
        "headrace.toml, line 4: worker.consumer_priority: 5000 is given, and allowed is a whole number "
        "from -1000 to 1000",
    ]


def test_broken_toml_says_where() -> None:
    (problem,) = _problems("[gateway\n")
    assert problem.startswith("headrace.toml: not valid TOML:")
    assert "line 1" in problem


def test_an_unknown_variable_is_refused_with_a_suggestion() -> None:
    assert _problems(environ={"HEADRACE_GATEWAY_PROT": "1"}) == [
        "HEADRACE_GATEWAY_PROT: there is no such setting; did you mean HEADRACE_GATEWAY_PORT?"
    ]


def test_a_model_with_dots_in_its_name_is_set_by_file_and_environment() -> None:
    text = '[models."qwen2.5-0.5b"]\nweights = "/w"\nslots = 3\n'
    settings = _load(text, {"HEADRACE_MODELS_QWEN2_5_0_5B_SLOTS": "4"})
    assert settings.models["qwen2.5-0.5b"].slots == 4
    assert list(settings.models) == ["qwen2.5-0.5b"]
    assert _problems(text + "slotz = 1\n") == [
        "headrace.toml, line 4: models.qwen2.5-0.5b.slotz is not a setting; did you mean slots?"
    ]


def test_a_model_without_weights_is_refused() -> None:
    (problem,) = _problems("[models.mine]\nslots = 2\n")
    assert problem.startswith("headrace.toml, line 1: models.mine.weights is missing: A folder with safetensors")


def test_secrets_are_not_taken_from_the_file() -> None:
    problems = _problems('[gateway]\napi_key = "s3cret"\n[broker]\nurl = "amqp://me:s3cret@host/"\n')
    assert len(problems) == 2
    assert "HEADRACE_API_KEY_FILE" in problems[0]
    assert "HEADRACE_BROKER_PASSWORD" in problems[1]
    assert not any("s3cret" in problem for problem in problems)


def test_a_secret_comes_from_the_environment_or_a_file_and_is_never_shown() -> None:
    settings = _load(environ={"HEADRACE_API_KEY": "s3cret"})
    assert settings.gateway.api_key is not None
    assert settings.gateway.api_key.reveal() == "s3cret"
    assert "s3cret" not in repr(settings)
    from_file = load_settings(
        source=None, environ={"HEADRACE_API_KEY_FILE": "/k"}, overrides={}, read_file=lambda _name: "s3cret\n"
    )
    assert from_file.gateway.api_key is not None
    assert from_file.gateway.api_key.reveal() == "s3cret"


def test_a_secret_file_that_is_missing_is_named() -> None:
    assert _problems(environ={"HEADRACE_API_KEY_FILE": "/nowhere"}) == [
        "HEADRACE_API_KEY_FILE: can't read /nowhere: No such file or directory"
    ]


def test_engine_options_are_json_in_the_environment() -> None:
    settings = _load(environ={"HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_ENGINE_OPTIONS": '{"seed": 3}'})
    assert settings.models["smollm2-135m-instruct"].engine_options == {"seed": 3}


def test_what_kubernetes_sets_for_a_service_is_not_taken_for_a_setting() -> None:
    links = {
        "HEADRACE_GATEWAY_PORT": "tcp://10.0.0.1:8000",
        "HEADRACE_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "HEADRACE_GATEWAY_SERVICE_PORT_HTTP": "8000",
        "HEADRACE_GATEWAY_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert _load(environ=links).gateway.port == 8000


TWO_MODELS = '[models.a]\nweights = "/a"\n[models.a.adapters]\npirate = "/p"\n[models.b]\nweights = "/b"\n'


def test_a_served_name_is_a_model_or_one_of_its_adapters() -> None:
    assert served_names(_load(TWO_MODELS).models) == {"a": "a", "b": "b", "pirate": "a"}


@pytest.mark.parametrize(
    ("adapter", "taken"), [("pirate", "an adapter of a"), ("a", "a model"), ("b", "a model")], ids=str
)
def test_an_adapter_may_not_have_a_name_that_is_taken(adapter: str, taken: str) -> None:
    text = f'{TWO_MODELS}adapters = {{ {adapter} = "/q" }}\n'
    assert _problems(text) == [
        f"headrace.toml, line 7: models.b.adapters: the name {adapter} is already that of {taken}"
    ]


def test_no_model_ever_loses_its_name_to_an_adapter() -> None:
    models = {
        "a": ModelSettings(weights="/a", adapters={"b": "/p"}),
        "b": ModelSettings(weights="/b", adapters={"c": "/q"}),
    }
    assert served_names(models) == {"a": "a", "b": "b", "c": "b"}
