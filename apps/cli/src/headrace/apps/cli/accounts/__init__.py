"""`headrace tenants`, `headrace keys` and `headrace accounts`: through the admin API, or on the database itself."""
