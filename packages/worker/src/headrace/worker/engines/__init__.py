"""Engines: what turns a prompt into tokens. `base` is the contract; there is one module or folder for each kind."""
