"""From a served name to who answers: our own workers, an outside provider, a weighted set, fallbacks.

Decisions are functions of values in `table`, `choose`, `decide`, `breaker` and `backoff`, with time and chance passed
in. `source` and `run` are the shell around them. What a request may not do, for privacy above all, is decided before
anything is chosen, and what it began with stays the same while the settings change.
"""
