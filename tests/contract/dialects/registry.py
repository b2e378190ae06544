"""Every dialect that the suite holds to its claims."""

from tests.contract.dialects.anthropic import AnthropicAdapter
from tests.contract.dialects.base import DialectAdapter
from tests.contract.dialects.native import NativeAdapter
from tests.contract.dialects.openai_chat import OpenAIChatAdapter
from tests.contract.dialects.openai_completions import OpenAICompletionsAdapter
from tests.contract.dialects.openai_responses import OpenAIResponsesAdapter

ADAPTERS: tuple[DialectAdapter, ...] = (
    NativeAdapter(),
    OpenAIChatAdapter(),
    OpenAICompletionsAdapter(),
    OpenAIResponsesAdapter(),
    AnthropicAdapter(),
)
