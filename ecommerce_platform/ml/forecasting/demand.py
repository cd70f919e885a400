"""Units that will be asked for: by day for each category, by week for each product, and what a lead time needs.

The model `demand_forecast` fills `ml.demand_forecast` and `ml.demand_quantiles`. Categories are forecast as revenue is
(`panel`), single products together (`products`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml.columns import Rule
from ecommerce_platform.ml.forecasting import frames, panel, products, revenue, rows
from ecommerce_platform.ml.forecasting.methods import BASELINE
from ecommerce_platform.ml.forecasting.products import QUANTILES, WEEKS, Demand, Judged
from ecommerce_platform.ml.forecasting.series import WEEK
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, Exhibit, Inputs, Model, select

if TYPE_CHECKING:
    import polars as pl

FORECAST, NEEDED = "ml.demand_forecast", "ml.demand_quantiles"
UNITS = "units"
#: Ends of the 90 % interval of a week's demand.
_ENDS = (0.05, 0.95)
#: Lead times longer than this many weeks are answered by so many weeks' table, in proportion.
_LONGEST_LEAD = 13
_TREES, _TREES_IN_FULL = 60, 200


class DemandForecast(Model):
    """See the module, and `lifecycle.Model`."""

    name, baseline = "demand_forecast", BASELINE
    title = "Units by category and product"
    purpose = "Buy in what will be asked for: by day for categories, by week for products, summed over lead times."
    limits = (
        "Products with sales in fewer than three weeks of the last year are forecast as part of their category only.",
        "Weeks with an empty shelf count as not known; where stock is not counted they look like weeks without demand.",
    )
    inputs = {
        "days": select("daily_sales"),
        "sales": select("product_sales"),
        "empty": select("empty_shelves"),
        "leads": select("lead_times"),
        "indicators": select("published_indicators"),
    }
    trained_on = ("days", "sales", "empty", "indicators")
    scored_on = {FORECAST: ("days", "sales", "empty", "indicators"), NEEDED: ("days", "sales", "empty", "leads")}
    columns = {"measure": Rule("text", choices=(UNITS,)), "series": Rule("text"), "forecast_date": Rule("day")}
    code = revenue.CODE
    libraries = (*revenue.LIBRARIES, "scikit-learn")
    imports = (*revenue.IMPORTS, "sklearn.ensemble")
    stored_as = "json"

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Backtests categories and products; categories decide for the model, products for themselves by class."""
        by_category = _panel(inputs)
        extra = revenue.extra_methods(inputs, full=full)
        tested = [panel.backtest_panel(by_category, full=full, extra=extra)] if by_category else []
        found = revenue.evaluation(tested, seed)
        judged = _judge_products(inputs, seed, full)
        return Evaluation(
            found.method,
            [*found.comparisons, *(_product_comparisons(*judged) if judged else [])],
            found.not_evaluated,
            {**found.metrics, "products": _about_products(judged)},
            [*found.exhibits, *([_product_exhibit(judged[1])] if judged else [])],
            carry=(tested, judged),
        )

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> dict[str, Any]:
        """Categories and products on everything; a product's class keeps what it won, whoever wins the categories."""
        tested, judged = evaluation.carry
        extra = revenue.extra_methods(inputs, full=full)
        fitted = revenue.fit_panels(tested, extra, baseline=method == self.baseline)
        trees = _TREES_IN_FULL if full else _TREES
        fitted["products"] = _fit_products(judged[0], judged[1], seed, trees) if judged else None
        return fitted

    def to_state(self, fitted: dict[str, Any]) -> dict[str, Any]:
        """It is plain JSON values."""
        return fitted

    def from_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """It is plain JSON values."""
        return state

    def score(self, fitted: dict[str, Any], inputs: Inputs, table: str) -> pl.DataFrame:
        """Forecasts with backtests, or what is needed over each product's lead time."""
        weeks = _weeks(inputs, fitted["products"])
        if table == NEEDED:
            return _needed(fitted["products"], weeks, inputs["leads"])
        found: list[dict[str, Any]] = []
        for state in fitted["panels"]:
            first = date.fromisoformat(state["first"])
            extra = revenue.extra_methods(inputs, full=revenue.needs_extra(state), first=first)
            found += [{**row, "period": "day"} for row in revenue.panel_rows(state, _panel(inputs, state), extra)]
        if weeks is not None:
            found += _product_rows(fitted["products"], weeks)
        return _frame(found)

    def predict(self, fitted: dict[str, Any], rows: pl.DataFrame) -> pl.DataFrame:
        """The forecast of each row's day for a category or the total, as of the last day of the training."""
        return revenue.predict_days(fitted, rows)

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """Those of the categories, and of the products' methods."""
        return {
            **revenue.MODEL.parameters(full=full),
            "weeks": WEEKS,
            "quantiles": list(QUANTILES),
            "trees": _TREES_IN_FULL if full else _TREES,
        }

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """The days that count."""
        return revenue.MODEL.window(inputs)

    def features(self, fitted: dict[str, Any]) -> tuple[str, ...]:
        """The past of series, of products, categories and the shop."""
        return ("the series' own past", "the category's past", "the shop's past")

    def about(self, fitted: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
        """What the total looks like."""
        by_category = _panel(inputs)
        return revenue.about(fitted, [by_category] if by_category else [])

    def exhibits(
        self, fitted: dict[str, Any], inputs: Inputs, evaluation: Evaluation, *, seed: int
    ) -> Sequence[Exhibit]:
        """The total, as it was, had been forecast and is forecast."""
        by_category = _panel(inputs)
        return [rows.picture(fitted["panels"][0], by_category)] if by_category else []


def _panel(inputs: Inputs, state: Mapping[str, Any] | None = None) -> panel.Panel | None:
    within = frames.window(inputs["days"], date.fromisoformat(state["first"]) if state else None)
    if within is None:
        return None
    sales = inputs["sales"].select("order_date", "category", UNITS)
    return frames.panel(UNITS, inputs["days"], within, sales, revenue.category_names(state) if state else None)


# -- products ------------------------------------------------------------------------------------------------------


def _weeks(inputs: Inputs, kept: Mapping[str, Any] | None) -> frames.Weeks | None:
    """The weeks of the kept products as of now, or None without any."""
    within = frames.window(inputs["days"])
    if within is None or within.days < WEEK or not kept:
        return None
    return frames.weeks(inputs["sales"], inputs["empty"], within, kept["products"])


def _judge_products(inputs: Inputs, seed: int, full: bool) -> tuple[Demand, Judged] | None:
    within = frames.window(inputs["days"])
    if within is None or within.days < WEEK:
        return None
    demand = frames.weeks(inputs["sales"], inputs["empty"], within).demand
    plan = products.weekly_plan(demand.units.shape[1])
    if plan is None or not demand.products:
        return None
    return demand, products.judge(demand, plan, seed, iterations=_TREES_IN_FULL if full else _TREES)


def _fit_products(demand: Demand, judged: Judged, seed: int, trees: int) -> dict[str, Any]:
    """Who is forecast by what, the trees if they are used, and how far off forecasts were out of sample."""
    number = demand.units.shape[1]
    boosted = "gradient_boosting" in judged.used.values()
    expected = products.used_rates(judged, demand)
    leads = range(1, _LONGEST_LEAD + 1)
    tables = [products.quantile_tables(demand, judged.plan.origins, expected, weeks) for weeks in leads]
    seldom = demand.seldom(number)
    return {
        "products": list(demand.products),
        "seldom": [name for name, one in zip(demand.products, seldom.tolist(), strict=True) if one],
        "used": judged.used,
        "parameters": products.estimate(demand, number, seed, trees) if boosted else {},
        "ends": _plain(products.quantile_tables(demand, judged.plan.origins, expected, 1, _ENDS)),
        "tables": [_plain(table) for table in tables],
        "backtest": _shown(demand, judged, expected),
    }


def _plain(table: np.ndarray) -> list[list[float | None]]:
    return [panel.plain(row) for row in table]


def _array(table: list[list[float | None]]) -> np.ndarray:
    return np.array([[np.nan if x is None else x for x in row] for row in table], dtype=float)


def _shown(demand: Demand, judged: Judged, expected: np.ndarray) -> dict[str, Any]:
    """The newest window that was judged on: rates, and the ends of intervals from windows that had ended by then."""
    origin = int(judged.plan.origins[-1])
    over = judged.plan.origins + 1 <= origin
    ends = products.quantile_tables(demand, judged.plan.origins[over], expected[:, over], 1, _ENDS)
    return {"weeks_back": demand.units.shape[1] - origin, "rates": expected[:, -1].tolist(), "ends": _plain(ends)}


def _product_rows(kept: Mapping[str, Any], weeks: frames.Weeks) -> list[dict[str, Any]]:
    """Forecasts of the next four weeks of each product, and the newest window of the backtest."""
    end = weeks.starts[-1] + timedelta(days=WEEK)
    rates, methods = _rates(kept, weeks.demand)
    shown = kept["backtest"]
    found = _rows_of(weeks, rates, methods, _array(kept["ends"]), end, backtest=False)
    first = end - timedelta(days=WEEK * shown["weeks_back"])
    if len(shown["rates"]) == len(kept["products"]) and first in weeks.starts:
        past = np.array(shown["rates"])
        found += _rows_of(weeks, past, methods, _array(shown["ends"]), first, backtest=True)
    return found


def _rates(kept: Mapping[str, Any], demand: Demand) -> tuple[np.ndarray, list[str]]:
    """Units per week expected of each product from now on, and by which method."""
    origin = np.array([demand.units.shape[1]])
    seldom = np.isin(demand.products, kept["seldom"])
    used = kept["used"]
    by_method = {name: products.rates(name, demand, origin, kept["parameters"])[:, 0] for name in set(used.values())}
    rates = np.where(seldom, by_method[used["seldom"]], by_method[used["often"]])
    return rates, [used["seldom"] if one else used["often"] for one in seldom.tolist()]


def _rows_of(
    weeks: frames.Weeks, rates: np.ndarray, methods: list[str], ends: np.ndarray, first: date, *, backtest: bool
) -> list[dict[str, Any]]:
    both = products.demand_quantiles(rates, 1, ends)
    found = []
    for step in range(WEEKS):
        begin = first + timedelta(days=WEEK * step)
        known = weeks.demand.units[:, weeks.starts.index(begin)] if backtest and begin in weeks.starts else None
        for row, name in enumerate(weeks.demand.products):
            low, high = panel.plain(both[row])
            actual = None if known is None else panel.plain(known[row : row + 1])[0]
            found.append(
                {
                    "measure": UNITS, "level": "product", "series": name, "period": "week", "is_backtest": backtest,
                    "origin_date": first - timedelta(days=1), "forecast_date": begin, "horizon": step + 1,
                    "forecast": float(rates[row]), "low_90": low, "high_90": high, "actual": actual,
                    "method": methods[row],
                }
            )  # fmt: skip
    return found


def _frame(found: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    periods = pl.Series("period", [row.pop("period") for row in found], dtype=pl.String)
    return rows.frame(found).with_columns(periods)


def _needed(kept: Mapping[str, Any] | None, weeks: frames.Weeks | None, leads: pl.DataFrame) -> pl.DataFrame:
    """A row per product that is forecast and whose lead time is known."""
    import polars as pl

    names = [f"units_p{round(100 * q)}" for q in QUANTILES]
    schema = {
        "product_id": pl.String, "lead_time_days": pl.Int64, "weeks": pl.Int64, "expected_units": pl.Float64,
        **dict.fromkeys(names, pl.Float64), "known_week_share": pl.Float64, "method": pl.String,
    }  # fmt: skip
    if kept is None or weeks is None:
        return pl.DataFrame(schema=schema)
    rates, methods = _rates(kept, weeks.demand)
    days = dict(leads.iter_rows())
    recent = weeks.demand.units[:, -52:]
    listed = np.isfinite(weeks.demand.units).argmax(axis=1)
    possible = np.minimum(weeks.demand.units.shape[1] - listed, recent.shape[1])
    share = np.isfinite(recent).sum(axis=1) / np.maximum(possible, 1)
    tables = [_array(table) for table in kept["tables"]]
    found = []
    for row, name in enumerate(weeks.demand.products):
        if name not in days:
            continue
        needed_weeks = max(-(-days[name] // WEEK), 1)
        of_table = min(needed_weeks, _LONGEST_LEAD)
        # Beyond the longest table units grow in proportion, which errs on the side of too many.
        factor = needed_weeks / of_table
        units = np.ceil(factor * products.demand_quantiles(rates[row : row + 1], of_table, tables[of_table - 1])[0])
        found.append(
            (name, days[name], needed_weeks, float(rates[row] * needed_weeks), *panel.plain(units), float(share[row]), methods[row])
        )  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row")


def _product_comparisons(demand: Demand, judged: Judged) -> list[Comparison]:
    """Per class the loss and its interval; over all products coverage of the lead-time quantiles of four weeks."""
    fold = f"{len(judged.plan.judging)} weekly origins"
    found = []
    for name, (low, high) in judged.interval.items():
        # Relative to the baseline, as the interval is.
        losses, chosen = judged.losses[name], judged.chosen[name]
        if not losses[BASELINE]:
            continue
        metric = f"relative squared error of {chosen}, products sold {name}"
        known = np.isfinite(low)
        found.append(
            Comparison(
                metric, losses[chosen] / losses[BASELINE], 1.0, low if known else None, high if known else None,
                fold=fold, lower_is_better=True,
            )
        )  # fmt: skip
    ours, theirs = (
        _held(demand, judged, expected) for expected in (products.used_rates(judged, demand), judged.rates[BASELINE])
    )
    for place, quantile in enumerate(QUANTILES):
        if np.isfinite(ours[place]) and np.isfinite(theirs[place]):
            metric = f"share of products that {quantile:.0%} of four weeks' demand sufficed for"
            found.append(Comparison(metric, float(ours[place]), float(theirs[place]), fold=fold))
    return found


def _held(demand: Demand, judged: Judged, expected: np.ndarray) -> np.ndarray:
    """How often each quantile of demand over four weeks sufficed on the judged windows, by tables made before them."""
    early = len(judged.plan.choosing)
    table = products.quantile_tables(demand, judged.plan.choosing, expected[:, :early], WEEKS)
    hits = []
    for place in range(early, len(judged.plan.origins)):
        origin = int(judged.plan.origins[place])
        actual = demand.units[:, origin : origin + WEEKS].sum(axis=1)
        known = np.isfinite(actual)
        enough = products.demand_quantiles(expected[known, place], WEEKS, table)
        hits.append((actual[known, None] <= enough).mean(axis=0) if known.any() else np.full(len(QUANTILES), np.nan))
    return np.nanmean(hits, axis=0) if np.isfinite(hits).any() else np.full(len(QUANTILES), np.nan)


def _about_products(judged: tuple[Demand, Judged] | None) -> dict[str, Any]:
    if judged is None:
        return {"count": 0}
    demand, one = judged
    return {
        "count": len(demand.products),
        "not_known_share": float(1 - np.isfinite(demand.units).mean()),
        "used": one.used,
        "chosen": one.chosen,
        "difference": {name: panel.plain(np.array(ends)) for name, ends in one.interval.items()},
        "losses": one.losses,
    }


def _product_exhibit(judged: Judged) -> Exhibit:
    rows_ = [
        (name, judged.chosen[name], f"{losses[judged.chosen[name]] / (losses[BASELINE] or 1):.2f}", judged.used[name])
        for name, losses in judged.losses.items()
    ]
    text = "Squared error of units in four weeks, in shares of the seasonal naive's, on weeks that nobody had seen."
    return Exhibit("Products", text, ("sold", "best on earlier weeks", "its loss / baseline's", "used"), rows_)


MODEL = DemandForecast()
