"""Silver tables whose rows change at will, and the tables made of them: kept up to date, and built from scratch.

Rows are invented within tiny domains, so that references hit, miss and move. They are written as `silver.py` writes
them: by difference, with a new version and the log of the changed rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.contract import PROVENANCE, Contract
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.warehouse.changes import Log, record_change, table_versions
from ecommerce_platform.warehouse.contract_checks import check_table
from ecommerce_platform.warehouse.incremental import Incremental, compile_incremental, logs, refresh_table
from ecommerce_platform.warehouse.sql_model import SqlModel, parse_models
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, apply_difference, find_difference

CATALOG = read_catalog()
CONTRACTS = {name: table.contract for name, table in CATALOG.tables.items()}
#: What SELECTs are made of and Python fills: the entities, and the persons that linked records make.
ENTITIES = (*sorted(CATALOG.entities), "customer_clusters")


def _models() -> dict[str, SqlModel]:
    """Every table that is a SELECT over silver and gold, without those made of histories: these are of loads, of which there
    are none here."""
    parsed = parse_models(CATALOG, {entity: (entity,) for entity in ENTITIES})
    found = {name: model for name, model in parsed.items() if not name.startswith("ml.")}
    left = {name for name, contract in CONTRACTS.items() if contract.history_of}
    while more := {name for name, model in found.items() if left & {*model.reads}}:
        left |= more
        found = {name: model for name, model in found.items() if name not in more}
    return found


MODELS = _models()

#: What a column holds, by its name: so few ids that rows meet, and that a change often meets a row.
DOMAINS: dict[str, Sequence[Any]] = {
    "customer_id": [f"c{n}" for n in range(6)],
    "person_key": ["k1", "k2", "k3"],
    "person_id": [f"c{n}" for n in range(6)],
    "rule": ["linked", "person_key"],
    "match_probability": [0.99, 1.0],
    "order_id": [f"o{n}" for n in range(9)],
    "product_id": [f"p{n}" for n in range(5)],
    "seller_id": ["s0", "s1", "s2"],
    "postal_code": ["z0", "z1", "z2", "z3"],
    "review_id": ["r0", "r1", "r2", "r3", "r4"],
    "return_id": ["t0", "t1", "t2", "t3", "t4"],
    "shipment_id": ["h0", "h1", "h2", "h3", "h4", "h5"],
    "line_number": [1, 2, 3],
    "payment_number": [1, 2],
    "domain": ["state", "payment_method", "category", "status"],
    "code": ["A", "B", "card", "cash"],
    "state": ["A", "B", "C"],
    "category": ["A", "B", "card"],
    "method": ["card", "cash", "A"],
    "status": ["created", "delivered", "canceled", "returned"],
    "score": [1, 3, 4, 5],
    "quantity": [1, 2, 3],
    "installments": [0, 3],
    "currency": ["EUR", "USD", "GBP"],
    "is_test": [False, False, False, False, True],
}
#: Columns that decide what a row meets and where it counts.
LEADING = {*DOMAINS, "ordered_at", "is_valid", "returned_at"}
#: How often they are null, where that matters most: an order without a region has that of an address.
NULLS = {"returned_at": 0.4, "currency": 0.5, "orders.region": 0.8, "orders.postal_code": 0.5}
DAYS = [date(2024, 1, 30) + timedelta(days=n) for n in range(5)]
#: Two instants of each day, so that orders also meet in one second.
TIMES = [datetime(d.year, d.month, d.day, hour) for d in DAYS for hour in (0, 18)]
BY_TYPE: dict[str, Sequence[Any]] = {
    "VARCHAR": ["u", "v", "w"],
    "BOOLEAN": [True, True, True, False],
    "INTEGER": [1, 2],
    "DOUBLE": [0.5, 2.0, -7.25],
    "DATE": DAYS,
    "TIMESTAMP": TIMES,
}
AMOUNTS = [Decimal("0"), Decimal("1.5"), Decimal("10"), Decimal("12.2501")]

Row = dict[str, Any]
Rows = dict[tuple[Any, ...], Row]


#: Handed on as it is and read by nothing: null, so that changes go where something follows from them.
_HANDED_ON = {"tax_included"}


def value(random: Random, contract: Contract, name: str) -> Any:
    """A value that the contract allows in that column."""
    if name in _HANDED_ON:
        return None
    if name == "_load_date":
        return random.choice(DAYS)
    if name == "_source_row":
        return random.randrange(1, 100)
    if name in PROVENANCE:
        return f"{contract.name}{random.randrange(3)}"
    column = contract.columns[name]
    nulls = NULLS.get(f"{contract.name}.{name}") or NULLS.get(name) or (0.1 if name in LEADING else 0.25)
    if name not in contract.required_columns and random.random() < nulls:
        return None
    if (contract.name, name) == ("order_items", "quantity") and random.random() < 0.1:
        return -1
    found = DOMAINS.get(name) or BY_TYPE.get(column.type) or AMOUNTS
    return random.choice([v for v in found if not below(column.min, v)])


def below(smallest: float | date | None, found: Any) -> bool:
    """Whether a value is below a contract's `min`, which is a day for times."""
    if smallest is None:
        return False
    if isinstance(found, datetime) and isinstance(smallest, date):
        return found.date() < smallest
    return bool(found < smallest)


