"""From a request's messages to what a chat template takes.

Functions of values. The template itself, and the tokenizer, are vLLM's.
"""
