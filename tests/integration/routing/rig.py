"""A whole embedded server with the scripted engine, in the loop of the test, with a local server as every vendor."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from headrace.apps.cli.embedded import run_embedded
from headrace.apps.gateway.reload import SettingsReloader
from headrace.process.config import read_settings
from headrace.process.signals import hangups
from headrace.process.watch import WatchedFile
from headrace.schema.settings import Settings
from headrace.transport.tasks import TaskOwner
from headrace.worker.engines.scripted import Script, ScriptedEngine
from tests.support.upstream import Upstream, running_upstream

WAIT_SECONDS = 30
SCRIPT = """
step_seconds = 0.0

[[rules]]
text = "our own words"
"""


class Stage:
    """The running parts.

    Attributes:
        url: of the gateway.
        upstreams: the local servers, by the name of the provider.
        path: of the settings file.
    """

    def __init__(self, path: Path, upstreams: dict[str, Upstream]) -> None:
        self.url = ""
        self.upstreams = upstreams
        self.path = path

    def providers(self, *names: str, is_local: bool | None = False) -> str:
        """Return the settings of providers, each of the kind that its name says."""
        paths = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
        local = "" if is_local is None else f"is_local = {str(is_local).lower()}\n"
        return "".join(
            f'[providers.{name}]\nkind = "{name}"\nbase_url = "{self.upstreams[name].url}{paths[name]}"\n'
            f'{local}models = ["big"]\n'
            for name in names
        )

    def write(self, text: str) -> None:
        """Replace the settings file at once, as careful programs do."""
        beside = self.path.with_suffix(".new")
        beside.write_text(HEAD + text)
        beside.replace(self.path)

    def read(self) -> Settings:
        return read_settings(config=str(self.path), environ={})


HEAD = """
[worker]
model = "own"
[gateway]
header_wait_seconds = 30.0
[routing]
reload_seconds = 0.02
[models.own]
weights = "tiny:random"
max_model_tokens = 256
slots = 4
"""


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncGenerator[Stage]:
    """Run the local servers; nothing else yet."""
    path = folder / "headrace.toml"
    async with running_upstream() as openai, running_upstream() as anthropic, running_upstream() as gemini:
        yield Stage(path, {"openai": openai, "anthropic": anthropic, "gemini": gemini})


@asynccontextmanager
async def running(stage: Stage, *, script: str = SCRIPT, slots: int = 4) -> AsyncGenerator[None]:
    """Run the server by the settings file until the block ends."""
    watched = WatchedFile(stage.path)
    settings = stage.read()
    engine = ScriptedEngine(Script.parse(script), slots=slots, max_model_tokens=256)
    engines = dict.fromkeys(settings.worker.served, engine)
    stop, ready = asyncio.Event(), asyncio.Event()
    tasks = TaskOwner()
    with hangups() as hung_up, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        stage.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        task = tasks.start(
            run_embedded(
                settings,
                engines=engines,
                listener=listener,
                stop=stop,
                on_ready=ready.set,
                reloader=SettingsReloader(
                    stage.read, watched=watched, seconds=settings.routing.reload_seconds, asked=hung_up
                ),
            ),
            name="embedded",
        )
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await ready.wait()
            yield
        finally:
            stop.set()
            await tasks.join()
    task.result()