def row(random: Random, contract: Contract, key: Mapping[str, Any] | None = None) -> Row:
    """A whole row, of that key if one is given."""
    return {name: value(random, contract, name) for name in contract.all_columns} | dict(key or {})


def contract_of(entity: str) -> Contract:
    return CONTRACTS[f"silver.{entity}"]


def key_of(entity: str, found: Row) -> tuple[Any, ...]:
    return tuple(found[k] for k in contract_of(entity).key)


#: Of these more rows, so that most orders count, or fewer: customers that only orders name are persons of their own.
_BASE = {"orders": 25, "order_items": 25, "customers": 6, "customer_clusters": 2}


def base_rows(seed: int) -> dict[str, Rows]:
    """The rows of every entity before anything changes: most of the keys there can be."""
    random, rows = Random(seed), {}
    for entity in ENTITIES:
        # Fewer customers than orders name: those that were not delivered yet stand for persons of their own.
        found = [row(random, contract_of(entity)) for _ in range(_BASE.get(entity, 12))]
        rows[entity] = {key_of(entity, r): r for r in found}
    return rows


def settled(rows: Mapping[str, Rows], changed: Collection[str]) -> dict[str, Rows]:
    """The rows of the changed entities as the platform would hold them: clusters are whole. Who shares a person_key with
    a member belongs to it, only records there are do, and it is named after its smallest."""
    found = {entity: rows[entity] for entity in ENTITIES if entity in changed}
    if not {"customers", "customer_clusters"} & set(changed):
        return found
    customers = {r["customer_id"]: r["person_key"] for r in rows["customers"].values()}
    drawn = {r["customer_id"]: r for r in rows["customer_clusters"].values()}
    links = [(c, r["person_id"]) for c, r in drawn.items() if c in customers and r["person_id"] in customers]
    groups = {c: {c} for c in customers}
    same_key = [(a, b) for a, key in customers.items() for b, other in customers.items() if key and key == other]
    for a, b in (*links, *same_key):
        joined = groups[a] | groups[b]
        groups.update(dict.fromkeys(joined, joined))
    members = {c for pair in links if pair[0] != pair[1] for c in groups[pair[0]]}
    clusters = {}
    for customer in sorted(members):
        like = drawn.get(customer, {"rule": "linked", "match_probability": 1.0})
        new = {
            "customer_id": customer,
            "person_id": min(groups[customer]),
            **{k: like[k] for k in ("rule", "match_probability")},
        }
        clusters[key_of("customer_clusters", new)] = new
    return {**found, "customer_clusters": clusters}


#: What may happen to an entity, the usual more often.
KINDS = ("put", "change", "change", "change", "change", "rename", "rename", "delete", "delete", "redeliver", "empty")


@dataclass(frozen=True)
class Change:
    """One change of one entity; which row and which values follow from the seed and the rows there are."""

    entity: str
    kind: str
    seed: int

    def apply(self, rows: Rows) -> str:
        """Changes `rows`; what was done, in words."""
        random, contract = Random(self.seed), contract_of(self.entity)
        if self.kind == "empty":
            rows.clear()
            return f"{self.entity}: all rows go"
        if self.kind == "put" or not rows:
            new = row(random, contract)
            rows[key_of(self.entity, new)] = new
            return f"{self.entity}: {new}"
        key = random.choice(sorted(rows))
        if self.kind == "delete":
            del rows[key]
            return f"{self.entity} {key} goes"
        if self.kind == "redeliver":
            rows[key] = rows[key] | {name: value(random, contract, name) for name in PROVENANCE}
            return f"{self.entity} {key} is delivered again"
        if self.kind == "rename":
            new = rows.pop(key) | {name: value(random, contract, name) for name in contract.key}
            rows[key_of(self.entity, new)] = new
            return f"{self.entity} {key} becomes {key_of(self.entity, new)}"
        columns = [c for c in contract.columns if c not in contract.key and c not in _HANDED_ON]
        leading = [c for c in columns if c in LEADING]
        name = random.choice(leading if leading and random.random() < 0.6 else columns)
        rows[key] = rows[key] | {name: value(random, contract, name)}
        return f"{self.entity} {key}: {name} = {rows[key][name]!r}"


def _compared_with(model: SqlModel) -> set[str]:
    """Other tables that a table's checks read."""
    contract = model.contract
    words = {w.strip("(),") for check in contract.checks for w in check.sql.split()}
    words |= {c.references.rpartition(".")[0] for c in contract.columns.values() if c.references}
    return words & MODELS.keys() - {contract.table}


