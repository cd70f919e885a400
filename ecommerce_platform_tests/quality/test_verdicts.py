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

from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform.quality import data_docs, verdicts
from ecommerce_platform.quality.verdicts import BlockedByRulesError, QualityGate
from ecommerce_platform.reading.snapshots import current_snapshot
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform_tests.quality.good_shop import fill, read_all_suites

CATALOG, ALL = read_all_suites()
SUITES = {table: ALL[table] for table in ("gold.kpi_daily", "gold.rfm")}


class CountingGate(QualityGate):
    """A gate that counts how often rules were really asked."""

    asked = 0


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[QualityGate]:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", "tiny", {"threads": 1})
    with warehouse.connect() as con:
        fill(con, CATALOG, ["gold.kpi_daily", "gold.rfm", "gold.dim_customer", "gold.dim_date"])
    made = CountingGate(warehouse.connect, CATALOG, SUITES, tmp_path / "data_docs")

    def ask(*given: Any) -> Any:
        CountingGate.asked += 1
        return verdicts_ask(*given)

    CountingGate.asked = 0
    verdicts_ask = verdicts.ask
    with patch.object(verdicts, "ask", ask):
        yield made


def change(gate: QualityGate, sql: str, *tables: str) -> None:
    with gate.connect() as con:
        con.execute(sql)
        for table in tables:
            record_change(con, table)


def passes(gate: QualityGate) -> bool:
    with gate.connect() as con:
        return gate.passes(con)


def publish_with(gate: QualityGate, folder: Path, **options: Any) -> Any:
    def connect() -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return gate.connect()

    return publish(connect, CATALOG, folder, "tiny", PublishOptions(gate=gate, **options))


COPY = (
    "update gold.kpi_daily set (orders, units, gross_amount, revenue) = (250, 999, 5000, 5000) "
    "where order_date in ('2024-02-10', '2024-02-17')"
)


def test_rules_are_asked_again_only_when_something_has_changed(gate: CountingGate) -> None:
    first = gate.evaluate()
    assert first.keys() == SUITES.keys()
    assert {v.outcome for judged in first.values() for v in judged.verdicts} == {"held"}
    assert gate.evaluate() == first
    assert gate.asked == 1
    change(gate, "select 1", "gold.dim_product")  # no rule looks at it
    gate.evaluate()
    assert gate.asked == 1
    change(gate, "delete from gold.dim_customer where person_id = 'P1'", "gold.dim_customer")
    broken = gate.evaluate()["gold.rfm"].broken
    assert [(v.rule, v.found) for v in broken] == [("customers_are_known", 1)]
    assert gate.asked == 2
    gate.evaluate(again=True)
    assert gate.asked == 3


def test_another_rule_is_asked_at_once(gate: CountingGate) -> None:
    gate.evaluate()
    suite = SUITES["gold.rfm"]
    fewer = replace(gate, suites={"gold.rfm": replace(suite, rules=suite.rules[:2])})
    assert [v.rule for v in fewer.evaluate()["gold.rfm"].verdicts] == [rule.name for rule in suite.rules[:2]]
    assert gate.asked == 2


def test_an_edited_rule_of_the_same_table_is_asked_at_once_and_keeps_the_old_answer_from_counting(
    gate: CountingGate,
) -> None:
    gate.evaluate()
    suite = SUITES["gold.rfm"]
    rule = next(rule for rule in suite.rules if rule.rows)
    edited = rule.model_copy(update={"rows": f"select * from ({rule.rows}) as broken where 1 = 1", "severity": "warn"})
    assert edited.reads == rule.reads, "the same tables in the same versions: only the rule differs"
    rules = tuple(edited if r is rule else r for r in suite.rules)
    other = replace(gate, suites={**SUITES, "gold.rfm": replace(suite, rules=rules)})
    assert passes(gate)
    assert not passes(other)
    with other.connect() as con:
        assert other.known(con) is None
    severities = {v.rule: v.severity for v in other.evaluate()["gold.rfm"].verdicts}
    assert (severities[rule.name], gate.asked) == ("warn", 2)
    assert passes(other)
    assert not passes(gate), "and the other way round"


