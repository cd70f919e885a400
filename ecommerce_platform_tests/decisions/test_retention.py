"""Who is offered what: the best within the budget, worth what it truly brings, and nobody where nothing is known."""

from __future__ import annotations

import itertools
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.decision_rules import Offer, Retention
from ecommerce_platform.contracts.experiment_plan import ExperimentPlan, ExperimentPlans
from ecommerce_platform.decisions.policy import Terms, allot, value_of
from ecommerce_platform.decisions.recommendation import Decided, frame
from ecommerce_platform.decisions.retention import (
    MISSING,
    Before,
    customers_before,
    decide_retention,
    list_actions,
    side_by_side,
)
from ecommerce_platform.decisions.uplift import Arm, decide_uplift, scored
from ecommerce_platform.simulation.orders import DELIVERED
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform_tests.planted_shop import START, Planted

MARGIN = 10.0
RULES = Retention(budget=1e6, experiment="e", actions={"voucher": Offer(contact_cost=0.2, voucher_cost=3)})
OFFERS = Retention(
    budget=1e6, experiment="EXP-WINBACK",
    actions={"reminder": Offer(contact_cost=0.2), "voucher": Offer(contact_cost=0.2, voucher_cost=3)},
)  # fmt: skip
CATALOG = read_catalog()
UNKNOWN = pl.DataFrame(
    schema={"person_id": pl.String, "churn_probability": pl.Float64, "is_at_risk": pl.Boolean, "expected_revenue": pl.Float64,
            "horizon_days": pl.Int64}
)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_no_other_offers_of_the_same_cost_bring_more(seed: int) -> None:
    random = np.random.default_rng(seed)
    worth, cost = random.normal(1, 2, (6, 3)), random.uniform(0.5, 3, (6, 3))
    worth[:, 0] = cost[:, 0] = 0
    given, price = allot(worth, cost, 4)
    rows = np.arange(6)
    spent, brought = cost[rows, given].sum(), worth[rows, given].sum()
    assert spent <= 4
    every = [np.array(choice) for choice in itertools.product(range(3), repeat=6)]
    assert brought == pytest.approx(max(worth[rows, c].sum() for c in every if cost[rows, c].sum() <= spent + 1e-9))
    best = max(worth[rows, c].sum() for c in every if cost[rows, c].sum() <= 4)
    assert best <= brought + price * (4 - spent) + 1e-6


def test_a_budget_that_is_no_bound_has_no_shadow_price() -> None:
    given, price = allot(np.array([[0, 2.0], [0, -1.0]]), np.array([[0, 1.0], [0, 1.0]]), 100)
    assert (given.tolist(), price) == ([1, 0], 0.0)


def test_a_voucher_costs_what_those_redeem_who_would_have_ordered_anyway() -> None:
    terms = Terms(10, np.array([0, 0.5]), np.array([0, 3.0]))
    assert terms.reward(np.array([0, 1, 1, 1]), np.array([1.0, 0, 1, 2])).tolist() == [10, -0.5, 6.5, 16.5]


def test_the_value_of_a_policy_by_hand() -> None:
    """Two of four are offered something; without expectations both estimates are the weighted mean."""
    found = value_of(
        np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), np.array([6.0, 2, 9, 9]), np.array([0.5, 0.5]), np.zeros((4, 2))
    )
    assert found.ips == found.doubly_robust == pytest.approx((2 * 6 - 2 * 2) / 4)
    assert (found.share_offered, found.effective_size) == (0.5, 1)
    # Expectations that are right leave nothing to chance.
    expected = np.array([[2.0, 6], [2, 6], [9, 9], [9, 9]])
    sure = value_of(
        np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), np.array([6.0, 2, 9, 9]), np.array([0.5, 0.5]), expected
    )
    assert sure.doubly_robust == pytest.approx(2)


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_both_estimates_of_a_policy_are_unbiased_whatever_was_expected(share: float) -> None:
    errors = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        kind, arm = random.integers(0, 2, 2_000), (random.random(2_000) < share).astype(np.int64)
        reward = random.normal(1 + arm * np.where(kind == 1, 2, -1))
        found = value_of(kind, arm, reward, np.array([1 - share, share]), random.normal(0, 1, (2_000, 2)))
        truth = 2 * kind.mean()
        errors.append([found.ips - truth, found.doubly_robust - truth])
    mean, error = np.mean(errors, axis=0), np.std(errors, axis=0) / np.sqrt(40)
    assert (np.abs(mean) < 3.5 * error).all()


