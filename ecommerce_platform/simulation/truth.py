"""The truth about a generated shop: what was written, and what a correct platform must make of it.

Everything here is counted from the generator's own arrays and fault codes, never from the files nor with the
platform's code. The platform must not read it; tests do.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.simulation.faults import FAULTS, is_kind, is_usable

if TYPE_CHECKING:
    import polars as pl

TRUTH_FILE = Path("truth") / "shop.json"
PERSONS_FILE = Path("truth") / "persons.parquet"
BEHAVIOUR_FILE = Path("truth") / "behaviour.parquet"


@dataclass(frozen=True)
class TableTruth:
    """What was written for one raw table, and which canonical entity it fills.

    `delivered` = `used` + `superseded` + `rejected`; the rows of an entity are those used of its raw tables. Lines that cannot be parsed are in `unparsable` only, second copies in `delivered` and in `duplicates`.
    """

    entity: str
    files: int
    delivered: int
    used: int
    unparsable: int
    rejected: int
    duplicates: int
    superseded: int
    rejected_by_reason: dict[str, int]


@dataclass(frozen=True)
class Truth:
    """What was asked for, what was written and what must come out of it.

    Amounts are exact decimal texts in the shop's currency, by the metric definitions of the canonical model.
    """

    seed: int
    start: str
    days: int
    dirty_share: float
    #: Orders placed, whatever became of their records.
    orders: int
    #: Customer records of all systems, and the distinct people behind them.
    customer_records: int
    persons: int
    tables: dict[str, TableTruth]
    #: Distinct current keys per canonical entity after rejects and newest-version resolution.
    expected_rows: dict[str, int]
    #: orders, customers, units (counts); gross_amount, discount_amount, revenue, refund_amount, cost_amount and
    #: net_profit (texts; the last two over lines with a known cost, null without any). `customers` are persons, as
    #: perfect linking finds them; `customers_unlinked` is their number if only equal web shop accounts are joined.
    totals: dict[str, Any]
    #: orders, units and revenue of each month, by its first day.
    by_month: dict[str, dict[str, Any]]
    #: Effects the generator built in (see `planted`).
    planted: dict[str, Any]

    def to_json(self) -> str:
        """The truth as indented JSON with a final newline."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def read_truth(out_dir: Path) -> Truth:
    """The truth that `generate_shop(out_dir)` wrote.

    Raises:
        InputError: there is none.
    """
    path = out_dir / TRUTH_FILE
    if not path.is_file():
        raise InputError("no generated shop here", where=path, fix="generate one: `ecommerce generate`")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["tables"] = {name: TableTruth(**table) for name, table in content["tables"].items()}
    return Truth(**content)


def read_persons(out_dir: Path) -> pl.DataFrame:
    """Who is who in the shop that `generate_shop(out_dir)` wrote: customer_id, system and person, one row per record.

    Raises:
        InputError: there is none.
    """
    return _read_frame(out_dir / PERSONS_FILE)


def read_behaviour(out_dir: Path) -> pl.DataFrame:
    """How the persons of the shop that `generate_shop(out_dir)` wrote behave, one row each.

    person; age_group; order_rate (orders per average day while active, 0 for those who never buy); leaves_on (last day on
    which the person may order, null beyond the shop's days); and per experiment and arm `<experiment>/<arm>`, the share of
    orders that the arm adds, whether or not the person was drawn into it.

    Raises:
        InputError: there is none.
    """
    return _read_frame(out_dir / BEHAVIOUR_FILE)


def _read_frame(path: Path) -> pl.DataFrame:
    import polars as pl

    if not path.is_file():
        raise InputError("no generated shop here", where=path, fix="generate one: `ecommerce generate`")
    return pl.read_parquet(path)


