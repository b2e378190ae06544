"""The usage ledger: one row for each generation, whatever happens to the process that ran it."""