def persons(size: int, random: np.random.Generator) -> pl.DataFrame:
    orders = random.poisson(3, size)
    return pl.DataFrame({
        "person_id": [f"p{n:05}" for n in range(size)], "orders": orders, "orders_90": orders // 3, "revenue": orders * 30.0,
        "recency": random.uniform(1, 200, size), "tenure": random.uniform(200, 400, size),
        "age_group": random.choice(["young", "old"], size),
    })  # fmt: skip


def shop(size: int, seed: int, moved: float) -> tuple[Arm, pl.DataFrame]:
    """An experiment in which a voucher makes the young order `moved` times more, and today's customers."""
    random = np.random.default_rng(seed)
    known, treated = persons(size, random), random.random(size) < 0.5
    young = (known["age_group"] == "young").to_numpy()
    orders = random.poisson(0.5 + moved * (young & treated)).astype(np.float64)
    return Arm("e", "voucher", 90, known["person_id"].to_list(), known, treated, orders, 0.5), persons(1_000, random)


def listed(
    size: int, seed: int, moved: float, rules: Retention = RULES, known: pl.DataFrame = UNKNOWN
) -> tuple[Decided, Any]:
    arm, now = shop(size, seed, moved)
    return list_actions(side_by_side([arm]), now, pl.DataFrame(scored(arm, now, arm.orders)), known, rules, MARGIN), now


def true_value(rows: Any, now: pl.DataFrame, moved: float) -> float:
    """Extra profit less the cost of the listed persons, as planted."""
    ages = dict(now.select("person_id", "age_group").iter_rows())
    extra = [moved * (ages[row["person_id"]] == "young") for row in rows]
    return float(sum(MARGIN * e - 0.2 - 3 * (1 - np.exp(-0.5 - e)) for e in extra))


def test_offers_go_to_those_whom_they_move_with_the_reason_and_the_cost() -> None:
    risk = pl.DataFrame({
        "person_id": [f"p{n:05}" for n in range(1_000)], "churn_probability": 0.6, "is_at_risk": True, "expected_revenue": 40.0,
        "horizon_days": 90,
    })  # fmt: skip
    found, now = listed(4_000, 1, 0.8, known=risk)
    ages = dict(now.select("person_id", "age_group").iter_rows())
    young = [ages[row["person_id"]] == "young" for row in found.rows]
    assert found.status == "made"
    assert "ml.uplift_scores where experiment_id = 'e'" in found.made_from
    assert np.mean(young) > 0.95
    assert sum(young) > 0.95 * (now["age_group"] == "young").sum()
    first = found.rows[0]
    assert "leaves with a chance of 60%, at risk; expected to bring 40 of revenue in 90 days" in first["reason"]
    assert first["expected_value"] == pytest.approx(first["uplift"] * MARGIN - first["cost"])
    assert first["roi"] == max(row["roi"] for row in found.rows)
    assert all(row["value_low"] <= row["expected_value"] <= row["value_high"] for row in found.rows)
    # A voucher is redeemed by 73 % of the young.
    assert np.mean([row["cost"] for row in found.rows]) == pytest.approx(0.2 + 3 * 0.727, rel=0.1)
    policies = {row["policy"]: row for row in found.beside["ml.retention_policies"]}
    assert policies["list"]["gain"] > policies["treat_all"]["gain"] > policies["treat_none"]["gain"] == 0
    assert policies["list"]["gain"] > policies["longest_away"]["gain"]


