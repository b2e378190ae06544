"""The four commands. Each returns its exit status: 1 where there is nothing of that id, or the broker is away."""

import asyncio
import sys
from collections.abc import Callable, Sequence

import msgspec
from rich.console import Console

from headrace.apps.cli.dead.options import DeadOptions
from headrace.apps.cli.dead.places import DeadLetters
from headrace.apps.cli.dead.retrying import Retried, retry
from headrace.apps.cli.dead.showing import Dead, describe, print_list, print_one, to_json
from headrace.schema.codec import CodecError, decode_request
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.payload import PayloadRef
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import ObjectSettings, SettingsError
from headrace.schema.task import GenerationTask
from headrace.transport.base import TransportUnavailableError
from headrace.transport.objects import PayloadError, open_payloads
from headrace.transport.rabbitmq import DeadTaskFound

FAILED = 1
BAD_SETTINGS = 2
UNDECODABLE = "undecodable"


def list_dead(options: DeadOptions) -> int:
    """Print all dead letters."""

    def work(letters: DeadLetters) -> int:
        found = letters.all()
        if options.as_json:
            _write(to_json([describe(dead) for dead in found]))
        else:
            print_list(found, _console())
        return 0

    return _run(options, work)


def show_dead(task_id: str, options: DeadOptions, *, with_body: bool) -> int:
    """Print one dead letter, and its request where that was asked for."""

    def work(letters: DeadLetters) -> int:
        found = letters.named(task_id)
        for dead in found:
            request = _read_request(dead[1].task, letters.settings.objects) if with_body else None
            if options.as_json:
                shown = describe(dead)
                _write(to_json(shown if request is None else shown | {"request": msgspec.to_builtins(request)}))
            else:
                print_one(dead, _console())
                if request is not None:
                    _write(to_json(request))
        return 0 if found else _say_missing(task_id)

    return _run(options, work)


def retry_dead(task_id: str | None, options: DeadOptions, *, timeout_seconds: float | None, with_answer: bool) -> int:
    """Try one dead letter again, or all of them where `task_id` is None, and say what became of each."""

    def work(letters: DeadLetters) -> int:
        found = letters.all() if task_id is None else letters.named(task_id)
        timeout = timeout_seconds or letters.settings.scheduler.request_timeout_seconds
        results: list[Retried] = []
        for _place, dead in found:
            result = _retry(dead, letters, timeout_seconds=timeout)
            results.append(result if with_answer else msgspec.structs.replace(result, answer=()))
            if result.outcome == "finished":
                _tell(options, f"{dead.id} finished as {result.request_id}: {result.output_tokens} tokens")
                for text in result.answer if with_answer else ():
                    _tell(options, text)
            else:
                _tell(options, f"{dead.id}: {result.outcome}: {result.message}")
        has_failed = any(result.outcome != "finished" for result in results)
        return _end(options, task_id, found, results) or (FAILED if has_failed else 0)

    return _run(options, work)


def _retry(dead: DeadTaskFound, letters: DeadLetters, *, timeout_seconds: float) -> Retried:
    try:
        request = _read_request(dead.task, letters.settings.objects)
        if request is None:
            return Retried(id=dead.id, request_id="", outcome=UNDECODABLE, message="this version can't decode it")
        work = retry(dead, request, box=letters.box, settings=letters.settings, timeout_seconds=timeout_seconds)
        result = asyncio.run(work)
    except HeadraceError as error:
        return Retried(id=dead.id, request_id="", outcome=error.code, message=error.message)
    except (PayloadError, CodecError) as error:
        return Retried(id=dead.id, request_id="", outcome=ErrorCode.PAYLOAD_LOST, message=str(error))
    if result.outcome == "finished" and dead.task is not None and dead.task.payload is not None:
        asyncio.run(_discard(dead.task.payload, letters.settings.objects))
    return result


def drop_dead(task_id: str | None, options: DeadOptions) -> int:
    """Remove one dead letter for good, or all of them where `task_id` is None."""

    def work(letters: DeadLetters) -> int:
        found = letters.all() if task_id is None else letters.named(task_id)
        results: list[dict[str, object]] = []
        for place, dead in found:
            copies = letters.box.drop(place.queue_name, dead.id)
            if dead.task is not None and dead.task.payload is not None:
                asyncio.run(_discard(dead.task.payload, letters.settings.objects))
            results.append({"id": dead.id, "copies": copies})
            _tell(options, f"{dead.id} is removed")
        return _end(options, task_id, found, results)

    return _run(options, work)


def _run(options: DeadOptions, work: Callable[[DeadLetters], int]) -> int:
    try:
        return work(DeadLetters(options))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_SETTINGS
    except (TransportUnavailableError, PayloadError, CodecError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _end(options: DeadOptions, task_id: str | None, found: list[Dead], results: Sequence[object]) -> int:
    if options.as_json:
        _write(to_json(results))
    elif task_id is None and not found:
        _write("No dead letters.")
    return _say_missing(task_id) if task_id is not None and not found else 0


def _say_missing(task_id: str) -> int:
    sys.stderr.write(f"no dead letter has the id {task_id}; type: headrace queue dead list\n")
    return FAILED


def _tell(options: DeadOptions, line: str) -> None:
    if not options.as_json:
        _write(line)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _read_request(task: GenerationTask | None, settings: ObjectSettings) -> ChatCompletionRequest | None:
    """Return the request of a task, out of the object store where it lies there."""
    if task is None or task.payload is None:
        return None if task is None else task.request
    return decode_request(asyncio.run(_load(task.payload, settings)))


async def _load(ref: PayloadRef, settings: ObjectSettings) -> bytes:
    payloads = open_payloads(settings)
    if payloads is None:
        raise PayloadError("its request lies in an object store: set objects.url")
    try:
        return await payloads.load(ref)
    finally:
        await payloads.close()


async def _discard(ref: PayloadRef, settings: ObjectSettings) -> None:
    payloads = open_payloads(settings)
    if payloads is not None:
        await payloads.discard(ref)
        await payloads.close()
