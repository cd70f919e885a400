"""Prophet and an LSTM against the methods of `ml/forecasting`, on daily revenue of the real exports.

`python -m benchmarks.forecasters [FOLDER]`, the folder of the exports (`ECOMMERCE_TEST_DATA`). Prophet runs where the extra
is installed, the LSTM where `jax` is (`pip install jax`: no dependency of the platform). What came of it is in
docs/decisions/0044-prophet-and-lstm.md.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np

from ecommerce_platform.ml.forecasting import backtest, measures, panel, regressors
from ecommerce_platform.ml.forecasting.methods import BASELINE, FOR_TOTALS, METHODS, Method
from ecommerce_platform.ml.forecasting.series import Series, daily, without_partial_days

#: Day, orders and revenue of each export, as the platform's own mappings say it.
DAYS = {
    "olist": """
        select cast(order_purchase_timestamp as date) as day, count(distinct order_id) as orders, sum(price) as revenue
        from read_csv('{0}/olist/olist_orders_dataset.csv') as orders join read_csv('{0}/olist/olist_order_items_dataset.csv') as items
        using (order_id) where order_status not in ('canceled', 'unavailable') group by 1""",
    "marketplace": r"""
        select cast(regexp_replace(order_date, '^(\d{4})-(\d{2})-(0\d|1[0-2])', '\1-\3-\2') as date) as day,
        count(distinct id) as orders, sum(cast(before_discount as double) - cast(discount_amount as double)) as revenue
        from read_csv('{0}/marketplace/order_detail.csv', all_varchar = true) where is_valid = '1' group by 1""",
    "pet_retail": """
        select cast(strptime(transaction_date, '%m/%d/%Y %H:%M') as date) as day, count(distinct invoice_no) as orders,
        sum(cast(sale as double)) as revenue
        from read_csv('{0}/pet_retail/sale.csv', all_varchar = true) where cast(quantity as double) > 0 group by 1""",
}
WINDOW, HIDDEN, EPOCHS, MEMBERS = 56, 32, 400, 3


def revenue_of(name: str, folder: Path) -> Series:
    """Daily revenue of an export without its partial days."""
    rows = duckdb.sql(DAYS[name].replace("{0}", str(folder)) + " order by 1").fetchall()
    days = [row[0] for row in rows]
    orders, revenue = (
        daily("total", days, np.array([float(row[i] or 0) for row in rows]), days[0], days[-1]) for i in (1, 2)
    )
    whole = without_partial_days(orders)
    begin = (whole.first - orders.first).days
    return Series("total", whole.first, np.maximum(revenue.values[begin : begin + len(whole)], 0), whole.left_out)


def lstm() -> Method:
    """An LSTM (Hochreiter and Schmidhuber 1997) over eight weeks that says the next four directly; mean of three seeds.

    Values are divided by the mean of their eight weeks; weekdays are told to it. Trained once on all windows before the
    first origin (Adam, mean absolute error), as the other methods are.
    """
    import jax
    import jax.numpy as jnp

    def init(seed: int) -> dict:
        keys = jax.random.split(jax.random.PRNGKey(seed), 3)
        scale = 1 / np.sqrt(HIDDEN)
        return {
            "x": scale * jax.random.normal(keys[0], (8, 4 * HIDDEN)),
            "h": scale * jax.random.normal(keys[1], (HIDDEN, 4 * HIDDEN)),
            "b": jnp.zeros(4 * HIDDEN).at[HIDDEN : 2 * HIDDEN].set(1.0),
            "out": 0.1 * scale * jax.random.normal(keys[2], (HIDDEN, backtest.HORIZON)),
            "bias": jnp.ones(backtest.HORIZON),
            "week": jnp.zeros((7, backtest.HORIZON)),
        }

    def run(p: dict, x: jnp.ndarray) -> jnp.ndarray:
        def step(state, now):
            h, c = state
            i, f, g, o = jnp.split(now @ p["x"] + h @ p["h"] + p["b"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((x.shape[0], HIDDEN))
        (h, _), _ = jax.lax.scan(step, (zero, zero), jnp.swapaxes(x, 0, 1))
        return h @ p["out"] + p["bias"] + x[:, -7, 1:] @ p["week"]

    def rows(values: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = origins[:, None] - WINDOW + np.arange(WINDOW)
        past = values[at]
        level = np.maximum(past.mean(axis=1), 1e-9)
        return np.concatenate([(past / level[:, None])[..., None], np.eye(7)[at % 7]], axis=2), level

    def fit(values: np.ndarray) -> dict:
        origins = np.arange(WINDOW, len(values) - backtest.HORIZON + 1)
        x, level = rows(values, origins)
        y = backtest.windows(values, origins) / level[:, None]
        # The last tenth of the windows stops the training; nothing of the backtest is seen.
        cut = int(0.9 * len(x))
        return {"members": [train(init(seed), x, y, cut) for seed in range(MEMBERS)]}

    def train(p: dict, x: np.ndarray, y: np.ndarray, cut: int) -> dict:
        def loss(p, x, y):
            return jnp.abs(run(p, x) - y).mean()

        @jax.jit
        def step(p, m, v, t):
            g = jax.grad(loss)(p, x[:cut], y[:cut])
            m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            new = jax.tree.map(
                lambda w, a, b: w - 0.005 * (a / (1 - 0.9**t)) / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-8), p, m, v
            )
            return new, m, v

        late = jax.jit(lambda p: loss(p, x[cut:], y[cut:]))
        m = v = jax.tree.map(jnp.zeros_like, p)
        best, least = p, np.inf
        for t in range(1, EPOCHS + 1):
            p, m, v = step(p, m, v, t)
            if t % 10 == 0 and (now := float(late(p))) < least:
                best, least = p, now
        return best

    def paths(parameters: dict, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
        x, level = rows(values, origins)
        return np.mean([np.asarray(run(p, x)) for p in parameters["members"]], axis=0)[:, :horizon] * level[:, None]

    return Method("lstm", fit, paths)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ECOMMERCE_TEST_DATA", "../shared/data"))
    print("export | days | origins | method | MASE | against the baseline | against the winner (95 %) | seconds")
    for name in DAYS:
        series = revenue_of(name, folder)
        plan = backtest.make_plan(len(series))
        assert plan is not None
        found, seconds = {}, {}
        extra = {"prophet, once": regressors.prophet(series.first), "lstm": lstm()} if find_spec("jax") else {}
        methods = {**METHODS, **extra}
        for method in (*FOR_TOTALS, *extra):
            started = time.perf_counter()
            found[method] = backtest.compare(series.values, plan, [method], methods=methods)
            seconds[method] = time.perf_counter() - started
        if regressors.prophet_is_installed():
            started = time.perf_counter()
            one = {"prophet": regressors.prophet(series.first)}
            found["prophet"] = backtest.compare(series.values, plan, ["prophet"], refit=True, methods=one)
            seconds["prophet"] = time.perf_counter() - started
        tell(name, series, plan, found, seconds)


def tell(name: str, series: Series, plan: backtest.Plan, found: dict, seconds: dict) -> None:
    """A line per method; the winner is the best plain one on the windows of choosing."""
    early = len(plan.choosing)
    plain = {n: f.losses(n, "mase") for n, f in found.items() if n in FOR_TOTALS}
    winner = min(plain, key=lambda n: plain[n][:early].mean())
    scale = measures.naive_scale(series.values[: plan.first])[0]
    usual = plain[BASELINE][early:].mean()
    for method, tried in found.items():
        if method in tried.failed:
            print(f"{name} | {len(series)} | {len(plan.judging)} | {method} | {tried.failed[method]}")
            continue
        late = tried.losses(method, "mase")[early:]
        low, high = measures.paired_interval((late - plain[winner][early:]) / usual, panel.HORIZON // backtest.STEP)
        print(
            f"{name} | {len(series)} | {len(plan.judging)} | {method}{' (winner)' if method == winner else ''} | "
            f"{late.mean() / scale:.3f} | {late.mean() / usual - 1:+.1%} | {low:+.1%} to {high:+.1%} | {seconds[method]:.1f}"
        )


if __name__ == "__main__":
    main()
