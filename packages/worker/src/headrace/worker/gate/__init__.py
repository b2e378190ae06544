"""The gate before an engine: who has one of its places, who waits for one, and who gives it up for another.

Online generations come first. Those of the batch lane take what is left over, and are paused where an online one needs
a place; `decision` says who, as a function of values, and `gate` keeps the places.
"""

from headrace.worker.gate.gate import EngineGate, Place

__all__ = ["EngineGate", "Place"]
