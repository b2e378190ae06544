"""The words of `headrace queue dead`, for the command line; what they do is imported when they are called."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from headrace.apps.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from headrace.apps.cli.dead.options import DeadOptions


ModelOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only this model's [default: every model of the settings]")
]
LaneOption = Annotated[str | None, typer.Option(metavar="[online|batch]", help="Only this lane's [default: both]")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it")]
MaybeIdArgument = Annotated[str | None, typer.Argument(metavar="ID", help="As the list shows it")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them instead of one")]

queue = typer.Typer(
    name="queue", help="Look into the queues.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
dead = typer.Typer(
    name="dead",
    help="Requests that were given up, and tasks that can't be decoded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
queue.add_typer(dead)


def _options(config: str | None, model: str | None, lane: str | None, *, as_json: bool) -> "DeadOptions":
    from headrace.apps.cli.dead.options import DeadOptions
    from headrace.process.logs import set_up_log
    from headrace.schema.names import Lane
    from headrace.schema.settings import LogSettings
    from headrace.schema.settings.allowed import explain

    # What goes wrong is said in the answer; what goes well on the way is nobody's business.
    set_up_log(LogSettings(level="error"))
    if (wrong := explain("--lane", lane, Lane | None)) is not None:
        raise typer.BadParameter(wrong.removeprefix("--lane: "), param_hint="--lane")
    return DeadOptions(config=config, model=model, lane=cast("Lane | None", lane), as_json=as_json)


def _require_one(task_id: str | None, *, all_of_them: bool) -> None:
    if (task_id is None) is not all_of_them:
        raise typer.BadParameter("give an ID, or --all", param_hint="ID")


@dead.command("list")
def list_(
    *,
    model: ModelOption = None,
    lane: LaneOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the dead letters, the oldest of each queue first. Nothing is taken out or put elsewhere."""
    from headrace.apps.cli.dead.run import list_dead

    raise typer.Exit(list_dead(_options(config, model, lane, as_json=json)))


@dead.command()
def show(
    task_id: IdArgument,
    *,
    body: Annotated[bool, typer.Option("--body", help="Print the request too, prompts and all")] = False,
    model: ModelOption = None,
    lane: LaneOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show one dead letter with its attempts. Its prompt is shown only with --body."""
    from headrace.apps.cli.dead.run import show_dead

    raise typer.Exit(show_dead(task_id, _options(config, model, lane, as_json=json), with_body=body))


@dead.command()
def retry(
    task_id: MaybeIdArgument = None,
    *,
    every: AllOption = False,
    timeout_seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=86400, help="From now to its deadline [default: scheduler.request_timeout_seconds]"),
    ] = None,
    answer: Annotated[bool, typer.Option("--answer", help="Print the answer too")] = False,
    model: ModelOption = None,
    lane: LaneOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try a dead letter again, and wait for its end. It has a fresh deadline and a new id, and keeps its history."""
    from headrace.apps.cli.dead.run import retry_dead

    _require_one(task_id, all_of_them=every)
    options = _options(config, model, lane, as_json=json)
    raise typer.Exit(retry_dead(task_id, options, timeout_seconds=timeout_seconds, with_answer=answer))


@dead.command()
def drop(
    task_id: MaybeIdArgument = None,
    *,
    every: AllOption = False,
    model: ModelOption = None,
    lane: LaneOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove a dead letter for good, and no other."""
    from headrace.apps.cli.dead.run import drop_dead

    _require_one(task_id, all_of_them=every)
    raise typer.Exit(drop_dead(task_id, _options(config, model, lane, as_json=json)))
