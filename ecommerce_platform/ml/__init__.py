"""Models: pure functions from data frames to fitted objects, scores and evaluations.

One module per question (`segments.py`, `identity.py`), beside the little they share: purchase histories (`rfm.py`),
comparing with a baseline (`evaluation.py`), keeping what was fitted (`artifacts.py`), scoring a user's file
(`predict.py`). Nothing here knows Dagster or the warehouse; the assets that call it are in `assets/`.
"""
