"""Rules are asked when that can change an answer, and a state that breaks a blocking one is not published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pytest

from ecommerce_platform.quality import data_docs, verdicts
from ecommerce_platform.quality.verdicts import BlockedByRulesError, Court
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform.warehouse.publish import publish
from ecommerce_platform.warehouse.snapshots import current_snapshot
from ecommerce_platform_tests.quality.good_shop import fill, read_all_suites

CATALOG, ALL = read_all_suites()
SUITES = {table: ALL[table] for table in ("gold.kpi_daily", "gold.rfm")}


class CountingCourt(Court):
    """A court that tells how often rules were really asked."""

    asked = 0


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", "tiny", {"threads": 1})
    with warehouse.connect() as con:
        fill(con, CATALOG, ["gold.kpi_daily", "gold.rfm", "gold.dim_customer", "gold.dim_date"])
    made = CountingCourt(warehouse.connect, CATALOG, SUITES, tmp_path / "data_docs")

    def ask(*given: Any) -> Any:
        CountingCourt.asked += 1
        return verdicts_ask(*given)

    CountingCourt.asked = 0
    verdicts_ask = verdicts.ask
    with patch.object(verdicts, "ask", ask):
        yield made


def change(court: Court, sql: str, *tables: str) -> None:
    with court.connect() as con:
        con.execute(sql)
        for table in tables:
            record_change(con, table)


def passes(court: Court) -> bool:
    with court.connect() as con:
        return court.passes(con)


def publish_with(court: Court, folder: Path, **options: Any) -> Any:
    def connect() -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return court.connect()

    return publish(connect, CATALOG, folder, "tiny", court=court, **options)


COPY = (
    "update gold.kpi_daily set (orders, units, gross_amount, revenue) = (250, 999, 5000, 5000) "
    "where order_date in ('2024-02-10', '2024-02-17')"
)


def test_rules_are_asked_again_only_when_something_has_changed(court: CountingCourt) -> None:
    first = court.judge()
    assert first.keys() == SUITES.keys()
    assert {v.outcome for judged in first.values() for v in judged.verdicts} == {"held"}
    assert court.judge() == first
    assert court.asked == 1
    change(court, "select 1", "gold.dim_product")  # no rule looks at it
    court.judge()
    assert court.asked == 1
    change(court, "delete from gold.dim_customer where person_id = 'P1'", "gold.dim_customer")
    broken = court.judge()["gold.rfm"].broken
    assert [(v.rule, v.found) for v in broken] == [("customers_are_known", 1)]
    assert court.asked == 2
    court.judge(again=True)
    assert court.asked == 3


def test_another_rule_is_asked_at_once(court: CountingCourt) -> None:
    court.judge()
    suite = SUITES["gold.rfm"]
    fewer = replace(court, suites={"gold.rfm": replace(suite, rules=suite.rules[:2])})
    assert [v.rule for v in fewer.judge()["gold.rfm"].verdicts] == [rule.name for rule in suite.rules[:2]]
    assert court.asked == 2


def test_pages_that_are_gone_are_built_again(court: CountingCourt) -> None:
    court.judge()
    (court.data_docs / "current").unlink()
    court.judge()
    assert data_docs.index(court.data_docs).is_file()


def test_answers_without_their_pages_are_asked_for_again(court: CountingCourt) -> None:
    with (
        patch.object(data_docs, "build", side_effect=OSError("the disk is full")),
        pytest.raises(OSError, match="full"),
    ):
        court.judge()
    court.judge()
    change(court, "delete from gold.dim_customer where person_id = 'P1'", "gold.dim_customer")
    with (
        patch.object(data_docs, "build", side_effect=OSError("the disk is full")),
        pytest.raises(OSError, match="full"),
    ):
        court.judge()
    assert not passes(court)
    assert [v.rule for v in court.judge()["gold.rfm"].broken] == ["customers_are_known"]
    (page,) = (data_docs.index(court.data_docs).parent / "validations" / "gold" / "rfm").rglob("*.html")
    assert "Failed" in page.read_text()


def test_what_could_not_be_asked_is_tried_again(court: CountingCourt) -> None:
    change(court, "alter table gold.dim_customer rename column person_id to somebody")
    errors = court.judge()["gold.rfm"].errors
    assert [v.rule for v in errors] == ["customers_are_known"]
    change(court, "alter table gold.dim_customer rename column somebody to person_id")
    assert court.judge()["gold.rfm"].errors == ()


def test_a_broken_blocking_rule_keeps_the_state_from_being_published(court: Court, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    good = publish_with(court, folder)
    change(court, COPY, "gold.kpi_daily")
    assert not passes(court)  # nobody has looked yet
    with pytest.raises(BlockedByRulesError, match=r"gold\.kpi_daily: No two days") as refused:
        publish_with(court, folder)
    assert "--force" in str(refused.value)
    assert "other_date=2024-02-17" in str(refused.value)
    assert current_snapshot(folder) == good.folder
    with pytest.raises(BlockedByRulesError):
        passes(court)
    assert publish_with(court, folder, force=True).id > good.id
    change(court, "update gold.kpi_daily set orders = 251 where order_date = '2024-02-17'", "gold.kpi_daily")
    assert publish_with(court, folder).tables["gold.kpi_daily"] == 80


def test_a_broken_warning_is_published(court: Court, tmp_path: Path) -> None:
    change(court, "update gold.rfm set segment = 'Lost'", "gold.rfm")
    publish_with(court, tmp_path / "published")
    assert [v.rule for v in court.judge()["gold.rfm"].broken] == ["segments_tell_customers_apart"]


def test_a_blocking_rule_that_cannot_be_asked_blocks_too(court: Court, tmp_path: Path) -> None:
    change(court, "alter table gold.kpi_daily rename column units to pieces", "gold.kpi_daily")
    with pytest.raises(BlockedByRulesError, match="no_day_is_a_copy could not be asked"):
        publish_with(court, tmp_path / "published")


def test_a_publish_asks_by_itself_and_only_once(court: CountingCourt, tmp_path: Path) -> None:
    publish_with(court, tmp_path / "published")
    assert publish_with(court, tmp_path / "published").unchanged
    assert court.asked == 1


def test_a_warehouse_without_the_tables_has_nothing_to_ask(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", "tiny", {"threads": 1})
    court = Court(warehouse.connect, CATALOG, SUITES, tmp_path / "data_docs")
    assert passes(court)


def test_tables_that_are_not_built_yet_are_answered_and_count(court: CountingCourt) -> None:
    """Else a warehouse in which something is missing would be asked at every publish, for ever."""
    change(court, "drop table gold.rfm; delete from changes.versions where table_name = 'gold.rfm'")
    judged = court.judge()
    assert {v.outcome for v in judged["gold.rfm"].verdicts} == {"no data"}
    assert passes(court)
    assert court.asked == 1
