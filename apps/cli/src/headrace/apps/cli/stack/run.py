"""`headrace stack`, from the command line to the last line that it prints."""

import secrets
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from headrace.apps.cli.environment import read_environment
from headrace.apps.cli.nodes import MissingServiceError, find_services
from headrace.apps.cli.stack.folder import StackError, claim_folder, require_free_ports
from headrace.apps.cli.stack.options import StackOptions
from headrace.apps.cli.stack.plan import StackPlan, plan_stack, stack_folder
from headrace.apps.cli.stack.report import render_fact, render_process_table, render_ready
from headrace.apps.cli.stack.stop_signals import StopRequest, catch_stop_signals
from headrace.apps.cli.stack.supervised import StopAskedError, SupervisedStack
from headrace.apps.cli.stack.supervisor_client import Exited, Started, SupervisorError
from headrace.apps.cli.stack.weights import prepare_weights
from headrace.process.config import read_settings
from headrace.schema.settings import Settings, SettingsError

WATCH_SECONDS = 0.3
FAILED = 1
BAD_SETTINGS = 2


def run_stack(options: StackOptions) -> int:
    """Run a stack until it is told to stop, and return the exit status: 0, 1 for a failure, 2 for bad settings."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    environ = read_environment()
    try:
        settings = read_settings(
            config=options.config,
            environ=environ,
            overrides={
                "gateway.port": options.port,
                "engine.kind": options.engine,
                **({"worker.model": options.model, "worker.models": ()} if options.model else {}),
            },
        )
        plan = plan_stack(
            options, settings, services=find_services(), password=secrets.token_urlsafe(24), environ=environ
        )
        with claim_folder(stack_folder(settings), say=console.print):
            require_free_ports(plan)
            prepare_weights(settings, console)
            return _run(plan, settings, console)
    except SettingsError as error:
        errors.print(str(error))
        return BAD_SETTINGS
    except (MissingServiceError, StackError, SupervisorError) as error:
        errors.print(str(error))
        return FAILED


def _run(plan: StackPlan, settings: Settings, console: Console) -> int:
    stack = SupervisedStack(plan)
    with catch_stop_signals() as stop:
        try:
            _start(stack, stop, console)
            console.print(f"\n{render_process_table(plan, stack.pids)}\n")
            console.print(render_ready(plan, with_key=bool(settings.gateway.api_key)))
            _watch(stack, stop, console)
        except StopAskedError:
            return stop.exit_code
        finally:
            with suppress(OSError):  # the terminal may be gone
                console.print("Stopping: gateways, workers, services. Ctrl-C kills.")
            stack.stop(stop)
            with suppress(OSError):
                console.print("Nothing runs any more.")
    return 0


def _start(stack: SupervisedStack, stop: StopRequest, console: Console) -> None:
    started = time.monotonic()
    console.print(f"Starting a stack in {stack.plan.folder}")
    stack.launch()
    width = max(len(process.name) for process in stack.plan.processes)
    # The broker can't start without the port mapper; the others may start before the broker, since they wait for it.
    port_mapper, *others = stack.plan.groups
    for groups in ([port_mapper], others):
        names = ", ".join(group.name for group in groups)
        with console.status(f"starting: {names}"):
            stack.start_groups(
                groups,
                stop=stop,
                on_ready=lambda name, seconds: console.print(f"  {name.ljust(width)}  ready  {seconds:5.1f} s"),
            )
    console.print(f"  everything ready after {time.monotonic() - started:.1f} s")


def _watch(stack: SupervisedStack, stop: StopRequest, console: Console) -> None:
    reasons: dict[str, str] = {}
    while not stop.wait(WATCH_SECONDS):
        if not stack.is_supervised:
            raise StackError(f"supervisord ended by itself; see {Path(stack.plan.logs) / 'supervisord.log'}")
        for fact in stack.read_facts():
            if isinstance(fact, Exited):
                reasons[fact.name] = fact.reason
            if line := render_fact(fact, reasons, stack.plan):
                console.print(line)
            if isinstance(fact, Started):
                reasons.pop(fact.name, None)
