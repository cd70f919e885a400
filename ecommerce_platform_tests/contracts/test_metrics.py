"""What may be asked of metrics, what is refused and why; and that nothing a reader asks for is ever read as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.metric_sql import Filter, Query, compile_query, literal
from ecommerce_platform.contracts.metrics import PERIODS, read_metrics
from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.errors import DefinitionError, MetricError
from ecommerce_platform.warehouse.sql_lint import lint_sql

METRICS = read_metrics()
HOSTILE = [
    "x'; drop table gold.fct_orders; --",
    "' or '1'='1",
    "\\'",
    "a''b",
    "/* */",
    "%'--",
    "{revenue}",
    "O'Brien",
    "🜚",
    "",
]


def allowed(name: str, dimensions: tuple[str, ...], period: str | None) -> bool:
    try:
        METRICS.check_cut(name, dimensions, period)
    except MetricError:
        return False
    return True


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """All tables, with a single order in them."""
    with duckdb.connect() as con:
        for schema in ("bronze", "silver", "gold", "ml"):
            con.execute(f"create schema {schema}")
        for table in read_catalog().tables.values():
            con.execute(create_table_sql(table.contract))
        con.execute("insert into silver.shop values ('fixture', 'EUR', 'Europe/Berlin', date '2024-01-01', 90, 5)")
        con.execute(
            "insert into gold.fct_orders (order_id, person_id, order_date, ordered_at, status, is_valid, is_counted, channel, "
            "valid_lines, cost_known_lines, units, gross_amount, discount_amount, revenue_amount) values "
            "('o1', 'a', date '2024-03-01', timestamp '2024-03-01 09:30:00', 'delivered', true, true, 'O''Brien', 1, 0, 2, 20, 1, 19)"
        )
        yield con


@pytest.mark.parametrize(
    ("dimension", "period"), [*((d, "month") for d in METRICS.dimensions), *(("segment", p) for p in (*PERIODS, None))]
)
def test_every_cut_that_is_allowed_is_one_portable_select_that_runs(
    con: duckdb.DuckDBPyConnection, dimension: str, period: str | None
) -> None:
    names = tuple(name for name in METRICS.metrics if allowed(name, (dimension,), period))
    other = next(n for n, d in METRICS.dimensions.items() if d.level == "person" and n != dimension)
    query = Query(
        names, (dimension,), period, (Filter(other, ("x",), exclude=True), Filter(dimension, ("y",), exclude=True)),
        date(2024, 1, 1), date(2024, 12, 31),
    )  # fmt: skip
    sql = compile_query(METRICS, query)
    assert lint_sql(sql) == []
    assert tables_read(sql) <= read_catalog().tables.keys()
    found = con.execute(sql)
    columns = [column[0] for column in found.description or ()]
    marks = {None: [], "day": ["period"]}.get(period, ["period", "is_complete"])
    assert columns == [*marks, dimension, *names]


def test_figures_have_the_type_of_their_format(con: duckdb.DuckDBPyConnection) -> None:
    names = tuple(METRICS.metrics)
    described = con.execute(f"describe {compile_query(METRICS, Query(names, ('channel',)[:0], 'month'))}").fetchall()
    types = {row[0]: row[1] for row in described}
    kinds = {"money": "DECIMAL(18,4)", "count": "BIGINT"}
    assert {n: types[n] for n in names} == {n: kinds.get(m.format, "DOUBLE") for n, m in METRICS.metrics.items()}


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_compared_and_never_read_as_sql(con: duckdb.DuckDBPyConnection, value: str) -> None:
    sql = compile_query(METRICS, Query(("orders",), ("channel",), filters=(Filter("channel", (value,)),)))
    assert tables_read(sql) == {"gold.fct_orders"}
    assert con.execute(sql).fetchall() == ([("O'Brien", 1)] if value == "O'Brien" else [])
    assert con.execute(f"select {literal(value)}").fetchall() == [(value,)]


@pytest.mark.parametrize("value", ["a\x00b", 5, None])
def test_what_is_no_text_is_no_value(value: object) -> None:
    with pytest.raises(MetricError, match="no value"):
        literal(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["revenue; drop table x", "revenue)", "", "revenu"])
def test_a_name_that_is_not_defined_is_refused(name: str) -> None:
    for query in (Query((name,)), Query(("revenue",), (name,)), Query(("revenue",), filters=(Filter(name, ("x",)),))):
        with pytest.raises(MetricError, match="there is no"):
            compile_query(METRICS, query)
    with pytest.raises(MetricError, match="there is no period"):
        compile_query(METRICS, Query(("revenue",), period=name))


@pytest.mark.parametrize("metric", ["repeat_purchase_rate", "churn_rate", "historic_clv", "new_customers"])
@pytest.mark.parametrize("dimension", ["channel", "category", "weekday", "region"])
def test_what_is_said_of_persons_is_cut_only_by_what_is_fixed_for_them(metric: str, dimension: str) -> None:
    for query in (
        Query((metric,), (dimension,), "month"),
        Query((metric,), (), "month", (Filter(dimension, ("x",)),)),
    ):
        with pytest.raises(MetricError, match="several values of " + dimension):
            compile_query(METRICS, query)
    assert all(allowed(metric, (d,), "month") for d in ("segment", "age_group", "customer_region", "cohort"))


def test_money_of_whole_orders_is_not_split_over_their_lines() -> None:
    with pytest.raises(MetricError, match=r"refund_amount cannot be cut by category: .*whole orders"):
        compile_query(METRICS, Query(("refund_amount",), ("category",)))


@pytest.mark.parametrize(
    ("metric", "over", "reason"),
    [
        ("customers", "category", "same customer may stand in several values of category"),
        ("customers", "time", "same customer may stand in several periods"),
        ("customers", "channel", "same customer may stand in several values of channel"),
        ("orders", "category", "one of the orders may stand in several values of category"),
        ("aov", "channel", "ratio"),
        ("repeat_purchase_rate", "segment", "ratio"),
        ("historic_clv", "time", "ratio"),
    ],
)
def test_adding_up_what_would_count_twice_is_refused_with_the_reason(metric: str, over: str, reason: str) -> None:
    with pytest.raises(MetricError, match=f"{metric} cannot be added up over .*{reason}"):
        METRICS.check_sum(metric, over)


@pytest.mark.parametrize(
    ("metric", "over"),
    [
        ("revenue", "category"),
        ("revenue", "time"),
        ("orders", "channel"),
        ("customers", "segment"),
        ("new_customers", "time"),
    ],
)
def test_what_adds_up_may_be_added_up(metric: str, over: str) -> None:
    METRICS.check_sum(metric, over)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(()), "no metric"),
        (Query(("revenue", "revenue")), "asked for twice"),
        (Query(("revenue",), ("channel", "channel")), "asked for twice"),
        (Query(("revenue",), since=date(2024, 2, 1), until=date(2024, 1, 1)), "after its end"),
        (Query(("revenue",), filters=(Filter("channel", ()),)), "names no value"),
        (Query(("churn_rate",), period="day"), "cannot be asked for by day"),
        (Query(("revenue_growth",)), "everything at once"),
    ],
)
def test_a_query_that_says_nothing_is_refused(query: Query, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        compile_query(METRICS, query)


def test_the_metrics_of_the_model_are_there() -> None:
    """The columns of the KPI tables, by name: readers rely on them."""
    assert {
        "orders", "customers", "new_customers", "units", "gross_amount", "discount_amount", "revenue", "cost_amount",
        "net_profit", "aov", "revenue_growth", "repeat_purchase_rate", "churn_rate", "cost_known_share", "refund_amount",
        "reviews", "avg_review_score", "nps_proxy", "avg_satisfaction_score", "on_time_rate", "avg_delivery_days",
    } <= METRICS.metrics.keys()  # fmt: skip


METRIC = "  m: {label: M, description: Some metric., format: count, better: more, "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics:\n" + METRIC + "formula: '{nothing}'}\n", "no measure 'nothing'"),
        ("metrics:\n" + METRIC + "share_of: nothing}\n", "no metric of a single measure"),
        ("metrics:\n" + METRIC + "formula: '1', churn: true}\n", "exactly one of"),
        ("metrics:\n" + METRIC + "formule: '1'}\n", "did you mean formula"),
        ("measures:\n  m: {description: Some measure., aggregate: {nowhere: count(*)}}\n", "no fact 'nowhere'"),
        ("dimensions:\n  period: {label: P, description: Some cut., level: order, sql: x}\n", "taken"),
    ],
)
def test_a_definition_that_does_not_fit_names_its_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yml").write_text(text)
    with pytest.raises(DefinitionError, match=message) as raised:
        read_metrics(tmp_path)
    assert "mine.yml" in str(raised.value)


def test_a_name_that_is_defined_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text("metrics:\n" + METRIC + "formula: '1'}\n")
    with pytest.raises(DefinitionError, match="defined twice"):
        read_metrics(tmp_path)
