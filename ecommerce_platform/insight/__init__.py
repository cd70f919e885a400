"""Findings worked out from gold: changes between any periods, what goes with what, the business questions. They take a
connection or give SQL; the only table that is written here is the one of correlations."""
