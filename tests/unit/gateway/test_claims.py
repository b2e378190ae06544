"""By what a call with an `Idempotency-Key` is recognised, also by gateways of another version."""

import msgspec
from msgspec import structs

from headrace.gateway.retained.encoding import make_claim
from headrace.scheduler.base import Submission
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    "generation_parameters": {"max_tokens": 5, "seed": 1},
}


def submission_of(request: ChatCompletionRequest) -> Submission:
    return Submission(request_id="gen-1", request=request)


def test_fields_that_say_their_default_change_nothing() -> None:
    """Such as those that only a newer version knows: it finds what was kept before the update."""
    short = msgspec.convert(BODY, ChatCompletionRequest)
    said = structs.replace(
        short,
        output=OutputFlags(),
        generation_parameters=GenerationParameters(
            max_tokens=5, seed=1, temperature=GenerationParameters().temperature
        ),
    )
    assert make_claim("k", submission_of(short)) == make_claim("k", submission_of(said))


def test_what_is_asked_changes_it() -> None:
    request = msgspec.convert(BODY, ChatCompletionRequest)
    other = structs.replace(request, generation_parameters=GenerationParameters(max_tokens=5, seed=2))
    claims = {make_claim("k", submission_of(item)).sha256 for item in (request, other)}
    claims.add(make_claim("k", structs.replace(submission_of(request), local_only=True)).sha256)
    assert len(claims) == 3


def test_the_same_call_is_known_after_an_update() -> None:
    """If this one fails, a call that is repeated during a rolling update is refused as another one."""
    claim = make_claim("k", submission_of(msgspec.convert(BODY, ChatCompletionRequest)))
    assert claim.sha256 == "3f219e5713ade512be5fa50a816c5fe10d591f37a9c0554f8b9a7beb89e71cd4"
