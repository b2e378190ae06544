"""The accounts in the database: `StoreAdmin` changes them, and writes down who did."""

from headrace.accounts.store.store import StoreAdmin

__all__ = ["StoreAdmin"]
