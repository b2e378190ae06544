"""`headrace serve` as a child process, the way a terminal runs it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.support.process_tree import survivors, tree

HEADRACE = str(Path(sys.executable).parent / "headrace")
READY = re.compile(r"Ready after [\d.]+ s at (\S+)")
START_SECONDS = 120
END_SECONDS = 30


class Serving:
    """A running `headrace serve`.

    Attributes:
        address: where it listens.
        output: everything that it wrote so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = ""
        self.output: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if match := READY.search(line):
                self.address = match[1]
                self._ready.set()
        self._ready.set()

    @property
    def text(self) -> str:
        return "".join(self.output)

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        assert self._ready.wait(START_SECONDS), self.text
        assert self.address, self.text

    def wait_output(self, text: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT to the whole foreground process group."""
        os.killpg(self.pid, signal.SIGINT)

    def kill_group(self) -> None:
        """What closing a terminal by force does."""
        os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        code = self.process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        return code

    def close(self) -> None:
        self._reader.join(END_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def family(self) -> list[psutil.Process]:
        """The process and all its descendants, now."""
        return tree(self.pid)


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings that a shell may have."""
    inherited = dict(os.environ)  # noqa: TID251 - the test stands for a terminal
    return {name: value for name, value in inherited.items() if not name.startswith("HEADRACE_")} | dict(extra)


@contextmanager
def serving(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None, ready: bool = True
) -> Generator[Serving]:
    """Run `headrace serve` on a free port until the block ends."""
    process = subprocess.Popen(
        [HEADRACE, "serve", "--port", "0", *arguments],
        cwd=folder,
        env=clean_environment(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    server = Serving(process)
    try:
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            family = server.family()
            server.kill_group()
            process.wait(END_SECONDS)
            survivors(family, seconds=END_SECONDS)
        server.close()


def metric(address: str, name: str, *, key: str = "", **labels: str) -> float:
    """Read one sample off /metrics, with the key if there is one; 0 where it was never counted."""
    total = 0.0
    answer = httpx.get(f"{address}/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
    for line in answer.raise_for_status().text.splitlines():
        if line.startswith(name) and all(f'{key}="{value}"' in line for key, value in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def wait_metric(address: str, name: str, at_least: float, *, key: str = "", **labels: str) -> None:
    """Wait until a sample has reached a value."""
    deadline = time.monotonic() + END_SECONDS
    while (value := metric(address, name, key=key, **labels)) < at_least:
        assert time.monotonic() < deadline, f"{name}{labels} is {value}, not {at_least}"
        time.sleep(0.02)