def test_pages_that_are_gone_are_built_again(gate: CountingGate) -> None:
    gate.evaluate()
    (gate.data_docs / "current").unlink()
    gate.evaluate()
    assert data_docs.index(gate.data_docs).is_file()


def test_answers_without_their_pages_are_asked_for_again(gate: CountingGate) -> None:
    with (
        patch.object(data_docs, "build", side_effect=OSError("the disk is full")),
        pytest.raises(OSError, match="full"),
    ):
        gate.evaluate()
    gate.evaluate()
    change(gate, "delete from gold.dim_customer where person_id = 'P1'", "gold.dim_customer")
    with (
        patch.object(data_docs, "build", side_effect=OSError("the disk is full")),
        pytest.raises(OSError, match="full"),
    ):
        gate.evaluate()
    assert not passes(gate)
    assert [v.rule for v in gate.evaluate()["gold.rfm"].broken] == ["customers_are_known"]
    (page,) = (data_docs.index(gate.data_docs).parent / "validations" / "gold" / "rfm").rglob("*.html")
    assert "Failed" in page.read_text()


def test_what_could_not_be_asked_is_tried_again(gate: CountingGate) -> None:
    change(gate, "alter table gold.dim_customer rename column person_id to somebody")
    errors = gate.evaluate()["gold.rfm"].errors
    assert [v.rule for v in errors] == ["customers_are_known"]
    change(gate, "alter table gold.dim_customer rename column somebody to person_id")
    assert gate.evaluate()["gold.rfm"].errors == ()


def test_a_broken_blocking_rule_keeps_the_state_from_being_published(gate: QualityGate, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    good = publish_with(gate, folder)
    change(gate, COPY, "gold.kpi_daily")
    assert not passes(gate)  # nobody has looked yet
    with pytest.raises(BlockedByRulesError, match=r"gold\.kpi_daily: No two days") as refused:
        publish_with(gate, folder)
    assert "--force" in str(refused.value)
    assert "other_date=2024-02-17" in str(refused.value)
    assert current_snapshot(folder) == good.folder
    with pytest.raises(BlockedByRulesError):
        passes(gate)
    assert publish_with(gate, folder, force=True).id > good.id
    change(gate, "update gold.kpi_daily set orders = 251 where order_date = '2024-02-17'", "gold.kpi_daily")
    assert publish_with(gate, folder).tables["gold.kpi_daily"] == 80


def test_a_broken_warning_is_published(gate: QualityGate, tmp_path: Path) -> None:
    change(gate, "update gold.rfm set segment = 'Lost'", "gold.rfm")
    publish_with(gate, tmp_path / "published")
    assert [v.rule for v in gate.evaluate()["gold.rfm"].broken] == ["segments_tell_customers_apart"]


def test_a_blocking_rule_that_cannot_be_asked_blocks_too(gate: QualityGate, tmp_path: Path) -> None:
    change(gate, "alter table gold.kpi_daily rename column units to pieces", "gold.kpi_daily")
    with pytest.raises(BlockedByRulesError, match="no_day_is_a_copy could not be asked"):
        publish_with(gate, tmp_path / "published")


def test_a_publish_asks_by_itself_and_only_once(gate: CountingGate, tmp_path: Path) -> None:
    publish_with(gate, tmp_path / "published")
    assert publish_with(gate, tmp_path / "published").unchanged
    assert gate.asked == 1


def test_a_warehouse_without_the_tables_has_nothing_to_ask(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", "tiny", {"threads": 1})
    gate = QualityGate(warehouse.connect, CATALOG, SUITES, tmp_path / "data_docs")
    assert passes(gate)


def test_tables_that_are_not_built_yet_are_answered_and_count(gate: CountingGate) -> None:
    """Else a warehouse in which something is missing would be asked at every publish, for ever."""
    change(gate, "drop table gold.rfm; delete from changes.versions where table_name = 'gold.rfm'")
    judged = gate.evaluate()
    assert {v.outcome for v in judged["gold.rfm"].verdicts} == {"no data"}
    assert passes(gate)
    assert gate.asked == 1
