"""The same data and seed give the same artifact and scores in another process, whatever the number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import hashlib, sys
from datetime import UTC, datetime
from pathlib import Path
from ecommerce_platform.ml import baskets, lifecycle, lifetime_value
from ecommerce_platform.ml.forecasting import demand, revenue
from ecommerce_platform_tests.ml.forecasting import shop as sales
from ecommerce_platform_tests.ml.shop import returning_customers
from ecommerce_platform_tests.ml.test_baskets import habits, inputs_of

folder = Path(sys.argv[1])
days = {"days": returning_customers()}
made = [(lifetime_value.MODEL, days, method) for method in ("bg_nbd_gamma_gamma", "random_forest", "past_average")]
made += [(baskets.MODEL, inputs_of(habits()), None)]
made += [(model, sales.frames(400), None) for model in (revenue.MODEL, demand.MODEL)]
trainings = {
    model.name: lifecycle.train_frames(model, {name: inputs[name] for name in model.trained_on}, trained_at=datetime(2026, 1, 1, tzinfo=UTC))
    for model, inputs in ((made[0][0], days), *(one[:2] for one in made[3:]))
}
for number, (model, inputs, method) in enumerate(made):
    trained = trainings[model.name]
    if method:
        with lifecycle.one_thread(model.imports):
            fitted = model.fit(inputs, method, trained.evaluation, seed=1, full=False)
        trained = lifecycle.Trained(model, fitted, trained.evaluation, trained.card)
    kept = lifecycle.keep(folder / str(number), trained)
    again, _ = lifecycle.load(folder / str(number), model, kept.version, sha256=kept.sha256)
    for table in model.scored_on:
        read = {name: inputs[name] for name in model.scored_on[table]}
        scores = model.score(again, read, table)
        assert scores.equals(model.score(trained.fitted, read, table)), table
        print(model.name, method, table, kept.sha256, hashlib.sha256(scores.write_csv().encode()).hexdigest())
"""


@pytest.mark.long
def test_artifacts_and_scores_do_not_depend_on_process_or_threads(tmp_path: Path) -> None:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
    printed = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / number)],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(threads, number), "PYTHONHASHSEED": number},
        ).stdout
        for number in ("1", "3")
    ]
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 11
