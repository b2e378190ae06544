"""The routes of those who run the gateway: alive, ready, how much, and what it speaks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from headrace.gateway.auth import OPEN, OPERATORS
from headrace.gateway.draining import Draining
from headrace.gateway.metrics import GatewayMetrics
from headrace.gateway.openapi import describe_api
from headrace.schema.errors import HeadraceError
from headrace.transport.base import TransportUnavailableError

ReadinessCheck = Callable[[], Awaitable[None]]
CHECK_TIMEOUT_SECONDS = 2.0
OK = "ok"
DEGRADED = "degraded: "


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether requests should be sent here.

    Attributes:
        status: in one word.
        checks: each dependency, with `ok` or what is wrong; `degraded: …` where requests are answered all the same.
    """

    status: str
    checks: dict[str, str]


async def check_readiness(
    checks: Mapping[str, ReadinessCheck],
    draining: Draining,
    *,
    optional: Mapping[str, ReadinessCheck] | None = None,
    timeout_seconds: float = CHECK_TIMEOUT_SECONDS,
) -> Readiness:
    """Run all checks at once, and return what they say.

    Args:
        checks: what requests can't be answered without.
        draining: whether the process is about to end.
        optional: what requests are answered without, only less well.
        timeout_seconds: for each check.
    """
    every = {**(optional or {}), **checks}
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(_say(check, timeout_seconds)) for name, check in every.items()}
    said = {name: task.result() for name, task in tasks.items()}
    is_ready = all(said[name] == OK for name in checks)
    found = {name: word if name in checks or word == OK else DEGRADED + word for name, word in said.items()}
    if draining.has_begun:
        return Readiness(status="draining", checks=found)
    return Readiness(status="ready" if is_ready else "unready", checks=found)


async def _say(check: ReadinessCheck, timeout_seconds: float) -> str:
    try:
        async with asyncio.timeout(timeout_seconds):
            await check()
    except TimeoutError:
        return f"no answer within {timeout_seconds:g} s"
    except HeadraceError as error:
        return error.message
    except TransportUnavailableError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - an edge: a foreign message may hold a URL with a password
        return type(error).__name__
    return OK


def make_operations_routes(
    *,
    checks: Mapping[str, ReadinessCheck],
    optional_checks: Mapping[str, ReadinessCheck],
    draining: Draining,
    metrics: GatewayMetrics,
    version: str,
    has_admin: bool = False,
    has_usage: bool = False,
    has_limits: bool = False,
) -> list[HTTPRouteHandler]:
    """Return the route handlers."""
    description = msgspec.json.encode(
        describe_api(version, has_admin=has_admin, has_usage=has_usage, has_limits=has_limits)
    )

    @get("/livez", opt=OPEN, sync_to_thread=False)
    def show_life() -> Response[dict[str, str]]:
        return Response({"status": "alive"})

    # The second is what vLLM's own server has, and what those who route to it look at.
    @get(["/readyz", "/health"], opt=OPEN)
    async def show_readiness() -> Response[Readiness]:
        readiness = await check_readiness(checks, draining, optional=optional_checks)
        return Response(readiness, status_code=200 if readiness.status == "ready" else 503)

    @get("/metrics", opt=OPERATORS, sync_to_thread=False)
    def show_metrics() -> Response[bytes]:
        media_type, text = metrics.render()
        return Response(text, media_type=media_type)

    @get(["/schema", "/schema/openapi.json"], opt=OPEN, sync_to_thread=False)
    def show_description() -> Response[bytes]:
        return Response(description, media_type="application/json")

    return [show_life, show_readiness, show_metrics, show_description]
