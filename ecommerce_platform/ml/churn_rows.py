"""What the churn model learns from: customers as of several days, each with whether they stayed away afterwards.

Days, gap and outcomes are chosen here, and rows that know too much are refused; nothing is fitted here. What is known of
a customer as of a day is `features.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.features import FILE, features_sql
from ecommerce_platform.ml.lifecycle import Input
from ecommerce_platform.warehouse.changes import own_code

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

LABEL = "is_lost"
#: Columns of the rows that no model may see: what became of the customer, and what leaks are found by.
OUTCOMES = (LABEL, "outcome_from", "outcome_to", "newest_order_date", "buying_days")
NUMBERS = (
    "recency_days", "purchase_days", "orders", "orders_not_counted", "units", "gross_amount", "discount_amount",
    "revenue", "aov", "largest_order_amount", "orders_90_days", "revenue_90_days", "revenue_90_days_before", "age_days",
    "lifespan_days", "registration_to_first_order_days", "avg_gap_days", "gap_deviation_days", "longest_gap_days",
    "discount_share", "discounted_order_share", "campaign_order_share", "weekend_order_share", "channels", "categories",
    "products", "deliveries", "avg_delivery_days", "late_deliveries", "late_delivery_share", "most_days_late",
    "returned_orders", "returned_order_share", "refund_amount", "reviews", "avg_review_score", "lowest_review_score",
    "sessions", "product_views", "adds_to_cart", "days_since_visit",
)  # fmt: skip
#: Texts of the customer's record: not known where the history of the record begins later than the day.
OF_THE_RECORD = ("age_group", "customer_segment", "region")
TEXTS = (*OF_THE_RECORD, "favourite_channel", "favourite_category")
FEATURES = (*NUMBERS, *TEXTS)
#: A day as of which nobody has bought anything.
_NEVER = date(1900, 1, 1)
#: At most so many days are looked back from, one window apart.
MOST_CUT_OFFS = 6
#: Of more customers a day than this, a sample is learned from: fits are given fewer rows yet (`churn.FIT_ROWS`).
MOST_PERSONS = 100_000
#: Of the orders of a usual week a week must have so many to count as delivered in full.
FULL_WEEK = 0.25
#: A single feature that tells the outcome as surely as this has it in it.
TELLS_ALL = 0.999
_LOOKED_AT = 2_000
_DELAYS, _OUTCOMES = (MODELS / "inputs" / f"{name}.sql" for name in ("reporting_delay", "churn_outcomes"))


@dataclass(frozen=True)
class Horizon:
    """Which days a shop's customers are described as of.

    Attributes:
        last: the newest day that is delivered in full: customers are scored as of it.
        window: N, days in which a customer who buys nothing counts as lost.
        gap: days after a cut-off whose orders may not have been reported at it; they count for neither side.
        cut_offs: days whose outcomes are known by `last`, oldest first; N + gap apart, so that no outcome reaches
            into the next.
    """

    last: date
    window: int
    gap: int
    cut_offs: tuple[date, ...]


def horizon(first: date, last: date, window: int, gap: int) -> Horizon:
    """The cut-offs of a history: at most `MOST_CUT_OFFS`, each with a window of history before it.

    Args:
        first: first day with orders.
        last: last day that is delivered in full.
        window: N in days, at least 1.
        gap: in days, at least 1.
    """
    step = timedelta(days=window + gap)
    days = [last - step * (k + 1) for k in range(MOST_CUT_OFFS)]
    return Horizon(last, window, gap, tuple(d for d in reversed(days) if d - timedelta(days=window) >= first))


def last_full_day(days: Sequence[date], orders: Sequence[int], look_back: int) -> date | None:
    """The newest day whose week has at least `FULL_WEEK` of the orders of a usual week.

    An export often ends in days with next to nothing, in which everybody would seem lost. A day's week ends with it;
    usual is the median of the weeks that end on days with orders, over the last `look_back` days of the history.

    Args:
        days: days with orders, ascending.
        orders: how many each has.
        look_back: in days.
    """
    if not days:
        return None
    first, span = days[0], (days[-1] - days[0]).days + 1
    counts = np.zeros(span + 6)
    for day, n in zip(days, orders, strict=True):
        counts[(day - first).days + 6] = n
    weeks = np.convolve(counts, np.ones(7), "valid")
    has = np.array([(day - first).days for day in days])
    recent = has[has >= span - look_back]
    enough = has[weeks[has] >= FULL_WEEK * np.median(weeks[recent])]
    return first + timedelta(days=int(enough[-1])) if len(enough) else days[-1]


def shop_horizon(con: DuckDBPyConnection) -> Horizon | None:
    """The horizon of the shop in a warehouse; None without orders.

    The gap is the 95th percentile of the days from an order's newest event to the load that reported it, over what was
    reported by the last full day, at least 1; an export that came in one piece says nothing about delays and gets 1.
    """
    counted = con.execute(
        "select order_date, sum(orders) from gold.fct_customer_days group by order_date order by order_date"
    ).fetchall()
    window = con.execute("select max(churn_window_days) from silver.shop").fetchall()[0][0]
    last = last_full_day([day for day, _ in counted], [int(n) for _, n in counted], 2 * (window or 0))
    if last is None or not window:
        return None
    delay = con.execute(own_code(str(_DELAYS)), {"last_day": last}).fetchall()[0][0]
    return horizon(counted[0][0], last, int(window), max(1, int(delay or 0)))


def labelled_rows(con: DuckDBPyConnection) -> pl.DataFrame:
    """Customers of the last 2N days as of each cut-off, with what became of them; by day and person.

    Where a day has more than about `MOST_PERSONS`, a sample of all persons that does not depend on order or time: those
    whose identifiers' digests are the lowest. All customers are scored (`rows_to_score`).

    Returns:
        `as_of_date`, `person_id`, `FEATURES` (numbers as DOUBLE) and `OUTCOMES`: is_lost is 1 where the person has no
        counted order from `outcome_from` to `outcome_to`; newest_order_date and buying_days are what the days of purchase
        themselves say up to the cut-off, for `refuse_leaks`.
    """
    found = shop_horizon(con)
    if found is None or not found.cut_offs:
        return _no_rows(con)
    rows = described(con, found, found.cut_offs, most_persons=MOST_PERSONS)
    return rows.select("as_of_date", "person_id", *FEATURES, *OUTCOMES)


def rows_to_score(con: DuckDBPyConnection) -> pl.DataFrame:
    """Customers of the last 2N days as of the last full day: `as_of_date`, `person_id`, `FEATURES`; by person."""
    found = shop_horizon(con)
    rows = _no_rows(con) if found is None else described(con, found, (found.last,))
    return rows.select("as_of_date", "person_id", *FEATURES)


def _drawn_below(con: DuckDBPyConnection, found: Horizon, most_persons: int) -> str:
    """The first four digits of digests at which the sample of persons ends; above all digests where no sample is needed."""
    sql = "select count(distinct person_id) from gold.fct_customer_days where order_date between $first and $last"
    last = found.cut_offs[-1]
    params = {"first": last - timedelta(days=2 * found.window - 1), "last": last}
    persons = con.execute(sql, params).fetchall()[0][0]
    return "g" if persons <= most_persons else f"{int(16**4 * most_persons / persons):04x}"


def described(
    con: DuckDBPyConnection, found: Horizon, days: Sequence[date], most_persons: int | None = None
) -> pl.DataFrame:
    """Customers of the last 2N days as of some days, with what became of them (as far as it is known); by day and person.

    Args:
        con: the warehouse.
        found: gap and window; with `most_persons`, at least one cut-off.
        days: as of which customers are described.
        most_persons: how many persons a day are taken at most, about; None for all.
    """
    import polars as pl

    columns = [
        *(f"cast(features.{name} as double) as {name}" for name in NUMBERS),
        *(f"case when not features.is_described_later then features.{name} end as {name}" for name in OF_THE_RECORD),
        *(f"features.{name}" for name in TEXTS if name not in OF_THE_RECORD),
        *(f"outcomes.{name}" for name in ("newest_order_date", "buying_days", LABEL)),
    ]
    sql = f"""
        select features.as_of_date, features.person_id, {", ".join(columns)}
        from ({features_sql(days)}) as features
        inner join ({own_code(str(_OUTCOMES))}) as outcomes
            on features.as_of_date = outcomes.as_of_date and features.person_id = outcomes.person_id
        where substring(md5(features.person_id), 1, 4) < $drawn_below
    """
    gap, window = timedelta(days=found.gap), timedelta(days=found.window)
    params: dict[str, Any] = {"as_of_days": list(days), "gap_days": found.gap, "window_days": found.window}
    params["drawn_below"] = "g" if most_persons is None else _drawn_below(con, found, most_persons)
    # Sorted in a second step: at millions of orders the joins alone take most of the memory limit.
    con.execute(f"create or replace temp table _described as {sql}", params)
    rows = con.sql("from _described order by as_of_date, person_id").pl()
    con.execute("drop table _described")
    return rows.with_columns(
        (pl.col("as_of_date") + gap + timedelta(days=1)).alias("outcome_from"),
        (pl.col("as_of_date") + gap + window).alias("outcome_to"),
        pl.col(LABEL, "buying_days").cast(pl.Int64),
    )  # fmt: skip


def _no_rows(con: DuckDBPyConnection) -> pl.DataFrame:
    return described(con, Horizon(_NEVER, 1, 1, ()), (_NEVER,))


#: What the features of a day and the outcomes are made from. Written down rather than parsed: nothing is read at import.
READS = (
    "gold.dim_geography", "gold.fct_customer_days", "gold.fct_order_items", "gold.fct_orders", "gold.fct_returns", "gold.state_spellings",
    "silver.customer_identities", "silver.customers_history", "silver.labels", "silver.orders", "silver.products_history",
    "silver.reviews", "silver.shop", "silver.web_events",
)  # fmt: skip
_FILES = (FILE, _DELAYS, _OUTCOMES)
LABELLED, TO_SCORE = Input(READS, labelled_rows, _FILES), Input(READS, rows_to_score, _FILES)


def refuse_leaks(rows: pl.DataFrame, features: Sequence[str]) -> None:
    """Refuses a feature set that contains the outcome, or anything of later than its day.

    Args:
        rows: as `labelled_rows` gives them, perhaps with further features.
        features: the columns that are to be learned from.

    Raises:
        InputError: an outcome is among the features; a feature tells the outcome (nearly) without fault; a row knows a
            purchase of after its day, or other purchases than there were up to it.
    """
    import polars as pl

    fix = "take it out of the features"
    for name in (*OUTCOMES, "as_of_date", "person_id"):
        if name in features:
            raise InputError(
                f"the feature {name} is no feature: it says which row it is, or what became of it", fix=fix
            )
    later = rows.filter(
        (pl.col("recency_days") != (pl.col("as_of_date") - pl.col("newest_order_date")).dt.total_days())
        | (pl.col("purchase_days") != pl.col("buying_days"))
        | (pl.col("recency_days") < 0)
    )
    if later.height:
        row = later.row(0, named=True)
        raise InputError(
            f"the features know other purchases than there were up to their day: {row['purchase_days']:g} days of purchase, "
            f"the newest {row['recency_days']:g} days before; there were {row['buying_days']}, the newest on "
            f"{row['newest_order_date']}",
            where=f"person {row['person_id']} as of {row['as_of_date']}; {later.height} rows in all",
            fix="describe customers by what was known at the end of the day (ml/features.py)",
        )
    rows = rows[_some_of_each(rows[LABEL].to_numpy())]
    outcome = rows[LABEL].to_numpy()
    for name in features:
        if rows.schema[name].is_numeric() and (sure := _tells(rows[name].to_numpy(), outcome)) >= TELLS_ALL:
            raise InputError(f"the feature {name} tells the outcome (AUC {sure:.4f}): it has it in it", fix=fix)


def _some_of_each(outcome: np.ndarray) -> np.ndarray:
    """Places of at most `_LOOKED_AT` rows of either outcome, evenly spaced: an AUC does not depend on how many there are."""
    chosen = []
    for value in (0, 1):
        at = np.flatnonzero(outcome == value)
        chosen.append(at[np.linspace(0, len(at) - 1, min(len(at), _LOOKED_AT)).astype(int)])
    return np.concatenate(chosen)


def _tells(values: Any, outcome: np.ndarray) -> float:
    """AUC of a single feature in the better direction, missing values the lowest; 0.5 where there are few outcomes."""
    from ecommerce_platform.ml.classification import measures

    if min(outcome.sum(), len(outcome) - outcome.sum()) < 20:
        return 0.5
    floats = np.asarray(values, dtype=np.float64)
    auc = measures(outcome, np.nan_to_num(floats, nan=-np.inf, posinf=np.inf, neginf=-np.inf), 0.5)["auc"]
    return max(auc, 1 - auc)
