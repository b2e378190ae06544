"""A real server in the test's own loop, with the parser that production has."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from litestar import Litestar

Run = Callable[[Coroutine[Any, Any, None]], None]
Serve = Callable[[Litestar], AbstractAsyncContextManager[int]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a test on each loop: asyncio's, and the one of production, whose transports have other buffers."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@asynccontextmanager
async def _serve(app: Litestar) -> AsyncGenerator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve([listener]))
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True
                await serving


@pytest.fixture
def serve() -> Serve:
    return _serve
