"""Who may use Headrace, how much of it, and what it cost them."""
