"""What becomes of vLLM's process when something is killed, interrupted or closed. Real processes, real signals."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from headrace.models import write_tiny_model
from tests.support.process_tree import find, kill, survivors

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
]

START_SECONDS = 150.0
STEP_SECONDS = 20.0
LONG = 400


class EngineProgram:
    """The program of `engine_program`, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.engine_pids: list[int] = []

    async def next_fact(self, *, seconds: float = STEP_SECONDS) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self.process.stdout.readline()
        assert line, "the program ended"
        return msgspec.json.decode(line)

    async def wait_for(self, fact: str, *, seconds: float = STEP_SECONDS) -> dict[str, Any]:
        """Return the next fact, which must be this one."""
        found = await self.next_fact(seconds=seconds)
        assert found["fact"] == fact, found
        return found

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    async def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(STEP_SECONDS):
            return await self.process.wait()


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


@asynccontextmanager
async def starting_program(weights: Path, repository: Path) -> AsyncGenerator[EngineProgram, None]:
    """The program when it has forked its engine, in a process group of its own, as a shell makes one for a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.engines.engine_program",
        str(weights),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=repository,
        start_new_session=True,
    )
    program = EngineProgram(process)
    try:
        await program.wait_for("forked", seconds=START_SECONDS)
        yield program
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running_program(weights: Path, repository: Path) -> AsyncGenerator[EngineProgram, None]:
    """The program when its engine is ready."""
    async with starting_program(weights, repository) as program:
        fact = await program.wait_for("ready", seconds=START_SECONDS)
        program.engine_pids = fact["engine"]
        assert program.engine_pids
        assert program.process.pid not in fact["groups"], "the engine is in our process group: Ctrl-C would reach it"
        yield program


async def check_gone(pids: list[int]) -> None:
    assert await asyncio.to_thread(lambda: survivors(find(pids), seconds=STEP_SECONDS)) == []


async def test_the_engine_dies_with_a_killed_parent(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        program.send(f"run job {LONG}")
        await program.wait_for("first token")
        program.process.kill()
        await check_gone(program.engine_pids)


async def test_an_interrupt_of_the_group_lets_running_work_finish(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        program.send(f"run job {LONG}")
        await program.wait_for("first token")
        os.killpg(program.process.pid, signal.SIGINT)
        await program.wait_for("interrupted")
        finished = await program.wait_for("finished")
        assert finished["output_tokens"] == LONG
        assert (await program.wait_for("closed"))["children"] == []
        assert await program.end() == 0


async def test_an_interrupt_while_the_model_loads_ends_the_start(tiny_weights: Path, repository: Path) -> None:
    async with starting_program(tiny_weights, repository) as program:
        engine = [child.pid for child in psutil.Process(program.process.pid).children()]
        os.killpg(program.process.pid, signal.SIGINT)
        async with asyncio.timeout(STEP_SECONDS):
            assert await program.process.wait() == -signal.SIGINT
        await check_gone(engine)


async def test_closing_ends_running_jobs_and_leaves_no_process(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        program.send(f"run job {LONG}")
        await program.wait_for("first token")
        program.send("close")
        assert (await program.wait_for("engine dead"))["message"] == "the engine was closed"
        # No "wait_dead returned" comes before or after this: it did not die by itself.
        assert (await program.wait_for("closed"))["children"] == []
        program.send("run late 5")
        assert (await program.wait_for("engine dead"))["job"] == "late"
        assert await program.end() == 0


async def test_a_killed_engine_is_noticed_while_idle(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        kill(find(program.engine_pids))
        await program.wait_for("wait_dead returned")
        program.send("run late 5")
        await program.wait_for("engine dead")
        program.send("close")
        await program.wait_for("closed")
        assert await program.end() == 0


async def test_a_killed_engine_fails_what_runs(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        program.send(f"run job {LONG}")
        await program.wait_for("first token")
        kill(find(program.engine_pids))
        facts = {(await program.next_fact())["fact"] for _ in range(2)}
        assert facts == {"engine dead", "wait_dead returned"}


async def hold_one(program: EngineProgram) -> None:
    program.send("hold search")
    await program.wait_for("held")
    # Behind this its step under way has ended, too.
    program.send("run job 5")
    await program.wait_for("first token")
    await program.wait_for("finished")


async def test_a_killed_engine_fails_what_is_held(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        await hold_one(program)
        for pid in program.engine_pids:
            os.kill(pid, signal.SIGKILL)
        facts = {(await program.next_fact())["fact"] for _ in range(2)}
        assert facts == {"engine dead", "wait_dead returned"}


async def test_closing_ends_what_is_held(tiny_weights: Path, repository: Path) -> None:
    async with running_program(tiny_weights, repository) as program:
        await hold_one(program)
        program.send("close")
        assert (await program.wait_for("engine dead"))["message"] == "the engine was closed"
        await program.wait_for("closed")
        assert await program.end() == 0
