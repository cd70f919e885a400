"""Which products stand in baskets together more often than chance puts them there: counts of sets, and rules made from them.

Counting, measures, tests and pruning, on arrays of integers. Which baskets, which names, and whether rules recommend better
than best sellers do is in `baskets.py`.

Everything is made of integer counts, and thresholds are compared as fractions: a rule that sits on a threshold is in, where
floating point would put 16/20 below 0.8.

Pairs are counted in DuckDB over all baskets. Longer sets by mlxtend's fpgrowth, over what alone can hold one: products that
are in two frequent pairs of the same basket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: A set of products by their numbers, ascending.
Products = tuple[int, ...]

#: Rules say at most "who buys these three also buys that one".
MAX_PRODUCTS = 4
#: What fpgrowth may take. A node of its tree and a set that it finds are Python objects of about so many bytes.
MEMORY_BYTES = 512_000_000
_NODE_BYTES, _SET_BYTES = 700, 400
#: By how much the minimum is raised at a time where the budget does not hold it.
_RAISE = 1.25
#: Memory of the DuckDB that counts pairs, beside that of the warehouse; it writes to disk beyond.
_DUCKDB_MEMORY = "600MB"


@dataclass(frozen=True)
class Baskets:
    """Baskets as pairs of numbers; a product counts once in a basket.

    Attributes:
        basket: n numbers from 0, ascending.
        product: n numbers from 0; no pair (basket, product) twice.
        baskets: how many baskets there are, those without any of these products too.
        products: how many products there are.
    """

    basket: np.ndarray
    product: np.ndarray
    baskets: int
    products: int

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]], products: int) -> Baskets:
        """From a list of product numbers per basket."""
        pairs = [(i, product) for i, held in enumerate(lists) for product in sorted(set(held))]
        basket, product = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return cls(basket, product, len(lists), products)


@dataclass(frozen=True)
class Counts:
    """How many baskets hold a set of products, for single products and all sets that enough baskets hold.

    Attributes:
        baskets: all of them.
        single: by product number.
        pairs: n × 2 product numbers, the smaller one first, ascending.
        together: n counts of these pairs.
        longer: sets of three and more.
        min_baskets: how many baskets a pair has to be in.
        min_longer: how many a longer set has to be in: more where the memory budget raised it.
    """

    baskets: int
    single: np.ndarray
    pairs: np.ndarray
    together: np.ndarray
    longer: Mapping[Products, int]
    min_baskets: int
    min_longer: int


def count_sets(baskets: Baskets, min_baskets: int, *, memory_bytes: int = MEMORY_BYTES) -> Counts:
    """Counts every set of up to `MAX_PRODUCTS` products that at least `min_baskets` baskets hold.

    Args:
        baskets: what is counted.
        min_baskets: at least 1; longer sets may get a higher one (`Counts.min_longer`).
        memory_bytes: what counting longer sets may take, by estimate.
    """
    pairs, together = count_pairs(baskets, min_baskets)
    longer, min_longer = _longer_sets(baskets, pairs, together, min_baskets, memory_bytes)
    single = np.bincount(baskets.product, minlength=baskets.products)
    return Counts(baskets.baskets, single, pairs, together, longer, min_baskets, min_longer)


def count_pairs(baskets: Baskets, min_baskets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of products that at least so many baskets hold (n × 2, ascending), and how many hold each (n).

    The figures of `gold.product_affinity`, for any baskets: those before a day, say.
    """
    counted = _queried(
        """
        with frequent as (
            select basket, product from held
            qualify count(*) over (partition by product) >= $least
        )
        select a.product as first, b.product as second, count(*) as together
        from frequent as a inner join frequent as b on a.basket = b.basket and a.product < b.product
        group by a.product, b.product
        having count(*) >= $least
        order by a.product, b.product
        """,
        {"held": {"basket": baskets.basket, "product": baskets.product}},
        least=min_baskets,
    )
    return np.column_stack([counted["first"], counted["second"]]), counted["together"]


