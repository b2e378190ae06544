"""Requests while things break: `just chaos`."""