def _in_order() -> tuple[str, ...]:
    """All tables such that each comes after what it reads and what its checks read."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in MODELS and name not in done:
            for parent in sorted({*MODELS[name].reads, *_compared_with(MODELS[name])}):
                visit(parent)
            done[name] = None

    for name in sorted(MODELS):
        visit(name)
    return tuple(done)


ORDER = _in_order()


def needed(table: str) -> tuple[str, ...]:
    """What a table is made of and checked against, itself included, in order."""
    found: set[str] = set()

    def visit(name: str) -> None:
        if name in MODELS and name not in found:
            found.add(name)
            for parent in (*MODELS[name].reads, *_compared_with(MODELS[name])):
                visit(parent)

    visit(table)
    return tuple(name for name in ORDER if name in found)


@dataclass(frozen=True)
class Platform:
    """How the tables follow each other: as the contracts say, unless a test puts something else in their place."""

    incrementals: Mapping[str, Incremental]
    logs: Mapping[str, Log]


def _declared() -> Platform:
    found = {
        name: compile_incremental(model, CONTRACTS)
        for name, model in MODELS.items()
        if model.contract.write == "incremental"
    }
    return Platform(found, logs(list(found.values())))


DECLARED = _declared()


class Warehouse:
    """A database with silver tables that hold given rows.

    Args:
        path: its file; without one it is in memory.
        platform: how its tables follow each other.
    """

    def __init__(self, path: Path | None = None, platform: Platform = DECLARED) -> None:
        self.platform = platform
        #: How often an incremental table was brought up to date by keys, built whole, and left as it was.
        self.ways = Counter[str]()
        self.con = duckdb.connect(str(path) if path else ":memory:", config={"threads": 1})
        if table_versions(self.con):
            return
        for schema in ("bronze", "silver", "gold", "ml"):
            self.con.execute(f"create schema {schema}")
        shop, brand_rules = contract_of("shop"), contract_of("brand_rules")
        for contract in (shop, brand_rules):
            self.con.execute(create_table_sql(contract))
        self.con.execute("insert into silver.shop values ('tiny', 'EUR', 'Europe/Berlin', date '2024-01-31', 2, 2)")
        self.con.execute("insert into silver.brand_rules values (1, 'w', 'u'), (2, 'x', 'v')")
        for contract in (shop, brand_rules):
            record_change(self.con, contract.table)

    def hold(self, rows: Mapping[str, Rows], *, whole: Collection[str] = ()) -> None:
        """Makes the silver tables hold these rows, in one transaction each, as `silver.load_entity` does.

        Args:
            rows: entity → its rows.
            whole: entities that are filled anew.
        """
        for entity, found in rows.items():
            contract = contract_of(entity)
            log = self.platform.logs.get(contract.table)
            with transaction(self.con):
                if entity in whole or contract.table not in table_versions(self.con):
                    self.con.execute(create_table_sql(contract, or_replace=True))
                    self._insert(contract, contract.table, found.values())
                    record_change(self.con, contract.table, log=log)
                    continue
                self.con.execute(f"create or replace temp table _stage as from {contract.table} where false")
                self._insert(contract, "_stage", found.values())
                self.con.execute(
                    f"create or replace temp table _affected as select rowid as _rowid, * from {contract.table}"
                )
                difference = find_difference(self.con, contract, "_affected", "_stage")
                apply_difference(self.con, contract, difference, "", log)
                self.con.execute("drop table _stage; drop table _affected")

    def _insert(self, contract: Contract, table: str, rows: Iterable[Row]) -> None:
        values = [[found[name] for name in contract.all_columns] for found in rows]
        if values:
            marks = ", ".join(f"({', '.join('?' for _ in contract.all_columns)})" for _ in values)
            self.con.execute(f"insert into {table} values {marks}", [v for found in values for v in found])

    def refresh(self, name: str) -> Written:
        """Brings one table up to date, and counts how."""
        found = self.platform.incrementals.get(name)
        before = table_versions(self.con).get(name)
        written = refresh_table(self.con, MODELS[name], found, log=self.platform.logs.get(name))
        if found is not None:
            after = table_versions(self.con)[name]
            whole = before is None or after.whole_version != before.whole_version
            self.ways["whole" if whole else "by keys" if written.changed else "as it was"] += 1
        return written

    def content(self, name: str) -> list[tuple[Any, ...]]:
        """All rows of a table in the order of its key; floats rounded, for their sums depend on the order of rows."""
        contract = CONTRACTS[name]
        key = ", ".join(map(quote, contract.key))
        columns = ", ".join(map(quote, contract.all_columns))
        found = self.con.execute(f"select {columns} from {name} order by {key}").fetchall()
        return [tuple(float(f"{v:.9g}") if isinstance(v, float) and math.isfinite(v) else v for v in r) for r in found]

    def wrong(self, names: Iterable[str]) -> list[str]:
        """Those of the tables that are not what their SELECT gives now; no sum of floats in them may be inexact."""
        found = []
        for name in names:
            sql = f"(select * from ({MODELS[name].table.sql}) as s)"
            difference = f"({sql} except all from {name}) union all (from {name} except all {sql})"
            if self.con.execute(f"select count(*) from ({difference}) as d").fetchall()[0][0]:
                found.append(name)
        return found

    def check(self, names: Iterable[str]) -> None:
        """All checks of the contracts, on whole tables."""
        for name in names:
            check_table(self.con, CONTRACTS[name])
