"""Figures as people read them."""

from __future__ import annotations

from datetime import date

import pytest

from ecommerce_platform.serving.dashboard.wording import NONE, change, number, period_text, short, shown


@pytest.mark.parametrize(
    ("value", "kind", "brief", "text"),
    [
        (1234567.8, "money", True, "€1.23 M"), (1234567.8, "money", False, "€1,234,568"), (-45.5, "money", False, "−€45.50"),
        (9999.4, "money", True, "€9,999"), (45678, "money", True, "€45.7 k"), (0.1234, "share", False, "12.3 %"),
        (12345, "count", False, "12,345"), (4.321, "score", False, "4.32"), (12.34, "days", False, "12.3 days"),
        (None, "money", False, NONE), (float("nan"), "share", True, NONE), (-0.0001, "share", False, "0.0 %"),
    ],
)  # fmt: skip
def test_a_figure_reads_by_its_metrics_format(value: float | None, kind: str, brief: bool, text: str) -> None:
    assert shown(value, kind, "EUR", brief=brief) == text


def test_a_currency_without_a_sign_is_its_code() -> None:
    assert shown(12, "money", "SEK") == "SEK 12.00"


@pytest.mark.parametrize(
    ("now", "before", "kind", "text"),
    [
        (110, 100, "money", "+10.0 %"), (90, 100, "count", "-10.0 %"), (0.25, 0.2, "share", "+5.0 pp"), (4.5, 4.75, "score", "-0.25"),
        (3, 2.5, "days", "+0.5 days"), (5, 0, "count", None), (None, 5, "count", None), (100, 100, "money", "0.0 %"),
    ],
)  # fmt: skip
def test_a_change_is_in_percent_and_of_shares_in_points(
    now: float | None, before: float | None, kind: str, text: str | None
) -> None:
    assert change(now, before, kind) == text


def test_numbers_have_three_digits_or_thousands_apart() -> None:
    assert [short(v) for v in (1.5e9, 25_400, 950, 12.5)] == ["1.50 bn", "25.4 k", "950", "12.50"]
    assert number(-1234567) == "−1,234,567"


def test_periods_read_as_people_call_them() -> None:
    day = date(2024, 4, 1)
    assert [period_text(day, g) for g in ("day", "week", "month", "quarter", "year")] == [
        "1 Apr 2024", "Week of 1 Apr 2024", "Apr 2024", "Q2 2024", "2024",
    ]  # fmt: skip
