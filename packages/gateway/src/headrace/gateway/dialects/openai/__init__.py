"""OpenAI's chat completions and models, true to its published types; what we can't do yet is refused by name."""
