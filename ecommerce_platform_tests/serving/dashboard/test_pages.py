"""Pages over a published shop, run as Streamlit runs them: what they show is what the gold tables hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ecommerce_platform.contracts.metric_sql import Filter, Query
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.errors import MetricError
from ecommerce_platform.serving.dashboard import data
from ecommerce_platform.serving.dashboard.screens import PAGES
from ecommerce_platform.serving.dashboard.wording import shown
from ecommerce_platform.serving.read.summed import compile_summed
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


#: Metrics of entities that the shop of these tests has not.
UNKNOWN = ("avg_satisfaction_score", "fee_amount")


def test_every_metric_that_the_shop_knows_can_be_explored(shop: data.Shop) -> None:
    test = page("explore", period="all", compare="none")
    offered = test.selectbox(key="own_metric").options
    assert set(offered) == {m.label for n, m in METRICS.metrics.items() if n not in UNKNOWN}
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


def test_a_snapshot_that_was_rewritten_is_read_anew(
    apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish_shop(tmp_path / "published", orders=1000)
    for before in opened(tmp_path, monkeypatch):
        manifest = tmp_path / "published" / "current" / "manifest.json"
        anew = manifest.with_name("manifest.new")
        anew.write_text(manifest.read_text())
        anew.rename(manifest)  # as `ecommerce forget` does
        data.shelf().reader.refresh()
        now = data.shelf().shop()
        assert now is not before
        assert now.id == before.id == first.id
        assert list(data.shelf().open.values()) == [now]


def test_the_same_question_of_a_snapshot_is_worked_out_once_and_what_is_asked_ahead_is_not_asked_again(
    apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecommerce_platform.serving.dashboard.figures import ahead, breakdown
    from ecommerce_platform.serving.dashboard.view import read_address

    publish_shop(tmp_path / "published", orders=1000)
    for asked in opened(tmp_path, monkeypatch):
        jobs = asked.reader.jobs
        view = read_address({"region": ["South"]}, ["region"], asked.first_day, asked.last_day)
        ahead(asked, view, ["revenue"], ["channel"])
        found = breakdown(asked, view, "revenue", "channel")
        computed = jobs.computed
        assert breakdown(asked, view, "revenue", "channel") is found
        ahead(asked, view, ["revenue"], ["channel"])
        assert jobs.computed == computed


def test_pages_that_a_shop_has_nothing_for_are_left_out(
    apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_shop(
        tmp_path / "published",
        leave_out=frozenset(
            {
                "silver.web_events", "silver.campaigns", "silver.ad_spend", "silver.reviews", "silver.shipments",
                "ml.revenue_forecast", "ml.demand_forecast", "ml.decisions", "ml.clv_scores", "ml.clv_calibration",
            }
        ),
    )  # fmt: skip
    for bare in opened(tmp_path, monkeypatch):
        paths = [p.path for p in PAGES if p.there(bare)]
        assert not {"marketing", "forecasts", "decisions"} & set(paths)
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
    persons = shop.one(
        "select count(distinct person_id) as n from gold.fct_orders where is_counted and region = 'South'"
    )
    assert cards(test)["Active customers"] == shown(
        persons["n"], "count", brief=True
    )  # counted last, shown in its place
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


def test_forecasts_show_what_the_tables_say_with_their_ranges(shop: data.Shop) -> None:
    test = page("forecasts")
    kpi = shop.frame(
        "select * from ml.revenue_forecast where measure = 'revenue' and level = 'total' and not is_backtest order by forecast_date"
    )
    assert cards(test)["Revenue, next 28 days"] == shown(kpi["forecast"].sum(), "money", "EUR", brief=True)
    assert trace(test, "Expected")["y"] == pytest.approx(kpi["forecast"].to_list())
    assert trace(test, "Expected, lower end")["y"] == pytest.approx(kpi["low_90"].to_list())
    assert trace(test, "Expected, upper end")["y"] == pytest.approx(kpi["high_90"].to_list())
    came = shop.one("select sum(actual) as a from ml.revenue_forecast where measure = 'revenue' and level = 'total'")[
        "a"
    ]
    assert sum(trace(test, "Came")["y"]) == pytest.approx(came)
    judged = next(t.value for t in test.dataframe if "days_within_range_share" in t.value.columns)
    assert judged["days_within_range_share"].to_list() == pytest.approx([27 / 28, 27 / 28])
    test.selectbox(key="own_series").select("Light").run()
    assert trace(test, "Expected")["y"] == pytest.approx((kpi["forecast"] / 4).to_list())


def test_forecasts_say_which_model_won_over_what(shop: data.Shop) -> None:
    found = next(t.value for t in page("forecasts").dataframe if "verdict" in t.value.columns)
    assert found["verdict"].to_list() == ["beat the seasonal naive forecast"]
    found = next(t.value for t in page("trust").dataframe if "verdict" in t.value.columns)
    assert found["published_as"].to_list() == ["baseline:recency_alone", "best_per_series"]


def test_every_delivered_row_has_its_place_in_the_picture_of_rows(shop: data.Shop) -> None:
    figure = next(p for p in plots(page("trust")) if p["data"][0].get("name") == "Used")
    assert [t["name"] for t in figure["data"]] == ["Used", "Replaced by newer", "Left out on purpose", "Set aside"]
    shares = [sum(parts) for parts in zip(*(t["x"] for t in figure["data"]), strict=True)]
    assert shares == pytest.approx([1.0] * len(shares))


def test_decisions_show_the_ledger_and_each_plan(shop: data.Shop) -> None:
    test = page("decisions")
    assert [
        cards(test)[label] for label in ("Recommended", "Nothing is surer than chance", "Something is missing")
    ] == ["2", "1", "1"]
    spend = shop.frame("select channel, spend, spend_now from ml.budget_allocation order by spend desc")
    figure = next(p for p in plots(test) if p["data"][0].get("customdata") == spend["channel"].to_list())
    assert (figure["data"][0]["x"], figure["data"][1]["x"]) == (spend["spend"].to_list(), spend["spend_now"].to_list())
    duty = next(p for p in plots(test) if (p["data"][0].get("customdata") or [""])[0] == "Monday")
    assert (
        duty["data"][0]["x"]
        == shop.frame("select people_on_duty as p from ml.staffing_plan order by weekday")["p"].to_list()
    )
    assert "**1** of 2 products are to be ordered now" in words(test)
    prices = next(t.value for t in test.dataframe if "recommended_price" in t.value.columns)
    assert sorted(prices["recommended_price"].to_list()) == [19, 21]
    ledger = next(t.value for t in test.dataframe if "assumptions" in t.value.columns)
    assert ("Staffing plan", "Recommended") in zip(ledger["decision"], ledger["status"], strict=True)


def test_decisions_name_whom_to_keep_and_which_offers_and_carriers_are_better(shop: data.Shop) -> None:
    test = page("decisions")

    def shown_with(column: str) -> Any:
        return next(t.value for t in test.dataframe if column in t.value.columns)

    assert "**3** customers, **€21.00** expected for **€6.00**" in words(test)
    assert shown_with("priority")["person_id"].to_list() == ["c1", "c2", "c3"]
    figure = next(p for p in plots(test) if [list(t.get("x") or ()) for t in p["data"]] == [[83], [-20]])
    assert figure["layout"]["yaxis"]["ticktext"] == ["At risk", "Everybody"]
    assert shown_with("bought_beside_share")["bought_beside_share"].to_list() == [0.2]
    assert shown_with("cost_per_late_avoided")[["carrier", "alternative"]].to_numpy().tolist() == [["slow", "quick"]]


def test_the_calculator_starts_at_the_expected_scenario_and_follows_its_sliders(shop: data.Shop) -> None:
    from ecommerce_platform.decisions.returns import calculate

    test = page("decisions")
    plan = shop.one("select * from ml.roi_scenarios where scenario = 'expected'")
    assert cards(test)["Net present value"] == shown(plan["net_present_value"], "money", "EUR")
    assert cards(test)["Months until it is back"] == shown(plan["payback_months"], "score")
    test.slider(key="roi_months_chat").set_value(6).run()
    assert cards(test)["Net present value"] == shown(
        calculate(1000, 200, 50, 6, 0.08).net_present_value, "money", "EUR"
    )
    assert cards(test)["Months until it is back"] == "–"


def test_customers_at_risk_come_with_reasons_and_predictions_with_what_came(shop: data.Shop) -> None:
    test = page("customers", period="all")
    assert "**40** of 100 are at risk" in words(test)
    reasons = next(t.value for t in test.dataframe if "reason" in t.value.columns)
    assert (reasons["reason"].to_list(), reasons["customers"].to_list()) == (["last order … days ago"], [40])
    risk = next(t.value for t in test.dataframe if "churn_probability" in t.value.columns)
    assert (
        risk["person_id"][0] == shop.one("select person_id from ml.churn_scores where recency_days = 60")["person_id"]
    )
    came = shop.frame(
        "select mean_actual, mean_expected from ml.clv_calibration where method = 'random_forest' order by decile"
    )
    assert trace(test, "Predicted")["x"] == pytest.approx(came["mean_expected"].to_list())
    figure = next(p for p in plots(test) if any(t.get("name") == "Predicted" for t in p["data"]))
    assert figure["data"][0]["x"] == pytest.approx(came["mean_actual"].to_list())


def test_viewers_see_no_single_customers(shop: data.Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecommerce_platform.serving.access import roles

    monkeypatch.setattr(roles, "LOCAL", roles.Who("user:v", "viewer"))
    test = page("customers", period="all")
    assert "are at risk" in words(test)
    assert not [t for t in test.dataframe if "person_id" in t.value.columns]


SPANS = [(None, None), (date(2023, 2, 1), date(2024, 3, 31)), (date(2024, 3, 5), date(2024, 4, 20))]


@pytest.mark.parametrize("days", SPANS, ids=["all", "months", "days"])
@pytest.mark.parametrize("period", [None, "month", "week"])
def test_figures_from_sums_are_those_from_every_order(
    shop: data.Shop, period: str | None, days: tuple[date | None, date | None]
) -> None:
    cuts: list[tuple[tuple[str, ...], tuple[Filter, ...]]] = [
        ((), ()), (("category",), ()), (("channel",), ()), (("customer_region",), ()), ((), (Filter("category", ("Light",)),)),
    ]  # fmt: skip
    summed = 0
    for by, filters in cuts:
        names = [n for n in METRICS.metrics if possible(shop, [n], by, filters, period)]
        for asked in (
            [n for n in names if METRICS.metric(n).format == "money" and not METRICS.metric(n).to_date],
            ["customers"],
            names,
        ):
            query = Query(tuple(asked), by, period, filters, *days)
            sql = compile_summed(METRICS, query, shop.view.tables)
            if sql is None:
                continue
            summed += 1
            keys = [*(["period"] if period else []), *by]
            one, other = (shop.frame(text).to_dicts() for text in (sql, shop.reader.compiled(query)))
            there = {tuple(r[k] for k in keys): r for r in other}
            for row in one:  # a day with nothing but a return is a period, too: of nothing else
                expected = there.pop(tuple(row[k] for k in keys))
                assert row == pytest.approx(expected), (query, row)
            assert not [r for r in there.values() if r.get("revenue") or r.get("customers")]
    assert summed >= 3


def possible(
    shop: data.Shop, names: list[str], by: tuple[str, ...], filters: tuple[Filter, ...], period: str | None
) -> bool:
    try:
        for name in names:
            METRICS.check_cut(name, (*by, *(f.dimension for f in filters)), period)
    except MetricError:
        return False
    return True
