"""How the weights of `identity.py` are learnt: from a shop's own records without knowing who is who, or from pairs whose
truth is known (the package's own parameters, on generated records).

Three kinds of pairs: of one person, of two persons of one household, of strangers. Without the truth, expectation
maximisation shares the pairs of the blocks among the three, starting from the package's parameters, which also count
as some pairs seen beforehand: what the records never show (no shop has all columns) stays as it was there. Strangers
of the blocks agree in more than strangers do, so they are learnt for this alone; u comes from random pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts
from ecommerce_platform.persons import identity
from ecommerce_platform.persons.identity import Parameters, TrainedIdentity
from ecommerce_platform.persons.likeness import COMPARISONS, levels_select

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

MIN_RECORDS = 1000
#: Pairs of random records that u is estimated from.
_SAMPLED_PAIRS = 1_000_000
#: As how many pairs the starting parameters count in each comparison: of persons and households; of strangers.
_BEFOREHAND, _BEFOREHAND_STRANGERS = 200.0, 20_000.0
_ROUNDS = 30
#: Comparisons of single values that so few share that random pairs do not show it: their u is counted exactly.
_COUNTED = ("birth_date", "email", "phone", "personal_number")
#: No value is surer to be one person's: numbers are mistyped, mixed up and made up.
_RAREST = 1e-7
_PERSON, _HOUSEHOLD, _STRANGERS = 0, 1, 2

#: Shares per level of each comparison: an array of (levels, kinds of pairs).
_Shares = dict[str, np.ndarray]


def train_identity(
    con: DuckDBPyConnection, records: pl.DataFrame, *, seed: int, trained_at: datetime | None = None
) -> TrainedIdentity:
    """Link parameters learnt from records without knowing who is who; the same records give the same parameters.

    Args:
        con: a DuckDB connection to work in.
        records: columns of `identity_records.sql`, one row per customer_id.
        seed: of the random pairs.
        trained_at: the moment for the version; now when not given.

    Raises:
        InputError: there are too few records, or no two of them are alike.
    """
    if records.height < MIN_RECORDS:
        raise InputError(
            f"{records.height:,} customer records are too few to learn from (at least {MIN_RECORDS:,})",
            fix="leave it to the parameters that come with the package, or load more customers",
        )
    records = records.sort("customer_id")
    identity.find_pairs(con, records)
    blocked = _patterns(con, "pairs")
    if not blocked.height:
        raise InputError(
            "no two customer records have a name, an address or a number in common: there is nothing to learn from",
            fix="leave it to the parameters that come with the package",
        )
    start = identity.default_identity().parameters
    shares, found, matched = _share_out(blocked, start)
    strangers = _patterns(con, _random_pairs(con, records, seed))
    shares = _with_strangers(con, shares, strangers, _table(start), matched)
    every = records.height * (records.height - 1) / 2
    for name in ("records", "keys", "blocks", "pairs", "random_pairs"):
        con.execute(f"drop table if exists {name}")
    return _trained(shares, found / every, records.height, seed, trained_at)


def learn_from_truth(
    con: DuckDBPyConnection, records: pl.DataFrame, truth: pl.DataFrame, *, seed: int, trained_at: datetime
) -> TrainedIdentity:
    """Link parameters counted from records whose persons and households are known.

    Args:
        con: a DuckDB connection to work in.
        records: columns of `identity_records.sql`, one row per customer_id.
        truth: customer_id, person and household of each.
        seed: of the random pairs.
        trained_at: the moment for the version.
    """
    con.register("_records_in", records.sort("customer_id").to_arrow())
    con.execute("create or replace table records as select * from _records_in")
    con.register("_truth", truth.select("customer_id", "person", "household").to_arrow())
    pair = "select a.customer_id as l, b.customer_id as r from _truth as a inner join _truth as b on"
    one = f"({pair} a.person = b.person and a.customer_id < b.customer_id)"
    other = f"({pair} a.household = b.household and a.person <> b.person and a.customer_id < b.customer_id)"
    kinds = [_patterns(con, relation) for relation in (one, other, _random_pairs(con, records, seed))]
    nothing = {c.name: np.full((len(c.levels), 3), 1 / len(c.levels)) for c in COMPARISONS}
    seen = {
        c.name: np.stack([_counts(kind, c.name, len(c.levels), kind["pairs"].to_numpy()) for kind in kinds], axis=1)
        for c in COMPARISONS
    }
    shares = {name: _normal(seen[name] + 2.0 * nothing[name]) for name in seen}
    matched = {name: float(counts[0, :_STRANGERS].sum()) for name, counts in seen.items()}
    shares = _with_strangers(con, shares, kinds[_STRANGERS], nothing, matched, u_beforehand=1.0)
    every = records.height * (records.height - 1) / 2
    found = np.array([kind["pairs"].sum() for kind in kinds[:2]])
    return _trained(shares, found / every, records.height, seed, trained_at)


def _patterns(con: DuckDBPyConnection, pairs: str) -> pl.DataFrame:
    """How many of the pairs stand at which levels: a column per comparison, null where it says nothing, and `pairs`."""
    names = ", ".join(c.name for c in COMPARISONS)
    return con.sql(
        f"select {names}, cast(count(*) as double) as pairs from ({levels_select(pairs, 'records')}) as levels "
        "group by all order by all"
    ).pl()


def _random_pairs(con: DuckDBPyConnection, records: pl.DataFrame, seed: int) -> str:
    """The table of random pairs of records, made here."""
    import polars as pl

    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, records.height, (2, _SAMPLED_PAIRS))
    left, right = drawn[:, drawn[0] != drawn[1]]
    ids = records["customer_id"].sort()
    con.register("_drawn", pl.DataFrame({"l": ids.gather(left), "r": ids.gather(right)}).to_arrow())
    con.execute("create or replace table random_pairs as select * from _drawn")
    con.unregister("_drawn")
    return "random_pairs"


def _share_out(blocked: pl.DataFrame, start: Parameters) -> tuple[_Shares, np.ndarray, dict[str, float]]:
    """m and h by expectation maximisation over the pairs of the blocks; how many pairs are of either kind, and how many
    of both have equal values.
    """
    pairs = blocked["pairs"].to_numpy()
    beforehand = _table(start)
    shares = {name: table.copy() for name, table in beforehand.items()}
    prior = np.array([start.settings["prior"]["person"], start.settings["prior"]["household"], 1.0])
    for _ in range(_ROUNDS):
        chance = np.log(prior)[None, :] + sum(_logarithms(blocked, name, table) for name, table in shares.items())
        chance = np.exp(chance - chance.max(axis=1, keepdims=True))
        belongs = chance / chance.sum(axis=1, keepdims=True) * pairs[:, None]
        prior = (belongs.sum(axis=0) + 1) / (pairs.sum() + 3)
        for name, table in shares.items():
            seen = np.stack([_counts(blocked, name, len(table), belongs[:, k]) for k in range(3)], axis=1)
            shares[name] = _normal(seen + beforehand[name] * np.array([_BEFOREHAND, _BEFOREHAND, 1.0]))
    either = belongs[:, :_STRANGERS].sum(axis=1)
    matched = {name: float(_counts(blocked, name, len(table), either)[0]) for name, table in shares.items()}
    return shares, belongs.sum(axis=0)[:2], matched


def _logarithms(patterns: pl.DataFrame, name: str, table: np.ndarray) -> np.ndarray:
    """The logarithm of each pattern's share in a comparison, per kind; 0 where it says nothing."""
    level = patterns[name].fill_null(len(table)).to_numpy().astype(np.int64)
    return np.concatenate([np.log(table), np.zeros((1, table.shape[1]))])[level]


