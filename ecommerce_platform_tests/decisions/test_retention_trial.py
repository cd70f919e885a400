"""A discount before it is tried: what it brings, what it costs those who stay, and what an experiment knows better."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from ecommerce_platform.contracts.decision_rules import Range, RetentionTrial
from ecommerce_platform.contracts.experiment_plan import ExperimentPlan, ExperimentPlans
from ecommerce_platform.decisions.retention_trial import (
    MISSING,
    READS,
    Group,
    Response,
    decide_retention_trial,
    measured_response,
    outcome,
    pays_from,
    simulate,
)
from ecommerce_platform.decisions.uplift import Arm
from ecommerce_platform_tests.decisions.rests import rests_on_rows
from ecommerce_platform_tests.planted_shop import Planted

RULES = RetentionTrial(customers=60, discount=4, contact_cost=0.5, response=Range(low=0.1, likely=0.2, high=0.3))
GROUP = Group("at_risk", 100, leave=60, profit_of_one=30)
ASSUMED = Response("assumed", 0.2, (0.1, 0.3))


def test_those_who_would_have_stayed_cost_their_discount() -> None:
    found = outcome(GROUP, 0.2, discount=4, contact=0.5)
    assert (found.kept, found.gain) == pytest.approx((12, 360))
    assert (found.discount_to_kept, found.discount_to_stayers, found.contact) == pytest.approx((48, 160, 50))
    assert found.net == pytest.approx(102)


def test_from_the_response_on_at_which_it_pays_the_net_is_0() -> None:
    share = pays_from(GROUP, 4, 0.5)
    assert share == pytest.approx(210 / (60 * 26))
    assert outcome(GROUP, share, 4, 0.5).net == pytest.approx(0)
    assert pays_from(Group("at_risk", 100, 60, profit_of_one=3), 4, 0.5) is None
    assert pays_from(Group("at_risk", 100, 1, profit_of_one=30), 4, 0.5) is None


def test_one_figure_is_moved_at_a_time_and_the_interval_is_of_what_is_expected() -> None:
    rows = {(row["varied"], row["bound"]): row for row in simulate(GROUP, ASSUMED, RULES)}
    assert len(rows) == 9
    assert rows["nothing", "expected"]["net"] == pytest.approx(102)
    assert rows["response", "low"]["net"] == pytest.approx(6 * 26 - 210)
    assert rows["discount", "high"]["net"] == pytest.approx(12 * (30 - 4.8) - 40 * 4.8 - 50)
    assert rows["profit_of_one", "low"]["net"] == pytest.approx(12 * 20 - 210)
    assert rows["leave", "low"]["net"] == pytest.approx(0.2 * 48 * 26 - 52 * 4 - 50)
    low, high = rows["nothing", "expected"]["net_low"], rows["nothing", "expected"]["net_high"]
    assert low < rows["response", "low"]["net"] / 2 + 51
    # Response: variance of the triangle 0.1, 0.2, 0.3 is 0.01 / 6, a customer kept 26, one who leaves 0.2 × 26 + 4.
    spread = np.sqrt((60 * 26) ** 2 * 0.01 / 6 + 60 * 0.16 * 26**2 + 24 * (0.2 * 26 + 4) ** 2)
    assert (high - low) / 2 == pytest.approx(1.645 * spread, rel=0.05)


def test_an_experiment_of_the_size_named_finds_the_response() -> None:
    """Orders 40 % without and 52 % with it: 0.12 at a deviation of 0.4947 needs 2 (1.96 + 0.8416)² / 0.2426² = 267, and one for t."""
    assert simulate(GROUP, ASSUMED, RULES)[0]["needed_per_arm"] in (267, 268, 269)


def arm(control: int, treated: int) -> Arm:
    """1,000 persons each, so many of which order."""
    orders = np.concatenate([np.arange(1_000) < control, np.arange(1_000) < treated]).astype(np.float64)
    return Arm(
        "e", "voucher", 90, [str(n) for n in range(2_000)], pl.DataFrame(), np.arange(2_000) >= 1_000, orders, 0.5
    )


def test_a_measured_response_is_the_share_of_the_lost_that_an_arm_kept() -> None:
    found = measured_response(arm(400, 460))
    assert found is not None
    assert found.likely == pytest.approx(0.1)
    error = np.sqrt(0.4 / 600 + 0.46 / 540)
    assert found.ends == pytest.approx((1 - 0.9 * np.exp(1.6449 * error), 1 - 0.9 * np.exp(-1.6449 * error)))
    drawn = found.drawn(np.random.default_rng(1))
    assert np.quantile(drawn, [0.05, 0.95]) == pytest.approx(found.ends, abs=0.003)
    assert measured_response(arm(0, 10)) is None


def test_a_response_must_be_said_or_measured() -> None:
    with pytest.raises(ValidationError, match="say `response`"):
        RetentionTrial(customers=1, discount=1)
    with pytest.raises(ValidationError, match="both `experiment` and `arm`"):
        RetentionTrial(customers=1, discount=1, experiment="e")


def test_what_an_experiment_measured_is_used_instead_of_what_is_assumed_and_what_is_missing_is_named() -> None:
    made = Planted.of(orders=40_000, days=300, seed=9_991)
    rules = RULES.model_copy(update={"experiment": "EXP-WINBACK", "arm": "voucher"})
    trials = {t.experiment.code: ExperimentPlan(outcome_window_days=t.last - t.first + 1) for t in made.shop.trials}
    plans = ExperimentPlans(experiments=trials)
    with made.con as con:
        assert "ml.churn_scores, ml.clv_scores" in decide_retention_trial(con, plans, RULES).reason
        assert decide_retention_trial(con, plans, None).reason.startswith(MISSING)
        con.execute("insert into ml.churn_scores by name select 'p' || range as person_id, range / 200.0 as churn_probability, "
                    "range >= 100 as is_at_risk from range(200)")  # fmt: skip
        con.execute("insert into ml.clv_scores by name select 'p' || range as person_id, 180 as horizon_days, 90.0 as expected_revenue "
                    "from range(200)")  # fmt: skip
        found = decide_retention_trial(con, plans, rules)
        assert rests_on_rows(con, found, READS)
        row = found.rows[0]
        assert (found.status, row["response_from"], row["who"], row["customers"]) == ("made", "measured", "at_risk", 60)
        # The likeliest to leave: 140 to 199 of 200, each worth 90 in 180 days, 45 in 90; a third of revenue is profit.
        assert row["expected_to_leave"] == pytest.approx(sum(range(140, 200)) / 200)
        assert row["profit_of_one"] == pytest.approx(60 * 45 / 3 / (60 - row["expected_to_leave"]), rel=1e-3)
        assert row["discount_to_stayers"] == pytest.approx(4 * (60 - row["expected_to_leave"]))
        con.execute("delete from silver.experiment_assignments")
        assert decide_retention_trial(con, plans, rules).rows[0]["response_from"] == "assumed"
        alone = rules.model_copy(update={"response": None})
        assert "says no response" in decide_retention_trial(con, plans, alone).reason
