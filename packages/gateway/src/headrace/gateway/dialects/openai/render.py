"""Values of the schema in the words that OpenAI's APIs share."""

from headrace.gateway.dialects.openai.wire import CompletionTokensDetails, CompletionUsage, PromptTokensDetails
from headrace.schema import events


def to_usage(usage: events.Usage) -> CompletionUsage:
    """Return the token counts."""
    return CompletionUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(usage.cached_tokens),
        completion_tokens_details=CompletionTokensDetails(usage.reasoning_tokens),
    )
