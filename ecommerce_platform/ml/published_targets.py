"""The small analytics shop's published targets, tried: each as it was published, and again without what gives it away.

Forecast, churn and lifetime value are worked out from the file's two tables alone, so that they can be compared with what
others did; the platform's own models on the same shop are read from its warehouse. Nothing here is used anywhere else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.churn_model import Recency
from ecommerce_platform.ml.classification import measures

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

#: Share of the days that the published forecast is fitted on: 584 of 730.
FITTED_SHARE = 0.8
WEEK, HORIZON = 7, 28
CHURN_DAYS, GAP = 90, 1
FOLDS, SEED = 5, 1
CHURN_FEATURES = ("revenue", "mean_revenue", "orders", "satisfaction", "delivery_days", "segment", "region")
CLV_FEATURES = ("orders", "satisfaction", "mean_revenue", "segment", "region", "age_group")
#: Figures of a model of ours that the page shows.
_SHOWN = 12
_COLUMNS = (
    "customer_id", "date", "revenue", "delivery_days", "satisfaction_score", "segment", "region", "age_group",
)  # fmt: skip

Forecast = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Found:
    """One figure: what was tried, how it was judged, and what came out."""

    who: str
    how: str
    figures: Mapping[str, float]


def read_transactions(file: Path) -> pl.DataFrame:
    """The transactions that are sales and have a customer: `_COLUMNS`, `date` as DATE; by day and customer.

    Raises:
        InputError: the file is no SQLite file with such a table.
    """
    import polars as pl

    sql = f"select {', '.join(_COLUMNS)} from transactions where revenue >= 0 and customer_id is not null"
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as con:
            rows = con.execute(sql).fetchall()
    except sqlite3.Error as error:
        raise InputError(
            f"the transactions cannot be read ({error})",
            where=file,
            fix="write one: ecommerce generate --shop analytics",
        ) from None
    texts, numbers = ("date", "segment", "region", "age_group"), ("revenue", "delivery_days", "satisfaction_score")
    types: Any = {"customer_id": pl.Int64, **dict.fromkeys(texts, pl.String), **dict.fromkeys(numbers, pl.Float64)}
    frame = pl.DataFrame(rows, schema={name: types[name] for name in _COLUMNS}, orient="row")
    return frame.with_columns(pl.col("date").str.slice(0, 10).str.to_date()).sort("date", "customer_id", "revenue")


def daily_revenue(rows: pl.DataFrame) -> np.ndarray:
    """Revenue of each day from the first to the last, zero where there is none."""
    import polars as pl

    days = rows.group_by("date").agg(pl.col("revenue").sum()).sort("date")
    first = days["date"][0]
    series = np.zeros((days["date"][-1] - first).days + 1)
    series[(days["date"] - first).dt.total_days().to_numpy()] = days["revenue"].to_numpy()
    return series


# -- forecasts ---------------------------------------------------------------------------------------------------


def seasonal_naive(history: np.ndarray, days: int) -> np.ndarray:
    """The last week, again and again."""
    return np.resize(history[-WEEK:], days)


def weekday_mean(history: np.ndarray, days: int) -> np.ndarray:
    """Of each weekday the mean over the last eight weeks."""
    return np.resize(history[-8 * WEEK :].reshape(-1, WEEK).mean(0), days)


def ets(history: np.ndarray, days: int) -> np.ndarray:
    """Exponential smoothing with a damped trend and a week (statsmodels')."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    model = ExponentialSmoothing(
        history,
        trend="add",
        damped_trend=True,
        seasonal="add",
        seasonal_periods=WEEK,
        initialization_method="estimated",
    )
    return np.asarray(model.fit().forecast(days))


def arima_of(history: np.ndarray) -> Forecast:
    """ARIMA(5,1,2), its parameters estimated on `history` and carried forward."""
    from statsmodels.tsa.arima.model import ARIMA

    fitted = ARIMA(history, order=(5, 1, 2)).fit(method_kwargs={"maxiter": 200})

    def forecast(known: np.ndarray, days: int) -> np.ndarray:
        return np.asarray(fitted.apply(known, refit=False).forecast(days))

    return forecast


