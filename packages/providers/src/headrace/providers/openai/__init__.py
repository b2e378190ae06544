"""OpenAI's API, and all servers that speak it."""
