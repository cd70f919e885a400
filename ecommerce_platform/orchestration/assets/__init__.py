"""Thin Dagster declarations, a module per kind of table; the work itself is in the packages they call."""
