"""How a model treats kinds of people: any measure of it by region, by age group, or by what else is known of them.

Only the split is here; what is measured is up to the models. It shows differences and explains none: groups differ in
what they buy, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.ml.cards import Exhibit

if TYPE_CHECKING:
    import polars as pl

#: Groups of fewer persons are put together: a figure of a handful tells of the handful.
LEAST = 50


def by_group(
    groups: pl.DataFrame, measures: Mapping[str, Callable[[np.ndarray], float | None]], *, least: int = LEAST
) -> list[Exhibit]:
    """A table per attribute with each measure by its values; attributes that nobody has are left out.

    Args:
        groups: a row per person in the order that the measures know, a column per attribute (text, null: not known).
        measures: name → from the places (row numbers, ascending) of a group's persons to its figure; None for no figure.
        least: smallest group that is shown by itself.
    """
    found = []
    for name in groups.columns:
        values = groups[name]
        if values.null_count() == len(values):
            continue
        texts = np.array([v if v is not None else "not known" for v in values.to_list()], dtype=object)
        sizes = {v: int((texts == v).sum()) for v in sorted(set(texts))}
        small = {v for v, n in sizes.items() if n < least}
        if len(small) > 1:
            texts = np.array(["others" if v in small else v for v in texts], dtype=object)
        rows = []
        for value in sorted(set(texts)):
            places = np.flatnonzero(texts == value)
            rows.append((value, len(places), *(measure(places) for measure in measures.values())))
        found.append(Exhibit(f"By {name.replace('_', ' ')}", header=(name, "persons", *measures), rows=rows))
    return found
