"""`headrace serve`: everything in one process tree, told step by step to the person at the terminal."""

import asyncio
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from headrace.apps.cli.embedded import run_embedded
from headrace.apps.cli.environment import read_environment
from headrace.apps.cli.serve_options import ServeOptions
from headrace.apps.gateway.accounts import open_accounts
from headrace.apps.gateway.reload import SettingsReloader
from headrace.apps.gateway.server import check_exposure, open_socket
from headrace.apps.worker.compose import choose_models, engine_kind, find_models, find_weights, make_engines
from headrace.models import WeightsError
from headrace.process.config import read_settings, settings_path
from headrace.process.logs import set_up_log
from headrace.process.signals import stop_on_signals
from headrace.process.turns import take_short_turns
from headrace.process.watch import WatchedFile
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import ModelSettings, Settings, SettingsError
from headrace.transport.rabbitmq import check_url
from headrace.worker.engines.base import Engine, EngineDeadError, EngineSetupError

ENGINE_DIED = 1
BAD_SETTINGS = 2

_console = Console(highlight=False)
_problems = Console(stderr=True, highlight=False)


def serve(options: ServeOptions) -> int:
    """Serve until Ctrl-C, and return the exit status."""
    started = time.monotonic()
    watched = WatchedFile(settings_path(config=options.config, environ=read_environment()))
    try:
        settings = read_serve_settings(options)
        # A hangup is the terminal's end here, and ends the process as it always does.
        reloader = SettingsReloader(
            lambda: read_serve_settings(options), watched=watched, seconds=settings.routing.reload_seconds
        )
        check_exposure(settings.gateway, has_accounts=settings.accounts.enabled)
        _check_broker(settings)
        set_up_log(settings.log)
        kinds = {name: engine_kind(settings, model) for name, model in find_models(settings).items()}
        _console.print(f"[bold]Headrace {version('headrace-cli')}[/]: {escape(_list_models(kinds))}")
        accounts = open_accounts(settings)
        listener = open_socket(settings.gateway)
        # Engines fork, so they are made while this process has no thread: no live display may run beside it.
        engines = _make_engines(settings, kinds)
    except (SettingsError, WeightsError, EngineSetupError, HeadraceError) as error:
        _problems.print(f"[red]headrace serve:[/] {escape(str(error))}", soft_wrap=True)
        return BAD_SETTINGS
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.gateway.tls_certificate_file else "http"
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    async def run() -> None:
        with stop_on_signals(_announce_stop) as stop:
            await run_embedded(
                settings,
                engines=engines,
                listener=listener,
                stop=stop,
                reloader=reloader,
                on_ready=lambda: _announce_ready(settings, address, time.monotonic() - started),
                accounts=accounts,
            )

    take_short_turns()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run())
        except EngineDeadError as error:
            _problems.print(
                f"[red]headrace serve:[/] {escape(str(error))}. Start again with: just serve", soft_wrap=True
            )
            return ENGINE_DIED
    _console.print("Stopped.")
    return 0


def read_serve_settings(options: ServeOptions) -> Settings:
    """Read the settings for `serve`; `--model` may also be the folder of a model that no setting names.

    Raises:
        SettingsError: with every mistake.
    """
    overrides = {
        "gateway.port": options.port,
        "gateway.host": options.host,
        "engine.kind": options.engine,
        **choose_models(options.models),
    }
    settings = read_settings(config=options.config, environ=read_environment(), overrides=overrides)
    wanted = settings.worker.model
    is_one = not settings.worker.models
    if is_one and wanted not in settings.models and Path(wanted).expanduser().is_dir():
        folder = Path(wanted).expanduser().resolve()
        worker = msgspec.structs.replace(settings.worker, model=folder.name)
        models = {folder.name: ModelSettings(weights=str(folder))}
        settings = msgspec.structs.replace(settings, worker=worker, models=models)
    find_models(settings)
    return settings


def _check_broker(settings: Settings) -> None:
    if not settings.broker.url.startswith("memory:"):
        try:
            check_url(settings.broker)
        except ValueError as error:
            raise SettingsError([str(error)]) from None


def _list_models(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} on the {kind} engine" for name, kind in kinds.items())


def _make_engines(settings: Settings, kinds: Mapping[str, str]) -> dict[str, Engine]:
    with _WeightsBar() as bar:
        weights = find_weights(settings, bar.report)
    if "vllm" in kinds.values():
        _console.print("Starting vLLM: about ten seconds, longer the first time …")
    return make_engines(settings, weights)


class _WeightsBar:
    """A progress bar that is drawn only when it is told something: it has no thread of its own."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        self._progress = Progress(*columns, TimeElapsedColumn(), console=_console, auto_refresh=False)
        self._tasks: dict[str, TaskID] = {}
        self._shown = False

    def __enter__(self) -> "_WeightsBar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def report(self, step: str, *, done: int | None, total: int | None) -> None:
        """Draw where a step stands."""
        if not self._shown:
            self._shown = True
            self._progress.start()
        if step not in self._tasks:
            for earlier in self._tasks.values():
                # A step that could not tell how far it was is over when the next begins.
                self._progress.update(earlier, completed=1, total=1)
            self._tasks[step] = self._progress.add_task(step, total=total)
        self._progress.update(self._tasks[step], completed=done or 0, total=total)
        self._progress.refresh()


def _announce_ready(settings: Settings, address: str, seconds: float) -> None:
    key = (
        ' -H "Authorization: Bearer $HEADRACE_API_KEY"' if settings.gateway.api_key or settings.accounts.enabled else ""
    )
    body = {
        "model": settings.worker.served[0],
        "stream": True,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    _console.print(f"\n[bold green]Ready[/] after {seconds:.1f} s at [bold]{address}[/]  (Ctrl-C stops)\n")
    _console.print("Try it:\n")
    curl = f"curl -N {address}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '"
    # Printed as it is, without wrapping: the line is there to be copied.
    _console.print(f"  {curl}{msgspec.json.encode(body).decode()}'", soft_wrap=True, markup=False)
    _console.print("\nOr, in another terminal:\n")
    _console.print(f"  just chat {settings.worker.served[0]}" + _url_flag(address), markup=False)
    _console.print(
        f"\nNext: any OpenAI client works with base_url={address}/v1. README.md tells how to serve your own model, and "
        "`just stack` runs the same on RabbitMQ with several gateways and workers.\n",
        markup=False,
    )


def _url_flag(address: str) -> str:
    return "" if address == "http://127.0.0.1:8000" else f" --url {address}"


def _announce_stop() -> None:
    _console.print("\nFinishing what runs … (Ctrl-C again stops at once)")
