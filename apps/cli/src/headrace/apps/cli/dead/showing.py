"""Dead letters as tables and as JSON. A prompt is in neither."""

from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headrace.apps.cli.dead.places import Place
from headrace.transport.rabbitmq import DeadTaskFound

Dead = tuple[Place, DeadTaskFound]


def to_json(value: object) -> str:
    """Return a value as JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def describe(dead: Dead) -> dict[str, Any]:
    """Return what is known of a dead letter, without its content."""
    place, found = dead
    return {
        "id": found.id,
        "model": place.model,
        "lane": place.lane,
        "reason": found.letter.reason,
        "died_at": found.letter.died_at,
        "attempts": [
            {"attempt": lost.attempt, "worker_id": lost.worker_id, "granted_at": lost.granted_at, "how": lost.how}
            for lost in found.letter.attempts
        ],
        "retries": found.letter.retries,
        "copies": found.copies,
        "can_retry": found.task is not None,
    }


def print_list(letters: list[Dead], console: Console) -> None:
    """Print one line for each."""
    if not letters:
        console.print("No dead letters.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("ID", "MODEL", "LANE", "DIED", "ATTEMPTS", "RETRIES", "REASON"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "REASON")
    for place, found in letters:
        letter = found.letter
        cells = [found.id, place.model, place.lane, show_time(letter.died_at)]
        cells += [str(len(letter.attempts)), str(letter.retries), letter.reason]
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def print_one(dead: Dead, console: Console) -> None:
    """Print everything about one, but its content."""
    place, found = dead
    letter, task = found.letter, found.task
    rows = [
        ("id", found.id),
        ("model", place.model),
        ("lane", place.lane),
        ("reason", letter.reason),
        ("died", show_time(letter.died_at)),
        ("retries", str(letter.retries)),
        ("copies", str(found.copies)),
    ]
    if task is None:
        rows.append(("task", "can't be decoded by this version"))
    else:
        rows += [("submitted", show_time(task.submitted_at)), ("deadline", show_time(task.deadline))]
        rows += [("priority", str(task.priority)), ("tenant", task.tenant or "none")]
        rows.append(("request", "in the object store" if task.payload is not None else "in the message"))
    facts = Table.grid(padding=(0, 2))
    for name, value in rows:
        facts.add_row(Text(name), Text(value))
    console.print(facts)
    if letter.attempts:
        table = Table(box=None, pad_edge=False)
        for heading in ("ATTEMPT", "GRANTED", "WORKER", "LOST BECAUSE"):
            table.add_column(heading, overflow="fold")
        for lost in letter.attempts:
            cells = (str(lost.attempt), show_time(lost.granted_at), lost.worker_id or "unknown", lost.how)
            table.add_row(*(Text(cell) for cell in cells))
        console.print()
        console.print(table)


def show_time(at: float) -> str:
    """Return an instant as people read it, in the time of this machine."""
    if not at:
        return "unknown"
    return datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="seconds")
