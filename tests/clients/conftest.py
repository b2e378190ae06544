"""The servers that every vendor's client talks to: the scripted engine with a key, and real vLLM without one."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import anthropic
import openai
import pytest
import pytest_asyncio

from tests.clients.target import KEY, Target
from tests.support.scripted_serving import CHAT_MODEL, EMBEDDING_MODEL, scripted_serving
from tests.support.serving import serving

DEMO = "smollm2-135m-instruct"
SCRIPT = """
step_seconds = 0.001

[[rules]]
when = "capital of France"
text = "The capital of France is Paris."

[[rules]]
when = "count"
tokens = 200

[[rules]]
when = "for ever"
tokens = 10000000

[[rules]]
when = "fail now"
fault = "error"

[[rules]]
when = "fail later"
tokens = 100
fault = "error"
fault_after_tokens = 5

# What LangChain's suite asks.
[[rules]]
when = "magic_function(3)"
tool_calls = [{ name = "magic_function", arguments = { input = 3 } }]

[[rules]]
when = "San Francisco"
text = "It is sunny."
tool_calls = [{ name = "get_weather", arguments = { location = "San Francisco, CA" } }]

[[rules]]
when = "你好啊集团"
tool_calls = [{ name = "unicode_customer", arguments = { customer_name = "你好啊集团", description = "技术" } }]

[[rules]]
when = "こんにちは株式会社"
tool_calls = [{ name = "unicode_customer", arguments = { customer_name = "こんにちは株式会社", description = "x" } }]

[[rules]]
when = "Pirate greeting"
tool_calls = [{ name = "greeting_generator", arguments = { answer_style = "Pirate" } }]

[[rules]]
when = "joke"
text = '{"setup": "Why did the cat sit?", "punchline": "It had no stand."}'

[[rules]]
when = "weather"
text = "It is sunny."
tool_calls = [
  { name = "get_weather", arguments = { city = "Paris", unit = "celsius" } },
  { name = "get_time", arguments = { zone = "Europe/Paris" } },
]

[[rules]]
when = "think"
reasoning = "Let me see. "
text = "I have thought."

[[rules]]
text = "A short answer."
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give LangChain's tests one event loop: its clients keep their connections from one test to the next."""
    for item in items:
        if item.path.name == "test_langchain.py" and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """The embedded server with the scripted engine; every call needs the key."""
    environment = {
        "HEADRACE_API_KEY": KEY,
        "HEADRACE_MODELS_SCRIPTED_CHAT_MAX_MODEL_TOKENS": "20000000",
        "HEADRACE_MODELS_SCRIPTED_CHAT_SLOTS": "128",
    }
    with scripted_serving(tmp_path_factory.mktemp("scripted"), script=SCRIPT, environment=environment) as server:
        yield Target(server=server, model=CHAT_MODEL, key=KEY)


@pytest.fixture(scope="session")
def scripted_embedding(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """The embedded server with a scripted model that makes embeddings."""
    with scripted_serving(tmp_path_factory.mktemp("embedding"), model=EMBEDDING_MODEL) as server:
        yield Target(server=server, model=EMBEDDING_MODEL)


@pytest.fixture(scope="session")
def vllm(repository: Path) -> Generator[Target]:
    """The embedded server with real vLLM and the demo model: one process for all clients."""
    with serving(folder=repository, environment={"HEADRACE_STORAGE_FOLDER": ".headrace"}) as server:
        yield Target(server=server, model=DEMO)


@pytest.fixture(scope="session")
def vllm_embedding(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """The embedded server with real vLLM and a tiny model that makes embeddings."""
    folder = tmp_path_factory.mktemp("vllm-embedding")
    (folder / "headrace.toml").write_text('[models.tiny]\nweights = "tiny:random"\ntask = "embed"\n')
    environment = {"HEADRACE_STORAGE_FOLDER": str(repository / ".headrace")}
    with serving("--config", "headrace.toml", "--model", "tiny", folder=folder, environment=environment) as server:
        yield Target(server=server, model="tiny")


@pytest.fixture(params=["scripted_embedding", pytest.param("vllm_embedding", marks=pytest.mark.engine)])
def embedding_target(request: pytest.FixtureRequest) -> Target:
    """Each of the servers that make embeddings."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["scripted", pytest.param("vllm", marks=pytest.mark.engine)])
def target(request: pytest.FixtureRequest) -> Target:
    """Each of the servers that can chat."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(target: Target) -> Generator[openai.OpenAI]:
    with target.open_openai() as client:
        yield client


@pytest.fixture
async def async_client(target: Target) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with target.open_async_openai() as client:
        yield client


@pytest.fixture
def claude(target: Target) -> Generator[anthropic.Anthropic]:
    with target.open_anthropic() as client:
        yield client


@pytest.fixture
async def async_claude(target: Target) -> AsyncGenerator[anthropic.AsyncAnthropic]:
    async with target.open_async_anthropic() as client:
        yield client
