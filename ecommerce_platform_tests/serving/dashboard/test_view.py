"""What an address says of a view, and which days a view means and is compared with."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_platform.contracts.metric_sql import Filter
from ecommerce_platform.serving.dashboard.view import (
    COMPARISONS,
    SPANS,
    Days,
    View,
    address_of,
    months_back,
    read_address,
    span_days,
    usual_span,
)

FIRST, LAST = date(2023, 1, 1), date(2024, 7, 14)
DIMENSIONS = ("region", "category")
DAYS = st.dates(FIRST, LAST)
FILTERS = st.lists(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1), max_size=3, unique=True
)


@given(st.sampled_from(list(SPANS)), st.sampled_from(list(COMPARISONS)), DAYS, DAYS, FILTERS)
def test_an_address_reads_as_the_view_that_wrote_it(
    span: str, compare: str, one: date, other: date, values: list[str]
) -> None:
    days = span_days(span, FIRST, LAST, Days(min(one, other), max(one, other)))
    filters = (Filter("region", tuple(values)),) if values else ()
    view = View(days, span, compare, filters, FIRST)
    assert read_address(address_of(view), DIMENSIONS, FIRST, LAST) == view


@pytest.mark.parametrize(
    "parameters",
    [
        {"period": ["nonsense"], "compare": ["x"]},
        {"since": ["2024-02-30"], "until": ["2024-03-01"]},
        {"since": ["2024-05-01"]},
        {"since": ["2024-05-02"], "until": ["2024-05-01"]},
        {"colour": ["red"], "region": ["", "a\x00b"]},
    ],
)
def test_what_an_address_says_wrongly_is_as_usual(parameters: dict[str, list[str]]) -> None:
    usual = View(Days(date(2024, 1, 1), date(2024, 6, 30)), "6m", "previous", (), FIRST)
    assert read_address(parameters, DIMENSIONS, FIRST, LAST) == usual


@pytest.mark.parametrize(
    ("days", "previous", "year"),
    [
        (
            (date(2024, 3, 1), date(2024, 3, 31)),
            (date(2024, 2, 1), date(2024, 2, 29)),
            (date(2023, 3, 1), date(2023, 3, 31)),
        ),
        (
            (date(2024, 2, 1), date(2024, 2, 29)),
            (date(2024, 1, 1), date(2024, 1, 31)),
            (date(2023, 2, 1), date(2023, 2, 28)),
        ),
        (
            (date(2024, 4, 1), date(2024, 6, 30)),
            (date(2024, 1, 1), date(2024, 3, 31)),
            (date(2023, 4, 1), date(2023, 6, 30)),
        ),
        (
            (date(2024, 3, 5), date(2024, 3, 11)),
            (date(2024, 2, 27), date(2024, 3, 4)),
            (date(2023, 3, 5), date(2023, 3, 11)),
        ),
        (
            (date(2024, 2, 29), date(2024, 2, 29)),
            (date(2024, 2, 28), date(2024, 2, 28)),
            (date(2023, 2, 28), date(2023, 2, 28)),
        ),
    ],
)
def test_whole_months_are_compared_with_whole_months_and_days_with_as_many(
    days: tuple[date, date], previous: tuple[date, date], year: tuple[date, date]
) -> None:
    assert View(Days(*days), compare="previous").before == Days(*previous)
    assert View(Days(*days), compare="year").before == Days(*year)
    assert View(Days(*days), compare="none").before is None


def test_nothing_is_compared_with_days_before_the_first() -> None:
    assert View(Days(FIRST, LAST), compare="previous", first_day=FIRST).before is None


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("30d", Days(date(2024, 6, 15), LAST)),
        ("12m", Days(date(2023, 7, 1), date(2024, 6, 30))),
        ("3m", Days(date(2024, 4, 1), date(2024, 6, 30))),
        ("ytd", Days(date(2024, 1, 1), LAST)),
        ("lastyear", Days(FIRST, date(2023, 12, 31))),
        ("all", Days(FIRST, LAST)),
    ],
)
def test_spans_end_with_the_last_day_and_stay_within_the_data(span: str, expected: Days) -> None:
    assert span_days(span, FIRST, LAST) == expected


def test_twelve_months_up_to_a_months_end_are_whole_months() -> None:
    assert span_days("12m", date(2022, 1, 1), date(2024, 6, 30)) == Days(date(2023, 7, 1), date(2024, 6, 30))


@pytest.mark.parametrize(
    ("first", "span"),
    [(date(2022, 1, 1), "12m"), (date(2023, 1, 1), "6m"), (date(2024, 1, 1), "3m"), (date(2024, 5, 1), "all")],
)
def test_the_first_view_is_the_longest_that_has_something_to_be_compared_with(first: date, span: str) -> None:
    assert usual_span(first, LAST) == span


def test_a_shop_in_its_first_year_has_no_last_one() -> None:
    assert span_days("lastyear", date(2024, 3, 1), LAST) == Days(date(2024, 3, 1), LAST)


def test_days_outside_of_the_data_are_cut_to_them() -> None:
    assert span_days("days", FIRST, LAST, Days(date(2020, 1, 1), date(2030, 1, 1))) == Days(FIRST, LAST)


def test_months_back_end_where_a_month_is_shorter() -> None:
    assert months_back(date(2024, 3, 31), 1) == date(2024, 2, 29)
    assert months_back(date(2024, 1, 15), -12) == date(2025, 1, 15)


@pytest.mark.parametrize(
    ("days", "grain"), [(Days(LAST, LAST), "day"), (Days(date(2024, 3, 1), LAST), "week"), (Days(FIRST, LAST), "month")]
)
def test_longer_spans_are_shown_by_coarser_periods(days: Days, grain: str) -> None:
    assert View(days).grain == grain
