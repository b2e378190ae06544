"""What was said in a call that must not leave for an outside provider does not leave with a later call either."""

from typing import Any

import httpx
import pytest

from headrace.gateway.dialects.openai.responses.identity import to_response_id
from tests.unit.gateway.doubles import HELLO, ScriptedSource, make_app, open_client

PRIVATE = {"Headrace-Privacy": "local_only"}


async def respond(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/responses", json={"model": "demo", "input": "hi", **body}, headers=headers or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_private", [False, True])
async def test_going_on_from_a_private_response_is_private(is_private: bool, stream: bool) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        body = {"model": "demo", "input": "hi", "stream": stream}
        await client.post("/v1/responses", json=body, headers=PRIVATE if is_private else {})
        first = to_response_id(source.submissions[0].request_id)
        second = await respond(client, previous_response_id=first)
        # It is handed on: the conversation is in the second one too.
        await respond(client, previous_response_id=second["id"])
    assert [submission.local_only for submission in source.submissions] == [is_private] * 3


@pytest.mark.parametrize("is_private", [False, True])
async def test_referring_to_an_item_of_a_private_response_is_private(is_private: bool) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        first = await respond(client, PRIVATE if is_private else None)
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        await respond(client, input=[reference, {"role": "user", "content": "and?"}])
        await respond(client)
    assert [submission.local_only for submission in source.submissions] == [is_private, is_private, False]
