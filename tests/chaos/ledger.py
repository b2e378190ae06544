"""The tenant that the clients of the chaos suite belong to, and what its ledger says they used."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx
from msgspec import Struct

from tests.chaos.answer import Answer
from tests.chaos.orders import Order

ADMIN_KEY = "chaos-0123456789abcdef"
# What killed gateways have left is settled one after the other, and each waits for last words and for adopters.
PATIENCE_SECONDS = 240.0
FINISHED = "finished"


class Row(Struct, frozen=True):
    """What was billed for one generation."""

    outcome: str
    output_tokens: int


class Tenant:
    """A tenant with one key.

    Args:
        address: of a gateway with accounts, whose administrators' key is `ADMIN_KEY`.
        database: the file of the accounts, which all gateways share.
    """

    def __init__(self, address: str, database: Path) -> None:
        self._database = database
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
            self._id = self._post(client, "/admin/v1/tenants", {"name": "chaos"})["id"]
            self.key: str = self._post(client, "/admin/v1/keys", {"tenant": self._id, "name": "clients"})["secret"]

    @staticmethod
    def _post(client: httpx.Client, path: str, body: dict[str, str]) -> dict[str, str]:
        answer = client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def read_rows(self) -> dict[str, Row]:
        """Return what is in the ledger, by request: its reports add it up, and two mistakes may add up to none."""
        query = "SELECT request_id, outcome, output_tokens FROM usage WHERE tenant_id = ?"
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as connection:
            return {name: Row(outcome, tokens) for name, outcome, tokens in connection.execute(query, (self._id,))}

    def find_misbilled(self, answers: Sequence[tuple[Order, Answer]]) -> list[str]:
        """Return what is wrong with the bill, as soon as nothing is: the ledger is written behind the answers."""
        return wait_for_none(lambda: compare(answers, self.read_rows()))


def wait_for_none(find: Callable[[], list[str]]) -> list[str]:
    """Return what is found wrong in the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (wrong := find()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return wrong


def compare(answers: Iterable[tuple[Order, Answer]], rows: Mapping[str, Row]) -> list[str]:
    """Return what is wrong with a bill.

    Each answer that was told has one row with its tokens. So has each call that told something and ended with its
    gateway; one that had told nothing may have a row, and no other row may be there.
    """
    wrong: list[str] = []
    known: set[str] = set()
    nameless = 0
    for order, answer in answers:
        known.add(answer.request_id)
        row = rows.get(answer.request_id)
        if answer.output_tokens is not None and row != Row(FINISHED, answer.output_tokens):
            wrong.append(f"{answer.request_id}: {row} for {answer.output_tokens} tokens")
        for call in answer.given_up:
            known.add(call.request_id)
            nameless += not call.request_id
            row = rows.get(call.request_id)
            if row is None and call.had_text:
                wrong.append(f"{call.request_id}: no row for a call that ended with its gateway")
            elif row is not None and row.output_tokens > order.tokens * order.sequences:
                wrong.append(f"{call.request_id}: {row} for a call that ended with its gateway")
    unknown = [f"{name}: {row} for nobody" for name, row in rows.items() if name not in known]
    return wrong + unknown[nameless:]
