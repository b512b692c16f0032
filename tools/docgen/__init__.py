"""Writes the parts of `docs/reference/` that tables in the code already say."""