def test_a_smaller_budget_is_kept_and_goes_to_the_highest_returns() -> None:
    whole, _ = listed(4_000, 1, 0.8)
    part, _ = listed(4_000, 1, 0.8, RULES.model_copy(update={"budget": 300.0}))
    assert 290 < sum(row["cost"] for row in part.rows) <= 300
    assert {row["person_id"] for row in part.rows} == {row["person_id"] for row in whole.rows[: len(part.rows)]}


def test_twenty_lists_are_worth_what_their_intervals_say() -> None:
    covered = 0
    for seed in range(20, 40):
        found, now = listed(2_000, seed, 0.8)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= true_value(found.rows, now, 0.8) <= found.high
    print("covered", covered, "of 20")
    assert covered >= 16


def test_who_orders_half_as_often_now_is_moved_half_as_often() -> None:
    arm, now = shop(4_000, 1, 0.8)
    trial, scores = side_by_side([arm]), pl.DataFrame(scored(arm, now, arm.orders))
    # All that the rule reaches order 0.5 times without an offer.
    slow = Before(now, np.full(now.height, 0.5), pace=0.5)
    as_before = list_actions(trial, now, scores, UNKNOWN, RULES, MARGIN)
    slower = list_actions(trial, now, scores, UNKNOWN, RULES, MARGIN, slow)
    assert "0.5" in slower.assumptions.split("they order: ")[1][:4]
    first, same = slower.rows[0], {row["person_id"]: row for row in as_before.rows}
    old = same[first["person_id"]]
    assert first["expected_value"] + first["cost"] == pytest.approx(
        0.5 * (old["expected_value"] + old["cost"]), rel=0.1
    )
    assert slower.value is not None
    assert as_before.value is not None
    assert slower.value < 0.55 * as_before.value


def test_what_people_like_todays_ordered_is_counted_at_the_usual_pace() -> None:
    with duckdb.connect() as con:
        con.execute("create schema gold")
        for table in ("gold.fct_orders", "gold.dim_customer"):
            con.execute(create_table_sql(CATALOG.contract(table)))
        # Of 100 days: a on the first and on two of the newest ten, b on the first, c on the newest.
        con.execute(
            "insert into gold.fct_orders by name select 'o' || row_number() over () as order_id, p as person_id, true as is_counted, "
            "timestamp '2024-01-01 12:00' + to_days(d) as ordered_at from (values ('a', 0), ('a', 95), ('a', 96), ('b', 0), ('c', 99)) "
            "as t (p, d)"
        )
        found = customers_before(con, 10)
        assert found is not None
        assert found.known["person_id"].to_list() == ["a", "b"]
        assert found.orders.tolist() == [2, 0]
        assert found.known["recency"].to_list() == [89, 89]
        # Five orders in 100 days, three in the newest ten.
        assert found.pace == pytest.approx(0.05 / 0.3)
        assert customers_before(con, 200) is None


def true_worth(made: Planted, rows: Any, margin: float, cut: int) -> float:
    """What offers bring in the days after `cut`, as planted, to those who go on to order then."""
    shop, orders = made.shop, made.shop.orders
    days = shop.seasons.days
    (trial,) = [t for t in shop.trials if t.experiment.code == "EXP-WINBACK"]
    counted = (orders.fate == DELIVERED) | (orders.ended >= days * SECONDS)
    later = (orders.day >= cut) & (orders.caused_by < 0) & counted & (orders.person >= 0)
    placed = np.bincount(orders.person[later], minlength=len(shop.customers))
    clock = np.concatenate([[0.0], np.cumsum(shop.seasons.demand)])
    begin, end = cut + shop.seasons.burn_in, days + shop.seasons.burn_in
    left = np.minimum(np.clip(shop.customers.leaves + shop.seasons.burn_in, 0, len(clock) - 1), end)
    expected = shop.customers.rate * np.maximum(clock[left] - clock[begin], 0)
    total = 0.0
    for row in rows:
        person, offer = int(row["person_id"][1:]), OFFERS.actions[row["action"]]
        lift = trial.experiment.uplift[trial.experiment.arms.index(row["action"])][shop.customers.age_band[person]]
        redeems = 1.0 if placed[person] else 1 - np.exp(-lift * expected[person])
        total += margin * lift * placed[person] - offer.contact_cost - offer.voucher_cost * redeems
    return total