def forecast_errors(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Mean absolute error over the mean of the days, and 1 − MAPE over the days that are not zero."""
    sold = actual != 0
    return {
        "MAE ÷ mean": float(np.abs(actual - predicted).mean() / actual.mean()),
        "1 − MAPE": float(1 - np.abs((actual[sold] - predicted[sold]) / actual[sold]).mean()),
    }


def forecasts(series: np.ndarray) -> list[Found]:
    """The published forecast and its rivals: from one origin for all days left, and from an origin every four weeks."""
    import warnings

    import statsmodels.tsa.arima.model  # noqa: F401  (it turns its own warnings on when it is imported)

    split = round(FITTED_SHARE * len(series))
    with warnings.catch_warnings():
        # Its parameters lie at the edge of what is stationary: statsmodels says so, and the page says how it does.
        warnings.simplefilter("ignore")
        rivals: dict[str, Forecast] = {"ARIMA(5,1,2)": arima_of(series[:split])}
        rivals |= {
            "seasonal naive": seasonal_naive,
            "weekday mean of 8 weeks": weekday_mean,
            "ETS, damped, weekly": ets,
        }
        found = []
        origins = range(split, len(series) - HORIZON + 1, HORIZON)
        for who, forecast in rivals.items():
            once = forecast_errors(series[split:], forecast(series[:split], len(series) - split))
            parts = [forecast(series[:origin], HORIZON) for origin in origins]
            rolled = forecast_errors(series[split : split + HORIZON * len(parts)], np.concatenate(parts))
            found += [Found(who, "as published", once), Found(who, "point-in-time", rolled)]
    return found


# -- customers ---------------------------------------------------------------------------------------------------


def customers_as_of(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """A row per customer with a transaction up to a day, by what these say alone: the named features and recency_days."""
    import polars as pl

    known = rows.filter(pl.col("date") <= day)
    return known.group_by("customer_id").agg(
        pl.col("revenue").sum(),
        pl.col("revenue").mean().alias("mean_revenue"),
        pl.len().cast(pl.Float64).alias("orders"),
        pl.col("satisfaction_score").mean().alias("satisfaction"),
        pl.col("delivery_days").mean(),
        pl.col("segment", "region", "age_group").last(),
        (pl.lit(day) - pl.col("date").min()).dt.total_days().alias("age_days"),
        (pl.lit(day) - pl.col("date").max()).dt.total_days().alias("recency_days"),
    ).sort("customer_id")  # fmt: skip


def _later_revenue(rows: pl.DataFrame, customers: pl.DataFrame, first: date, last: date) -> np.ndarray:
    """Revenue of each customer from `first` to `last`."""
    import polars as pl

    later = (
        rows.filter(pl.col("date").is_between(first, last)).group_by("customer_id").agg(later=pl.col("revenue").sum())
    )
    return customers.join(later, on="customer_id", how="left", maintain_order="left")["later"].fill_null(0.0).to_numpy()


def encode(train: pl.DataFrame, rows: pl.DataFrame, features: Sequence[str]) -> np.ndarray:
    """The features as numbers: texts as a column per text of `train`, what is not known as the median there."""
    columns = []
    for name in features:
        if train.schema[name].is_numeric():
            middle = train[name].median()
            columns.append(rows[name].fill_null(middle).to_numpy().astype(float))
        else:
            columns += [
                (rows[name] == text).fill_null(False).to_numpy() for text in sorted(train[name].unique().drop_nulls())
            ]
    return np.column_stack(columns)


def _forest_classifier() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, max_depth=10, random_state=SEED)


def churn(rows: pl.DataFrame) -> list[Found]:
    """The published churn forest: on its own target by cross-validation, and on later days."""
    import polars as pl
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    last = rows["date"].max()
    assert isinstance(last, date)
    everyone = customers_as_of(rows, last)
    inactive = (everyone["recency_days"] > CHURN_DAYS).cast(pl.Int64).to_numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    values = encode(everyone, everyone, CHURN_FEATURES)
    said = cross_val_predict(_forest_classifier(), values, inactive, cv=folds, method="predict_proba")[:, 1]
    # Recency alone, through the same folds, is the target itself.
    recency = cross_val_predict(
        _forest_classifier(), everyone["recency_days"].to_numpy()[:, None], inactive, cv=folds, method="predict_proba"
    )[:, 1]
    majority = np.full(len(inactive), inactive.mean())
    published = [
        Found("RandomForest(100, max_depth=10)", "as published", _shown(inactive, said)),
        Found("the larger class", "as published", _shown(inactive, majority)),
        Found("recency alone", "as published", _shown(inactive, recency)),
    ]
    return published + _churn_later(rows, last)


def _churn_later(rows: pl.DataFrame, last: date) -> list[Found]:
    step = timedelta(days=CHURN_DAYS + GAP)
    sets = []
    for day in (last - 2 * step, last - step):
        known = customers_as_of(rows, day)
        known = known.filter(known["recency_days"] < 2 * CHURN_DAYS)
        lost = _later_revenue(rows, known, day + timedelta(days=GAP + 1), day + step) == 0
        sets.append((known, lost.astype(np.int64)))
    (train, before), (test, after) = sets
    forest = _forest_classifier().fit(encode(train, train, CHURN_FEATURES), before)
    said = forest.predict_proba(encode(train, test, CHURN_FEATURES))[:, 1]
    with_recency = (*CHURN_FEATURES, "recency_days", "age_days")
    more = _forest_classifier().fit(encode(train, train, with_recency), before)
    recency = Recency.fit(train["recency_days"].to_numpy(), before).probability(test["recency_days"].to_numpy())
    how = "point-in-time"
    return [
        Found("RandomForest(100, max_depth=10)", how, _shown(after, said)),
        Found(
            "the same with recency and age",
            how,
            _shown(after, more.predict_proba(encode(train, test, with_recency))[:, 1]),
        ),
        Found("the larger class", how, _shown(after, np.full(len(after), before.mean()))),
        Found("recency alone", how, _shown(after, recency)),
    ]


def _shown(outcome: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    found = measures(outcome, probability, 0.5)
    return {"accuracy": found["accuracy"], "AUC": found["auc"], "share lost": float(outcome.mean())}


def lifetime_value(rows: pl.DataFrame) -> list[Found]:
    """The published lifetime-value forest: on revenue so far, and on revenue of later days."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    first, last = rows["date"].min(), rows["date"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    everyone = customers_as_of(rows, last)
    total = everyone["revenue"].to_numpy()
    forest = RandomForestRegressor(100, random_state=SEED)
    values = encode(everyone, everyone, CLV_FEATURES)
    said = cross_val_predict(forest, values, total, cv=KFold(FOLDS, shuffle=True, random_state=SEED))
    product = (everyone["orders"] * everyone["mean_revenue"]).to_numpy()
    found = [
        Found("RandomForest", "as published", _errors(total, said)),
        Found("order count × AOV", "as published", _errors(total, product)),
    ]
    days = (last - first).days + 1
    horizon = days - round(FITTED_SHARE * days)
    known = [customers_as_of(rows, last - timedelta(days=k * horizon)) for k in (2, 1)]
    ends = [(last - timedelta(days=k * horizon - 1), last - timedelta(days=(k - 1) * horizon)) for k in (2, 1)]
    later = [_later_revenue(rows, k, *end) for k, end in zip(known, ends, strict=True)]
    train, test = known
    forest.fit(encode(train, train, CLV_FEATURES), later[0])
    predicted = forest.predict(encode(train, test, CLV_FEATURES))
    past = (test["revenue"] / (test["age_days"] + 1).clip(horizon)).to_numpy() * horizon
    how = "point-in-time"
    return [
        *found,
        Found("RandomForest", how, _errors(later[1], predicted)),
        Found("past average per day", how, _errors(later[1], past)),
        Found("the mean of all", how, _errors(later[1], np.full(test.height, later[0].mean()))),
    ]


def _errors(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    off = actual - predicted
    return {
        "MAE ÷ mean": float(np.abs(off).mean() / actual.mean()),
        "R²": float(1 - (off**2).sum() / ((actual - actual.mean()) ** 2).sum()),
    }


# -- the page ----------------------------------------------------------------------------------------------------

_LEAKS = {
    "forecast": (
        "What gives it away: one origin and one run of test days, so that whether this stretch happens to be easy decides "
        "the figure; nothing says that the order (5,1,2) was chosen without these days; days without sales are left out of "
        "MAPE; and the mean that MAE is divided by is that of the days to be forecast. Point-in-time: an origin every four "
        "weeks, four weeks ahead, on what was known then; parameters of ARIMA estimated before the first."
    ),
    "churn": (
        "What gives it away: churned means no purchase in the last 90 days, and the features are counted up to the last day: order count and "
        "revenue contain the very days that the target is about, so a customer who came back in them has more of both. The "
        "folds are drawn over customers, none of them later than another. Point-in-time: customers of the 180 days up to a "
        "cut-off by what was known then, lost if they buy nothing from the second to the 91st day after it; fitted a window "
        "earlier, judged on the newest."
    ),
    "value": (
        "What gives it away: lifetime value is the revenue so far, and order count × AOV, both among the features, is that number exactly: "
        "nothing is predicted. Point-in-time: features up to a day, revenue of the days after it; fitted on the stretch "
        "before. A customer who does not come back is worth 0, which no mean absolute error over the mean gets small on."
    ),
}
_TARGETS = {
    "forecast": {"MAE ÷ mean": "under 15 %", "1 − MAPE": "over 80 %"},
    "churn": {"accuracy": "75–85 %"},
    "value": {"MAE ÷ mean": "under 20 %"},
}


def targets_page(rows: pl.DataFrame, warehouse: DuckDBPyConnection | None, command: str) -> str:
    """docs/small-analytics-shop.md.

    Args:
        rows: as `read_transactions` gives them.
        warehouse: of the same shop, built; None leaves the platform's own models out.
        command: that writes the page.
    """
    found = {"forecast": forecasts(daily_revenue(rows)), "churn": churn(rows), "value": lifetime_value(rows)}
    first, last = rows["date"][0], rows["date"][-1]
    titles = {"forecast": "Daily revenue: ARIMA(5,1,2)", "churn": "Churn", "value": "Lifetime value"}
    lines = [
        "# The small analytics shop and its published targets",
        "",
        f"Written by `{command}`; do not edit. The shop is generated (`ecommerce generate --shop analytics`): a SQLite file "
        f"with {rows.height:,} transactions of {rows['customer_id'].n_unique():,} customers from {first} to "
        f"{last}, with a trend, a season, and customers who leave the sooner the longer delivery takes and the "
        "less satisfied they are. Each target is tried as it was published, with what gives it away named, and again with "
        "only what was known at the time. Reaching the published numbers is not the aim; saying what they are worth is.",
        "",
        *_summary(found),
    ]
    for name, title in titles.items():
        lines += [
            "",
            f"## {title}",
            "",
            f"Published: {', '.join(f'{figure} {aim}' for figure, aim in _TARGETS[name].items())}.",
            "",
            _LEAKS[name],
            "",
            *_table(found[name]),
        ]
    if warehouse is not None:
        lines += ["", *_own_models(warehouse)]
    return "\n".join(lines) + "\n"


def _summary(found: Mapping[str, Sequence[Found]]) -> list[str]:
    shown = [(name, figure) for name, aims in _TARGETS.items() for figure in aims]
    lines = [
        "| what | published aim | as published, here | point-in-time | best simple rival, point-in-time |",
        "|---|---|---|---|---|",
    ]
    for name, figure in shown:
        first = found[name][0].who
        mine = {f.how: f.figures[figure] for f in found[name] if f.who == first}
        others = [f for f in found[name] if f.who != first and f.how == "point-in-time"]
        best = (min if figure.startswith("MAE") else max)(others, key=lambda f: f.figures[figure])
        lines.append(
            f"| {first}: {figure} | {_TARGETS[name][figure]} | {mine['as published']:.1%} | {mine['point-in-time']:.1%} "
            f"| {best.who}: {best.figures[figure]:.1%} |"
        )
    return lines


def _table(found: Sequence[Found]) -> list[str]:
    names = list(found[0].figures)
    lines = [f"| how | who | {' | '.join(names)} |", f"|---|---|{'---:|' * len(names)}"]
    for how in ("as published", "point-in-time"):
        for f in (f for f in found if f.how == how):
            lines.append(f"| {how} | {f.who} | {' | '.join(_number(n, f.figures[n]) for n in names)} |")
    return lines


def _number(name: str, value: float) -> str:
    return f"{value:.3f}" if name in ("AUC", "R²") else f"{value:.1%}"


def _own_models(con: DuckDBPyConnection) -> list[str]:
    """What the platform's models do on this shop: every metric of the newest version of each on its newest fold."""
    rows = con.execute(
        f"""
        with newest as (
            select model, max(version) as version from ml.models group by model
        )
        select e.model, m.promoted, e.fold, e.metric, e.value, e.baseline, e.baseline_value, e.interval_low, e.interval_high
        from ml.evaluations as e
        inner join newest using (model, version)
        inner join ml.models as m using (model, version)
        where e.interval_low is not null
        qualify row_number() over (partition by e.model order by e.fold desc, e.metric) <= {_SHOWN}
        order by e.model, e.fold, e.metric
        """
    ).fetchall()
    lines = [
        "## Our models on the same shop",
        "",
        "Each judged on days that neither its choice nor its fit had seen, beside its baseline; the interval is that of the "
        f"difference. Where the model does not win, the baseline is what is published. At most {_SHOWN} figures of a model.",
        "",
        "| model | published | fold | metric | model | baseline | of | difference |",
        "|---|---|---|---|---:|---:|---|---|",
    ]
    for model, promoted, fold, metric, value, baseline, base, low, high in rows:
        interval = "" if low is None or high is None else f"{low:+.3f} … {high:+.3f}"
        who = "model" if promoted else "baseline"
        lines.append(f"| {model} | {who} | {fold} | {metric} | {value:.3f} | {base:.3f} | {baseline} | {interval} |")
    return lines
