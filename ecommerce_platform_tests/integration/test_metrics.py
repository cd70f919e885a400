"""Metrics as they are defined once give what the KPI tables hold, on every built-in shop.

The tables are written out by hand, the metrics are compiled from `models/metrics`: neither is made from the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.metric_sql import Filter, Query, compile_query
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.errors import MetricError
from ecommerce_platform.reading.drivers import Periods, revenue_drivers
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.driver import Driver

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

pytestmark = pytest.mark.shops

METRICS = read_metrics()
EXPORTS = ("olist", "marketplace", "pet_retail")
SHOPS = ["synthetic", *(pytest.param(name, marks=pytest.mark.long) for name in EXPORTS)]
DIMENSIONS = read_catalog().contract("gold.kpi_by_dimension").columns["dimension"].accepted or ()
#: What stands in a KPI table beside metrics: keys, marks, and the parts that rates are made of.
PARTS = set(METRICS.measures) - set(METRICS.metrics)
NO_METRICS = {"order_date", "month", "is_complete", "source", "currency", "first_date", "last_date", *PARTS}
ADDITIVE = ("revenue", "gross_amount", "discount_amount", "units", "cost_amount", "net_profit")


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Driver]:
    """Gives the built shop of a source; each is built once."""

    @cache
    def build(source: str) -> Driver:
        folder = tmp_path_factory.mktemp(f"metrics-{source}-")
        if source == "synthetic":
            generate_shop(folder, orders=2000, days=430, seed=21, dirty_share=0.01)
        else:
            export = request.getfixturevalue("test_data") / source
            shutil.copytree(export, folder / "raw" / "2026-01-01")
        driver = Driver.of(source, folder)
        driver.build()
        return driver

    return build


@pytest.fixture
def con(shops: Callable[[str], Driver], request: pytest.FixtureRequest) -> Iterator[DuckDBPyConnection]:
    with shops(request.param).connect() as con:
        yield con


def rows(con: DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    found = con.execute(sql)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def ask(con: DuckDBPyConnection, *metrics: str, **query: Any) -> list[dict[str, Any]]:
    return rows(con, compile_query(METRICS, Query(metrics, **query)))


def same(found: Any, expected: Any) -> bool:
    if found is None or expected is None:
        return found is expected
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, rel=1e-9, abs=1e-12))
    return bool(found == expected)


def differing(found: list[dict[str, Any]], expected: list[dict[str, Any]], keys: list[str]) -> list[Any]:
    """(key, metric, compiled, stored) wherever they differ; a row that only the compiled has must say nothing."""
    compiled = {tuple(row[k] for k in keys): row for row in found}
    stored = {tuple(row[k] for k in keys): row for row in expected}
    wrong: list[Any] = [(key, "is missing") for key in stored.keys() - compiled.keys()]
    for key, row in stored.items():
        for name, value in row.items():
            if key in compiled and not same(compiled[key][name], value):
                wrong.append((key, name, compiled[key][name], value))
    for key in compiled.keys() - stored.keys():
        said = {n: compiled[key][n] for n in ("orders", "revenue", "units", "reviews") if n in compiled[key]}
        wrong += [(key, "is too much", said)] if any(said.values()) else []
    return sorted(wrong, key=str)


def stored_metrics(table: str, without: tuple[str, ...] = ()) -> list[str]:
    names = [n for n in read_catalog().contract(table).columns if n not in NO_METRICS and n not in without]
    assert set(names) <= set(METRICS.metrics), f"{table} has columns that no metric defines"
    return names


@pytest.mark.parametrize("con", SHOPS, indirect=True)
@pytest.mark.parametrize(
    ("table", "key", "period", "empty"),
    [
        ("gold.kpi_daily", "order_date", "day", ("churn_rate",)),
        ("gold.kpi_monthly", "month", "month", ()),
        ("gold.kpi_summary", None, None, ("churn_rate", "revenue_growth")),
    ],
)
def test_every_column_of_the_kpi_tables_is_what_its_metric_gives(
    con: DuckDBPyConnection, table: str, key: str | None, period: str | None, empty: tuple[str, ...]
) -> None:
    names = stored_metrics(table, empty)
    columns = ", ".join([f"{key} as period"] if key else []) + (", " if key else "") + ", ".join(names)
    expected = rows(con, f"select {columns} from {table}")
    assert expected
    assert differing(ask(con, *names, period=period), expected, ["period"] if key else []) == []
    for name in empty:
        assert con.execute(f"select count({name}) from {table}").fetchall() == [(0,)]
        with pytest.raises(MetricError, match=name):
            compile_query(METRICS, Query((name,), period=period))


@pytest.mark.parametrize("con", SHOPS, indirect=True)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_column_of_kpi_by_dimension_is_what_its_metric_gives(con: DuckDBPyConnection, dimension: str) -> None:
    names = [n for n in read_catalog().contract("gold.kpi_by_dimension").columns if n in METRICS.metrics]
    expected = rows(
        con,
        f"select month as period, value, {', '.join(names)} from gold.kpi_by_dimension where dimension = '{dimension}'",
    )
    found = ask(con, *names, by=(dimension,), period="month")
    for row in found:
        row["value"] = row.pop(dimension)
    assert expected
    assert differing(found, expected, ["period", "value"]) == []


@pytest.mark.parametrize("con", SHOPS, indirect=True)
def test_growth_of_categories_year_over_year_is_that_of_its_table(con: DuckDBPyConnection) -> None:
    expected = rows(
        con,
        "select month as period, category, revenue, revenue_growth as revenue_growth_yoy from gold.kpi_category_yoy",
    )
    found = ask(con, "revenue", "revenue_growth_yoy", by=("category",), period="month")
    assert expected
    assert differing(found, expected, ["period", "category"]) == []


def lag(day: date, period: str, years: int) -> date:
    """The first day of the period before, or of the same one `years` before."""
    if years:
        return day.replace(year=day.year - years)
    months = {"month": 1, "quarter": 3, "year": 12}[period]
    return date(day.year + (day.month - 1 - months) // 12, (day.month - 1 - months) % 12 + 1, 1)


@pytest.mark.parametrize("con", SHOPS, indirect=True)
@pytest.mark.parametrize("period", ["month", "quarter", "year"])
@pytest.mark.parametrize(("name", "years"), [("revenue_growth", 0), ("revenue_growth_yoy", 1)])
def test_growth_is_against_the_period_before_and_of_whole_periods_only(
    con: DuckDBPyConnection, name: str, years: int, period: str
) -> None:
    found = {row["period"]: row for row in ask(con, "revenue", name, period=period)}
    for day, row in found.items():
        before = found.get(lag(day, period, years))
        whole = row["is_complete"] and before and before["is_complete"] and before["revenue"]
        assert same(row[name], float(row["revenue"] / before["revenue"]) - 1 if whole and before else None), day
    assert period != "month" or any(row[name] is not None for row in found.values())


@pytest.mark.parametrize("con", SHOPS, indirect=True)
def test_the_change_between_any_two_months_is_split_to_the_last_cent(con: DuckDBPyConnection) -> None:
    months = con.execute(
        "select cast(date_trunc('month', order_date) as date) as month, last_day(month), sum(revenue_amount) "
        "from gold.fct_orders where order_date is not null group by month order by month"
    ).fetchall()
    pairs = list(permutations(months, 2))
    parts = revenue_drivers(con, [Periods(*before[:2], *after[:2]) for before, after in pairs])
    sums: dict[str, Decimal] = {}
    for row in parts.iter_rows(named=True):
        sums[row["comparison"]] = sums.get(row["comparison"], Decimal(0)) + (row["amount"] or 0)
    assert len(pairs) >= 100
    assert sums == {str(n): after[2] - before[2] for n, (before, after) in enumerate(pairs)}


@pytest.mark.parametrize("con", SHOPS, indirect=True)
@pytest.mark.parametrize("period", ["week", "month", "quarter", "year"])
def test_sums_over_any_crossing_and_period_are_the_whole(con: DuckDBPyConnection, period: str) -> None:
    (whole,) = ask(con, *ADDITIVE)
    for by in (
        ("category", "channel", "segment"),
        ("region", "weekday"),
        ("brand", "hour"),
        ("cohort", "payment_method"),
    ):
        found = ask(con, *ADDITIVE, by=by, period=period)
        for name in ADDITIVE:
            values = [row[name] for row in found if row[name] is not None]
            assert sum(values, Decimal(0)) == (whole[name] or 0), (by, name)


#: From what one drills down to what: category → product, region → city, segment → age group …
DRILLED = [(dimension.within, name) for name, dimension in METRICS.dimensions.items() if dimension.within]


@pytest.mark.parametrize("con", SHOPS, indirect=True)
@pytest.mark.parametrize(("coarse", "fine"), DRILLED)
def test_what_is_drilled_into_adds_up_to_what_it_was(con: DuckDBPyConnection, coarse: str, fine: str) -> None:
    assert {("category", "product"), ("region", "city"), ("segment", "age_group")} <= set(DRILLED)
    whole = {row[coarse]: row for row in ask(con, *ADDITIVE, by=(coarse,))}
    sums: dict[str, dict[str, Decimal]] = {value: dict.fromkeys(ADDITIVE, Decimal(0)) for value in whole}
    for row in ask(con, *ADDITIVE, by=(coarse, fine)):
        for name in ADDITIVE:
            sums[row[coarse]][name] += row[name] or 0
    assert sums == {value: {name: row[name] or 0 for name in ADDITIVE} for value, row in whole.items()}


@pytest.mark.parametrize("con", SHOPS, indirect=True)
@pytest.mark.parametrize(
    ("coarse", "fine", "begins"),
    [("year", "quarter", "year"), ("quarter", "month", "quarter"), ("month", "day", "month")],
)
@pytest.mark.parametrize("by", [(), ("channel",), ("region", "city"), ("category",)])
def test_shorter_periods_add_up_to_the_longer(
    con: DuckDBPyConnection, coarse: str, fine: str, begins: str, by: tuple[str, ...]
) -> None:
    def totals(period: str) -> dict[Any, Any]:
        query = compile_query(METRICS, Query(ADDITIVE, by=by, period=period))
        names = ", ".join([f"cast(date_trunc('{begins}', period) as date) as period", *by])
        sums = ", ".join(f"coalesce(sum({name}), 0) as {name}" for name in ADDITIVE)
        found = rows(con, f"select {names}, {sums} from ({query}) as cut group by all having sum(revenue) <> 0")
        return {tuple(row[n] for n in ("period", *by)): [row[n] for n in ADDITIVE] for row in found}

    assert totals(fine) == totals(coarse) != {}


@pytest.mark.parametrize("con", SHOPS, indirect=True)
def test_distinct_customers_of_coarser_cuts_are_counted_and_not_added_up(con: DuckDBPyConnection) -> None:
    counted = rows(
        con,
        "select cast(date_trunc('quarter', order_date) as date) as period, count(distinct person_id) as customers "
        "from gold.fct_orders where is_counted group by 1 having count(distinct person_id) > 0",
    )
    assert differing(ask(con, "customers", period="quarter"), counted, ["period"]) == []


@pytest.mark.parametrize("con", SHOPS, indirect=True)
def test_a_filter_leaves_what_its_value_has_in_the_cut(con: DuckDBPyConnection) -> None:
    names = ("revenue", "orders", "customers", "avg_review_score", "avg_delivery_days", "refund_amount")
    for dimension, asked in (("category", names[:5]), ("payment_method", names)):
        cut = ask(con, *asked, by=(dimension,))
        value = cut[0][dimension]
        assert ask(con, *asked, filters=(Filter(dimension, (value,)),)) == [{n: cut[0][n] for n in asked}]
        rest = ask(con, "revenue", filters=(Filter(dimension, (value,), exclude=True),))
        assert rest[0]["revenue"] == sum(row["revenue"] for row in cut[1:])


@pytest.mark.parametrize("con", SHOPS, indirect=True)
def test_a_range_gives_the_figures_of_its_months_and_a_month_cut_short_has_no_growth(con: DuckDBPyConnection) -> None:
    names = ("revenue", "customers", "repeat_purchase_rate", "churn_rate", "historic_clv", "revenue_growth")
    months = ask(con, *names, period="month")
    inside = [row for row in months if row["is_complete"]][2:6]
    since = inside[0]["period"]
    end = con.execute("select last_day(?)", [inside[-1]["period"]]).fetchall()[0][0]
    asked = ask(con, *names, period="month", since=since, until=end)
    assert [row for row in asked if row["period"] <= inside[-1]["period"]] == [
        row for row in months if since <= row["period"] <= inside[-1]["period"]
    ]
    cut = ask(con, *names, period="month", since=since, until=end.replace(day=20))[-1]
    assert (cut["period"], cut["is_complete"], cut["revenue_growth"]) == (inside[-1]["period"], False, None)
    assert cut["revenue"] < inside[-1]["revenue"]


def weeks(con: DuckDBPyConnection, column: str) -> list[tuple]:
    return con.execute(
        f"select week, sum({column}) from gold.kpi_daily inner join gold.dim_date on order_date = calendar_date "
        "group by week order by week"
    ).fetchall()


@pytest.mark.parametrize("con", SHOPS, indirect=True)
def test_weeks_are_those_of_the_calendar(con: DuckDBPyConnection) -> None:
    found = ask(con, "revenue", "new_customers", period="week")
    shown = [row for row in found if row["revenue"] or row["new_customers"]]
    for name in ("revenue", "new_customers"):
        assert {row["period"]: row[name] for row in shown if row[name]} == {w: v for w, v in weeks(con, name) if v}
    assert {row["period"].weekday() for row in found} == {0}
    ((first,),) = con.execute("select min(calendar_date) from gold.dim_date").fetchall()
    assert {row["is_complete"] for row in found} == {True, False}
    assert not any(row["is_complete"] for row in found if row["period"] < first)


def test_a_shop_without_times_has_no_hours(shops: Callable[[str], Driver], tmp_path: Path) -> None:
    with shops("synthetic").connect() as con:
        assert len(ask(con, "orders", by=("hour",))) == 24
        con.execute("begin")
        con.execute("update gold.fct_orders set ordered_at = cast(order_date as timestamp)")
        found = ask(con, "orders", by=("hour",))
        con.execute("rollback")
    assert [row["hour"] for row in found] == ["unknown"]