def _queried(sql: str, tables: Mapping[str, Mapping[str, np.ndarray]], **said: int) -> dict[str, np.ndarray]:
    """The columns that a SELECT over tables of whole numbers gives."""
    from tempfile import TemporaryDirectory

    import duckdb
    import pyarrow as pa

    with (
        TemporaryDirectory(prefix="baskets-") as spill,
        duckdb.connect(config={"memory_limit": _DUCKDB_MEMORY, "temp_directory": spill}) as con,
    ):
        for name, columns in tables.items():
            con.register(name, pa.table(dict(columns)))
        found = con.execute(sql, said).fetchnumpy()
    return {name: np.asarray(column, dtype=np.int64) for name, column in found.items()}


def _longer_sets(
    baskets: Baskets, pairs: np.ndarray, together: np.ndarray, min_baskets: int, memory_bytes: int
) -> tuple[dict[Products, int], int]:
    """Sets of three and more with their counts, and the minimum that the memory budget let them be counted with."""
    minima = [min_baskets]
    while minima[-1] <= together.max(initial=0):
        minima.append(max(minima[-1] + 1, int(minima[-1] * _RAISE)))
    fitting: dict[int, Baskets] = {}

    def fits(least: int) -> bool:
        kept = _that_can_hold_three(baskets, pairs[together >= least])
        if not len(kept.basket) or _estimated_bytes(kept, least) <= memory_bytes:
            fitting[least] = kept
        return least in fitting

    # What a higher minimum leaves is part of what a lower one leaves, so it takes less.
    least = min_baskets if fits(min_baskets) else minima[bisect_left(minima, True, lo=1, key=fits)]
    return _fpgrowth(fitting[least], least), least


def _that_can_hold_three(baskets: Baskets, pairs: np.ndarray) -> Baskets:
    """The rows that a frequent set of three can lie in: the product is in two frequent pairs of its own basket."""
    kept = _queried(
        """
        -- Materialized: joined with the pairs first, each product would meet all others it was ever bought with.
        with beside as materialized (
            select a.basket, a.product as first, b.product as second
            from held as a
            inner join held as b on a.basket = b.basket and a.product < b.product
        ),

        together as (
            select basket, first, second
            from beside
            semi join pairs using (first, second)
        )
        select basket, product
        from (select basket, first as product from together union all select basket, second as product from together)
        group by basket, product
        having count(*) >= 2
        order by basket, product
        """,
        {
            "held": {"basket": baskets.basket, "product": baskets.product},
            "pairs": {"first": pairs[:, 0], "second": pairs[:, 1]},
        },
    )
    return Baskets(kept["basket"], kept["product"], baskets.baskets, baskets.products)


def _estimated_bytes(kept: Baskets, least: int) -> int:
    """An upper bound of what fpgrowth takes: the table, its tree (a node a row at most), and the sets that it can find.

    A frequent set uses up `least` of the sets that baskets hold, so there are no more than the quotient.
    """
    sizes = np.unique(kept.basket, return_counts=True)[1]
    number, times = np.unique(sizes, return_counts=True)
    held = sum(
        int(t) * comb(int(n), k) for n, t in zip(number, times, strict=True) for k in range(1, MAX_PRODUCTS + 1)
    )  # fmt: skip
    table = len(sizes) * len(np.unique(kept.product))
    return table + len(kept.basket) * _NODE_BYTES + held // least * _SET_BYTES


def one_hot(baskets: Baskets) -> pd.DataFrame:
    """The baskets that hold anything as mlxtend takes them: a row each, a Boolean column per product that occurs."""
    import pandas as pd

    names, column = np.unique(baskets.product, return_inverse=True)
    numbers, row = np.unique(baskets.basket, return_inverse=True)
    table = np.zeros((len(numbers), len(names)), dtype=bool)
    table[row, column] = True
    return pd.DataFrame(table, columns=names)