def table_truth(table: str, entity: str, codes: np.ndarray, files: int, used: int) -> TableTruth:
    """Counts of one raw table from the fault codes of its records and the rows that must come of them."""
    unparsable = int(is_kind(table, codes, "unparsable").sum())
    rejected = int(is_kind(table, codes, "rejected").sum())
    duplicates = int(is_kind(table, codes, "duplicate").sum())
    delivered = len(codes) - unparsable + duplicates
    by_reason: dict[str, int] = {}
    for code, fault in enumerate(FAULTS[table], start=1):
        if fault.reason:
            by_reason[fault.reason] = by_reason.get(fault.reason, 0) + int((codes == code).sum())
    return TableTruth(
        entity=entity,
        files=files,
        delivered=delivered,
        used=used,
        unparsable=unparsable,
        rejected=rejected,
        duplicates=duplicates,
        superseded=delivered - rejected - used,
        rejected_by_reason={reason: count for reason, count in sorted(by_reason.items()) if count},
    )


def newest_usable(table: str, key: np.ndarray, codes: np.ndarray, keys: int) -> np.ndarray:
    """For each key 0 … keys-1 the position of its newest usable record, -1 where none is usable.

    `key` holds the key of each record, in the order of delivery.
    """
    newest = np.full(keys, -1)
    usable = np.flatnonzero(is_usable(table, codes))
    # Positions ascend with the days of delivery, so the greatest is the newest.
    np.maximum.at(newest, key[usable], usable)
    return newest


def decimal_text(cents: int) -> str:
    """Whole cents as an exact decimal text: 1234 → 12.34."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def money_totals(
    *,
    order: np.ndarray,
    quantity: np.ndarray,
    price: np.ndarray,
    discount: np.ndarray,
    unit_cost: np.ndarray,
    person: np.ndarray,
    refund: int,
) -> dict[str, Any]:
    """Totals over valid lines, each array with one entry per line.

    Args:
        order: order of the line, ascending.
        quantity: units.
        price: price of one unit in cents.
        discount: discount on the line in cents.
        unit_cost: the product's current cost in cents, -1 where unknown.
        person: person of the order, -1 for guests.
        refund: all money paid back, in cents.
    """
    gross = int((quantity * price).sum())
    reduced = int(discount.sum())
    known = unit_cost >= 0
    cost = int((quantity * unit_cost)[known].sum())
    earned = int((quantity * price - discount)[known].sum())
    return {
        "orders": _distinct(order),
        "customers": int((np.bincount(person[person >= 0]) > 0).sum()),
        "units": int(quantity.sum()),
        "gross_amount": decimal_text(gross),
        "discount_amount": decimal_text(reduced),
        "revenue": decimal_text(gross - reduced),
        "refund_amount": decimal_text(refund),
        "cost_amount": decimal_text(cost) if known.any() else None,
        "net_profit": decimal_text(earned - cost) if known.any() else None,
    }


def month_totals(
    month: np.ndarray, order: np.ndarray, quantity: np.ndarray, revenue: np.ndarray, first_day: date
) -> dict[str, dict[str, Any]]:
    """Orders, units and revenue in cents by the month's first day.

    Arrays are per valid line, by time; `month` counts from the month of `first_day`.
    """
    found: dict[str, dict[str, Any]] = {}
    for index in np.unique(month).tolist():
        begin, end = np.searchsorted(month, index), np.searchsorted(month, index, side="right")
        years, months = divmod(first_day.month - 1 + index, 12)
        found[date(first_day.year + years, months + 1, 1).isoformat()] = {
            "orders": _distinct(order[begin:end]),
            "units": int(quantity[begin:end].sum()),
            "revenue": decimal_text(int(revenue[begin:end].sum())),
        }
    return found


def _distinct(ascending: np.ndarray) -> int:
    """How many different values an ascending array holds."""
    return int((np.diff(ascending) != 0).sum()) + 1 if len(ascending) else 0


def write_truth(out_dir: Path, truth: Truth) -> None:
    """Writes the truth beside the drops."""
    path = out_dir / TRUTH_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(truth.to_json(), encoding="utf-8")


def write_persons(out_dir: Path, persons: pl.DataFrame, behaviour: pl.DataFrame) -> None:
    """Writes who is who and how they behave beside the drops; columns as `read_persons` and `read_behaviour` give them."""
    import pyarrow.parquet as pq

    for name, frame in ((PERSONS_FILE, persons), (BEHAVIOUR_FILE, behaviour)):
        path = out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(frame.to_arrow(), path)
