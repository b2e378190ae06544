"""`headrace usage`: what was used, by whom, and what it cost."""