def _fpgrowth(kept: Baskets, least: int) -> dict[Products, int]:
    if len(np.unique(kept.basket)) < least:
        return {}
    from mlxtend.frequent_patterns import fpgrowth

    table = one_hot(kept)
    # Half a basket below the threshold: mlxtend rounds shares up, and its k/n may come out above k.
    found = fpgrowth(table, min_support=(least - 0.5) / len(table), use_colnames=True, max_len=MAX_PRODUCTS)
    counts = np.rint(found["support"].to_numpy() * len(table)).astype(np.int64)
    sets = ((tuple(sorted(map(int, items))), int(n)) for items, n in zip(found["itemsets"], counts, strict=True))
    return {items: n for items, n in sorted(sets) if len(items) >= 3}


# -- rules -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """Who buys all of `antecedent` also buys `consequent`; all rates are made from the four counts.

    Attributes:
        antecedent: product numbers, ascending.
        consequent: another product.
        together: baskets that hold all.
        with_antecedent: baskets that hold the antecedent.
        with_consequent: baskets that hold the consequent.
        baskets: all baskets.
        p_value: of chance putting this many together, given every simpler rule (`rules`).
        q_value: the share of such rules that are chance, if this one and all with a smaller p are taken.
    """

    antecedent: Products
    consequent: int
    together: int
    with_antecedent: int
    with_consequent: int
    baskets: int
    p_value: float
    q_value: float

    @property
    def support(self) -> float:
        """Share of baskets that hold all."""
        return self.together / self.baskets

    @property
    def confidence(self) -> float:
        """Share of the antecedent's baskets that hold the consequent."""
        return self.together / self.with_antecedent

    @property
    def lift(self) -> float:
        """How many times as often together as if neither knew of the other."""
        return self.together * self.baskets / (self.with_antecedent * self.with_consequent)

    @property
    def conviction(self) -> float | None:
        """How many times as often the rule would be wrong by chance (Brin and others 1997); None where it never is."""
        wrong = self.with_antecedent - self.together
        return (self.baskets - self.with_consequent) * self.with_antecedent / (self.baskets * wrong) if wrong else None


@dataclass(frozen=True)
class Limits:
    """What a rule has to reach; a rule exactly on a limit is in.

    Attributes:
        min_confidence: least confidence.
        min_lift: least lift.
        max_q: largest share of chance findings (Benjamini and Hochberg 1995).
    """

    min_confidence: Fraction = Fraction(1, 50)
    min_lift: Fraction = Fraction(1)
    max_q: float = 0.05


def rules(counts: Counts, limits: Limits) -> list[Rule]:
    """The rules that counts bear out, by falling confidence.

    A rule is redundant, and left out, where one with fewer products on the left says the consequent at least as surely; the
    simplest of all says it of every basket. It is tested against chance by Fisher's exact test (one-sided, hypergeometric):
    of the baskets that hold all of the antecedent but one product, does that one come with the consequent more often? The
    largest p over the products left out counts (Webb 2007, "productive rules"). For one product on the left this is the
    test of independence. p-values are corrected by Benjamini and Hochberg, each number of products for itself, among all
    rules that could be made of products that are frequent by themselves, counted or not (Webb 2008, "layered" values).

    Args:
        counts: of sets.
        limits: what rules have to reach.
    """
    found: list[Rule] = []
    for candidates in (_pair_candidates(counts), *_longer_candidates(counts)):
        q = false_discovery_rate(candidates.p_value, candidates.possible)
        found += candidates.rules(counts.baskets, q, (q <= limits.max_q) & candidates.reach(counts.baskets, limits))
    return sorted(found, key=lambda r: (-Fraction(r.together, r.with_antecedent), r.antecedent, r.consequent))


