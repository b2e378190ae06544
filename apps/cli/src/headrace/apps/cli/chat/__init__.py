"""`headrace chat`: talk to a model from the terminal, through the native API like any other client."""

from headrace.apps.cli.chat.options import ChatOptions
from headrace.apps.cli.chat.run import run_chat

__all__ = ["ChatOptions", "run_chat"]
