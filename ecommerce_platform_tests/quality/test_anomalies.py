"""Strange days: judged from the past alone, found as windows, explained; and how well, on shops with known strange days."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import AnomalyRules, KnownDays, read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.quality.anomalies import detect, find_anomalies, refresh_anomalies, windows
from ecommerce_platform.simulation.simulate import simulate

START = date(2024, 1, 1)
WEEK = np.array([1.2, 1.0, 0.9, 0.9, 1.0, 0.7, 1.3])


def _series(days: int = 200, mean: float = 200.0, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(mean * WEEK[np.arange(days) % 7] * (1 + np.arange(days) / 400)).astype(float)


def test_what_is_said_of_a_day_does_not_change_when_more_days_come() -> None:
    values = _series()
    values[150] *= 3
    whole, part = detect(values, 5.0, additive=True), detect(values[:160], 5.0, additive=True)
    assert np.array_equal(whole.expected[:160], part.expected, equal_nan=True)
    assert np.array_equal(whole.strange[:160], part.strange)


def test_weekdays_and_growth_are_expected() -> None:
    detection = detect(_series(), 5.0, additive=True)
    assert not detection.strange.any()
    late = slice(100, 200)
    weekday = np.arange(200)[late] % 7
    ratio = detection.expected[late][weekday == 6].mean() / detection.expected[late][weekday == 5].mean()
    assert ratio == pytest.approx(1.3 / 0.7, rel=0.2)


def test_where_nothing_was_sold_nothing_is_expected_to_the_last_digit() -> None:
    """Else what comes then is 58,659,919,603,061,536 % more than 5e-13 orders."""
    values = np.zeros(45)
    values[[0, 1, 11, 40]] = 1, 1, 1, 50
    detection = detect(values, 6.0, additive=True)
    assert set(detection.expected[28:40]) == {0.0}
    assert detection.strange[40] == 1
    assert (detection.low[28:41] == 0).all()


def test_days_in_a_row_are_one_window_and_teach_nothing_to_the_days_after() -> None:
    values = _series()
    values[100:103] *= 0.3
    detection = detect(values, 5.0, additive=True)
    assert [(w.first, w.last, w.direction) for w in windows(detection)] == [(100, 102, -1)]
    assert detection.expected[103] == pytest.approx(values[96:110].mean(), rel=0.4)


def test_what_goes_on_becomes_the_new_normal() -> None:
    values = _series()
    values[100:] *= 2
    found = windows(detect(values, 5.0, additive=True))
    assert found[0].first == 100
    assert max(w.last for w in found) < 130


@pytest.mark.parametrize("closed", range(7))
@pytest.mark.parametrize("since", [0, 10, 63])
def test_a_weekday_that_is_always_closed_is_learnt_within_six_weeks_and_other_closed_days_are_found(
    closed: int, since: int
) -> None:
    """Closed from the first day, from within the warm-up, or from one day on."""
    for seed, mean in ((1, 200.0), (3, 15.0)):
        values = _series(330, mean=mean, seed=seed)
        days = np.arange(330)
        values[(days % 7 == closed) & (days >= since)] = 0
        usually_open = [day for day in (200, 250, 303) if day % 7 != closed]
        values[usually_open] = 0
        detection = detect(values, 3.6, additive=True)
        on_the_weekday = [t for t in np.flatnonzero(detection.strange).tolist() if t % 7 == closed]
        assert [t for t in on_the_weekday if t >= since + 42] == [], (seed, mean)
        assert len([t for t in on_the_weekday if t >= since]) <= 3
        assert [detection.strange[day] for day in usually_open] == [-1] * len(usually_open)


def test_what_a_weekday_has_become_is_expected_of_it_from_the_next_week_on() -> None:
    values, wednesdays = _series(330), np.arange(149, 192, 7)
    values[149::7] = 0
    detection = detect(values, 3.6, additive=True)
    assert detection.strange[wednesdays].tolist() == [-1, -1, -1, 0, 0, 0, 0]
    assert (detection.expected[wednesdays[:4]] > 200).all()
    assert (detection.expected[wednesdays[4:]] < 1).all()
    assert detection.expected[178] > 200


def test_a_closed_weekday_that_opens_is_found_and_learnt_as_well() -> None:
    values = _series(400)
    values[(np.arange(400) % 7 == 4) & (np.arange(400) < 249)] = 0
    detection = detect(values, 3.6, additive=True)
    opened = [t for t in np.flatnonzero(detection.strange).tolist() if t >= 249]
    assert opened[0] == 249
    assert max(opened) < 249 + 42


def test_three_strange_weeks_in_a_row_are_needed_for_a_weekday_to_become_usual() -> None:
    values = _series(300)
    for week in range(4):
        values[151 + 7 * week] = 0
    strange = detect(values, 5.0, additive=True).strange
    assert strange[[151, 158, 165, 172]].tolist() == [-1, -1, -1, 0]
    values[172] = values[179]
    strange = detect(values, 5.0, additive=True).strange
    assert strange[[151, 158, 165, 172, 179]].tolist() == [-1, -1, -1, 0, 0], "three weeks do not make it usual"


def test_a_day_without_a_row_is_a_day_without_orders() -> None:
    con = _kpis(_series(90), skip={60})
    (found,) = list(find_anomalies(con, AnomalyRules(series=("orders",), threshold=5)))
    assert (found["window_start"], found["direction"], found["actual"]) == (START + timedelta(60), "down", 0.0)
    assert found["severity"] == "critical"
    assert found["expected_low"] < found["expected"] < found["expected_high"]


def test_known_days_are_told_but_alarm_nobody() -> None:
    values = _series(120)
    values[74:77] *= 0.3  # 15 to 17 March
    known = KnownDays(name="stocktaking", first="03-14", last="03-20")
    found = find_anomalies(_kpis(values), AnomalyRules(series=("orders",), threshold=5, known_days=(known,)))
    assert [(row["severity"], row["known_as"]) for row in found] == [("info", "stocktaking")]
    assert "known as stocktaking" in found[0]["explanation"]


def test_known_days_may_span_new_year() -> None:
    days = KnownDays(name="holidays", first="12-24", last="01-02")
    assert [days.holds(date(2024, 12, 31)), days.holds(date(2025, 1, 2)), days.holds(date(2025, 1, 3))] == [
        True,
        True,
        False,
    ]


def test_a_dimension_value_that_makes_up_the_change_is_named() -> None:
    con = _kpis(_series(90))
    con.execute("delete from gold.fct_orders; delete from gold.fct_order_items")
    for day in range(90):
        for channel, revenue in (("web", 100), ("app", 100 if day != 60 else 900)):
            con.execute("insert into gold.fct_orders (order_id, channel) values (?, ?)", [f"{day}{channel}", channel])
            con.execute(
                "insert into gold.fct_order_items (order_id, product_id, order_date, is_valid, revenue_amount) values (?, 'p', ?, true, ?)",
                [f"{day}{channel}", START + timedelta(day), revenue],
            )
    con.execute(f"update gold.kpi_daily set orders = orders * 5 where order_date = date '{START + timedelta(60)}'")
    (found,) = find_anomalies(con, AnomalyRules(series=("orders",), threshold=5))
    assert found["drivers"] == "channel app (100% of the change); value of an order (100% of the change)"
    assert "most of it in channel app" in found["explanation"]


def _sold(con: duckdb.DuckDBPyConnection, day: int, lines: list[tuple[str | None, float]]) -> None:
    """Orders of one line each: channel and revenue."""
    for number, (channel, revenue) in enumerate(lines):
        order = f"{day}-{number}"
        con.execute("insert into gold.fct_orders (order_id, channel) values (?, ?)", [order, channel])
        con.execute(
            "insert into gold.fct_order_items (order_id, product_id, order_date, is_valid, revenue_amount) values (?, 'p', ?, true, ?)",
            [order, START + timedelta(day), revenue],
        )


def _explained(day: list[tuple[str | None, float]], usual: list[tuple[str | None, float]]) -> tuple[str | None, str]:
    """Drivers and explanation of one strange day behind weeks of usual ones."""
    con = _kpis(_series(90))
    for n in range(32, 60):
        _sold(con, n, usual)
    _sold(con, 60, day)
    con.execute(f"update gold.kpi_daily set orders = orders * 5 where order_date = date '{START + timedelta(60)}'")
    (found,) = find_anomalies(con, AnomalyRules(series=("orders",), threshold=5))
    return found["drivers"], found["explanation"]


def test_a_change_that_is_spread_over_everything_came_from_more_orders_or_larger_ones() -> None:
    usual = [("web", 10.0), ("web", 10.0), ("app", 10.0), ("app", 10.0)]
    drivers, explanation = _explained(usual * 5, usual)
    assert drivers == "number of orders (100% of the change)"
    assert "no single value makes up most of it: number of orders (100% of the change)" in explanation
    assert _explained([(c, 50.0) for c, _ in usual], usual)[0] == "value of an order (100% of the change)"
    # From 4 orders of 10 to 8 of 20, a change of 120: (8 − 4) × 15 came from the number, (20 − 10) × 6 from the value.
    assert (
        _explained([(c, 20.0) for c, _ in usual * 2], usual)[0]
        == "number of orders (50% of the change); value of an order (50% of the change)"
    )


def test_a_value_with_more_of_the_change_than_of_revenue_is_named_though_it_is_not_most_of_it() -> None:
    usual = [("web", 10.0)] * 6 + [("app", 10.0)] * 2 + [("shop", 10.0)] * 2
    # Of the change of 100, web has 30 (of revenue 60 %), app 40 and shop 30 (20 % each).
    drivers, _ = _explained([("web", 15.0)] * 6 + [("app", 30.0)] * 2 + [("shop", 25.0)] * 2, usual)
    assert drivers == (
        "channel app (40% of the change); channel shop (30% of the change); value of an order (100% of the change)"
    )


def test_what_is_not_known_explains_nothing() -> None:
    drivers, _ = _explained([("web", 10.0), (None, 400.0)], [("web", 10.0), (None, 10.0)])
    assert drivers == "value of an order (100% of the change)"


def test_a_day_without_anything_came_from_the_number_of_orders() -> None:
    assert _explained([], [("web", 10.0), ("app", 10.0)])[0] == "number of orders (100% of the change)"


def test_an_unknown_series_is_refused_with_those_there_are() -> None:
    with pytest.raises(DefinitionError, match=r"turnover is no column of gold\.kpi_daily"):
        find_anomalies(_kpis(_series(40)), AnomalyRules(series=("turnover",)))


def test_the_table_is_made_anew_only_when_something_changed() -> None:
    from ecommerce_platform.warehouse.changes import record_change

    con = _kpis(_series(90), skip={60})
    contract = read_catalog().contract("gold.anomalies")
    rules, reads = AnomalyRules(series=("orders",), threshold=5), ("gold.kpi_daily",)
    record_change(con, "gold.kpi_daily")
    assert refresh_anomalies(con, contract, rules, reads).rows == 1
    assert not refresh_anomalies(con, contract, rules, reads).changed
    assert refresh_anomalies(con, contract, AnomalyRules(series=("orders",), threshold=6), reads).changed
    con.execute(f"update gold.kpi_daily set orders = 1 where order_date = date '{START + timedelta(80)}'")
    record_change(con, "gold.kpi_daily")
    assert refresh_anomalies(con, contract, rules, reads).rows == 2
    assert refresh_anomalies(con, contract, rules, reads).checks == ()
    assert {check.name for check in refresh_anomalies(con, contract, rules, reads, full_checks=True).checks} >= {
        "contract"
    }
    other = contract.model_copy(update={"text": contract.text + "# said otherwise\n"})
    assert refresh_anomalies(con, other, rules, reads).checks != ()


def _kpis(
    orders: np.ndarray, revenue: np.ndarray | None = None, skip: set[int] = frozenset()
) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema gold")
    con.execute("create table gold.kpi_daily (order_date date, orders bigint, revenue decimal(18, 4), aov double)")
    con.execute(
        "create table gold.fct_orders (order_id varchar, channel varchar, device varchar, region varchar, payment_method varchar)"
    )
    con.execute(
        "create table gold.fct_order_items (order_id varchar, product_id varchar, order_date date, is_valid boolean, revenue_amount decimal(18, 4))"
    )
    con.execute("create table gold.dim_product (product_id varchar, category varchar, brand varchar)")
    money = orders * 50.0 if revenue is None else revenue
    rows = [
        (START + timedelta(day), int(count), float(amount), float(amount / count) if count else None)
        for day, (count, amount) in enumerate(zip(orders, money, strict=True))
        if day not in skip
    ]
    con.execute(
        "insert into gold.kpi_daily select unnest(?::date[]), unnest(?::bigint[]), unnest(?::double[]), unnest(?::double[])",
        [list(column) for column in zip(*rows, strict=True)],
    )
    return con


def _found(seed: int, orders: int, rules: AnomalyRules) -> tuple[int, int, int, int]:
    """Planted days, those of them found, windows that hold a planted day, windows that hold none."""
    shop = simulate(orders=orders, days=730, seed=seed, start=START, progress=lambda *_: None)
    lines, day = shop.lines, shop.orders.day
    revenue = np.bincount(
        day[lines.order], weights=(lines.quantity * lines.price - lines.discount) / 100, minlength=730
    )
    con = _kpis(np.bincount(day, minlength=730)[:730], revenue[:730])
    planted = {START + timedelta(d) for d in shop.seasons.strange_days if d >= 28}
    alarms = [row for row in find_anomalies(con, rules) if row["severity"] != "info"]
    right = [row for row in alarms if any(row["window_start"] <= d <= row["window_end"] for d in planted)]
    hit = {d for d in planted if any(row["window_start"] <= d <= row["window_end"] for row in alarms)}
    return len(planted), len(hit), len(right), len(alarms) - len(right)


@pytest.mark.parametrize(
    ("orders", "seeds"),
    [
        (100_000, range(101, 104)),
        pytest.param(100_000, range(105, 125), marks=pytest.mark.long),
        # Forty orders a day: a day with 2.6 times as many is hardly more than chance.
        pytest.param(30_000, range(135, 155), marks=pytest.mark.long),
    ],
)
def test_planted_days_are_found_and_little_else(orders: int, seeds: range, capsys: pytest.CaptureFixture[str]) -> None:
    """Recall at least 0.9 at a precision of at least 0.8, counted in days and in windows of every watched series."""
    rules = read_source(
        Path(__file__).parents[2] / "ecommerce_platform" / "sources" / "synthetic", read_catalog().entities
    ).file.anomalies
    counts = np.array([_found(seed, orders, rules) for seed in seeds]).sum(axis=0)
    planted, hit, right, wrong = counts.tolist()
    recall, precision = hit / planted, right / (right + wrong)
    with capsys.disabled():
        print(
            f"\nstrange days, {len(seeds)} shops of {orders:,} orders: recall {recall:.3f} of {planted}, precision {precision:.3f} of {right + wrong}"
        )
    assert recall >= 0.9
    assert precision >= 0.8