@dataclass(frozen=True)
class _Candidates:
    """Rules of one number of products before any threshold; n of each, but `possible`: how many could be made."""

    antecedent: np.ndarray
    consequent: np.ndarray
    together: np.ndarray
    with_antecedent: np.ndarray
    with_consequent: np.ndarray
    p_value: np.ndarray
    possible: int

    def reach(self, baskets: int, limits: Limits) -> np.ndarray:
        """Which are no less than the limits, and surer than the consequent in any basket; exactly, in whole numbers."""
        confidence, lift = limits.min_confidence, limits.min_lift
        expected = self.with_antecedent * self.with_consequent
        sure = self.together * confidence.denominator >= confidence.numerator * self.with_antecedent
        lifted = self.together * baskets * lift.denominator >= lift.numerator * expected
        reached: np.ndarray = sure & lifted & (self.together * baskets > expected)
        return reached

    def rules(self, baskets: int, q: np.ndarray, kept: np.ndarray) -> list[Rule]:
        """Those that are kept."""
        return [
            Rule(
                tuple(map(int, self.antecedent[i])),
                int(self.consequent[i]),
                int(self.together[i]),
                int(self.with_antecedent[i]),
                int(self.with_consequent[i]),
                baskets,
                float(self.p_value[i]),
                float(q[i]),
            )
            for i in np.flatnonzero(kept)
        ]


def _pair_candidates(counts: Counts) -> _Candidates:
    a, b = counts.pairs.T
    with_a, with_b = counts.single[a], counts.single[b]
    p = chance(counts.together, with_a, with_b, np.full(len(a), counts.baskets))
    frequent = int((counts.single >= counts.min_baskets).sum())
    # Both directions are one test, and stand for two of the rules that could be made.
    return _Candidates(
        np.concatenate([a, b])[:, None],
        np.concatenate([b, a]),
        np.tile(counts.together, 2),
        np.concatenate([with_a, with_b]),
        np.concatenate([with_b, with_a]),
        np.tile(p, 2),
        2 * comb(frequent, 2),
    )


def _longer_candidates(counts: Counts) -> list[_Candidates]:
    known = _lookup(counts)
    frequent = int((counts.single >= counts.min_baskets).sum())
    found = []
    for size in sorted({len(items) for items in counts.longer}):
        rows: list[tuple[int, ...]] = []
        tests: list[tuple[int, int, int, int]] = []
        for items in (items for items in counts.longer if len(items) == size):
            for consequent in items:
                antecedent = tuple(i for i in items if i != consequent)
                if not _is_redundant(antecedent, consequent, known):
                    rows.append((*antecedent, consequent, known[items], known[antecedent], known[(consequent,)]))
                    tests += _beside_simpler(antecedent, consequent, known)
        table = np.array(rows, dtype=np.int64).reshape(len(rows), size + 3)
        p = chance(*np.array(tests, dtype=np.int64).reshape(-1, 4).T).reshape(len(rows), size - 1).max(1, initial=0)
        left, right, together, with_left, with_right = table[:, : size - 1], *table[:, size - 1 :].T
        found.append(_Candidates(left, right, together, with_left, with_right, p, size * comb(frequent, size)))
    return found


def _lookup(counts: Counts) -> dict[Products, int]:
    """Baskets by set; the empty set is in all of them."""
    known: dict[Products, int] = {(): counts.baskets, **counts.longer}
    known.update(((i,), int(n)) for i, n in enumerate(counts.single))
    known.update(((int(a), int(b)), int(n)) for (a, b), n in zip(counts.pairs, counts.together, strict=True))
    return known


def _is_redundant(antecedent: Products, consequent: int, known: Mapping[Products, int]) -> bool:
    """Whether a rule with fewer products on the left is at least as sure."""
    together, alone = known[_with(antecedent, consequent)], known[antecedent]
    simpler = (part for size in range(len(antecedent)) for part in combinations(antecedent, size))
    return any(known[_with(part, consequent)] * alone >= together * known[part] for part in simpler)


def _beside_simpler(
    antecedent: Products, consequent: int, known: Mapping[Products, int]
) -> list[tuple[int, int, int, int]]:
    """What `chance` takes to test a rule beside each with one product fewer on the left."""
    together, drawn = known[_with(antecedent, consequent)], known[antecedent]
    simpler = combinations(antecedent, len(antecedent) - 1)
    return [(together, drawn, known[_with(part, consequent)], known[part]) for part in simpler]


def _with(products: Products, another: int) -> Products:
    return tuple(sorted((*products, another)))


