"""A plan that runs: supervisord as our child, and our hand on everything below it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from headrace.apps.cli.nodes import NodeProcess, answers, prepare, wait_until
from headrace.apps.cli.nodes.base import NodeFile, tether, write_file
from headrace.apps.cli.stack.folder import StackError
from headrace.apps.cli.stack.plan import ProcessGroup, StackPlan
from headrace.apps.cli.stack.report import render_failure
from headrace.apps.cli.stack.stop_signals import StopRequest
from headrace.apps.cli.stack.supervisor_client import (
    FAILED_STATES,
    Exited,
    Started,
    SupervisorClient,
    SupervisorError,
    SupervisorFact,
    SupervisorLog,
)
from headrace.apps.cli.stack.supervisor_config import (
    config_file,
    render_supervisor_config,
    socket_file,
    supervisor_command,
    supervisor_log,
)

SUPERVISOR_START_SECONDS = 20.0
# An engine that loads a large model from a slow disk takes minutes.
PROCESS_START_SECONDS = 600.0
POLL_SECONDS = 0.1
PROBE_SECONDS = 0.5
KILL_MARGIN_SECONDS = 10.0

ReadyCallback = Callable[[str, float], None]


class StopAskedError(Exception):
    """A signal came before the stack was ready."""


class SupervisedStack:
    """The processes of a plan, from the first start to the last end.

    supervisord runs in a session of its own: a Ctrl-C at the terminal reaches only us, and a kill of the whole
    process group leaves it alive to stop the others in order, since it is told when we are gone.
    """

    def __init__(self, plan: StackPlan) -> None:
        self.plan = plan
        self.pids: dict[str, int] = {}
        self._client = SupervisorClient(socket_file(plan.folder))
        self._log = SupervisorLog(supervisor_log(plan.folder))
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start supervisord; it runs nothing yet.

        Raises:
            StackError: it does not come up.
        """
        for process in self.plan.processes:
            prepare(process)
        write_file(NodeFile(config_file(self.plan.folder), render_supervisor_config(self.plan)))
        output = self.plan.log_of("supervisord-output")
        with output.open("wb") as stream:
            child = self._child = subprocess.Popen(
                (*tether(), *supervisor_command(self.plan)),
                env=self.plan.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: child.poll() is not None or self._client.is_up(), seconds=SUPERVISOR_START_SECONDS)
        if not self._client.is_up():
            raise StackError(render_failure("supervisord", "it does not answer", log=output))

    @property
    def is_supervised(self) -> bool:
        """Tell whether supervisord still runs."""
        return self._child is not None and self._child.poll() is None

    def start_groups(self, groups: Sequence[ProcessGroup], *, stop: StopRequest, on_ready: ReadyCallback) -> None:
        """Start groups at once and return when all of them are ready.

        Raises:
            StackError: one of them ended, or never became ready.
            StopAskedError: a signal came.
        """
        started = time.monotonic()
        for group in groups:
            self._client.start_group(group.name)
        waiting = [process for group in groups for process in group.processes]
        while waiting:
            if stop.wait(POLL_SECONDS):
                raise StopAskedError
            self._raise_for_failure(waiting)
            for process in [process for process in waiting if answers(process.probe, timeout_seconds=PROBE_SECONDS)]:
                waiting.remove(process)
                on_ready(process.name, time.monotonic() - started)
            if waiting and time.monotonic() - started > PROCESS_START_SECONDS:
                raise self._failure(waiting[0], f"it was not ready within {PROCESS_START_SECONDS:g} s")

    def _raise_for_failure(self, waiting: list[NodeProcess]) -> None:
        states = self._client.states()
        # Read after the states: the log has the reason of whatever they show.
        ended = {fact.name: fact.reason for fact in self.read_facts() if isinstance(fact, Exited)}
        for process in waiting:
            if process.name in ended:
                raise self._failure(process, f"it ended ({ended[process.name]})")
            if (state := states[process.name]).state in FAILED_STATES:
                raise self._failure(process, state.reason or state.state.lower())

    def _failure(self, process: NodeProcess, reason: str) -> StackError:
        return StackError(render_failure(process.name, reason, log=self.plan.log_of(process.name)))

    def read_facts(self) -> list[SupervisorFact]:
        """Return what happened since the last call, and clean up behind what ended."""
        facts = self._log.read_facts()
        for fact in facts:
            match fact:
                case Started(name, pid):
                    self.pids[name] = pid
                case Exited(name):
                    self._kill_group(self.pids.pop(name, None))
                case _:
                    pass
        return facts

    def stop(self, stop: StopRequest) -> None:
        """Stop everything in order; by force on a further signal, or when it takes too long."""
        child = self._child
        if child is None:
            return
        signals_before = stop.count
        deadline = time.monotonic() + self.plan.stop_seconds + KILL_MARGIN_SECONDS
        try:
            self._client.shut_down()
        except SupervisorError:
            child.terminate()
        while child.poll() is None:
            if stop.count > signals_before or time.monotonic() > deadline:
                child.kill()
                child.wait()
            time.sleep(POLL_SECONDS)
        self.read_facts()
        for pid in self.pids.values():
            self._kill_group(pid)

    @staticmethod
    def _kill_group(pid: int | None) -> None:
        """Kill what a process left behind: supervisord makes each one the leader of a process group."""
        if pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
