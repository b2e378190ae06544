"""A process with a real engine, driven by lines on stdin, for tests that kill things.

`run NAME MAX_TOKENS` starts a job, `hold NAME` a search that is held in mid-answer, `close` closes the engine, the end
of stdin ends the program. Each line on stdout is a fact as JSON. SIGINT drains, as a worker does: what runs is
finished, then the engine is closed.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import aclosing
from pathlib import Path

import msgspec
import psutil
import structlog

from headrace.schema.events import GenerationFinished, SequenceStarted
from headrace.schema.request import BeamSearchParams
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import Engine, EngineDeadError
from headrace.worker.engines.build import build_engine
from tests.contract.engines.jobs import make_job


def tell(fact: str, **details: object) -> None:
    sys.stdout.write(msgspec.json.encode({"fact": fact, **details}).decode() + "\n")
    sys.stdout.flush()


def tell_of_fork() -> None:
    """Say that the engine's process was forked as soon as its parent knows it.

    Not from here: what a signal's handler raises is lost while a hook of a fork runs.
    """
    before = len(multiprocessing.active_children())

    def watch_children() -> None:
        while len(multiprocessing.active_children()) <= before:
            time.sleep(0.01)
        tell("forked")

    threading.Thread(target=watch_children, daemon=True).start()


async def run(engine: Engine, name: str, max_tokens: int) -> None:
    try:
        async with aclosing(engine.generate(make_job(name, max_tokens=max_tokens))) as steps:
            async for step in steps:
                if isinstance(step[0], SequenceStarted):
                    tell("first token", job=name)
                if isinstance(step[-1], GenerationFinished):
                    tell("finished", job=name, output_tokens=step[-1].usage.output_tokens)
    except EngineDeadError as error:
        tell("engine dead", job=name, message=str(error))


async def hold(engine: Engine, name: str) -> None:
    job = make_job(name, max_tokens=200, ignore_eos=True, beam_search=BeamSearchParams(width=2))
    try:
        async with aclosing(engine.generate(job)) as steps:
            async for step in steps:
                if isinstance(step[0], SequenceStarted):
                    job.suspension.begin()
                    tell("held", job=name)
    except EngineDeadError as error:
        tell("engine dead", job=name, message=str(error))


async def watch(engine: Engine) -> None:
    await engine.wait_dead()
    tell("wait_dead returned")


async def close(engine: Engine) -> None:
    await engine.close()
    tell("closed", children=[child.pid for child in psutil.Process().children(recursive=True)])


async def serve(engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    await engine.start()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    children = psutil.Process().children(recursive=True)
    tell("ready", engine=[child.pid for child in children], groups=[os.getpgid(child.pid) for child in children])

    async def drain() -> None:
        await interrupted.wait()
        tell("interrupted")
        await asyncio.gather(*jobs)
        await close(engine)

    async with asyncio.TaskGroup() as tasks:
        jobs: list[asyncio.Task[None]] = []
        watchers = [tasks.create_task(watch(engine)), tasks.create_task(drain())]
        while line := (await lines.readline()).split():
            match line:
                case [b"run", name, count]:
                    jobs.append(tasks.create_task(run(engine, name.decode(), int(count))))
                case [b"hold", name]:
                    jobs.append(tasks.create_task(hold(engine, name.decode())))
                case [b"close"]:
                    await close(engine)
                case _:
                    raise ValueError(line)
        for watcher in watchers:
            watcher.cancel()


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # As a shell starts a command; a runner of tests may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # First the process that tries grammars out, then the engine's own.
    forks = iter((False, True))
    os.register_at_fork(after_in_parent=lambda: tell_of_fork() if next(forks, False) else None)
    engine = build_engine(
        ModelSettings(weights="tiny:random", slots=2, max_model_tokens=512, kv_cache_bytes=64 * 2**20),
        name="tiny",
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=Path(sys.argv[1]),
        script_text=None,
    )
    asyncio.run(serve(engine))


if __name__ == "__main__":
    main()