def chance(together: np.ndarray, with_one: np.ndarray, with_other: np.ndarray, baskets: np.ndarray) -> np.ndarray:
    """How likely chance alone puts at least so many together: Fisher's exact test, one-sided.

    Args:
        together: n numbers of baskets with both.
        with_one, with_other: n numbers of baskets with either.
        baskets: n numbers of baskets.
    """
    together, one, other, of = (np.asarray(v, dtype=np.float64) for v in (together, with_one, with_other, baskets))
    often = together * of > one * other
    p = np.empty(len(together))
    p[often] = _tail(together[often], one[often], other[often], of[often], 1)
    rare = ~often
    # Fewer than chance gives: the other tail is the short one.
    p[rare] = 1 - _tail(together[rare] - 1, one[rare], other[rare], of[rare], -1)
    return np.clip(p, 0.0, 1.0)


def _tail(k: np.ndarray, one: np.ndarray, other: np.ndarray, of: np.ndarray, step: int) -> np.ndarray:
    """The hypergeometric distribution from k away from its mean: upwards (step 1), or downwards (−1).

    The first term by logarithms of factorials, the others by their ratio to the one before, until they add nothing: scipy's
    own takes a thousand times as long among a hundred thousand baskets.
    """
    from scipy.special import gammaln

    def log_choose(n: np.ndarray, m: np.ndarray) -> np.ndarray:
        found: np.ndarray = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
        return found

    inside = (k >= np.maximum(0, one + other - of)) & (k <= np.minimum(one, other))
    total, term, at = inside.astype(np.float64), inside.astype(np.float64), k.copy()
    open_ = np.flatnonzero(inside)
    while len(open_):
        x, a, b, n = at[open_], one[open_], other[open_], of[open_]
        if step > 0:
            term[open_] *= (a - x) * (b - x) / ((x + 1) * (n - a - b + x + 1))
        else:
            term[open_] *= x * (n - a - b + x) / ((a - x + 1) * (b - x + 1))
        total[open_] += term[open_]
        at[open_] += step
        open_ = open_[term[open_] > 1e-17 * total[open_]]
    held = np.where(inside, k, 0.0)
    first = log_choose(other, held) + log_choose(of - other, np.where(inside, one - k, 0.0)) - log_choose(of, one)
    return np.where(inside, np.exp(first) * total, 0.0)


def false_discovery_rate(p_values: np.ndarray, possible: int) -> np.ndarray:
    """q-values of Benjamini and Hochberg (1995) among `possible` tests; those that are not given count as p = 1.

    Args:
        p_values: n p-values.
        possible: at least n.
    """
    order = np.argsort(p_values, kind="stable")
    raised = p_values[order] * possible / np.arange(1, len(order) + 1)
    q = np.empty(len(order))
    q[order] = np.minimum.accumulate(raised[::-1])[::-1]
    return np.minimum(q, 1.0)


def count_of(sets: Sequence[Products], baskets: Baskets) -> np.ndarray:
    """How many baskets hold each of some sets of two and more products: for rules that were found in other baskets."""
    found = np.zeros(len(sets), dtype=np.int64)
    pairs, together = count_pairs(baskets)
    keys = pairs[:, 0] * baskets.products + pairs[:, 1]
    of_two = np.array([i for i, items in enumerate(sets) if len(items) == 2], dtype=np.int64)
    if len(keys) and len(of_two):
        asked = np.array([sets[i][0] * baskets.products + sets[i][1] for i in of_two])
        place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        found[of_two] = np.where(keys[place] == asked, together[place], 0)
    order = np.argsort(baskets.product, kind="stable")
    starts = np.searchsorted(baskets.product[order], np.arange(baskets.products + 1))
    for i, items in enumerate(sets):
        if len(items) > 2:
            held = sorted((baskets.basket[order[starts[p] : starts[p + 1]]] for p in items), key=len)
            shared = held[0]
            for other in held[1:]:
                shared = shared[np.isin(shared, other, assume_unique=True)]
            found[i] = len(shared)
    return found
