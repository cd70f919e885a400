"""Bounds of KPIs: what breaks them, and mistakes in them answered with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest
import yaml

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.kpi_alert import KpiAlert
from ecommerce_platform.contracts.source import builtin_sources
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.quality.kpi_alerts import Anomaly, Breach, anomalies, breaches
from ecommerce_platform.settings import read_settings

CONTRACTS = {name: table.contract for name, table in read_catalog().tables.items()}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as con:
        con.execute("""create schema gold;
            create table gold.kpi_daily (order_date date, revenue decimal(18, 4), orders bigint, on_time_rate double);
            insert into gold.kpi_daily values
                ('2024-02-28', 900, 9, 0.5), ('2024-03-01', 1500, 15, 0.75), ('2024-03-02', 10, 1, null);
            create table gold.kpi_monthly (month date, revenue decimal(18, 4), is_complete boolean);
            insert into gold.kpi_monthly values
                ('2024-01-01', 40000, true), ('2024-02-01', 30000, true), ('2024-03-01', 1510, false);
            create table gold.kpi_summary (source varchar, on_time_rate double);
            insert into gold.kpi_summary values ('shop', 0.912345678);
            create table gold.kpi_brand_ranking (brand varchar, revenue decimal(18, 4));
            insert into gold.kpi_brand_ranking values ('a', 5), ('b', -1), ('c', -7), ('d', 100)""")
        yield con


def asked(con: duckdb.DuckDBPyConnection, loads: str | None = "2024-03-02", **alert: object) -> Breach | None:
    newest = date.fromisoformat(loads) if loads else None
    found = breaches(con, [KpiAlert(**alert)], CONTRACTS, newest_load=newest, currency="EUR")
    return found[0] if found else None


DAILY = "gold.kpi_daily.revenue"


@pytest.mark.parametrize(
    ("alert", "loads", "says"),
    [
        ({"kpi": DAILY, "below": 1500}, "2024-03-02", None),
        ({"kpi": DAILY, "below": 1500.5}, "2024-03-02", "revenue of 2024-03-01 is 1,500 EUR, below 1,500.5 EUR."),
        ({"kpi": DAILY, "above": 1499.99}, "2024-03-02", "revenue of 2024-03-01 is 1,500 EUR, above 1,499.99 EUR."),
        ({"kpi": DAILY, "below": 100, "above": 2000}, "2024-03-02", None),
        ({"kpi": DAILY, "below": 100, "period": "newest"}, "2024-03-02", "revenue of 2024-03-02 is 10 EUR, below 100 EUR."),
        # A day without a row is a day on which nothing was sold; nothing can be said of a rate.
        ({"kpi": DAILY, "below": 1}, "2024-03-01", "revenue of 2024-02-29 is 0 EUR, below 1 EUR."),
        ({"kpi": "gold.kpi_daily.on_time_rate", "below": 1}, "2024-03-01", None),
        ({"kpi": "gold.kpi_daily.on_time_rate", "below": 1}, "2024-03-03", None),
        ({"kpi": "gold.kpi_daily.orders", "below": 2}, None, "orders of 2024-03-02 is 1 orders, below 2 orders."),
        ({"kpi": "gold.kpi_monthly.revenue", "below": 31000}, "2024-03-02",
         "revenue of 2024-02 is 30,000 EUR, below 31,000 EUR."),
        ({"kpi": "gold.kpi_monthly.revenue", "below": 31000, "period": "newest"}, "2024-03-02",
         "revenue of 2024-03 is 1,510 EUR, below 31,000 EUR."),
        ({"kpi": "gold.kpi_summary.on_time_rate", "below": 0.9}, "2024-03-02", None),
        ({"kpi": "gold.kpi_summary.on_time_rate", "below": 0.95, "description": "Ask the carrier."}, "2024-03-02",
         "on_time_rate is below 0.95 in 1 row. Ask the carrier."),
        ({"kpi": "gold.kpi_brand_ranking.revenue", "below": 0, "above": 50}, "2024-03-02",
         "revenue is below 0 or above 50 in 3 rows."),
        ({"sql": "select * from gold.kpi_daily where revenue > 1e9", "name": "abc", "description": "Odd."}, None, None),
        ({"sql": "select order_date, revenue from gold.kpi_daily where revenue < 1000 order by 1;", "name": "abc",
          "description": "Weak days."}, None, "Weak days. (2 rows)"),
        ({"kpi": "gold.kpi_best_months.year", "below": 0}, None, "This alert cannot be asked: "),
        ({"sql": "select nonsense", "name": "abc", "description": "Odd."}, None, "This alert cannot be asked: "),
    ],
)  # fmt: skip
def test_a_bound(con: duckdb.DuckDBPyConnection, alert: dict[str, object], loads: str | None, says: str | None):
    breach = asked(con, loads, **alert)
    if says is None or breach is None:
        assert (breach and breach.what) == says
    else:
        assert breach.what.startswith(says)


def test_rows_out_of_bounds_are_shown(con: duckdb.DuckDBPyConnection):
    found = asked(con, kpi="gold.kpi_brand_ranking.revenue", below=0, severity="warning")
    assert found is not None
    assert (found.rows, found.severity, found.title) == (2, "warning", "gold.kpi_brand_ranking.revenue below 0")
    assert found.examples == ("(brand=c, revenue=-7)", "(brand=b, revenue=-1)")


def test_without_the_table_there_are_no_anomalies(con: duckdb.DuckDBPyConnection):
    assert anomalies(con) == []


def test_a_published_anomaly_is_read_by_the_columns_of_its_contract(con: duckdb.DuckDBPyConnection):
    columns = ", ".join(f"{name} {column.type}" for name, column in CONTRACTS["gold.anomalies"].columns.items())
    con.execute(f"""create table gold.anomalies ({columns});
        insert into gold.anomalies (series, window_start, window_end, severity, expected_low, expected_high, explanation)
        values ('revenue', '2024-03-01', '2024-03-02', 'critical', 1, 2.5, 'Low.'),
               ('orders', '2024-02-01', '2024-02-01', 'warning', 1, 2, 'High.'),
               ('units', '2024-02-01', '2024-02-01', 'info', 1, 2, 'Known.')""")
    assert anomalies(con) == [
        Anomaly("orders", date(2024, 2, 1), date(2024, 2, 1), "High. Ordinary is 1 to 2.", "warning"),
        Anomaly("revenue", date(2024, 3, 1), date(2024, 3, 2), "Low. Ordinary is 1 to 2.5.", "error"),
    ]


def source(folder: Path, *alerts: dict[str, object]) -> Path:
    """The generated shop with alerts: where its source.yml stands."""
    folder = folder / "myshop"
    folder.mkdir()
    for path in builtin_sources()["synthetic"].iterdir():
        text = path.read_text().replace("synthetic__", "myshop__") if path.is_file() else ""
        (folder / path.name).write_text(text)
    with (folder / "source.yml").open("a") as file:
        file.write("\n" + yaml.safe_dump({"alerts": [dict(alert) for alert in alerts]}, sort_keys=False))
    return folder / "source.yml"


GOOD = {"kpi": DAILY, "below": 1000}


@pytest.mark.parametrize(
    ("wrong", "says", "line"),
    [
        ({"kpi": "gold.kpi_dayly.revenue", "below": 1}, "there is no table 'gold.kpi_dayly'", "kpi:"),
        ({"kpi": "gold.kpi_daily.revenu", "below": 1}, "gold.kpi_daily has no number 'revenu'", "kpi:"),
        ({"kpi": "gold.kpi_daily.order_date", "below": 1}, "has no number 'order_date'", "kpi:"),
        ({"kpi": "gold.kpi_by_dimension.revenue", "below": 1}, "has many rows, also of the past", "kpi:"),
        ({"kpi": "gold.kpi_summary.revenue", "below": 1, "period": "newest"}, "no row per day or month", "period:"),
        ({"kpi": DAILY}, "say from where on it is worth a message", "- kpi:"),
        ({"kpi": DAILY, "below": 2, "above": 1}, "every figure would be out of bounds", "- kpi:"),
        ({"kpi": DAILY, "sql": "select 1", "below": 1}, "say either `kpi`", "- kpi:"),
        ({"sql": "select 1"}, "needs `name` and `description`", "- sql:"),
        ({"sql": "select 1", "name": "abc", "description": "Odd.", "period": "newest"}, "belong to `kpi`", "- sql:"),
        ({"kpi": DAILY, "under": 1}, "there is no field", "under:"),
        ({"kpi": DAILY, "below": "much"}, "it should be a number", "below:"),
        (GOOD, "two alerts called 'gold.kpi_daily.revenue below 1,000'", "- kpi:"),
    ],
)
def test_a_mistake_is_answered_with_file_and_line(tmp_path: Path, wrong: dict[str, object], says: str, line: str):
    path = source(tmp_path, GOOD, wrong)
    settings = read_settings(source=str(path.parent), data_dir=tmp_path)
    with pytest.raises(DefinitionError) as error:
        read_project(settings)
    assert says in str(error.value)
    lines = path.read_text().splitlines()
    numbers = [n for n, text in enumerate(lines, 1) if line in text]
    assert f"{path}:{numbers[-1]}" in str(error.value)


def test_alerts_of_a_source_are_read(tmp_path: Path):
    path = source(tmp_path, GOOD, {"name": "abc", "description": "Odd.", "sql": "select 1"})
    project = read_project(read_settings(source=str(path.parent), data_dir=tmp_path))
    assert [alert.title for alert in project.source.file.alerts] == ["gold.kpi_daily.revenue below 1,000", "abc"]
