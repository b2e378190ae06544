"""`headrace stack` as a person runs it: what it prints, what it survives, and that nothing outlives it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from headrace.apps.cli.nodes import free_ports, wait_until
from tests.support.process_tree import survivors, tree

pytestmark = [pytest.mark.services, pytest.mark.timeout(240), pytest.mark.usefixtures("services_here")]

READY_SECONDS = 90
MODEL = "smollm2-135m-instruct"
BODY = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}


class RunningStack:
    """A stack in a terminal of its own: its output so far, and the processes that it lists."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        wait_until(
            lambda: bool(re.search(pattern, self.output)) or self.process.poll() is not None, seconds=READY_SECONDS
        )
        found = re.search(pattern, self.output)
        assert found, f"{pattern!r} is not in:\n{self.output}"
        return found

    def urls(self) -> list[str]:
        return self.wait_for(r"(?m)^stack ready: (.*)$")[1].split()

    def pid_of(self, role: str) -> int:
        return int(self.wait_for(rf"(?m)^(\d+) +{role} ")[1])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.wait(60)
        self._reader.join(10)
        return self.process.returncode


def start_stack(folder: Path, *, port: int, workers: int = 2, **environ: str) -> RunningStack:
    command = [sys.executable, "-c", "from headrace.apps.cli.main import main; main()", "stack"]
    options = ["--engine", "scripted", "--port", str(port), "--workers", str(workers)]
    return RunningStack(
        subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env={"PATH": os.defpath, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    )


@contextmanager
def running_stack(folder: Path, *, port: int, workers: int = 2, **environ: str) -> Generator[RunningStack]:
    """A stack whose every process is gone when the block ends, whatever the test did."""
    stack = start_stack(folder, port=port, workers=workers, **environ)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            processes = tree(stack.process.pid)
            stack.end(signal.SIGTERM)
            assert survivors(processes, seconds=30) == []


def free_base_port() -> int:
    """A port with room above it for a whole stack."""

    def has_room(base: int) -> bool:
        try:
            for port in (*range(base, base + 2), *range(base + 10, base + 15)):
                socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            return False
        return True

    return next(base for _ in range(100) if has_room(base := free_ports(1)[0]))


def read_stream(url: str) -> str:
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=BODY, timeout=30) as response:
        assert response.status_code == 200
        return response.read().decode()


def test_a_stack_serves_restarts_what_was_killed_and_stops_in_order(tmp_path: Path) -> None:
    port = free_base_port()
    with running_stack(tmp_path, port=port) as stack:
        urls = stack.urls()
        assert urls == [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"]
        assert "curl -N" in stack.output
        for url in urls:
            assert read_stream(url).rstrip().endswith("data: [DONE]")

        second = start_stack(tmp_path, port=free_base_port())
        assert second.process.wait(30) == 1
        second.wait_for(rf"a stack runs in {re.escape(str(tmp_path))}\S* already \(pid {stack.process.pid}\)")

        killed = stack.pid_of("worker-1")
        psutil.Process(killed).kill()
        restarted = int(stack.wait_for(r"worker-1 exited \(SIGKILL\), restarted as pid (\d+)")[1])
        assert psutil.Process(restarted).is_running()
        psutil.Process(stack.pid_of("worker-2")).kill()
        assert read_stream(urls[1]).rstrip().endswith("data: [DONE]")

        processes = tree(stack.process.pid)
        assert len(processes) >= 8
        assert stack.end(signal.SIGINT) == 0
        assert survivors(processes, seconds=5) == []
    assert stack.output.endswith("Nothing runs any more.")
    log = (tmp_path / ".headrace" / "stack" / "logs" / "supervisord.log").read_text()
    stopped = re.findall(r"stopped: (\S+)", log)
    assert {name.partition("-")[0] for name in stopped[:2]} == {"gateway"}
    assert stopped[-1] == "epmd"
    assert "with SIGKILL" not in log, "everything stopped when it was asked to"


def test_a_kill_of_the_whole_process_group_leaves_nothing_and_blocks_nothing(tmp_path: Path) -> None:
    port = free_base_port()
    with running_stack(tmp_path, port=port, workers=1) as stack:
        stack.urls()
        processes = tree(stack.process.pid)
        os.killpg(stack.process.pid, signal.SIGKILL)
        stack.process.wait()

        # Started again at once, while the first is still going down.
        with running_stack(tmp_path, port=port, workers=1) as again:
            assert again.urls()
            assert survivors(processes, seconds=1) == []
            processes = tree(again.process.pid)
            again.process.send_signal(signal.SIGINT)
            again.wait_for("Stopping")
            again.end(signal.SIGINT)
            assert survivors(processes, seconds=15) == []


def test_a_kill_of_the_supervisor_too_leaves_nothing(tmp_path: Path) -> None:
    with running_stack(tmp_path, port=free_base_port(), workers=1) as stack:
        stack.urls()
        processes = tree(stack.process.pid)
        supervisor = next(process for process in processes if "supervisor.supervisord" in process.cmdline())
        supervisor.kill()
        assert stack.process.wait(60) == 1
        assert "supervisord ended by itself" in stack.output
        assert survivors(processes, seconds=20) == []


def test_a_taken_port_is_named_with_a_command_that_works(tmp_path: Path) -> None:
    port = free_base_port()
    with socket.create_server(("127.0.0.1", port + 10)):
        stack = start_stack(tmp_path, port=port)
        assert stack.process.wait(30) == 1
    stack.wait_for(rf"taken by another program: port {port + 10} \(RabbitMQ\).*headrace stack --port \d+")


def test_a_process_that_can_not_start_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with running_stack(tmp_path, port=free_base_port(), HEADRACE_ENGINE_SCRIPT="/nowhere/script") as stack:
        assert stack.process.wait(60) == 1
        stack.wait_for(r"worker-\d did not start: .*code 2.*\n  \| .*/nowhere/script")
        stack.wait_for("headrace doctor")
    folder = str(tmp_path)
    mine = [process for process in psutil.process_iter(["cwd"]) if (process.info["cwd"] or "").startswith(folder)]
    assert survivors(mine, seconds=5) == []
