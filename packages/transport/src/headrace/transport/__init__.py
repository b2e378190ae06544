"""How tasks, chunks and control messages travel: one contract (`base`), one folder for each kind of broker.

The scheduler's side and the worker's side of a transport are two Protocols, so that neither room can reach for what is
the other's. The memory transport is product: `headrace serve` runs on it, with the same actor and the same bytes.
"""
