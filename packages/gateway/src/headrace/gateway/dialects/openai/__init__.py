"""OpenAI's API, true to its published types, with the fields that vLLM's users add; the rest is refused by name."""
