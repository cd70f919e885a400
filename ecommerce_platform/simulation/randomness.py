"""Seeded randomness by topic and the few draws that numpy lacks; nothing about the shop itself.

Every topic has its own stream, so that a new topic never changes what the others drew.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

Rng = np.random.Generator


def stream(seed: int, topic: str) -> Rng:
    """The random stream of one topic under one seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(topic.encode())]))


def pick(rng: Rng, weights: np.ndarray | list[float] | tuple[float, ...], size: int) -> np.ndarray:
    """`size` indices drawn in proportion to `weights` (1-d, not negative, sum above 0); int64."""
    cumulative = np.cumsum(np.asarray(weights, dtype=float))
    drawn = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return np.minimum(drawn, len(cumulative) - 1)


def pick_rows(rng: Rng, tables: np.ndarray, row: np.ndarray) -> np.ndarray:
    """For each entry of `row` an index drawn by the weights of that row of `tables` (rows × choices)."""
    cumulative = np.cumsum(np.asarray(tables, dtype=float), axis=1)
    cumulative /= cumulative[:, -1:]
    width = tables.shape[1]
    # One sorted array for all rows: row r occupies (r, r + 1].
    flat = (cumulative + np.arange(len(tables))[:, None]).ravel()
    drawn = np.searchsorted(flat, rng.random(len(row)) + row, side="right") - row * width
    return np.clip(drawn, 0, width - 1)
