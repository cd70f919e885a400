"""Every SELECT stays in the subset that a distributed engine reads as DuckDB does, and the lint sees what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

import ecommerce_platform
from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.warehouse.sql_lint import RECURSION, lint_sql

PACKAGE = Path(ecommerce_platform.__file__).parent
FILES = sorted(path for folder in ("models", "sources") for path in (PACKAGE / folder).rglob("*.sql"))
NOT_ON_SPARK = {table.sql_path: table.contract.not_on_spark for table in read_catalog().tables.values() if table.sql}

#: Construct → a word of the message that must come of it.
REFUSED = {
    "select date_diff('day', ordered_at, delivered_at) as d from silver.orders": "cast both to date",
    "select date_diff('day', order_date, delivered_at) as d from silver.orders": "cast both to date",
    "select datediff('day', ordered_at, cast(delivered_at as date)) as d from silver.orders": "cast both to date",
    "select date_diff('day', coalesce(order_date, ordered_at), as_date(b)) as d from t": "cast both to date",
    "select date_diff('day', cast(a as timestamp), cast(b as date)) as d from t": "cast both to date",
    "select median(amount) as m from silver.payments": "cast it to double",
    "select median(cast(amount as decimal(18, 4))) as m from silver.payments": "cast it to double",
    "select list(method order by amount) as m from silver.payments": "loses its order",
    "select array_agg(method order by amount) as m from silver.payments": "loses its order",
    "select regexp_matches(name, 'iphone', 'i') as m from silver.products": "(?i)",
    "select regexp_extract(name, 'iphone', 0, 'i') as m from silver.products": "(?i)",
    "select regexp_full_match(name, 'iphone', 'i') as m from silver.products": "(?i)",
    "select regexp_replace(name, 'a', 'b') as m from silver.products": "without 'g'",
    "select regexp_replace(name, 'a', 'b', 'gi') as m from silver.products": "(?i)",
    "select dayofweek(ordered_at) as d from silver.orders": "weekdays",
    "select isodow(ordered_at) as d from silver.orders": "weekdays",
    "select extract(dow from ordered_at) as d from silver.orders": "weekdays",
    "select extract(isodow from ordered_at) as d from silver.orders": "weekdays",
    "select date_part('dow', ordered_at) as d from silver.orders": "weekdays",
    "select weekday(ordered_at) as d from silver.orders": "weekdays",
    "select monthname(ordered_at) as m from silver.orders": "strftime",
    "select dayname(ordered_at) as m from silver.orders": "strftime",
    "select percentile_cont(0.5) within group (order by amount) as m from silver.payments": "within group",
    "select quantile_cont(amount, 0.9) as q from silver.payments": "quantiles",
    "select quantile(amount, 0.9) as q from silver.payments": "quantiles",
    "select mode(method) as m from silver.payments": "ties",
    "select hash(order_id) as h from silver.orders": "md5",
    "select i from generate_series(1, 10) as s (i)": "series",
    "select i from range(10) as s (i)": "series",
    "select a.x from a cross join range(10) as s (i)": "series",
    "pivot silver.payments on method using sum(amount)": "pivot",
    "select * from silver.payments pivot (sum(amount) for method in ('card'))": "pivot",
    "select * from t unpivot (v for k in (a, b))": "pivot",
    "select a.x from a asof join b on a.t >= b.t": "asof",
    "select * replace (upper(name) as name) from silver.products": "* replace",
    "select a from t union all by name select a from u": "by name",
    "select time_bucket(interval 1 week, ordered_at) as w from silver.orders": "time_bucket",
    "select len(names) as n from t": "len()",
    "select revenue / orders as aov from gold.kpi_daily": "nullif",
    "select revenue / sum(revenue) over () as share from gold.kpi_daily": "nullif",
    "select revenue / (orders + 1) as x from gold.kpi_daily": "nullif",
    "select revenue / nullif(orders, 1) as x from gold.kpi_daily": "nullif",
    "select revenue / 0 as x from gold.kpi_daily": "nullif",
    "select units // orders as x from gold.kpi_daily": "nullif",
    "select units % orders as x from gold.kpi_daily": "nullif",
    "select order_date - first_date as d from gold.t": "use date_diff",
    "with recursive r as (select 1 as n union all select max(n) + 1 from r where n < 9) select n from r": "not_on_spark",
    "with recursive r as (select 1 as n union all select n + 1 from r group by n) select n from r": "not_on_spark",
    "select from where": "not valid SQL",
}

ALLOWED = [
    "select date_diff('day', order_date, cast(delivered_at as date)) as d from t",
    "select date_diff('day', lag(order_date) over (order by order_date), order_date) as d from t",
    "select date_diff('day', min(order_date), max(order_date)) + 1 as d from t",
    "select date_diff('day', date '2024-01-01', coalesce(end_date, start_date + 30)) as d from t",
    "select date_diff('day', as_date(a), as_date(b)) as d from bronze.x",
    "select median(cast(amount as double)) as m, median(as_double(latitude)) as n from t",
    "select string_agg(method, ',' order by amount) as m, list(method) as n from t",
    "select regexp_matches(name, '(?i)iphone') as m, regexp_replace(name, 'i', 'g', 'g') as n from t",
    "select extract(year from d) as y, extract(week from d) as w, strftime(d, '%A') as n from t",
    "select i from unnest(generate_series(1, 10)) as s (i)",
    "select length(name) as n, array_length(names) as m from t",
    "select revenue / nullif(orders, 0) as a, revenue / 2 as b, revenue / cast(nullif(orders, 0) as double) as c from t",
    "select 100 * a / -2.5 as a, b % 7 as b, c // nullif(d, 0) as c from t",
    "select arg_max(a, b) as a, count(*) filter (where c) as n from t group by all qualify row_number() over () = 1",
    "select a, mode(b order by b) as m from t group by a",
    "select order_date - 3 as d, order_date - interval 1 day as e from t",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 9) select sum(n) as n from r",
    "with r as (select a from silver.r group by a) select a from r",
    "select * exclude (a) from t -- mode(x) and len(y) in a comment",
    "select 'hash(x) / y' as text from t",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_select_is_portable_or_says_why_not(path: Path) -> None:
    found = lint_sql(path.read_text(encoding="utf-8"))
    if NOT_ON_SPARK.get(path):
        assert found, f"{path.with_suffix('.yml')} says not_on_spark, and nothing here needs it"
        found = [(line, message) for line, message in found if message != RECURSION]
    assert [f"{path}:{line}: {message}" for line, message in found] == []


def test_there_are_selects_to_look_at() -> None:
    assert {path.relative_to(PACKAGE).parts[0] for path in FILES} == {"models", "sources"}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_another_engine_reads_differently_is_refused(sql: str) -> None:
    messages = [message for _, message in lint_sql(sql)]
    assert any(REFUSED[sql] in message for message in messages), messages


@pytest.mark.parametrize("sql", ALLOWED)
def test_what_every_engine_reads_alike_passes(sql: str) -> None:
    assert lint_sql(sql) == []


def test_findings_name_their_line_in_order() -> None:
    sql = "select\n    a,\n    revenue / orders as aov,\n    hash(a) as h,\n    len(b) as n\nfrom t\n"
    assert [line for line, _ in lint_sql(sql)] == [3, 4, 5]
