"""Labels of pictures have room whatever the picture's width, and say which tick they stand beside."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis

MONEY = Axis("money", "EUR")


def test_a_change_downwards_keeps_its_sign_between_the_names_and_the_bar() -> None:
    frame = pl.DataFrame({"value": ["Toys", "Books"], "change": [17_240.0, -10_300.0]})
    figure = charts.differences(frame, MONEY)
    assert list(figure.data[0].text) == ["+€17.2 k", "−€10.3 k"]
    assert figure.data[0].textposition == "outside"
    assert list(figure.layout.xaxis.range) == [-10_300.0, 17_240.0], "bars end where the axis does: texts lie beyond"
    room = len("−€10.3 k") * 6  # pixels that the text takes at least
    assert figure.layout.yaxis.ticklabelstandoff > room
    assert figure.layout.margin.r > room


def test_without_a_change_downwards_no_room_is_left_for_one() -> None:
    figure = charts.differences(pl.DataFrame({"value": ["Toys"], "change": [5.0]}), MONEY)
    assert figure.layout.yaxis.ticklabelstandoff == 0


@pytest.mark.parametrize(("before", "stands_at"), [(95.0, 100.0), (110.0, 112.0), (190.0, 100.0), (None, 100.0)])
def test_a_figure_never_lies_under_the_tick_beside_its_bar(before: float | None, stands_at: float) -> None:
    frame = pl.DataFrame({"value": ["a", "b"], "now": [200.0, 100.0], "before": [200.0, before]})
    figure = charts.bars(frame, MONEY, tick="Needed")
    texts = next(trace for trace in figure.data if trace.type == "scatter" and trace.mode == "text")
    assert texts.x[1] == stands_at
    assert texts.text[1] == " €100"
    assert [trace.name for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"] == ["Needed"]
    assert figure.layout.xaxis.range[1] < 210, "the room for the text is the margin, not a part of the axis"


def test_weeks_that_the_days_cut_short_are_left_out_where_there_are_others() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 15)]
    frame = pl.DataFrame({"period": days, "is_complete": [False, True, False]})
    assert charts.whole_weeks(frame, "week")["period"].to_list() == days[1:2]
    assert len(charts.whole_weeks(frame, "month")) == 3
    assert len(charts.whole_weeks(frame.with_columns(is_complete=False), "week")) == 3


@pytest.mark.parametrize(
    ("value", "text"), [(634.4, "€634"), (-878.86, "−€879"), (39.43, "€39.43"), (17_240.0, "€17.2 k"), (None, "–")]
)
def test_money_in_pictures_has_cents_only_where_they_matter(value: float | None, text: str) -> None:
    assert MONEY.text(value) == text
