"""Runs a gateway that was built, from its start to the end of its drain."""

import asyncio
import socket

import structlog

from headrace.apps.gateway.compose import Gateway
from headrace.apps.gateway.reload import SettingsReloader
from headrace.apps.gateway.server import FLUSH_SECONDS, GatewayServer, build_server, stop_server
from headrace.schema.errors import ErrorCode

_log = structlog.get_logger("headrace.gateway")


async def serve_gateway(
    gateway: Gateway,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    ready: asyncio.Event | None = None,
    reloader: SettingsReloader | None = None,
) -> None:
    """Serve until `stop` is set, then drain: streams that run may finish, and those that can't are told so.

    Args:
        gateway: what to serve.
        listener: the listening socket.
        stop: ends it.
        ready: set once requests are answered.
        reloader: changes the settings meanwhile.
    """
    server = build_server(gateway.app, gateway.settings.gateway)
    try:
        if gateway.accounts is not None:
            gateway.accounts.start()
        if gateway.metering is not None:
            await gateway.metering.start()
        await gateway.scheduler.start()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]))
            reloading = None if reloader is None else group.create_task(reloader.run(gateway.live))
            if ready is not None:
                ready.set()
            await stop.wait()
            if reloading is not None:
                reloading.cancel()
            await _drain(gateway, server, serving)
    finally:
        await _close(gateway)


async def _drain(gateway: Gateway, server: GatewayServer, serving: "asyncio.Task[None]") -> None:
    gateway.draining.begin()
    _log.info("gateway draining", in_flight=gateway.scheduler.in_flight + gateway.routed.in_flight)
    if await stop_server(server, serving, seconds=gateway.settings.gateway.drain_seconds):
        return
    if gateway.retained is not None:
        await gateway.retained.leave()
    for source in (gateway.routed, gateway.scheduler):
        source.end_all(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
    await stop_server(server, serving, seconds=FLUSH_SECONDS)


async def _close(gateway: Gateway) -> None:
    # First of all: what it leaves to other gateways must not be ended by those who run it.
    if gateway.retained is not None:
        await gateway.retained.close()
    await gateway.routed.close()
    await gateway.providers.close()
    await gateway.scheduler.close()
    if gateway.metering is not None:
        await gateway.metering.close()
    for redis in (gateway.records, gateway.redis):
        if redis is not None:
            await redis.close()
    if gateway.accounts is not None:
        await gateway.accounts.close()
