"""The admin API: tenants, keys, and who changed them, for whoever has the administrators' key."""
