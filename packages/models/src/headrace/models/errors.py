"""The one error of this room. Whoever meets it is a person with a setting to change, so its message says what to do."""

from __future__ import annotations


class WeightsError(Exception):
    """Weights could not be found, fetched or converted; the message says why and what to do about it."""
