"""Which customer records are one person."""
