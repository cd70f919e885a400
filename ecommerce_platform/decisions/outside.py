"""Experiments from outside the shop's tables: a CSV with a row per unit (or several, which are summed) becomes units of arms.

How they are compared is in `experiments.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.experiment_plan import ExperimentPlan, Metric, Sequential
from ecommerce_platform.decisions.experiments import Reading, Units, analyse
from ecommerce_platform.decisions.statistics import difference_in_differences
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    import polars as pl

_LARGEST = 1e15


def analyse_file(
    file: Path,
    *,
    control: str = "control",
    shares: dict[str, float] | None = None,
    money: bool = False,
    expected_lift: float | None = None,
    alpha: float = 0.05,
) -> list[dict[str, Any]]:
    """What an experiment in a file shows, one row per treated arm (`experiments.analyse`).

    Args:
        file: CSV with the columns unit, arm and outcome; `before` (the same from before the experiment) takes variance away,
            `per` (orders, say) makes the outcome a ratio of sums. A unit without an outcome counts with 0.
        control: the arm compared with.
        shares: planned share per arm; equal ones when not given.
        money: whether outcomes are amounts, whose intervals are bootstrapped.
        expected_lift: for experiments that are looked at before their end, the lift planned for.
        alpha: one minus the level.

    Raises:
        InputError: with the line, for what cannot be read; for shares that do not sum to 1 and a control that there is not.
    """
    frame = _read(file, ("unit", "arm", "outcome"), ("before", "per"), ("outcome", "before", "per"))
    units = _units(frame)
    if control not in units.assigned or len(units.assigned) < 2:
        raise InputError(
            f"the arms are {', '.join(sorted(units.assigned))}", where=file,
            fix=f"an experiment has a control and another arm; `--control` names it (now {control!r})",
        )  # fmt: skip
    metric: Metric = "aov" if "per" in frame.columns else "revenue" if money else "orders"
    try:
        plan = ExperimentPlan(
            control=control, shares=shares or {}, primary=metric, outcome_window_days=1,
            sequential=Sequential(expected_lift=expected_lift) if expected_lift else None,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(str(error).splitlines()[2].strip(), where="--shares", fix="say control=0.5,b=0.5") from None
    return analyse(units, Reading(plan, bool(shares), alpha))


def before_after(file: Path, first_after: str) -> dict[str, float]:
    """What a change did that only some units got, from a CSV of unit, group (treated or control), period and value.

    Without a control group the difference between before and after is nobody's effect, and none is told.

    Args:
        file: one row per unit and period; periods sort as text (2024-05-01, say).
        first_after: first period after the change.

    Returns:
        See `statistics.difference_in_differences`.

    Raises:
        InputError: something cannot be read, or there is no control.
    """
    frame = _read(file, ("unit", "group", "period", "value"), (), ("value",))
    groups = set(frame["group"].to_list())
    if groups != {"treated", "control"}:
        raise InputError(
            f"the groups are {', '.join(sorted(map(str, groups)))}: before and after without a control is no effect, for what else "
            "changed meanwhile changed too",
            where=file, fix="add units that did not get the change; `group` says treated or control",
        )  # fmt: skip
    cells = {name: frame[name].to_numpy() for name in ("unit", "period", "value")}
    try:
        return difference_in_differences({**cells, "treated": (frame["group"] == "treated").to_numpy()}, first_after)
    except ValueError as error:
        raise InputError(
            str(error), where=file, fix="one row per unit and period, more units or more periods"
        ) from None


def _read(file: Path, needed: tuple[str, ...], optional: tuple[str, ...], numbers: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    if not file.is_file():
        raise InputError("there is no such file", where=file, fix=f"give a CSV with the columns {', '.join(needed)}")
    try:
        frame = pl.read_csv(file, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"not a CSV that can be read: {str(error).splitlines()[0]}", where=file, fix="look at the file"
        ) from None
    if lacking := [name for name in needed if name not in frame.columns]:
        raise InputError(
            f"columns are missing: {', '.join(lacking)}", where=file,
            fix=f"the first line names {', '.join(needed)}{' and may name ' + ', '.join(optional) if optional else ''}",
        )  # fmt: skip
    frame = frame.select([*needed, *(name for name in optional if name in frame.columns)])
    for name in frame.columns:
        text = frame[name]
        if name in numbers:
            value = text.str.strip_chars().cast(pl.Float64, strict=False)
            wrong = text.is_not_null() & (value.is_null() | ~value.is_finite() | (value.abs() > _LARGEST)).fill_null(
                True
            )
            frame = frame.with_columns(value.fill_null(0.0).alias(name))
        else:
            wrong = text.is_null()
        if wrong.any():
            row = int(wrong.arg_true()[0])
            shown = f"{text[row]!r} is no number" if name in numbers else "there is nothing"
            raise InputError(f"{name}: {shown}", where=f"{file}, row {row + 1}", fix="correct the value")
    if frame.is_empty():
        raise InputError("there are no rows", where=file, fix=f"write a row per unit: {', '.join(needed)}")
    return frame


def _units(frame: pl.DataFrame) -> Units:
    import polars as pl

    names = [name for name in ("outcome", "before", "per") if name in frame.columns]
    summed = frame.group_by("unit", "arm").agg(pl.col(name).sum() for name in names).sort("unit", "arm")
    drawn = dict(summed.group_by("arm").len().iter_rows())
    once = summed.filter(pl.len().over("unit") == 1)
    values = {name: once[name].to_numpy().astype(np.float64) for name in names}
    outcomes = {"orders": values.get("per", values["outcome"]), "revenue": values["outcome"]}
    before = {"orders": values["before"], "revenue": values["before"]} if "before" in values else {}
    return Units(once["arm"].to_numpy(), outcomes, before, drawn, frame["unit"].n_unique() - once.height)
