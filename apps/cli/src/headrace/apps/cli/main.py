"""`headrace`: the command line. Every command is imported when it is called, so that `--help` is instant."""

from collections.abc import Sequence
from typing import Annotated

import typer

from headrace.apps.cli.accounts import accounts, keys, tenants
from headrace.apps.cli.accounts.options import Door
from headrace.apps.cli.options import ConfigOption, JsonOption, UrlOption
from headrace.apps.cli.queue_commands import queue
from headrace.apps.cli.spreading import spread


def _examples(lines: Sequence[str]) -> str:
    """Return an epilog whose lines stay as they are: that is what the control character tells click."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    name="headrace",
    help="Serve your own language models: an HTTP API in front, vLLM behind, and a durable queue between.",
    epilog=_examples(["headrace serve", "headrace chat smollm2-135m-instruct   (in another terminal)"]),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would take longer than the help it draws
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.add_typer(queue)


EngineOption = Annotated[
    str | None,
    typer.Option(
        metavar="[vllm|scripted]",
        help="What runs the model: vLLM, or a scripted engine that needs no weights [default: vllm]",
    ),
]
ModelOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Served name of the model to run [default: smollm2-135m-instruct]")
]

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Served name of the model to run; say it again for another one [default: smollm2-135m-instruct]",
    ),
]


@app.command(
    short_help="Serve everything from one process tree.",
    epilog=_examples(["headrace serve", "headrace serve --port 8080 --engine scripted"]),
)
def serve(
    *,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [default: 8000]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1]")] = None,
    model: ModelsOption = None,
    engine: EngineOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve everything from one process tree: no broker, no Redis, nothing to install."""
    from headrace.apps.cli.serve import serve as run
    from headrace.apps.cli.serve_options import ServeOptions

    options = ServeOptions(port=port, host=host, models=tuple(model or ()), engine=engine, config=config)
    raise typer.Exit(run(options))


@app.command(
    short_help="Run RabbitMQ, Redis, gateways and workers on this machine.",
    epilog=_examples(["headrace stack", "headrace stack --engine scripted --workers 3 --port 9000"]),
)
def stack(
    *,
    port: Annotated[
        int | None, typer.Option(help="Port of the first gateway; the others follow from it [default: 8000]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many worker processes")] = 2,
    model: ModelOption = None,
    engine: EngineOption = None,
    management: Annotated[bool, typer.Option("--management", help="Run RabbitMQ's management page too")] = False,
    config: ConfigOption = None,
) -> None:
    """Run the whole of it on this machine: RabbitMQ, Redis, two gateways, some workers. Ctrl-C stops all of it."""
    from headrace.apps.cli.stack import StackOptions, run_stack

    options = StackOptions(port=port, workers=workers, model=model, engine=engine, management=management, config=config)
    raise typer.Exit(run_stack(options))


@app.command(
    short_help="Talk to a model.",
    epilog=_examples(
        [
            "headrace chat smollm2-135m-instruct",
            'headrace chat smollm2-135m-instruct "What is a headrace?" --max-tokens 60',
            "cat question.txt | headrace chat smollm2-135m-instruct -",
        ]
    ),
)
def chat(
    model: Annotated[str, typer.Argument(help="Served name of the model")],
    prompt: Annotated[
        str | None, typer.Argument(help="One question; - reads it from standard input. Without it, talk.")
    ] = None,
    *,
    url: Annotated[str, typer.Option(help="Where the gateway is")] = "http://127.0.0.1:8000",
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one answer")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0, help="0 is greedy")] = None,
) -> None:
    """Talk to a model. The API key, if there is one, comes from HEADRACE_API_KEY."""
    from headrace.apps.cli.chat import ChatOptions, run_chat

    options = ChatOptions(
        model=model, prompt=prompt, url=url, system=system, max_tokens=max_tokens, temperature=temperature
    )
    raise typer.Exit(run_chat(options))


@app.command(
    short_help="Check this machine and the settings.",
    epilog="Exit status: 0 when nothing failed, 1 otherwise; 2 for options that do not go together.",
)
def doctor(
    *,
    port: Annotated[int | None, typer.Option(help="Port of the gateway [default: that of the settings]")] = None,
    url: Annotated[
        str | None, typer.Option(help="Where a gateway is, to look at that one [default: the address of the settings]")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Check this machine and the settings, and say what to type where something is missing."""
    from headrace.apps.cli.doctor import DoctorOptions, run_doctor
    from headrace.process.logs import set_up_log
    from headrace.schema.settings import LogSettings

    # What libraries say of a connection that fails is said in a finding.
    set_up_log(LogSettings(level="error"))
    raise typer.Exit(run_doctor(DoctorOptions(config=config, port=port, url=url, as_json=json)))


@app.command(
    short_help="Show what was used, by whom, and what it cost.",
    epilog=_examples(
        [
            "headrace usage --by key,model --since 7d",
            "headrace usage --by day --since 2026-01-01 --until 2026-02-01 --csv > january.csv",
        ]
    ),
)
@spread
def usage(
    *,
    by: Annotated[
        str, typer.Option("--by", metavar="NAMES", help="Some of day, tenant, key, model, route, outcome")
    ] = "key,model",
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="7d, 12h, 2027-01-31, or an ISO instant [default: this month]"),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="The same [default: now]")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Of this tenant only, by its name or id")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of this key only, by its name, its id, or how it begins")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Of this served name only")] = None,
    json: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print lines, for a spreadsheet")] = False,
    door: Door,
) -> None:
    """Show what was used: all with HEADRACE_ACCOUNTS_ADMIN_KEY, a tenant's own with its key in HEADRACE_API_KEY."""
    from headrace.apps.cli.usage.options import UsageOptions
    from headrace.apps.cli.usage.run import run_usage

    options = UsageOptions(
        by=by,
        since=since,
        until=until,
        tenant=tenant,
        key=key,
        model=model,
        as_json=json,
        as_csv=csv,
        door=door,
    )
    raise typer.Exit(run_usage(options))


@app.command(short_help="Show what is left of the limits of a key.")
def limits(*, url: UrlOption = None, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show what is left to the key in HEADRACE_API_KEY: of its own limits, and of those of its tenant."""
    from headrace.apps.cli.accounts.own_limits import show_own_limits

    raise typer.Exit(show_own_limits(url=url, config=config, as_json=json))


@app.command(short_help="Show the settings as they are now.")
def settings(
    *,
    config: ConfigOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Describe every setting, as a Markdown table")] = False,
) -> None:
    """Show the settings as they are now, with the environment variable of each."""
    from headrace.apps.cli.show_settings import show_settings

    raise typer.Exit(show_settings(config=config, markdown=markdown))


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    typer.echo(version_of("headrace-cli"))


def main() -> None:
    """Run the command line."""
    app()
