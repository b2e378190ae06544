"""Headrace's own API: the schema as it is, events with their types, nothing signalled by absence."""
