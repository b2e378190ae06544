"""How much a caller may use: reserved in one step before the work begins, settled by what was used when it ends."""
