"""Anthropic's API: messages, token counts, and models as its clients list them."""
