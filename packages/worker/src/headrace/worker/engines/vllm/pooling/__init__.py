"""Embeddings on vLLM: a model that turns each prompt into one vector, in a worker of its own."""
