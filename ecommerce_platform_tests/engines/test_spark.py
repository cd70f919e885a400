"""The same SELECT on DuckDB and on Spark gives the same rows: construct by construct, and table by table."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Table
from ecommerce_platform.contracts.contract import Column, Contract, SqlCheck
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.engines.duck import DuckDbEngine
from ecommerce_platform.engines.gold import Cluster, refresh_on_spark, taken_over
from ecommerce_platform.engines.interface import Differing, Engine
from ecommerce_platform.engines.spark import SparkEngine, missing_for_spark, session
from ecommerce_platform.engines.store import Store, bucket_sql
from ecommerce_platform.engines.translate import expression_to_spark, to_spark
from ecommerce_platform.errors import DefinitionError, PassingError
from ecommerce_platform.warehouse.changes import record_change, table_versions
from ecommerce_platform.warehouse.contract_checks import BlockedError
from ecommerce_platform.warehouse.sql_model import SqlModel, parse_model
from ecommerce_platform.warehouse.write import Written
from ecommerce_platform_tests.engines.parity import EQUAL, NEARLY, QUICK, SMALL, by_spark, jvms
from ecommerce_platform_tests.leftout import leave_out
from ecommerce_platform_tests.models.test_row_fixtures import CATALOG, CLAIMS, build
from ecommerce_platform_tests.warehouse.tiny_models import Item, Tiny

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONTRACTS = {name: table.contract for name, table in CATALOG.tables.items()}
#: Ten tables that together use most of what SELECTs use; all of them: test_all_tables.py.
TEN = (
    "gold.dim_product", "gold.fct_orders", "gold.fct_payments", "gold.rfm", "gold.kpi_brand_ranking", "gold.kpi_daily",
    "gold.revenue_by_segment", "gold.price_bands", "gold.product_affinity", "gold.sessions",
)  # fmt: skip


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    if missing := missing_for_spark():
        leave_out(*missing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", QUICK)
        yield from _session()


def _session() -> Iterator[SparkSession]:
    with session("local[2]", "1000m", SMALL) as found:
        yield found
    assert jvms() == 0


#: What each engine does by itself in its own way → what must come out of both. One expression per line.
SEMANTICS = {
    "1 / 2": 0.5,
    "cast(1 as decimal(18, 4)) / 3": 1 / 3,
    "7 // nullif(2, 0)": 3,
    "-7 // nullif(2, 0)": -3,
    "-7 % 3": -1,
    "cast(1 as integer) / nullif(0, 0)": None,
    "cast(cast(94.41975 as double) as decimal(18, 4))": Decimal("94.4197"),
    "cast(-1 / 8 as decimal(18, 2))": Decimal("-0.13"),
    "cast(cast(2.345 as decimal(18, 4)) as decimal(18, 2))": Decimal("2.35"),
    "cast(5 / 2 as integer)": 2,
    "cast(7 / 2 as bigint)": 4,
    "cast(cast(2.5 as decimal(5, 1)) + 0 as bigint)": 3,
    "round(-2.5)": Decimal(-3),
    "cast(date '2024-01-31' + interval 1 month as date)": date(2024, 2, 29),
    "date_diff('day', date '2024-02-28', date '2024-03-01')": 2,
    "cast(date_trunc('week', date '2024-03-03') as date)": date(2024, 2, 26),
    "timestamp '2024-03-31 02:30:00' + interval 30 minute": datetime(2024, 3, 31, 3, 0),
    "cast(timestamp '2024-10-27 23:59:59' as date)": date(2024, 10, 27),
    "strftime(date '2024-03-01', '%A %B %Y-%m')": "Friday March 2024-03",
    "'a' || cast(null as varchar)": None,
    "concat_ws(' ', 'a', cast(null as varchar), 'b')": "a b",
    "regexp_replace(lower('Éa-B  c'), '[^\\p{L}\\p{N}]+', ' ', 'g')": "éa b c",
    "greatest(1, cast(null as integer), 3)": 3,
    "least(cast(null as date), date '2024-01-01')": date(2024, 1, 1),
    "md5('ü')": md5("ü".encode()).hexdigest(),
}
#: The same with rows: VALUES of x (null, 1, 2, 2), in this order.
ROWS = {
    "select x from t order by x": [1, 2, 2, None],
    "select x from t order by x desc": [2, 2, 1, None],
    "select first_value(x) over (order by x desc rows unbounded preceding) from t limit 1": [2],
    "select avg(x) from t": [5 / 3],
    "select avg(cast(x as decimal(18, 4))) from t": [5 / 3],
    "select sum(x) filter (where x > 1) from t": [4],
    "select count(*) from t where x not in (1)": [2],
    "select median(cast(x as double)) from t": [2.0],
    "select string_agg(cast(x as varchar), ',' order by x desc) from t": ["2,2,1"],
    "select x from t group by x having count(*) > 1": [2],
    "select max(struct_pack(debit := -x, x := x)).x from t where x is not null": [1],
}


def test_what_engines_do_by_themselves_is_written_out(spark: SparkSession) -> None:
    one = ", ".join(f"{sql} as c{n}" for n, sql in enumerate(SEMANTICS))
    ours = duckdb.sql(f"select {one}").fetchall()[0]
    theirs = tuple(spark.sql(to_spark(f"select {one}")).collect()[0])
    for sql, duck, found, expected in zip(SEMANTICS, ours, theirs, SEMANTICS.values(), strict=True):
        assert duck == expected, f"DuckDB: {sql}"
        assert found == expected, f"Spark: {sql} → {expression_to_spark(sql)}"


@pytest.mark.parametrize("sql", ROWS)
def test_rows_come_in_the_same_order_and_sum_to_the_same(spark: SparkSession, sql: str) -> None:
    values = "with t as (select x from (values (null), (1), (2), (2)) as v (x)) "
    assert [row[0] for row in duckdb.sql(values + sql).fetchall()] == ROWS[sql]
    assert [row[0] for row in spark.sql(to_spark(values + sql)).collect()] == ROWS[sql]


def test_an_overflow_and_a_bad_cast_are_errors_not_nulls(spark: SparkSession) -> None:
    from pyspark.errors import ArithmeticException, NumberFormatException

    with pytest.raises(NumberFormatException):
        spark.sql(to_spark("select cast(x as integer) from (values ('a')) as v (x)")).collect()
    with pytest.raises(ArithmeticException):
        spark.sql(to_spark("select x + 1 from (values (9223372036854775807)) as v (x)")).collect()


@pytest.mark.parametrize("table", TEN)
def test_ten_tables_are_equal(spark: SparkSession, tmp_path: Path, table: str) -> None:
    claim = max((c for c in CLAIMS if c.table == table), key=lambda c: sum(map(len, c.given.values())))
    con, _ = build(claim)
    engine = SparkEngine(spark, Store(tmp_path), CONTRACTS)
    model = parse_model(CATALOG.tables[table], CATALOG.tables)
    assert con.execute(f"select count(*) from {table}").fetchall() != [(0,)]
    assert by_spark(con, engine, model, CONTRACTS) in (EQUAL, NEARLY)


def column(kind: str, **rules: object) -> Column:
    return Column(type=kind, description="Of a tiny table.", **rules)


CONTRACT = Contract(
    name="t", layer="gold", path=Path("t.yml"), description="A tiny table with a rule.", grain="one row per id and day",
    key=("id", "on_date"),
    columns={
        "id": column("VARCHAR", required=True), "on_date": column("DATE"), "seen_at": column("TIMESTAMP"),
        "amount": column("DECIMAL(18,4)", min=0), "share": column("DOUBLE"), "is_new": column("BOOLEAN"),
    },
    checks=(SqlCheck(name="no_zero", description="No amount is zero.", sql="select id from gold.t where amount = 0"),),
)  # fmt: skip


def rows(*values: tuple[str, int, int]) -> str:
    """A SELECT of rows (id, day of January, amount)."""
    listed = ", ".join(f"('{key}', {day}, {amount})" for key, day, amount in values)
    return (
        "select id, cast(date '2024-01-01' + cast(day - 1 as integer) as date) as on_date, "
        "timestamp '2024-01-01 10:00:00.123456' as seen_at, cast(amount as decimal(18, 4)) as amount, "
        f"amount / 4 as share, amount > 2 as is_new from (values {listed}) as v (id, day, amount)"
    )


@pytest.fixture(params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "spark":
        return SparkEngine(request.getfixturevalue("spark"), Store(tmp_path), {CONTRACT.table: CONTRACT})
    con = duckdb.connect()
    con.execute("create schema gold")
    con.execute(create_table_sql(CONTRACT))
    return DuckDbEngine(con)


def content(engine: Engine) -> list[tuple[str, int, Decimal]]:
    with engine.arrow("select id, on_date, amount, seen_at from gold.t order by id, on_date") as reader:
        found = reader.read_all().to_pylist()
    assert {row["seen_at"] for row in found} <= {datetime(2024, 1, 1, 10, 0, 0, 123456)}
    return [(row["id"], row["on_date"].day, row["amount"]) for row in found]


def test_both_engines_write_compare_and_check_alike(engine: Engine) -> None:
    written = engine.replace(CONTRACT, rows(("a", 1, 1), ("b", 1, 2), ("c", 1, 3)))
    assert (written.rows, [r.name for r in written.checks]) == (3, ["contract", "no_zero"])
    changed = rows(("b", 1, 5), ("c", 1, 3), ("d", 2, 4))
    assert engine.difference(CONTRACT, changed) == Differing(inserted=1, updated=1, deleted=1)
    written = engine.upsert(CONTRACT, changed)
    assert (written.rows, written.inserted, written.updated, written.deleted) == (4, 1, 1, 0)
    assert content(engine) == [("a", 1, 1), ("b", 1, 5), ("c", 1, 3), ("d", 2, 4)]
    assert all(result.passed for result in engine.checks(CONTRACT))
    for bad, why in ((("e", 1, 0), "no_zero"), (("e", 1, -1), "amount is at least 0")):
        with pytest.raises(BlockedError, match=why):
            engine.upsert(CONTRACT, rows(bad))
    with pytest.raises(BlockedError, match="unique key"):
        engine.replace(CONTRACT, rows(("a", 1, 1), ("a", 1, 2)))
    with pytest.raises(DefinitionError, match="amount"):
        engine.replace(CONTRACT, "select 'a' as id, date '2024-01-01' as on_date")
    assert content(engine) == [("a", 1, 1), ("b", 1, 5), ("c", 1, 3), ("d", 2, 4)]


def test_an_upsert_on_spark_writes_only_the_buckets_of_its_keys(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecommerce_platform.engines.store.ROWS_PER_BUCKET", 3)
    engine = SparkEngine(spark, Store(tmp_path), {CONTRACT.table: CONTRACT})
    many = [(f"k{n}", 1, 1) for n in range(12)]
    engine.replace(CONTRACT, rows(*many))
    engine.replace(CONTRACT, rows(*many))  # the number of buckets follows the version before
    before = engine.store.current(CONTRACT.table)
    engine.upsert(CONTRACT, rows(("k5", 1, 9)))
    after = engine.store.current(CONTRACT.table)
    assert before
    assert after
    assert (before.buckets, after.version, after.rows) == (4, 3, 12)
    bucket = duckdb.sql(f"select {bucket_sql(CONTRACT, 4)} from ({rows(('k5', 1, 9))})").fetchall()[0][0]
    assert {n for n in before.parts if before.parts[n].files != after.parts[n].files} == {bucket}
    assert ("k5", 1, 9) in content(engine)


def counts(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return dict(con.execute("select method, orders from gold.counts order by method").fetchall())


def test_the_warehouse_takes_over_what_spark_made_and_the_store_follows_its_ledger(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecommerce_platform.engines.gold.session", lambda *_: nullcontext(spark))
    pays, counted = CONTRACTS["silver.payments"], Contract(
        name="counts", layer="gold", path=Path("counts.yml"), description="Payments by method.", grain="one row per method",
        key=("method",), columns={"method": column("VARCHAR", required=True), "orders": column("BIGINT", max=9)},
    )  # fmt: skip
    model = SqlModel(
        Table(counted, "select method, count(*) as orders from silver.payments group by method", None), (pays.table,)
    )
    cluster = Cluster(tmp_path / "spark", "local[2]", "1000m", {pays.table: pays, counted.table: counted})
    con = duckdb.connect()
    con.execute("create schema silver; create schema gold")
    con.execute(create_table_sql(pays))

    def pay(*methods: str) -> None:
        for number, method in enumerate(methods):
            con.execute(
                "insert into silver.payments (order_id, payment_number, method) values (?, 1, ?)",
                [f"{method}{number}", method],
            )
        record_change(con, pays.table)

    def refresh() -> Written:
        return refresh_on_spark(lambda: nullcontext(con), cluster, model)

    pay("card", "card", "cash")
    first = refresh()
    assert (counts(con), first.inserted) == ({"card": 2, "cash": 1}, 3 - 1)
    made = cluster.store.current(counted.table)
    assert made
    assert made.state == str(table_versions(con)[counted.table].version)
    assert refresh().changed is False  # nothing new: nothing is made again
    assert cluster.store.current(counted.table) == made

    pay("cash", "voucher")
    second = refresh()
    assert (second.inserted, second.updated, second.deleted) == (1, 1, 0)
    assert counts(con) == {"card": 2, "cash": 2, "voucher": 1}

    # A rule that fails: neither the table nor the store has changed.
    made = cluster.store.current(counted.table)
    pay(*["gift"] * 10)
    with pytest.raises(BlockedError, match="orders is at most 9"):
        refresh()
    assert counts(con) == {"card": 2, "cash": 2, "voucher": 1}
    assert cluster.store.current(counted.table) == made

    # The folder is a copy: without it the next write makes it again.
    shutil.rmtree(tmp_path / "spark")
    con.execute("delete from silver.payments where method = 'gift'")
    pay("card")
    refresh()
    assert counts(con) == {"card": 3, "cash": 2, "voucher": 1}
    assert engine_rows(cluster, "select sum(orders) as n from gold.counts") == [6]


class OnSpark:
    """Two incremental tables, one below the other: kept up to date on Spark, and by a twin in DuckDB."""

    def __init__(self, folder: Path) -> None:
        self.tiny, self.twin = Tiny(folder / "models"), Tiny(folder / "twin")
        self.cluster = Cluster(folder / "spark", "local[2]", "1000m", self.tiny.contracts)
        self.store = self.cluster.store

    def items(self, items: list[Item]) -> None:
        for tiny in (self.tiny, self.twin):
            tiny.items(items)

    def prices(self, prices: dict[str, int]) -> None:
        for tiny in (self.tiny, self.twin):
            tiny.prices(prices)

    def refresh(self, table: str) -> Written:
        tiny = self.tiny
        return refresh_on_spark(
            lambda: nullcontext(tiny.con), self.cluster, tiny.models[table], tiny.incrementals[table],
            log=tiny.logs.get(table),
        )  # fmt: skip

    def converges(self) -> None:
        """Both tables are those of the twin, and what the store has of them is what its manifest says."""
        self.refresh("gold.lines")
        self.refresh("gold.totals")
        self.twin.refresh_all()
        for table in ("gold.lines", "gold.totals"):
            assert self.tiny.content(table) == self.twin.content(table)
            made = self.store.current(table)
            if made and made.state == str(table_versions(self.tiny.con)[table].version):
                rows = taken_over(self.tiny.contracts[table], self.store.files(made))
                ours = self.tiny.con.execute(f"select * from {table} order by all").fetchall()
                assert self.tiny.con.execute(f"{rows} order by all").fetchall() == ours


@pytest.fixture
def on_spark(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnSpark:
    monkeypatch.setattr("ecommerce_platform.engines.gold.session", lambda *_: nullcontext(spark))
    monkeypatch.setattr("ecommerce_platform.engines.store.ROWS_PER_BUCKET", 3)
    return OnSpark(tmp_path)


MANY: list[Item] = [(f"i{n}", f"o{n}", f"2024-01-{1 + n // 3:02}", "ab"[n % 2]) for n in range(9)]


def test_of_an_incremental_table_spark_works_out_and_writes_what_a_change_touches(on_spark: OnSpark) -> None:
    def with_last(day: str, product: str) -> list[Item]:
        return [*MANY[:5], ("i5", "o5", day, product)]

    on_spark.items(with_last("2024-01-02", "a"))
    on_spark.refresh("gold.lines")
    before = on_spark.store.current("gold.lines")
    on_spark.items(with_last("2024-01-31", "a"))
    written = on_spark.refresh("gold.lines")
    assert (written.rows, written.inserted, written.updated, written.deleted) == (6, 0, 1, 0)
    after = on_spark.store.current("gold.lines")
    assert before
    assert after
    assert (before.buckets, after.buckets, after.version) == (2, 2, before.version + 1)
    assert len([n for n in before.parts if before.parts[n].files != after.parts[n].files]) == 1
    # A change that reaches no key; one that reaches a key and changes no row, after which nothing staged is left.
    for prices, product in (({"a": 5, "b": 7, "c": 5}, "a"), ({"a": 5, "b": 7, "c": 5}, "c")):
        on_spark.prices(prices)
        on_spark.items(with_last("2024-01-31", product))
        assert on_spark.refresh("gold.lines").changed is False
        assert on_spark.store.current("gold.lines") == after
    assert on_spark.store.expire("gold.lines", writers=timedelta(0)) == 0
    on_spark.converges()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_whatever_changes_incremental_tables_on_spark_are_those_of_duckdb(on_spark: OnSpark, seed: int) -> None:
    rng, items, prices = random.Random(seed), {item[0]: item for item in MANY[:6]}, {"a": 5, "b": 7}
    for _ in range(8):
        for _ in range(rng.choice([1, 1, 3])):
            name = f"i{rng.randrange(9)}"
            if rng.random() < 0.3:
                items.pop(name, None)
            else:
                items[name] = (name, f"o{rng.randrange(5)}", f"2024-01-{rng.randrange(1, 5):02}", rng.choice("abc"))
        if rng.random() < 0.3:
            prices[rng.choice("abc")] = rng.randrange(1, 99)
        if rng.random() < 0.2:
            shutil.rmtree(on_spark.store.root, ignore_errors=True)  # a copy: it may go at any time
        on_spark.items(list(items.values()))
        on_spark.prices(prices)
        on_spark.converges()


def test_of_two_runs_that_work_out_the_same_keys_one_loses(on_spark: OnSpark, monkeypatch: pytest.MonkeyPatch) -> None:
    on_spark.items(MANY[:4])
    on_spark.converges()
    on_spark.items(MANY[:5])
    stage = SparkEngine.stage_touched

    def meanwhile(*given: Any) -> Any:
        found = stage(*given)
        on_spark.tiny.items(MANY[:6])
        on_spark.tiny.refresh("gold.lines")  # by DuckDB
        return found

    with monkeypatch.context() as patch:
        patch.setattr(SparkEngine, "stage_touched", meanwhile)
        with pytest.raises(PassingError, match=r"another run has written gold\.lines"):
            on_spark.refresh("gold.lines")
    on_spark.twin.items(MANY[:6])
    on_spark.converges()


def engine_rows(cluster: Cluster, select: str) -> list[int]:
    return [int(row["n"]) for row in cluster.engine.arrow(select).read_all().to_pylist()]