def _counts(patterns: pl.DataFrame, name: str, levels: int, weight: np.ndarray) -> np.ndarray:
    """How much weight the patterns have at each level of a comparison."""
    level = patterns[name].fill_null(levels).to_numpy().astype(np.int64)
    return np.bincount(level, weights=weight, minlength=levels + 1)[:levels]


def _with_strangers(
    con: DuckDBPyConnection,
    shares: _Shares,
    random: pl.DataFrame,
    beforehand: _Shares,
    matched: Mapping[str, float],
    *,
    u_beforehand: float = _BEFOREHAND_STRANGERS,
) -> _Shares:
    """The shares with u from random pairs, and from all equal pairs but the matched ones where so few are equal."""
    found = {}
    for name, table in shares.items():
        seen = _counts(random, name, len(table), random["pairs"].to_numpy())
        u = _normal(seen + u_beforehand * beforehand[name][:, _STRANGERS])
        if name in _COUNTED and (pairs := _equal_pairs(con, name))[1]:
            u[0] = max((pairs[0] - matched[name]) / pairs[1], _RAREST)
            u = _normal(u)
        found[name] = np.stack([table[:, _PERSON], table[:, _HOUSEHOLD], u], axis=1)
    return found


def _equal_pairs(con: DuckDBPyConnection, column: str) -> tuple[float, float]:
    """How many pairs of records have the same value, and how many have one."""
    row = con.execute(
        "select coalesce(sum(n * (n - 1)), 0) / 2, coalesce(sum(n), 0) from (select count(*)::double as n from records "
        f"where {column} is not null group by {column})"
    ).fetchall()[0]
    return float(row[0]), float(row[1]) * (float(row[1]) - 1) / 2


def _table(parameters: Parameters) -> _Shares:
    levels: Mapping[str, Mapping[str, Any]] = parameters.settings["levels"]
    return {c.name: np.array([levels[c.name][level] for level in c.levels], dtype=float) for c in COMPARISONS}


def _normal(table: np.ndarray) -> np.ndarray:
    shares: np.ndarray = table / table.sum(axis=0)
    return shares


def _trained(shares: _Shares, prior: np.ndarray, rows: int, seed: int, trained_at: datetime | None) -> TrainedIdentity:
    """Numbers to six significant digits: what stands behind them depends on the order in which sums were made."""
    settings = {
        "prior": {"person": _rounded(prior[_PERSON]), "household": _rounded(prior[_HOUSEHOLD])},
        "levels": {
            c.name: {level: [_rounded(s) for s in shares[c.name][i]] for i, level in enumerate(c.levels)}
            for c in COMPARISONS
        },
    }
    moment = trained_at or datetime.now(UTC)
    digest = artifacts.content_hash([json.dumps(settings, sort_keys=True).encode()])
    parameters = Parameters(artifacts.make_version(moment, digest), settings)
    card = artifacts.Card(
        model=identity.MODEL,
        version=parameters.version,
        trained_at=moment,
        data_from=None,
        data_to=None,
        rows_trained=rows,
        seed=seed,
        code_version=identity.source_version(),
        feature_names=tuple(c.name for c in COMPARISONS),
        parameters={"sampled_pairs": _SAMPLED_PAIRS, "prior": settings["prior"]},
        metrics={
            "not_evaluated": "who is who is not known where the parameters are learnt",
            "weights": identity.weights(parameters),
        },
        baseline=identity.BASELINE,
        promoted=True,
        method=identity.METHOD,
        libraries=artifacts.libraries("duckdb", "numpy"),
    )
    return TrainedIdentity(parameters, card)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
