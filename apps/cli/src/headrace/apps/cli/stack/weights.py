"""Fetches the weights once, before there are workers that would all do it at the same moment."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from headrace.apps.cli.stack.folder import StackError
from headrace.schema.settings import Settings


def prepare_weights(settings: Settings, console: Console) -> None:
    """Make sure that the models which the workers run are on this machine.

    Raises:
        StackError: it can't be had.
    """
    # Imported here: `headrace --help` needs none of it.
    from headrace.apps.worker.compose import engine_kind, find_models, models_folder
    from headrace.models import WeightsError, resolve_weights

    for name, model in find_models(settings).items():
        if engine_kind(settings, model) == "scripted":
            continue
        try:
            with WeightsProgress(console) as progress:
                resolve_weights(model.weights, cache_folder=models_folder(settings), on_progress=progress.report)
        except WeightsError as error:
            raise StackError(f"the weights of {name} can't be had: {error}") from None


class WeightsProgress:
    """A bar for each step, on a terminal; one line for each step elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("  {task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
        )

    def __enter__(self) -> "WeightsProgress":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def report(self, step: str, *, done: int | None, total: int | None) -> None:
        """Take one report of `resolve_weights`."""
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
            if not self._console.is_terminal:
                self._console.print(f"  weights: {step}")
        self._bars.update(self._tasks[step], completed=done, total=total)
