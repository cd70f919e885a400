"""Experiments from a file: what the commands say of them, and which files they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecommerce_platform.cli import app
from ecommerce_platform.decisions.outside import analyse_file, before_after
from ecommerce_platform.errors import InputError
from ecommerce_platform_tests.decisions.test_statistics import panel


def write(path: Path, *rows: str, header: str = "unit,arm,outcome") -> Path:
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Forty units an arm: 1 … 40 in the control, one more each in the other, one unit in both."""
    rows = [f"u{n},control,{n}" for n in range(1, 41)] + [f"v{n},b,{n + 1}" for n in range(1, 41)]
    return write(tmp_path / "x.csv", *rows, "both,control,9", "both,b,9")


def test_units_are_compared_and_those_in_two_arms_left_out(file: Path) -> None:
    (row,) = analyse_file(file)
    assert (row["units"], row["control_units"], row["in_two_arms"]) == (40, 40, 1)
    assert (row["control_mean"], row["difference"]) == (20.5, pytest.approx(1))
    assert analyse_file(file, money=True)[0]["method"] == "bootstrap_t"
    assert analyse_file(file, expected_lift=0.1)[0]["method"] == "confidence_sequence"


def test_rows_of_a_unit_are_summed_and_none_is_0(tmp_path: Path) -> None:
    rows = [f"u{n},{arm},{value}" for n in range(40) for arm, value in ((("a", "4"),) if n % 2 else (("control", ""),))]
    found = analyse_file(
        write(
            tmp_path / "x.csv", *rows, *rows, *[f"w{n},a,1" for n in range(20)], *[f"x{n},control,1" for n in range(20)]
        )
    )
    assert (found[0]["mean"], found[0]["control_mean"]) == ((20 * 8 + 20) / 40, 0.5)


def test_a_denominator_makes_it_a_ratio_and_what_was_before_takes_variance_away(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    before = random.gamma(2, 3, 400)
    rows = [f"u{n},{'b' if n % 2 else 'control'},{b + random.normal(0, 1)},{b},2" for n, b in enumerate(before)]
    ratio = analyse_file(write(tmp_path / "x.csv", *rows, header="unit,arm,outcome,before,per"))[0]
    assert ratio["method"] == "delta"
    plain = [",".join(row.split(",")[:4]) for row in rows]
    assert (
        analyse_file(write(tmp_path / "y.csv", *plain, header="unit,arm,outcome,before"))[0]["variance_explained"] > 0.9
    )


@pytest.mark.parametrize(("rows", "header", "told"), [
    (["u1,control,x"], "unit,arm,outcome", "row 1: outcome: 'x' is no number"),
    (["u1,control,1", "u2,control,1e300"], "unit,arm,outcome", "row 2: outcome: '1e300' is no number"),
    (["u1,,1"], "unit,arm,outcome", "arm: there is nothing"),
    (["u1,control"], "unit,arm", "columns are missing: outcome"),
    ([], "unit,arm,outcome", "there are no rows"),
    (["u1,a,1", "u2,b,1"], "unit,arm,outcome", "the arms are a, b"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, rows: list[str], header: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        analyse_file(write(tmp_path / "x.csv", *rows, header=header))


def test_shares_that_do_not_sum_to_one_and_files_that_are_not_there(file: Path) -> None:
    with pytest.raises(InputError, match=r"planned shares sum to 1, not 1\.1"):
        analyse_file(file, shares={"control": 0.5, "b": 0.6})
    with pytest.raises(InputError, match="there is no such file"):
        analyse_file(file.with_name("none.csv"))


def test_before_and_after_without_a_control_is_no_effect(tmp_path: Path) -> None:
    cells = panel(np.random.default_rng(6), 2.0)
    rows = [f"{u},{'treated' if t else 'control'},{p:02d},{v}" for u, t, p, v in zip(*cells.values(), strict=True)]
    header = "unit,group,period,value"
    found = before_after(write(tmp_path / "x.csv", *rows, header=header), "08")
    assert found["low"] < 2.0 < found["high"]
    with pytest.raises(InputError, match="before and after without a control is no effect"):
        before_after(write(tmp_path / "y.csv", *(r for r in rows if "treated" in r), header=header), "08")
    with pytest.raises(InputError, match="needs two units in each group"):
        before_after(write(tmp_path / "z.csv", *rows, header=header), "99")


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["experiment", *arguments], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_commands_say_what_was_found(file: Path) -> None:
    shown = said("analyze", str(file))
    assert "1 in two arms left out; sample ratio p = 1.0000 (equal shares)" in shown
    assert "no_evidence" in shown
    assert "64 units in the control and 64 in the treated arm find 0.5" in said("size", "--effect", "0.5")
    assert "3,533 units in the control" in said("size", "--baseline", "0.1", "--lift", "0.2")


def test_sizes_without_what_is_to_be_found_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to be found is given"):
        said("size")
    with pytest.raises(InputError, match="needs its standard deviation"):
        said("size", "--baseline", "40", "--lift", "0.1")
    with pytest.raises(InputError, match="effect of 0"):
        said("size", "--effect", "0")
