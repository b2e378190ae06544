"""Completions: OpenAI's older API, in which a prompt is a text or token ids, and no conversation."""
