"""The tenant that the clients of the chaos suite belong to, and what its ledger says they used."""

import time

import httpx
from msgspec import Struct

ADMIN_KEY = "chaos-0123456789abcdef"
PATIENCE_SECONDS = 60.0


class Billed(Struct, frozen=True):
    """What the ledger has: rows, and their output tokens."""

    requests: int
    output_tokens: int


class Tenant:
    """A tenant with one key.

    Args:
        address: of a gateway with accounts, whose administrators' key is `ADMIN_KEY`.
    """

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30)
        self._id = self._post("/admin/v1/tenants", {"name": "chaos"})["id"]
        self.key: str = self._post("/admin/v1/keys", {"tenant": self._id, "name": "clients"})["secret"]

    def _post(self, path: str, body: dict[str, str]) -> dict[str, str]:
        answer = self._client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def read_bill(self, *, requests: int) -> Billed:
        """Return what was billed, as soon as that is so many requests: the ledger is written behind the answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            billed = self._read()
            if billed.requests >= requests or time.monotonic() > deadline:
                return billed
            time.sleep(0.2)

    def _read(self) -> Billed:
        answer = self._client.get("/admin/v1/usage", params={"tenant": self._id, "group_by": "tenant"})
        answer.raise_for_status()
        results = [result for bucket in answer.json()["data"] for result in bucket["results"]]
        return Billed(
            sum(result["num_model_requests"] for result in results), sum(result["output_tokens"] for result in results)
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
