"""Responses: OpenAI's API of items, with a memory of what was answered."""
