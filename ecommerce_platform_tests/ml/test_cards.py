"""Cards: pages that say what a version is, pictures that need nothing else, and the page about all models."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.ml import plots
from ecommerce_platform.ml.cards import About, Exhibit, card_files, card_page, markdown_table, models_page
from ecommerce_platform.ml.fairness import by_group
from ecommerce_platform.ml.lifecycle import Comparison
from ecommerce_platform.ml.models import described
from ecommerce_platform.persons.identity import ABOUT
from ecommerce_platform_tests.ml.test_artifacts import card

ABOUT_THINGS = About("things", "Things", "What things there are.", ("They are few.",), "nothing")
SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_about_models_is_what_is_declared() -> None:
    page = Path(__file__).parents[2] / "docs" / "models.md"
    assert page.read_text(encoding="utf-8") == models_page([*described(read_catalog()), ABOUT]), "run `ecommerce docs`"


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"promoted": True, "method": "forest"}, "forest is published: it beat the baseline nothing."),
        (
            {"metrics": {"not_evaluated": "fewer than 30 persons"}, "method": "forest"},
            "the baseline nothing is published, not forest: fewer than 30 persons.",
        ),
        (
            {"metrics": {"not_evaluated": None, "refused": "too small"}},
            "the baseline nothing is published, not things: too small.",
        ),
    ],
)
def test_a_card_says_what_is_published_and_why(changed: dict[str, object], verdict: str) -> None:
    assert card(**changed).verdict == verdict


def test_a_card_shows_figures_tables_and_pictures_beside_it_or_within() -> None:
    svg = plots.plot(plots.Line([0, 1], [0, 1]), title="Calibration")
    shown = [Exhibit("How well calibrated?", "By tenth.", ("tenth", "share"), [(1, 0.123456), ("a|b", None)], svg)]
    compared = [Comparison("auc", 0.71234, 0.6, 0.05, 0.15, fold="2025-01-01", decides=True)]
    files = card_files(ABOUT_THINGS, card(), compared, shown)
    text = files["card.md"].decode()
    assert list(files) == ["card.md", "how-well-calibrated.svg"]
    assert "| 2025-01-01 | auc | 0.7123 | 0.6 | 0.05 | 0.15 | yes |" in text
    assert "| 1 | 0.1235 |\n| a\\|b |  |" in text
    assert "![How well calibrated?](how-well-calibrated.svg)" in text
    assert "- They are few." in text
    assert "data:image/svg+xml;base64," in card_page(ABOUT_THINGS, card(), compared, shown, embedded=True)


def test_tables_shorten_numbers() -> None:
    assert markdown_table(("a",), [(123456.7,), (0.00012345,), (3,)])[2:] == ["| 123,457 |", "| 0.0001234 |", "| 3 |"]


def points(svg: str, tag: str) -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(svg).iter(f"{SVG}{tag}")]


def test_points_lie_where_their_values_say() -> None:
    svg = plots.plot(plots.Points([0, 5, 10], [0, 50, 100]), title="<A & B>", x="days", y="€")
    (dots,) = [p["d"] for p in points(svg, "path") if p["d"].endswith("h0")]
    (x0, y0), (x1, y1), (x2, y2) = (map(float, dot[1:].split()) for dot in dots.removesuffix("h0").split("h0"))
    assert (x1 - x0, y0 - y1) == pytest.approx((x2 - x1, y1 - y2))
    assert x0 < x1
    assert y0 > y1, "up is more"
    assert any(t.text == "<A & B>" for t in ET.fromstring(svg).iter(f"{SVG}text"))


def test_a_line_breaks_where_a_value_is_missing_and_days_are_named() -> None:
    days = [date(2025, 1, 1) + timedelta(days=i) for i in range(5)]
    svg = plots.plot(plots.Line(days, [1, 2, None, 4, float("nan")]), title="t")
    (path,) = [p["d"] for p in points(svg, "path") if p.get("fill") == "none"]
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert any((t.text or "").startswith("2025-01-0") for t in ET.fromstring(svg).iter(f"{SVG}text"))


def test_bars_stand_beside_each_other_and_grow_from_zero() -> None:
    svg = plots.plot(plots.Bars(["a", "b"], [1, -1], "one"), plots.Bars(["a", "b"], [2, 0.5], "two"), title="t")
    bars = [r for r in points(svg, "rect") if r["height"] not in ("340", "10")]
    assert [float(b["height"]) for b in bars] == pytest.approx(
        [float(bars[0]["height"]) * f for f in (1, 1, 2, 0.5)], abs=0.2
    )
    assert len({b["x"] for b in bars}) == 4


def test_a_picture_of_nothing_is_a_picture() -> None:
    for layer in (plots.Line([], []), plots.Band([1], [None], [2]), plots.Bars([], []), plots.Points([1], [1])):
        ET.fromstring(plots.plot(layer, title="t"))


def test_measures_are_told_by_group_and_small_groups_together() -> None:
    groups = pl.DataFrame(
        {
            "region": ["north"] * 3 + ["south"] * 3 + ["east", "west", None],
            "age_group": [None] * 9,
        },
        schema={"region": pl.String, "age_group": pl.String},
    )
    score = np.array([1.0, 1, 0, 0, 0, 0, 5, 7, 9])
    (by_region,) = by_group(groups, {"mean": lambda places: float(score[places].mean())}, least=3)
    assert by_region.title == "By region"
    assert by_region.header == ("region", "persons", "mean")
    assert by_region.rows == [("north", 3, pytest.approx(2 / 3)), ("others", 3, 7.0), ("south", 3, 0.0)]
