"""The usage ledger over HTTP: to each tenant its own, to administrators all."""
