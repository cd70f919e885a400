"""Thin Dagster declarations, a module per layer; the work itself is in the packages they call."""
