"""The truth counts what was written: an independent reading of the files through the mappings finds the same.

Reading, rejecting and choosing the newest version are done here once more, plainly and row by row, on purpose
without the platform's ingestion and silver code.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import sqlglot
from sqlglot import exp

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import Mapping, Source, find_source, read_source
from ecommerce_platform.simulation import Truth, generate_shop
from ecommerce_platform.simulation.truth import read_behaviour, read_persons
from ecommerce_platform_tests.properties.changing import below

MACROS = Path(__file__).resolve().parents[2] / "ecommerce_platform" / "warehouse" / "macros.sql"
_CONVERSION = re.compile(r'^\s*as_\w+\("?([^",()]+)"?[^()]*\) as (\w+),?$', re.MULTILINE)

Row = dict[str, Any]


class Reading:
    """A shop read back: what was found per raw table, and the current rows per entity."""

    def __init__(self, folder: Path, catalog: Catalog, source: Source) -> None:
        self.delivered: Counter[str] = Counter()
        self.unparsable: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = {}
        self.used: dict[str, int] = {}
        self.current: dict[str, dict[tuple[Any, ...], Row]] = {}
        with duckdb.connect() as connection:
            connection.execute(MACROS.read_text(encoding="utf-8"))
            connection.execute("create schema bronze")
            for mapping in source.mappings:
                table = source.file.tables[mapping.raw_table]
                records = []
                for path in sorted((folder / "raw").glob(f"*/{mapping.raw_table}.*")):
                    rows, broken = _read(path, table.delimiter, table.encoding)
                    self.unparsable[mapping.raw_table] += broken
                    records += [(path.parent.name, row) for row in rows]
                self.delivered[mapping.raw_table] = len(records)
                self.current.setdefault(mapping.entity, {})
                contract = catalog.contract(f"silver.{mapping.entity}")
                mapped = _run(connection, mapping, records)
                self._resolve(mapping, contract, table.delivery, records, mapped)

    def _resolve(
        self,
        mapping: Mapping,
        contract: Contract,
        delivery: str,
        records: list[tuple[str, Row]],
        mapped: list[Row],
    ) -> None:
        conversions = _CONVERSION.findall(mapping.sql)
        reasons: Counter[str] = Counter()
        current: dict[tuple[Any, ...], Row] = {}
        last_keys: set[tuple[Any, ...]] = set()
        last_day = max((day for day, _ in records), default="")
        for (day, raw), row in zip(records, mapped, strict=True):
            key = tuple(row[name] for name in contract.key)
            if day == last_day:
                last_keys.add(key)
            reason = _problem(contract, conversions, raw, row)
            if reason:
                reasons[reason] += 1
            else:
                current[key] = row
        if delivery == "full":
            current = {key: row for key, row in current.items() if key in last_keys}
        self.reasons[mapping.raw_table] = reasons
        self.used[mapping.raw_table] = len(current)
        assert not current.keys() & self.current[mapping.entity].keys(), "systems share a key"
        self.current[mapping.entity] |= current


def _read(path: Path, delimiter: str | None, encoding: str) -> tuple[list[Row], int]:
    """Records of a file with all values as text by lower-case name, and how many lines were no records."""
    rows, broken = _records(path, delimiter, encoding)
    return [{name.lower(): value for name, value in row.items()} for row in rows], broken


def _records(path: Path, delimiter: str | None, encoding: str) -> tuple[list[Row], int]:
    content = path.read_bytes()
    if path.suffix == ".parquet":
        with duckdb.connect() as connection:
            relation = connection.sql(f"select columns(*)::varchar from '{path}'")
            return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()], 0
    if path.suffix == ".json":
        return [{k: None if v is None else str(v) for k, v in row.items()} for row in json.loads(content)], 0
    if path.suffix == ".jsonl":
        rows, broken = [], 0
        for line in content.decode().splitlines():
            try:
                rows.append({k: str(v) for k, v in json.loads(line).items()})
            except json.JSONDecodeError:
                broken += 1
        return rows, broken
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode(encoding).removeprefix("\ufeff")
    header, *lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or ",", strict=True)
    good = [dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)]
    return good, len(lines) - len(good)


def _run(connection: duckdb.DuckDBPyConnection, mapping: Mapping, records: list[tuple[str, Row]]) -> list[Row]:
    """The mapping's output row for each record."""
    # A field that no record has is a column all the same, as in bronze.
    named = (c.name.lower() for c in sqlglot.parse_one(mapping.sql, dialect="duckdb").find_all(exp.Column))
    names = sorted({name for _, row in records for name in row} | set(named))
    columns = {name: [row.get(name) for _, row in records] for name in names}
    frame = pl.DataFrame(
        {**columns, "_position": range(len(records))}, schema_overrides=dict.fromkeys(names, pl.String)
    )
    connection.register("frame", frame.to_arrow())
    connection.execute(f"create table bronze.synthetic__{mapping.raw_table} as from frame")
    relation = connection.sql(mapping.sql.replace("\nfrom bronze", ",\n    _position\nfrom bronze"))
    rows = relation.order("_position").fetchall()
    return [dict(zip(relation.columns, row, strict=True)) for row in rows]


