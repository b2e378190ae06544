"""`headrace-gateway`: one gateway replica, until it is told to stop."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from socket import socket

import structlog
import uvloop

from headrace.apps.gateway.accounts import Accounts, open_accounts
from headrace.apps.gateway.compose import Gateway, build_gateway
from headrace.apps.gateway.connections import connect_broker
from headrace.apps.gateway.reload import SettingsReloader
from headrace.apps.gateway.server import check_exposure, open_socket
from headrace.apps.gateway.serving import serve_gateway
from headrace.process.arguments import make_process_parser
from headrace.process.config import read_settings, settings_path
from headrace.process.logs import set_up_log
from headrace.process.signals import hangups, stop_on_signals
from headrace.process.watch import WatchedFile
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import Settings, SettingsError

BAD_SETTINGS = 2
NO_DATABASE = 1

_log = structlog.get_logger("headrace.gateway")


def main(argv: list[str] | None = None) -> int:
    """Run the gateway process and return its exit status."""
    arguments = _parse(argv)
    environ = dict(os.environ)  # noqa: TID251 - the process's edge
    watched = WatchedFile(settings_path(config=arguments.config, environ=environ))

    def read() -> Settings:
        overrides = {"gateway.host": arguments.host, "gateway.port": arguments.port}
        return read_settings(config=arguments.config, environ=environ, overrides=overrides)

    try:
        settings = read()
        check_exposure(settings.gateway, has_accounts=settings.accounts.enabled)
        set_up_log(settings.log)
        accounts = open_accounts(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, accounts, read, watched))
    except SettingsError as error:
        sys.stderr.write(f"headrace-gateway: {error}\n")
        return BAD_SETTINGS
    except HeadraceError as error:
        # The database of the accounts: whoever supervises us starts us again.
        sys.stderr.write(f"headrace-gateway: {error.message}\n")
        return NO_DATABASE
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_process_parser(
        "headrace-gateway",
        "One Headrace gateway: the HTTP API, and the scheduler behind it.",
        distribution="headrace-app-gateway",
    )
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (gateway.host)")
    parser.add_argument("--port", metavar="N", type=int, help="port to listen on (gateway.port)")
    return parser.parse_args(argv)


async def _serve(
    settings: Settings, accounts: Accounts | None, read: Callable[[], Settings], watched: WatchedFile
) -> None:
    gateway: Gateway = build_gateway(settings, connect_broker(settings), accounts)
    listener: socket = open_socket(settings.gateway)
    host, port = listener.getsockname()[:2]
    ready = asyncio.Event()
    with stop_on_signals() as stop, hangups() as hung_up:
        seconds = settings.routing.reload_seconds
        reloader = SettingsReloader(read, watched=watched, seconds=seconds, asked=hung_up)
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_gateway(gateway, listener, stop, ready=ready, reloader=reloader))
            await ready.wait()
            _log.info("gateway ready", host=host, port=port, models=list(settings.models))
    _log.info("gateway stopped")
