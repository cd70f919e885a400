"""Pages over a published shop, run as Streamlit runs them: what they show is what the gold tables hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.serving.dashboard import data
from ecommerce_platform.serving.dashboard.screens import PAGES
from ecommerce_platform.serving.dashboard.wording import shown
from ecommerce_platform_tests.invented_shop import publish_shop

APP = Path(data.__file__).with_name("app.py")
METRICS = read_metrics()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    publish_shop(folder / "published")
    return folder


@pytest.fixture(scope="module")
def shop(published: Path) -> Iterator[data.Shop]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from opened(published, monkeypatch)


@pytest.fixture
def apart() -> Iterator[None]:
    """For tests with a shop of their own: afterwards the shop of the others is read again."""
    known = data.shelf
    data.shelf = cache(known.__wrapped__)
    yield
    data.shelf = known


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[data.Shop]:
    """The shop as the dashboard of this process reads it."""
    monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(folder))
    monkeypatch.delenv("ECOMMERCE_SOURCE", raising=False)
    data.shelf.cache_clear()
    yield data.shelf().shop()
    data.shelf().reader.close()
    data.shelf.cache_clear()


def script(path: str, parameters: dict[str, list[str]]) -> None:
    """A page alone, under an address."""
    import streamlit

    from ecommerce_platform.serving.access.roles import LOCAL
    from ecommerce_platform.serving.dashboard.data import shelf
    from ecommerce_platform.serving.dashboard.screens import PAGES
    from ecommerce_platform.serving.dashboard.view import OFFERED, read_address

    shop = shelf().shop()
    streamlit.session_state["who"] = LOCAL
    streamlit.session_state["page"] = path
    streamlit.session_state.setdefault("asked", dict(parameters))
    view = read_address(parameters, OFFERED, shop.first_day, shop.last_day)
    next(p for p in PAGES if p.path == path).show(shop, view)


def page(path: str, **parameters: str | list[str]) -> AppTest:
    asked = {k: [v] if isinstance(v, str) else v for k, v in parameters.items()}
    test = AppTest.from_function(script, args=(path, asked), default_timeout=60).run()
    assert not test.exception, test.exception
    return test


def cards(test: AppTest) -> dict[str, str]:
    return {card.label: card.value for card in test.metric}


def plots(test: AppTest) -> list[dict[str, Any]]:
    """The figures of a page, as Plotly gets them."""
    return [json.loads(found.proto.spec) for found in test.get("plotly_chart")]


def trace(test: AppTest, name: str) -> dict[str, Any]:
    return next(t for plot in plots(test) for t in plot["data"] if t.get("name") == name)


def words(test: AppTest) -> str:
    return "\n".join(
        element.value for kind in ("title", "subheader", "caption", "markdown", "info") for element in test.get(kind)
    )


@pytest.mark.parametrize("path", [p.path for p in PAGES])
@pytest.mark.parametrize("days", ["6m"])
def test_every_page_shows_something_and_no_error(shop: data.Shop, path: str, days: str) -> None:
    test = page(path, period=days)
    assert len(test.title) == 1
    assert test.get("plotly_chart") or test.get("arrow_data_frame") or test.get("dataframe") or test.info
    assert not test.error


def test_cards_of_all_time_are_the_kpi_summary(shop: data.Shop) -> None:
    found = cards(page("executive", period="all", compare="none"))
    kpi = shop.one("select * from gold.kpi_summary")
    for name in (
        "revenue",
        "orders",
        "customers",
        "aov",
        "net_profit",
        "repeat_purchase_rate",
        "on_time_rate",
        "avg_review_score",
    ):
        metric = METRICS.metric(name)
        assert found[metric.label] == shown(kpi[name], metric.format, "EUR", brief=True), name


@pytest.mark.parametrize(
    ("dimension", "value"), [("region", "North"), ("category", "Light"), ("channel", "app"), ("payment_method", "card")]
)
def test_a_filter_leaves_what_kpi_by_dimension_has(shop: data.Shop, dimension: str, value: str) -> None:
    found = cards(page("executive", period="all", compare="none", **{dimension: value}))
    kpi = shop.one(
        f"select sum(revenue) as revenue, sum(orders) as orders from gold.kpi_by_dimension where dimension = '{dimension}' and value = '{value}'"
    )
    assert found["Revenue"] == shown(kpi["revenue"], "money", "EUR", brief=True)
    assert found["Orders"] == shown(kpi["orders"], "count", brief=True)


def test_revenue_over_time_is_kpi_monthly(shop: data.Shop) -> None:
    test = page("executive", period="all", compare="none")
    kpi = shop.frame("select month, revenue, gross_amount from gold.kpi_monthly order by month")
    for name, column in (("Revenue", "revenue"), ("Before discount", "gross_amount")):
        found = trace(test, name)
        assert found["y"] == pytest.approx(kpi[column].to_list())
        assert [x[:10] for x in found["x"]] == [str(m) for m in kpi["month"].to_list()]


def test_a_period_stands_beside_the_one_before(shop: data.Shop) -> None:
    test = page("executive", since="2024-03-01", until="2024-03-31")
    kpi = {str(r["month"]): r["revenue"] for r in shop.frame("select month, revenue from gold.kpi_monthly").to_dicts()}
    card = next(card for card in test.metric if card.label == "Revenue")
    assert card.value == shown(kpi["2024-03-01"], "money", "EUR", brief=True)
    assert card.delta == f"{(kpi['2024-03-01'] / kpi['2024-02-01'] - 1) * 100:+.1f} %"
    assert sum(trace(test, "Compared with")["y"]) == pytest.approx(kpi["2024-02-01"])


def test_brands_are_those_of_the_ranking(shop: data.Shop) -> None:
    test = page("executive", period="all")
    kpi = shop.frame("select brand, revenue from gold.kpi_brand_ranking where revenue > 0 order by revenue desc")
    figure = next(p for p in plots(test) if p["data"][0].get("customdata") == kpi["brand"].to_list())
    assert figure["data"][0]["x"] == pytest.approx(kpi["revenue"].to_list())


def test_time_series_show_what_happened(shop: data.Shop) -> None:
    figure = next(p for p in plots(page("executive", period="all")) if "yaxis2" in p["layout"])
    assert figure["layout"]["yaxis2"]["ticktext"] == [
        "Loads set aside",
        "Holidays",
        "Unusual days",
        "Campaigns",
        "Sales",
    ] or figure["layout"]["yaxis2"]["ticktext"] == ["Holidays", "Unusual days", "Campaigns", "Sales"]
    told = " ".join(text for t in figure["data"] for text in t.get("hovertext", []))
    assert "Spring sale" in told
    assert "Revenue was 75 % below" in told


def test_drivers_are_those_of_the_gold_table_and_add_up(shop: data.Shop) -> None:
    test = page("diagnose", since="2024-03-01", until="2024-03-31")
    figure = next(p["data"][0] for p in plots(test) if p["data"][0]["type"] == "waterfall")
    kpi = shop.frame(
        "select part, amount, revenue, revenue_before from gold.revenue_drivers where comparison = 'previous' and first_date = date '2024-03-01'"
    )
    amounts = dict(zip(kpi["part"].to_list(), kpi["amount"].to_list(), strict=True))
    assert figure["y"][0] == pytest.approx(kpi["revenue_before"][0])
    assert figure["y"][-1] == pytest.approx(kpi["revenue"][0])
    assert figure["y"][figure["x"].index("Number of customers")] == pytest.approx(amounts["customers"])
    assert sum(figure["y"][:-1]) == pytest.approx(figure["y"][-1])


def test_a_drill_goes_from_category_to_product_and_back(shop: data.Shop) -> None:
    test = page("diagnose", period="all", way="goods")
    into = next(box for box in test.selectbox if box.label == "Go into")
    into.select("Light").run()
    assert not test.exception
    figure = plots(test)[-1]["data"][0]
    best = shop.one(
        "select product_id, revenue from gold.product_performance where category = 'Light' order by revenue desc"
    )
    assert (figure["customdata"][0], figure["x"][0]) == (best["product_id"], pytest.approx(best["revenue"]))
    next(b for b in test.button if b.label == "All").click().run()
    assert set(plots(test)[-1]["data"][0]["customdata"]) == {"Kitchen", "Light", "Furniture", "Sport"}


def test_every_metric_that_the_shop_knows_can_be_explored(shop: data.Shop) -> None:
    test = page("explore", period="all", compare="none")
    offered = test.selectbox(key="own_metric").options
    assert set(offered) == {m.label for n, m in METRICS.metrics.items() if n != "avg_satisfaction_score"}
    for label in offered:
        test.selectbox(key="own_metric").select(next(n for n, m in METRICS.metrics.items() if m.label == label)).run()
        assert not test.exception
        assert f"**{label}**" in words(test)
        assert test.get("plotly_chart")


def test_explored_figures_are_those_of_the_kpi_tables(shop: data.Shop) -> None:
    test = page("explore", period="all", compare="none", metric="customers", grain="month")
    kpi = shop.frame("select customers from gold.kpi_monthly order by month")
    assert trace(test, "Active customers")["y"] == kpi["customers"].to_list()
    test = page("explore", period="all", compare="none", metric="units", by="category", shape="values")
    kpi = shop.frame(
        "select value, sum(units) as units from gold.kpi_by_dimension where dimension = 'category' group by 1 order by 2 desc"
    )
    assert plots(test)[0]["data"][0]["x"] == kpi["units"].to_list()


def test_a_cut_without_meaning_says_why(shop: data.Shop) -> None:
    test = page("explore", metric="new_customers", by="category", shape="values")
    assert "a person has several values of category" in words(test)


def test_another_period_of_data_is_another_state(apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish_shop(tmp_path / "published", orders=1000)
    publish_shop(tmp_path / "published", orders=2000)
    for now in opened(tmp_path, monkeypatch):
        assert now.one("select count(*) as n from gold.fct_orders")["n"] == 2000
        before = data.shelf().shop(first.id)
        assert before.one("select count(*) as n from gold.fct_orders")["n"] == 1000
        assert [name for name, _ in data.shelf().snapshots()] == [now.id, first.id]


def test_pages_that_a_shop_has_nothing_for_are_left_out(
    apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_shop(
        tmp_path / "published",
        leave_out=frozenset(
            {"silver.web_events", "silver.campaigns", "silver.ad_spend", "silver.reviews", "silver.shipments"}
        ),
    )
    for bare in opened(tmp_path, monkeypatch):
        paths = [p.path for p in PAGES if p.there(bare)]
        assert "marketing" not in paths
        assert {"executive", "explore", "diagnose", "customers", "products", "trust", "ask"} <= set(paths)
        for path in paths:
            page(path, period="all")


def test_the_whole_application_takes_its_view_from_the_address(shop: data.Shop) -> None:
    test = AppTest.from_file(str(APP), default_timeout=60)
    test.query_params["region"] = ["South"]
    test.query_params["period"] = "all"
    test.run()
    assert not test.exception
    kpi = shop.one(
        "select sum(revenue) as revenue from gold.kpi_by_dimension where dimension = 'region' and value = 'South'"
    )
    assert cards(test)["Revenue"] == shown(kpi["revenue"], "money", "EUR", brief=True)
    assert test.selectbox(key="span").value == "all"
    assert test.multiselect(key="filter_region").value == ["South"]


def test_without_a_snapshot_it_says_what_helps(apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(tmp_path))
    data.shelf.cache_clear()
    test = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not test.exception
    assert "ecommerce publish" in test.info[0].value
    data.shelf.cache_clear()


def test_questions_in_sql_are_answered_and_files_are_not_read(shop: data.Shop) -> None:
    test = page("ask")
    test.text_area(key="sql").set_value("select sum(orders) as o from gold.kpi_monthly")
    test.button[0].click().run()
    assert test.dataframe[0].value["o"].to_list() == [shop.one("select orders from gold.kpi_summary")["orders"]]
    test.text_area(key="sql").set_value("select * from read_text('/etc/passwd')")
    test.button[0].click().run()
    assert test.error
    assert "root:" not in str(test.main)
