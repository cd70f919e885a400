"""A business expectation from a shop's own file to the failing check, the refused publish, and the way out."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from ecommerce_platform.operations.builds import BuildResult, run_build
from ecommerce_platform.operations.status import read_status
from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.orchestration.instance import open_instance
from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot
from ecommerce_platform.settings import Settings, read_settings

pytestmark = pytest.mark.shops

SOURCE = """
description: A shop made for a test, with orders and their lines.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders: {files: ["orders*.csv"], description: Orders and their status.}
  lines: {files: ["lines*.csv"], description: Order lines.}
"""
ORDERS = """select as_text(id) as order_id, as_timestamp(placed) as ordered_at, as_timestamp(sent) as shipped_at,
    as_text(state) as status, as_text(state) <> 'canceled' as is_valid from bronze.corner__orders"""
LINES = """select as_text(order_id) as order_id, as_integer(no) as line_number, as_text(product) as product_id,
    as_integer(n) as quantity, as_decimal(price) as unit_price from bronze.corner__lines"""
OWN = """description: What the owner of the corner shop knows about orders.
expectations:
  - name: nothing_is_dear
    rule: No order is worth more than a hundred euros.
    severity: warn
    rows: select order_id, revenue_amount from gold.fct_orders where revenue_amount > 100
  - name: nothing_before_the_opening
    rule: No order is placed before the shop opened.
    severity: block
    rows: select order_id, ordered_at from gold.fct_orders where ordered_at < date '2024-01-01'
"""
DAY = date(2024, 1, 3)
GOOD = "id,placed,sent,state\nA,2024-01-02 10:00:00,2024-01-03 08:00:00,shipped\nB,2024-01-03 09:00:00,,created\n"
LINES_CSV = "order_id,no,product,n,price\nA,1,tea,2,4.50\nB,1,cup,1,9.00\n"


class Corner:
    """The shop: its source, its one drop, and an installation."""

    def __init__(self, folder: Path) -> None:
        self.source, self.drop = folder / "corner", folder / "data" / "raw" / DAY.isoformat()
        (self.source / "expectations").mkdir(parents=True)
        self.drop.mkdir(parents=True)
        (self.source / "source.yml").write_text(SOURCE)
        (self.source / "orders.orders.sql").write_text(ORDERS)
        (self.source / "order_items.lines.sql").write_text(LINES)
        self.rules = self.source / "expectations" / "gold.fct_orders.yml"
        self.rules.write_text(OWN)
        self.deliver(GOOD)
        self.deliver_lines(LINES_CSV)

    def deliver_lines(self, lines: str) -> None:
        (self.drop / "lines.csv").write_text(lines)

    @property
    def settings(self) -> Settings:
        data = self.drop.parent.parent
        return read_settings(source=str(self.source), data_dir=data, dagster_home=data.parent / "home", threads=2)

    def deliver(self, orders: str) -> None:
        (self.drop / "orders.csv").write_text(orders)

    def build(self, select: str = "*") -> BuildResult:
        return run_build(self.settings, select)

    def failed_checks(self) -> dict[str, tuple[str, str]]:
        checks = read_status(self.settings).checks
        return {table: (severity, text) for table, name, severity, text in checks if name == "expectations"}

    def publish(self) -> dg.ExecuteInProcessResult:
        with open_instance(self.settings) as instance:
            job = build_definitions(self.settings).resolve_job_def("publish")
            return job.execute_in_process(instance=instance, raise_on_error=False)


@pytest.fixture
def corner(tmp_path: Path) -> Corner:
    return Corner(tmp_path)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        "/".join(e.asset_key.path): e for e in result.get_asset_check_evaluations() if e.check_name == "expectations"
    }


def warnings(built: BuildResult) -> dict[str, str]:
    return {table: text for table, check, text in built.warnings if check == "expectations"}


def test_a_planted_violation_fails_its_check_stops_the_publish_and_goes_away_again(corner: Corner) -> None:
    built = corner.build()
    assert (built.failed, warnings(built), built.skipped) == ({}, {}, 0)
    published = corner.publish()
    assert published.success
    # Asked after the build, so the publish had nothing to ask; the check says it all the same.
    assert evaluations(published)["gold/fct_orders"].passed

    early = GOOD.replace("B,2024-01-03", "B,2023-01-03").replace("2024-01-03 08:00:00", "2024-01-01 08:00:00")
    corner.deliver(early)
    built = corner.build()
    assert list(built.failed) == ["gold.fct_orders"]
    assert "No order is placed before the shop opened. Not so: 1 rows" in built.failed["gold.fct_orders"]
    assert "order_id=B, ordered_at=2023-01-03 09:00:00" in built.failed["gold.fct_orders"]
    assert built.skipped == 0, "the tables are built: only readers are kept from them"
    severity, text = corner.failed_checks()["gold.fct_orders"]
    assert severity == "ERROR"
    assert "handed to the carrier after it was placed. Not so: 1 rows" in text

    refused = corner.publish()
    assert not refused.success
    check = evaluations(refused)["gold/fct_orders"]
    assert not check.passed
    assert "| **broken**, blocks publishing | 1 |" in str(check.metadata["rules"].value)
    assert check.metadata["data_docs"].value == "http://127.0.0.1:3070/corner/gold.fct_orders.html"
    assert Path(str(check.metadata["data_docs_file"].value)).is_file()
    with open_snapshot(current_snapshot(corner.settings.published)) as con:
        assert con.execute("select max(order_date) from gold.fct_orders").fetchall() == [(DAY,)]

    corner.deliver(GOOD)
    assert corner.build().failed == {}
    assert corner.failed_checks() == {}
    assert corner.publish().success


@pytest.mark.long
def test_a_rule_of_the_shops_own_warns_and_one_that_cannot_be_asked_is_an_error(corner: Corner) -> None:
    corner.deliver_lines(LINES_CSV.replace("cup,1,9.00", "cup,1,900.00"))
    built = corner.build()
    assert built.failed == {}
    assert warnings(built) == {
        "gold.fct_orders": "No order is worth more than a hundred euros. Not so: 1 rows, "
        "e.g. (order_id=B, revenue_amount=900.0000)"
    }
    corner.rules.write_text(OWN.replace("where revenue_amount", "where revenue"))
    built = corner.build('key:"gold/fct_orders"')
    assert built.failed.keys() == {"expectations", "gold.fct_orders"}
    assert built.failed["expectations"].startswith("could not be asked: gold.fct_orders.nothing_is_dear")
    assert f"{corner.rules}:3: " in built.failed["gold.fct_orders"]
    assert "rows" not in built.failed["gold.fct_orders"], "nothing is said about the data"
    # It does not block: what it would have said is only worth a warning.
    assert corner.publish().success is False  # the check's step fails in this run
    assert current_snapshot(corner.settings.published).is_dir()


def test_loads_do_not_wait_for_expectations_and_each_is_asked_in_one_step(corner: Corner) -> None:
    definitions = build_definitions(corner.settings)
    with_step = {
        job.name: "expectations" in [node.name for node in definitions.resolve_job_def(job.name).nodes]
        for job in definitions.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    assert with_step == {
        "build": False,
        "daily_load": False,
        "customer_marts": False,
        "full_checks": True,
        "publish": True,
        "business_expectations": True,
        "prune_runs": False,
    }
