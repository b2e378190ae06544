"""Settings of providers: where a key may go, and what may not stand in a file."""

from typing import Any

import pytest
from msgspec import structs

from headrace.schema.settings import ConfigSource, ProviderSettings, Secret, SettingsError, load_settings
from headrace.schema.settings.providers import list_problems


def load(text: str, environ: dict[str, str] | None = None) -> dict[str, ProviderSettings]:
    source = ConfigSource("headrace.toml", text)
    read = {"/run/key": "sk-file\n"}
    return load_settings(source=source, environ=environ or {}, overrides={}, read_file=read.__getitem__).providers


def problems_of(**changes: Any) -> list[str]:
    settings = structs.replace(ProviderSettings(kind="openai"), **changes)
    return [f"{path}: {problem}" for path, problem in list_problems({"p": settings})]


def test_a_provider_is_a_named_table() -> None:
    found = load(
        '[providers.my-openai]\nkind = "openai"\nomit_fields = ["stream_options"]\n'
        '[providers.claude]\nkind = "anthropic"\n',
        {"HEADRACE_PROVIDERS_MY_OPENAI_API_KEY": "sk-x", "HEADRACE_PROVIDERS_CLAUDE_API_KEY_FILE": "/run/key"},
    )
    assert found["my-openai"].url == "https://api.openai.com/v1"
    assert found["my-openai"].omit_fields == ("stream_options",)
    keys = [found[name].api_key for name in ("my-openai", "claude")]
    assert [key.reveal() for key in keys if key is not None] == ["sk-x", "sk-file"]
    assert "sk-" not in repr(found)


def test_lists_in_the_environment_have_commas() -> None:
    environ = {"HEADRACE_PROVIDERS_P_OMIT_FIELDS": "a, b"}
    assert load('[providers.p]\nkind = "openai"\n', environ)["p"].omit_fields == ("a", "b")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('api_key = "sk-x"', "may not be in the file"),
        ('base_url = "http://example.org"', "must be https:"),
        ('headers = {Authorization = "x"}', "looks like a secret"),
        ('kind2 = "x"', "is not a setting"),
    ],
)
def test_mistakes_name_the_setting_and_the_line(line: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(f'[providers.p]\nkind = "openai"\n{line}\n')
    (text,) = caught.value.problems
    assert text.startswith("headrace.toml, line 3: providers.p.")
    assert problem in text
    assert "sk-x" not in text


@pytest.mark.parametrize(
    ("url", "is_fine"),
    [
        ("", True),
        ("https://example.org/v1?api-version=1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://192.168.1.2/v1", True),
        ("http://0.0.0.0/v1", False),
        ("http://8.8.8.8/v1", False),
        ("http://localhost.example.org/v1", False),
        ("http://127.0.0.1.example.org/v1", False),
        ("http://2130706433/v1", False),
        ("http://vllm:8000/v1", False),
        ("https://user:pass@example.org/v1", False),
        ("https://example.org/v1#x", False),
        ("ftp://example.org", False),
        ("https://", False),
        ("https://[", False),
        ("https://example.org:x", False),
        ("example.org", False),
    ],
)
def test_addresses(url: str, is_fine: bool) -> None:
    assert (not problems_of(base_url=url)) == is_fine
    if url.startswith("http://") and url != "http://0.0.0.0/v1":
        assert not problems_of(base_url=url, allow_http=True)


@pytest.mark.parametrize(
    ("headers", "is_fine"),
    [
        ({"OpenAI-Organization": "org"}, True),
        ({"X-Api-Key": "x"}, False),
        ({"X-Thing": "Bearer abc"}, False),
        ({"Cookie": "a"}, False),
        ({"Host": "other"}, False),
        ({"X-A": "a\r\nX-B: b"}, False),
        ({"X A": "a"}, False),
    ],
)
def test_headers(headers: dict[str, str], is_fine: bool) -> None:
    assert (not problems_of(headers=headers)) == is_fine


def test_keys_that_no_header_can_carry() -> None:
    assert problems_of(api_key=Secret("a\nb"))
    assert problems_of(api_key_header="a b")
    assert problems_of(thinking_tokens=5)
    assert not problems_of(thinking_tokens=2000)


@pytest.mark.parametrize(
    ("kind", "changes", "is_local"),
    [
        ("openai", {}, False),
        ("openai", {"base_url": "http://10.1.2.3/v1"}, True),
        ("openai", {"base_url": "https://vllm.internal/v1"}, False),
        ("openai", {"base_url": "https://vllm.internal/v1", "is_local": True}, True),
        ("openai", {"base_url": "http://127.0.0.1/v1", "is_local": False}, False),
        ("scripted", {}, True),
    ],
)
def test_what_counts_as_local(kind: Any, changes: dict[str, Any], is_local: bool) -> None:
    assert structs.replace(ProviderSettings(kind=kind), **changes).counts_as_local is is_local