@pytest.mark.long
def test_lists_of_whole_shops_are_worth_what_their_intervals_say() -> None:
    """The winback of days 180 to 269, lists as of day 360, their worth in the 90 days after it."""
    cut, held, made_lists = 360, 0, 0
    plans = ExperimentPlans(experiments={"EXP-WINBACK": ExperimentPlan(outcome_window_days=90)})
    for seed in range(33001, 33061):
        made = Planted.of(orders=100_000, days=cut + 90, seed=seed)
        with made.con as con:
            con.execute(f"delete from gold.fct_orders where order_date >= date '{START}' + {cut}")
            con.register("rows", frame(CATALOG.contract("ml.uplift_scores"), decide_uplift(con, plans).rows))
            con.execute("insert into ml.uplift_scores by name select * from rows")
            found = decide_retention(con, plans, OFFERS)
            margin = con.execute("select avg(profit_amount) from gold.fct_orders where is_counted").fetchall()[0][0]
        if found.low is None or found.high is None:
            continue
        made_lists += 1
        held += found.low <= true_worth(made, found.rows, float(margin), cut) <= found.high
    print("lists", made_lists, "held", held)
    # 14 and 10: eight of ten were aimed at, and are missed (docs/recommendations.md says why).
    assert made_lists >= 10
    assert held >= 0.7 * made_lists


@pytest.mark.long
def test_shops_whose_experiments_do_nothing_get_no_list() -> None:
    plans = ExperimentPlans(experiments={"EXP-WINBACK": ExperimentPlan(outcome_window_days=90)})
    made_lists = 0
    for seed in range(33101, 33121):
        made = Planted.of(orders=100_000, days=450, seed=seed, uplift=False)
        with made.con as con:
            con.execute(f"delete from gold.fct_orders where order_date >= date '{START}' + 360")
            con.register("rows", frame(CATALOG.contract("ml.uplift_scores"), decide_uplift(con, plans).rows))
            con.execute("insert into ml.uplift_scores by name select * from rows")
            made_lists += decide_retention(con, plans, OFFERS).status == "made"
    print("lists where nothing was planted", made_lists, "of 20")
    assert made_lists <= 1


def test_an_offer_that_moves_nobody_is_made_to_nobody() -> None:
    # One in twenty by chance alone.
    assert sum(listed(2_000, seed, 0.0)[0].status == "made" for seed in range(40, 60)) <= 3


def test_too_few_like_those_reached_is_refused() -> None:
    found, _ = listed(130, 3, 3.0)
    assert found.status == "refused"
    assert "effective sample size below 100" in found.reason
    assert found.rows == ()


def test_what_is_missing_is_named_and_without_uplift_scores_nobody_is_offered_anything() -> None:
    made = Planted.of(orders=20_000, days=300, seed=9_990, uplift=False)
    with made.con as con:
        rules = Retention(budget=100, experiment="EXP-WINBACK", actions={"voucher": Offer(voucher_cost=3)})
        plans = ExperimentPlans()
        assert decide_retention(con, plans, None).reason == MISSING
        found = decide_retention(con, plans, rules)
        assert (found.status, found.rows) == ("abstained", ())
        assert "ml.uplift_scores" in found.reason
        other = rules.model_copy(update={"experiment": "EXP-OTHER"})
        assert decide_retention(con, plans, other).reason.startswith("EXP-OTHER has none of the arms voucher")
        con.execute("delete from silver.experiment_assignments")
        assert "maps no experiment_assignments" in decide_retention(con, plans, rules).reason
        con.execute("update gold.fct_orders set profit_amount = null")
        assert "maps no unit_cost" in decide_retention(con, plans, rules).reason
