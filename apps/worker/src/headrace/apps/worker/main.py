"""`headrace-worker`: one replica, until it is told to stop or one of its engines dies."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping

import structlog
import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from headrace.apps.worker.compose import (
    choose_models,
    find_weights,
    make_engines,
    make_stations,
    make_worker_id,
    open_large_replies,
    open_last_words,
)
from headrace.models import WeightsError
from headrace.process.arguments import make_process_parser
from headrace.process.config import read_settings
from headrace.process.logs import set_up_log
from headrace.process.signals import stop_on_signals
from headrace.process.turns import take_short_turns
from headrace.schema.settings import Settings, SettingsError
from headrace.transport.objects import check_objects_url, open_payloads
from headrace.transport.rabbitmq import RabbitmqWorkerTransport, check_url
from headrace.transport.redis import RedisRelay, check_redis_url
from headrace.worker.engines.base import Engine, EngineDeadError, EngineSetupError
from headrace.worker.metrics import WorkerMetrics
from headrace.worker.observer import LoggingObserver, WorkerObserver
from headrace.worker.replica import Replica

ENGINE_DIED = 1
BAD_SETTINGS = 2

_log = structlog.get_logger("headrace.worker")


def main(argv: list[str] | None = None) -> int:
    """Run the worker process and return its exit status."""
    arguments = _parse(argv)
    try:
        settings = read_settings(
            config=arguments.config,
            environ=os.environ,  # noqa: TID251 - the process's edge
            overrides={"engine.kind": arguments.engine, **choose_models(arguments.model)},
        )
        _require_broker(settings)
        set_up_log(settings.log)
        engines = make_engines(settings, find_weights(settings, _log_progress))
    except (SettingsError, WeightsError, EngineSetupError) as error:
        sys.stderr.write(f"headrace-worker: {error}\n")
        return BAD_SETTINGS
    take_short_turns()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(settings, engines))
        except EngineDeadError as error:
            _log.error("worker down", reason=str(error))
            return ENGINE_DIED
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_process_parser(
        "headrace-worker",
        "One Headrace worker: takes requests for its models off the broker and runs them on engines.",
        distribution="headrace-app-worker",
    )
    parser.add_argument(
        "--model", metavar="NAME", action="append", help="served name of the model; say it again for another one"
    )
    parser.add_argument("--engine", metavar="{vllm,scripted}", help="which engine (engine.kind)")
    return parser.parse_args(argv)


def _require_broker(settings: Settings) -> None:
    if not settings.broker.url.startswith(("amqp://", "amqps://")):
        raise SettingsError(
            [
                f"broker.url: a worker process needs a broker that others reach, not {settings.broker.url}: "
                "set it to amqp://…, or run everything in one process with `headrace serve`"
            ]
        )
    try:
        check_url(settings.broker)
        check_redis_url(settings.redis)
        check_objects_url(settings.objects)
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def _log_progress(step: str, *, done: int | None, total: int | None) -> None:
    if done is None or done == total:
        _log.info("weights", step=step)


def _serve_metrics(port: int, registry: CollectorRegistry) -> None:
    try:
        start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        # The generations matter more than the figures about them.
        _log.error("metrics not served", port=port, reason=error.strerror)


async def _serve(settings: Settings, engines: Mapping[str, Engine]) -> None:
    worker_id = make_worker_id()
    observers: list[WorkerObserver] = [LoggingObserver(_log)]
    if settings.worker.metrics_port:
        registry = CollectorRegistry()
        observers.append(WorkerMetrics(registry))
        _serve_metrics(settings.worker.metrics_port, registry)
    relay = RedisRelay(settings.redis) if settings.redis.url else None
    payloads = open_payloads(settings.objects)
    transport = RabbitmqWorkerTransport(
        settings.broker,
        consumer_priority=settings.worker.consumer_priority,
        relay=relay,
        large=open_large_replies(settings, payloads),
    )
    replica = Replica(
        make_stations(settings, engines, observers),
        transport,
        worker_id=worker_id,
        drain_seconds=settings.worker.drain_seconds,
        observers=observers,
        payloads=payloads,
        last_words=open_last_words(settings),
    )
    with stop_on_signals() as stop:
        await replica.run(stop)
    _log.info("worker stopped", worker_id=worker_id)
