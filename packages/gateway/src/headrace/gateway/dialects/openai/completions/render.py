"""A whole completion, folded from the events that a stream would have carried."""

from msgspec import UNSET, UnsetType, structs

from headrace.gateway.answer import Answer, SequenceAnswer
from headrace.gateway.dialects.openai.chat.answers import PromptLogprob
from headrace.gateway.dialects.openai.chat.logprobs import to_prompt_logprobs
from headrace.gateway.dialects.openai.completions.answers import CompletionChoice, CompletionLogprobs, FinishReason
from headrace.gateway.dialects.openai.completions.logprobs import SequenceLogprobs, join_lists, to_prompt_lists
from headrace.gateway.dialects.openai.completions.wire import Shown
from headrace.gateway.dialects.openai.render import to_usage
from headrace.gateway.dialects.openai.wire import CompletionUsage
from headrace.gateway.headers import REQUEST_ID_PREFIX
from headrace.schema import events
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import PromptEchoed
from headrace.schema.request import ChatCompletionRequest


def to_completion_id(request_id: str) -> str:
    """Return the id that clients of OpenAI expect, made of ours."""
    return f"cmpl-{request_id.removeprefix(REQUEST_ID_PREFIX)}"


def to_finish_reason(reason: events.FinishReason, shown: Shown) -> FinishReason | None:
    """Return the finish reason, or None for an end that OpenAI has no word for: the answer is not whole then."""
    if reason == "cancelled" or reason == "error":
        return None
    if not shown.generated:
        return "length"
    return "stop" if reason == "tool_calls" else reason


def to_shown_usage(usage: events.Usage, shown: Shown) -> CompletionUsage:
    """Return the token counts, without tokens that nobody asked for."""
    return to_usage(usage if shown.generated else structs.replace(usage, output_tokens=0))


def to_echo(prompt: PromptEchoed, request: ChatCompletionRequest) -> str:
    """Return the text of a prompt: the client's own where it sent one, else what its token ids say."""
    sent = request.prompts[prompt.index]
    return sent if isinstance(sent, str) else prompt.text


def to_choices(answer: Answer, request: ChatCompletionRequest, shown: Shown) -> tuple[CompletionChoice, ...]:
    """Return the choices of a whole answer.

    Raises:
        HeadraceError: `stream_broken`: a sequence was given up, or the engine left a prompt out.
    """
    prompts = {prompt.index: prompt for prompt in answer.prompts}
    if request.output.prompt and len(prompts) < len(request.prompts):
        raise HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its prompts was told")
    n = request.generation_parameters.n
    return tuple(_to_choice(s, prompts.get(s.index // n), request, shown) for s in answer.sequences)


def _to_choice(
    sequence: SequenceAnswer, prompt: PromptEchoed | None, request: ChatCompletionRequest, shown: Shown
) -> CompletionChoice:
    finish_reason = to_finish_reason(sequence.finish_reason, shown)
    if finish_reason is None:
        raise broken_sequence()
    echo = to_echo(prompt, request) if prompt is not None and shown.echo else ""
    token_ids = (sequence.token_ids or ()) if shown.generated else ()
    return CompletionChoice(
        index=sequence.index,
        text=echo + sequence.text if shown.generated else echo,
        logprobs=_to_logprobs(sequence, prompt, echo, shown),
        finish_reason=finish_reason,
        token_ids=token_ids if shown.token_ids else UNSET,
        prompt_token_ids=prompt.token_ids if prompt is not None and shown.token_ids else UNSET,
        prompt_logprobs=_to_prompt_logprobs(prompt, shown),
    )


def _to_logprobs(
    sequence: SequenceAnswer, prompt: PromptEchoed | None, echo: str, shown: Shown
) -> CompletionLogprobs | None:
    if shown.logprobs is None:
        return None
    items = (sequence.logprobs or ()) if shown.generated else ()
    generated = SequenceLogprobs(start=len(echo), top=shown.logprobs).take(items)
    if prompt is None or not shown.echo:
        return generated
    return join_lists(to_prompt_lists(prompt, echo, top=shown.logprobs), generated)


def _to_prompt_logprobs(
    prompt: PromptEchoed | None, shown: Shown
) -> tuple[dict[str, PromptLogprob] | None, ...] | UnsetType:
    if prompt is None or shown.prompt_logprobs is None:
        return UNSET
    # An echo may have asked the engine for more.
    items = tuple(
        item and structs.replace(item, top=item.top[: shown.prompt_logprobs]) for item in prompt.logprobs or ()
    )
    return to_prompt_logprobs(structs.replace(prompt, logprobs=items))


def broken_sequence() -> HeadraceError:
    """Return the failure of an answer in which a sequence was given up."""
    return HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its choices did")
