"""Metrics as DAX. No engine for DAX is at hand: the same aggregates and filters are asked of DuckDB, as the model's relationships
would pass filters on, and must give what the KPI tables say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.serving.powerbi.dax import ROW, Aggregate, Translated, aggregate_of, translate
from ecommerce_platform.serving.powerbi.model import TABLES, columns_shown
from ecommerce_platform_tests.serving import shop
from ecommerce_platform_tests.warehouse.published import catalog

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Golden(SingleFileSnapshotExtension):
    """A file per template."""

    _write_mode = WriteMode.TEXT
    file_extension = "dax"


#: Template → a measure that is made by it.
TEMPLATES = {
    "sum": "delivery_days_total",
    "sum_with_fixed_filters": "revenue",
    "distinctcount": "orders_placed",
    "distinctcount_with_fixed_filters": "customers",
    "divide": "aov",
    "divide_of_terms": "nps_proxy",
}
#: How a row of a table sees the tables that filters come from.
SEEN = {
    "fct_order_items": "gold.fct_order_items as fct_order_items left join gold.fct_orders as fct_orders using (order_id)",
    "fct_orders": "gold.fct_orders as fct_orders",
    "reviews": "silver.reviews as reviews left join gold.fct_orders as fct_orders on reviews.order_id = fct_orders.order_id",
}


@pytest.fixture(scope="module")
def made() -> Translated:
    return translate(read_metrics(), catalog(), TABLES)


def as_sql(aggregate: Aggregate, month: str | None) -> str:
    """The same aggregate of the rows that the filters leave."""
    column = f"{aggregate.table}.{aggregate.column}"
    if aggregate.column == ROW:
        key = next(t.contract.key for t in catalog().tables.values() if t.contract.name == aggregate.table)
        column = "(" + ", ".join(f"{aggregate.table}.{name}" for name in key) + ")"
    counted = f"sum({column})" if aggregate.function == "SUM" else f"count(distinct {column})"
    where = ["true"]
    for table, name, test in aggregate.filters:
        where.append(f"{table}.{name} {'is not null' if test == 'known' else '' if test == 'true' else test}")
    if month:
        where.append(f"date_trunc('month', fct_orders.order_date) = date '{month}'")
    return f"select {counted} as value from {SEEN[aggregate.table]} where {' and '.join(where)}"


def worked_out(made: Translated, name: str, con: DuckDBPyConnection, month: str | None) -> Any:
    """What a measure gives, over everything or in a month."""
    measure = made.measures[name]
    if measure.aggregate:
        return (con.execute(as_sql(measure.aggregate, month)).fetchone() or (0,))[0] or 0
    assert measure.ratio
    parts = {
        m: float(worked_out(made, m, con, month)) for m in made.measures if any(f"{{{m}}}" in r for r in measure.ratio)
    }
    over, under = (eval(text.format(**parts), {}) for text in measure.ratio)
    return over / under if under else None


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_writes_what_was_recorded(template: str, made: Translated, snapshot: SnapshotAssertion) -> None:
    golden = snapshot.use_extension(Golden)
    name = TEMPLATES[template]
    if name == "orders_placed":  # no metric of today is that plain
        found = aggregate_of({"orders": "count(*)"}, catalog(), {"fct_orders"})
        assert isinstance(found, Aggregate)
        assert found.dax() + "\n" == golden
    else:
        assert made.dax(made.measures[name]) + "\n" == golden


def test_every_metric_is_a_measure_or_named_with_a_reason(made: Translated) -> None:
    assert set(made.shown()) | set(made.left_out) == set(read_metrics().metrics)
    assert not set(made.shown()) & set(made.left_out)
    assert set(made.left_out) == {
        "new_customers", "repeat_purchase_rate", "churn_rate", "historic_clv", "historic_clv_profit", "refund_amount", "fee_amount", "profit_after_fees",
        "revenue_share", "revenue_growth", "revenue_growth_yoy",
    }  # fmt: skip


@pytest.mark.parametrize(
    "sql", ["median(orders.units)", "count(*) filter (where orders.units = orders.valid_lines)", "sum(a.b) + 1"]
)
def test_what_fits_no_template_is_refused_with_its_text(sql: str) -> None:
    assert aggregate_of({"orders": sql}, catalog(), {"fct_orders"}) == f"no template for {sql}"


def test_measures_read_columns_that_the_model_shows(made: Translated) -> None:
    shown = {t.partition(".")[2]: {*columns_shown(catalog().contract(t)), ROW} for t in TABLES}
    for measure in made.measures.values():
        if a := measure.aggregate:
            for table, column in ((a.table, a.column), *((t, c) for t, c, _ in a.filters)):
                assert column in shown[table], (measure.name, table, column)


def test_measures_are_the_summary_s_figures(made: Translated, served: shop.Served) -> None:
    row = served.rows("select * from gold.kpi_summary")[0]
    compared = [name for name in made.shown() if name in row]
    assert {"revenue", "orders", "customers", "aov", "avg_review_score", "on_time_rate"} <= set(compared)
    with served.plain() as con:
        found = {name: worked_out(made, name, con, None) for name in compared}
    for name in compared:
        expected = None if row[name] is None else float(row[name])
        assert found[name] == pytest.approx(expected or 0 if name not in _RATIOS else expected, abs=1e-4)


def test_measures_are_each_month_s_figures(made: Translated, served: shop.Served) -> None:
    rows = served.rows("select * from gold.kpi_monthly order by month")
    assert len(rows) == 4
    with served.plain() as con:
        for row in rows:
            for name in (n for n in made.shown() if n in row):
                found = worked_out(made, name, con, str(row["month"]))
                expected = row[name] if name in _RATIOS else row[name] or 0
                assert found == (None if expected is None else pytest.approx(float(expected), abs=1e-4)), (
                    row["month"],
                    name,
                )


_RATIOS = {name for name, metric in read_metrics().metrics.items() if " / " in (metric.formula or "")}
