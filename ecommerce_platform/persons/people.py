"""How linked records become persons: groups of records, none of which holds more contradictions than links speak against.

Frames in, a frame out. Which records are linked and which contradict each other is in `identity.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

#: Two groups of records that more links join than this for each contradiction between them are one person's: among
#: many records of one person some are so ill-written that they contradict each other.
LINKS_PER_CONTRADICTION = 2


def build_persons(
    links: pl.DataFrame, keyed: pl.DataFrame, conflicts: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """The persons behind linked records: connected records, unless two of them contradict each other.

    Links are taken in the order of their weight; one that would bring records together that contradict each other is
    left out, unless more than `LINKS_PER_CONTRADICTION` times as many links speak for it. Records with one person_key
    belong together whatever else they say. The result depends on the rows given, not on their order, and on nothing
    outside a connected component.

    Args:
        links: customer_id_1, customer_id_2, match_weight, match_probability.
        keyed: customer_id and person_key of the linked records and of all that share a key with one of them;
            rows without a key change nothing.
        conflicts: of a frame of pairs (l, r), those that contradict each other.

    Returns:
        customer_id, person_id (the smallest customer_id of the person), rule (`linked`, or `person_key` for a
        record that only its key ties to the others), match_probability (of the record's surest link; 1 by key), for
        every person with a link, sorted by customer_id.
    """
    import polars as pl

    keyed = keyed.drop_nulls("person_key").unique()
    ids = pl.concat([links["customer_id_1"], links["customer_id_2"], keyed["customer_id"]]).unique().sort()
    index = pl.DataFrame({"customer_id": ids}).with_row_index("i")

    def numbers(customer_ids: pl.Series) -> np.ndarray:
        asked = customer_ids.rename("customer_id").to_frame()
        found = asked.join(index, on="customer_id", how="left", maintain_order="left")
        return found["i"].to_numpy().astype(np.int64)

    ends = np.stack([numbers(links["customer_id_1"]), numbers(links["customer_id_2"])], axis=1)
    keys = _stars(numbers(keyed["customer_id"]), keyed["person_key"], len(ids))
    person = _components(np.concatenate([ends, keys]), len(ids))
    pairs = _pairs_within(index.with_columns(pl.Series("component", person)))
    against = conflicts(pairs) if pairs.height else pairs
    if against.height:
        foes = np.stack([numbers(against["l"]), numbers(against["r"])], axis=1)
        person = _apart(person, ends, links["match_weight"].to_numpy(), keys, foes)

    best = _surest_links(person, ends, links["match_probability"].to_numpy())
    smallest = np.full(int(person.max()) + 1 if len(ids) else 0, len(ids))
    np.minimum.at(smallest, person, np.arange(len(ids)))
    linked = np.zeros(len(smallest), dtype=bool)
    linked[person[best >= 0]] = True
    shown = np.flatnonzero(linked[person])
    return pl.DataFrame(
        {
            "customer_id": ids.gather(shown),
            "person_id": ids.gather(smallest[person[shown]]),
            "rule": pl.Series(np.where(best[shown] >= 0, "linked", "person_key"), dtype=pl.String),
            "match_probability": np.where(best[shown] >= 0, best[shown], 1.0),
        }
    )


def _stars(records: np.ndarray, key: pl.Series, size: int) -> np.ndarray:
    """Records of one key as a star around its first, (record, first) each: they are one from the start."""
    spokes = key.rank("dense").to_numpy().astype(np.int64) - 1
    hub = np.full(int(spokes.max()) + 1 if len(spokes) else 0, size)
    np.minimum.at(hub, spokes, records)
    return np.stack([records, hub[spokes]], axis=1)


def _components(edges: np.ndarray, size: int) -> np.ndarray:
    """The connected component of each of `size` records."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _pairs_within(index: pl.DataFrame) -> pl.DataFrame:
    """All pairs (l, r) of records of one component that has more than the two that were compared."""
    import polars as pl

    members = index.filter(pl.len().over("component") > 2)
    return (
        members.join(members, on="component", suffix="_r")
        .filter(pl.col("i") < pl.col("i_r"))
        .select(pl.col("customer_id").alias("l"), pl.col("customer_id_r").alias("r"))
    )


def _surest_links(person: np.ndarray, ends: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The probability of each record's surest link within its person; -1 without any."""
    best = np.full(len(person), -1.0)
    inside = person[ends[:, 0]] == person[ends[:, 1]]
    for end in ends.T:
        np.maximum.at(best, end[inside], probability[inside])
    return best


def _apart(
    component: np.ndarray, links: np.ndarray, weight: np.ndarray, keys: np.ndarray, against: np.ndarray
) -> np.ndarray:
    """Person number of each record: components that hold a contradiction are put together anew, link by link."""
    person = component.copy()
    in_trouble = np.isin(component, np.unique(component[against[:, 0]]))
    records = np.flatnonzero(in_trouble)
    groups = _Groups(records.tolist())
    for a, b in keys[in_trouble[keys[:, 0]]].tolist():
        groups.join(a, b)
    chosen = np.flatnonzero(in_trouble[links[:, 0]])
    order = np.lexsort((links[chosen, 1], links[chosen, 0], -weight[chosen]))
    friends, enemies = _beside(links[chosen]), _beside(against)
    waiting, joined = links[chosen[order]].tolist(), True
    # A group that has grown may have enough links for one that was left out before.
    while joined:
        before = len(waiting)
        waiting = [(a, b) for a, b in waiting if not groups.join_if_one(a, b, friends, enemies)]
        joined = len(waiting) < before
    # Numbers that no untroubled component has.
    person[records] = len(component) + np.array([groups.of[int(r)] for r in records])
    return person


class _Groups:
    """Records put together to persons, one by one at first."""

    def __init__(self, records: Sequence[int]) -> None:
        self.of = {r: r for r in records}
        self.members = {r: [r] for r in records}

    def join(self, a: int, b: int) -> None:
        """Makes the groups of two records one."""
        small, large = sorted((self.of[a], self.of[b]), key=lambda g: (len(self.members[g]), g))
        if small != large:
            for record in self.members[small]:
                self.of[record] = large
            self.members[large] += self.members.pop(small)

    def join_if_one(self, a: int, b: int, friends: Mapping[int, set[int]], enemies: Mapping[int, set[int]]) -> bool:
        """Joins the groups of two linked records if enough speaks for it; whether they are one now."""
        if self.of[a] == self.of[b]:
            return True
        one, other = sorted((self.members[self.of[a]], self.members[self.of[b]]), key=len)
        theirs = set(other)
        for_it, against_it = (sum(len(of.get(r, _NOBODY) & theirs) for r in one) for of in (friends, enemies))
        if for_it <= LINKS_PER_CONTRADICTION * against_it:
            return False
        self.join(a, b)
        return True


def _beside(pairs: np.ndarray) -> dict[int, set[int]]:
    """Each record's others in pairs of records."""
    found: dict[int, set[int]] = {}
    for a, b in pairs.tolist():
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return found


_NOBODY: frozenset[int] = frozenset()
