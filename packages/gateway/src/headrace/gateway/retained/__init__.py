"""Generations that outlive their HTTP call, and even their gateway: one process owns each, a store keeps it."""
