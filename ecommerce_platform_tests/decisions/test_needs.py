"""What each source allows: the page's table is that of the mappings, and every decision has its place in it."""

from __future__ import annotations

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.decision_rules import DecisionRules
from ecommerce_platform.decisions.needs import DATA, FIGURES, missing_data, table_of_sources
from ecommerce_platform.orchestration.assets.decisions import DECISIONS
from ecommerce_platform_tests.decisions.sources import PAGE, mapped_columns, written


def test_the_page_shows_what_the_mappings_allow() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "python -m ecommerce_platform_tests.decisions.sources writes it"


def test_every_decision_says_what_it_needs_in_names_that_exist() -> None:
    catalog = read_catalog()
    assert set(DATA) == set(DECISIONS)
    for need in (choice for needs in DATA.values() for some in needs for choice in some.split("|")):
        entity, _, column = need.partition(".")
        assert entity in catalog.entities
        assert not column or column in catalog.contract(f"silver.{entity}").columns
    assert {name for names in FIGURES.values() for name in names} == set(DecisionRules.model_fields)


def test_one_of_several_columns_is_enough_and_what_lacks_is_named() -> None:
    assert missing_data("price_recommendations", {"products": {"category", "unit_cost"}}) == []
    assert missing_data("price_recommendations", {"products": {"category"}}) == [
        "order_items.unit_cost or products.unit_cost"
    ]
    assert missing_data("staffing_plan", {"orders": {"order_id"}}) == []
    assert missing_data("staffing_plan", {"orders": set()}) == ["orders"]
    assert "| `roi_scenarios` | `discount_rate`, `investments` | yes |" in table_of_sources({"a": {}})


def test_the_real_exports_lack_what_the_page_says() -> None:
    mapped = mapped_columns()
    assert missing_data("experiment_results", mapped["olist"]) == ["experiment_assignments"]
    assert missing_data("price_recommendations", mapped["marketplace"]) == []
