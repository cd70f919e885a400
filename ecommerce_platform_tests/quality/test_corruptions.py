"""Whatever is wrong with a delivery is found by name, and a clean shop raises nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.warehouse.contract_checks import check_names
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.driver import Asked, Driver
from ecommerce_platform_tests.quality.corrupted import (
    build,
    copy_base,
    deliver,
    generate,
    look_quickly,
    make_base,
    settings_of,
    spoilt_tables,
    wrong,
)
from ecommerce_platform_tests.quality.corruptions import BEGIN, CATALOGUE, CONTROLS, END, Corruption, as_table
from ecommerce_platform_tests.quality.spoiling import FILES

DOCUMENT = ROOT / "docs" / "quality.md"
#: One that rejects, one that a check of bronze finds and one that a business rule finds.
QUICK = ("score out of range", "record twice in a file", "parcels of unknown orders")
SEEDS, PER_BATCH = 100, 5
#: Checks that assets report besides those of their contracts.
OF_ASSETS = {
    "bronze": {"readable", "schema", "delivered_once", "not_delivered_before"},
    "silver": {
        "deliveries_usable",
        "deliveries_whole",
        "rejects_within_limits",
        "load_size",
        "drift",
        "one_version_per_load",
        "expectations",
    },
    "gold": {"expectations"},
}
REASONS = {"not_convertible", "missing_required", "not_accepted", "out_of_range", "load_set_aside"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    assert [found for found in make_base(folder, seed=7) if not found.nothing] == []
    return folder


def test_there_are_at_least_sixty_kinds_and_each_raw_table_is_hit() -> None:
    assert len({c.kind for c in CATALOGUE}) == len(CATALOGUE) >= 60
    assert {c.table for c in CATALOGUE} == FILES.keys()


def test_each_kind_names_a_check_or_a_reason_that_exists(tmp_path: Path) -> None:
    project = read_project(settings_of(tmp_path))
    for corruption in CATALOGUE:
        assert corruption.caught or corruption.rejects or corruption.unreadable, corruption.kind
        assert {reason for _, reason in corruption.rejects} <= REASONS, corruption.kind
        for check in corruption.caught:
            layer = check.table.split(".")[0]
            contract: Contract | None = project.contracts.get(check.table)
            names = {name for name, *_ in check_names(contract)} if contract else set()
            assert check.check in names | OF_ASSETS[layer], (corruption.kind, check)
            if check.check == "expectations":
                assert check.rule in {rule.name for rule in project.suites[check.table].rules}, check


def test_the_document_shows_the_catalogue() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = text[text.index(BEGIN) : text.index(END) + len(END)]
    assert shown == as_table(), "run `python -m ecommerce_platform_tests.quality.corruptions`"


def test_a_kind_that_rejects_is_found_by_its_own_entity(tmp_path: Path) -> None:
    """The quick part of the long tests below: without a build, and without what is above the entity."""
    generate(tmp_path / "base", seed=3, orders=1_500, days=45, held=0)
    drops = copy_base(tmp_path / "base", tmp_path / "spoilt")
    (corruption,) = (c for c in CATALOGUE if c.kind == QUICK[0])
    assert corruption.spoil(drops) == 3
    assert spoilt_tables(tmp_path / "base", tmp_path / "spoilt") == [corruption.table]
    driver = Driver.of("synthetic", tmp_path / "spoilt" / "data")
    with driver.connect() as con:
        asked = Asked(con)
        for table in ("bronze.synthetic__reviews", "silver.reviews"):
            driver.steps[table](asked)
        found = con.execute("select _raw_table, reason_code, count(*) from silver.rejects group by all").fetchall()
    assert {(raw, reason): count for raw, reason, count in found} == corruption.rejects


@pytest.mark.long
def test_three_kinds_at_once_are_found_each(tmp_path: Path) -> None:
    """On a small shop, whole: a reject, a check of bronze and a business rule."""
    base, folder = tmp_path / "base", tmp_path / "spoilt"
    base.mkdir()
    assert [found for found in make_base(base, seed=3, orders=1_500, days=45, held=0) if not found.nothing] == []
    drops = copy_base(base, folder)
    chosen = [corruption for corruption in CATALOGUE if corruption.kind in QUICK]
    spoilt = [corruption.spoil(drops) for corruption in chosen]
    found = build(folder, spoilt_tables(base, folder))
    assert found.rejects == {("reviews", "out_of_range"): 3}
    for corruption, count in zip(chosen, spoilt, strict=True):
        if corruption.caught:
            assert wrong(corruption, count, found) == [f"silver.rejects has {found.rejects}, not {{}}"]


@pytest.mark.long
@pytest.mark.parametrize("corruption", CATALOGUE, ids=lambda c: c.kind.replace(" ", "_"))
def test_a_corruption_is_found_where_the_catalogue_says(base: Path, tmp_path: Path, corruption: Corruption) -> None:
    spoilt = corruption.spoil(copy_base(base, tmp_path))
    found = build(tmp_path, spoilt_tables(base, tmp_path))
    assert wrong(corruption, spoilt, found) == [], found


@pytest.mark.long
@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.kind.replace(" ", "_"))
def test_what_is_no_corruption_raises_nothing(base: Path, tmp_path: Path, control: Corruption) -> None:
    control.spoil(copy_base(base, tmp_path))
    assert spoilt_tables(base, tmp_path)
    found = build(tmp_path, spoilt_tables(base, tmp_path))
    assert found.nothing, found


@pytest.mark.long
@pytest.mark.parametrize("batch", range(SEEDS // PER_BATCH))
def test_clean_shops_raise_nothing(tmp_path: Path, batch: int) -> None:
    """No check fails or warns and no row is rejected, neither in the first load nor as the last day comes alone."""
    driver = Driver.of("synthetic", tmp_path)
    raised: dict[int, list[str]] = {}
    for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
        folder = tmp_path / str(seed)
        (day,) = generate(folder, seed=seed, orders=2_500, days=64, held=1)
        shop = driver.at(folder / "data")
        found = look_quickly(shop, rules=False)
        deliver(folder, day)
        found += look_quickly(shop, rules=True)
        shutil.rmtree(folder)
        if found:
            raised[seed] = found
    assert raised == {}


@pytest.mark.long
def test_postal_codes_that_people_mistype_are_found_exactly(tmp_path: Path) -> None:
    """They are wrong data that the generated shop has even when it is clean; the tests above go without them."""
    from ecommerce_platform.simulation.shop import generate_shop
    from ecommerce_platform_tests.quality.spoiling import Drops

    generate_shop(tmp_path / "data", orders=2_500, days=70, seed=5, dirty_share=0.0)
    found = build(tmp_path)
    drops = Drops(tmp_path / "data" / "raw")
    known = {row["zip"] for row in drops.records("postal_codes")[1]}
    newest: dict[str, str | None] = {}
    for table, number, column in (
        ("web_customers", "customer_no", "zip"),
        ("crm_customers", "Kundennummer", "PLZ"),
        ("newsletter_subscribers", "subscriber_id", "zip_code"),
    ):
        for row in drops.all_records(table):
            code = row.get(column)
            newest[f"{table}/{row[number]}"] = code.zfill(5) if code and table == "crm_customers" else code
    mistyped = {code for code in newest.values() if code and code not in known}
    (orphans,) = (f for f in found.failed if f.check == "foreign_keys")
    assert [f.check for f in found.failed] == ["foreign_keys"]
    assert len(mistyped) > 3
    assert (
        0
        < orphans.rules["postal_code → gold.dim_geography.postal_code"]
        <= sum(1 for code in newest.values() if code in mistyped)
    )