def _problem(contract: Contract, conversions: list[tuple[str, str]], raw: Row, row: Row) -> str | None:
    for source, target in conversions:
        if (raw.get(source.lower()) or "").strip() and row[target] is None:
            return "not_convertible"
    for name, column in contract.columns.items():
        value = row.get(name)
        if value is None:
            if name in contract.required_columns:
                return "missing_required"
        elif column.accepted and value not in column.accepted:
            return "not_accepted"
        elif below(column.min, value) or (column.max is not None and value > column.max):
            return "out_of_range"
    return None


@pytest.fixture(scope="module", params=[0.0, 0.04], ids=["clean", "dirty"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, Reading, Path]:
    folder = tmp_path_factory.mktemp("shop")
    truth = generate_shop(folder, orders=2000, days=45, seed=11, dirty_share=request.param)
    catalog = read_catalog()
    return truth, Reading(folder, catalog, read_source(find_source("synthetic"), catalog.entities)), folder


@pytest.fixture
def shop(made: tuple[Truth, Reading, Path]) -> tuple[Truth, Reading]:
    return made[:2]


def test_delivered_records_and_broken_lines_are_found_back(shop: tuple[Truth, Reading]) -> None:
    truth, reading = shop
    for name, table in truth.tables.items():
        assert (reading.delivered[name], reading.unparsable[name]) == (table.delivered, table.unparsable), name


def test_rejects_are_found_back_with_their_reasons(shop: tuple[Truth, Reading]) -> None:
    truth, reading = shop
    for name, table in truth.tables.items():
        assert dict(reading.reasons[name]) == table.rejected_by_reason, name
        assert sum(table.rejected_by_reason.values()) == table.rejected
    if truth.dirty_share:
        found = {reason for table in truth.tables.values() for reason in table.rejected_by_reason}
        assert found == {"not_convertible", "missing_required", "not_accepted", "out_of_range"}


def test_the_current_rows_are_as_many_as_expected(shop: tuple[Truth, Reading]) -> None:
    truth, reading = shop
    assert {name: len(rows) for name, rows in reading.current.items()} == truth.expected_rows
    assert reading.used == {name: table.used for name, table in truth.tables.items()}
    assert min(truth.expected_rows.values()) > 0


def test_every_delivered_record_is_used_superseded_or_rejected(shop: tuple[Truth, Reading]) -> None:
    truth, _ = shop
    for table in truth.tables.values():
        assert table.delivered == table.used + table.superseded + table.rejected
        assert table.superseded >= table.duplicates


def test_totals_are_those_of_the_current_rows(made: tuple[Truth, Reading, Path]) -> None:
    truth, reading, folder = made
    orders, products = reading.current["orders"], reading.current["products"]
    keys = {c["customer_id"]: c.get("person_key") or c["customer_id"] for c in reading.current["customers"].values()}
    who = {customer_id: person for customer_id, _, person in read_persons(folder).iter_rows()}
    counted: set[str] = set()
    accounts: set[str] = set()
    persons: set[int] = set()
    units, gross, discount, cost, profit = 0, Decimal(0), Decimal(0), Decimal(0), Decimal(0)
    months: dict[str, Decimal] = {}
    for line in reading.current["order_items"].values():
        order = orders.get((line["order_id"],))
        if order is None or not order["is_valid"]:
            continue
        counted.add(line["order_id"])
        if order["customer_id"]:
            accounts.add(keys[order["customer_id"]])
            persons.add(who[order["customer_id"]])
        amount = line["quantity"] * line["unit_price"]
        units, gross, discount = units + line["quantity"], gross + amount, discount + line["discount_amount"]
        month = order["ordered_at"].strftime("%Y-%m-01")
        months[month] = months.get(month, Decimal(0)) + amount - line["discount_amount"]
        unit_cost = products.get((line["product_id"],), {}).get("unit_cost")
        if unit_cost is not None:
            cost += line["quantity"] * unit_cost
            profit += amount - line["discount_amount"] - line["quantity"] * unit_cost
    assert truth.totals["orders"] == len(counted)
    assert truth.totals["customers"] == len(persons)
    assert truth.totals["customers_unlinked"] == len(accounts) > len(persons)
    refunds = sum(row["refund_amount"] for row in reading.current["returns"].values())
    assert Decimal(truth.totals["refund_amount"]) == refunds > 0
    assert truth.totals["units"] == units
    names = ("gross_amount", "discount_amount", "revenue", "cost_amount", "net_profit")
    expected = dict(zip(names, (gross, discount, gross - discount, cost, profit), strict=True))
    assert {name: Decimal(truth.totals[name]) for name in names} == expected
    assert {month: Decimal(total["revenue"]) for month, total in truth.by_month.items()} == months
    assert sum(total["orders"] for total in truth.by_month.values()) == len(counted)


def test_the_truth_knows_who_is_behind_every_record_and_no_record_tells(made: tuple[Truth, Reading, Path]) -> None:
    truth, reading, folder = made
    persons = read_persons(folder)
    assert set(persons["customer_id"]) == {c["customer_id"] for c in reading.current["customers"].values()}
    assert truth.customer_records == persons.height > persons["person"].n_unique() == truth.persons
    assert set(persons["system"]) == {"web_shop", "crm", "newsletter"}
    several = persons.group_by("person").agg(pl.col("system").n_unique())
    assert (several["system"] > 1).mean() > 0.2
    # The web shop's accounts join records of one person each, and only some.
    customers = reading.current["customers"].values()
    by_key = [(c["person_key"], c["customer_id"]) for c in customers if c.get("person_key")]
    who = dict(persons.select("customer_id", "person").iter_rows())
    people_of_key: dict[str, set[int]] = {}
    for key, customer_id in by_key:
        people_of_key.setdefault(key, set()).add(who[customer_id])
    assert all(len(people) == 1 for people in people_of_key.values())
    assert len(people_of_key) < len(by_key)


def test_the_truth_has_what_each_person_does_and_would_do(made: tuple[Truth, Reading, Path]) -> None:
    truth, _, folder = made
    people = read_behaviour(folder)
    # Guests are nobody's record: all who have one are here.
    assert set(read_persons(folder)["person"]) <= set(people["person"])
    assert people["person"].to_list() == list(range(people.height))
    assert 0 <= people["order_rate"].min() < people["order_rate"].max() <= 0.5
    assert people["leaves_on"].drop_nulls().len() == truth.planted["customers_left"]
    for trial in truth.planted["experiments"]:
        for arm, uplift in trial["uplift"].items():
            found = people.select("age_group", f"{trial['experiment_id']}/{arm}").unique().rows()
            assert set(found) <= set(uplift.items()), arm
