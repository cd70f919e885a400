"""Worked examples: exports in shapes that no built-in source has, and the finished source folders for them."""
