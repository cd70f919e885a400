"""A report says of a period what the gold tables say, and looks the same wherever it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.view import Days
from ecommerce_platform.serving.dashboard.wording import shown
from ecommerce_platform.serving.read.reader import Reader
from ecommerce_platform.serving.report.contents import days_of, make_report
from ecommerce_platform.serving.report.render import to_html, write_report
from ecommerce_platform_tests.invented_shop import publish_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("reported")
    publish_shop(folder)
    reader = Reader(folder)
    yield Shop(reader)
    reader.close()


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2024-02", Days(date(2024, 2, 1), date(2024, 2, 29))),
        ("2023-q4", Days(date(2023, 10, 1), date(2023, 12, 31))),
        ("2023", Days(date(2023, 1, 1), date(2023, 12, 31))),
    ],
)
def test_a_period_is_a_month_a_quarter_or_a_year(text: str, days: Days) -> None:
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["2024-13", "2024-Q5", "24", "0000", "2024-1", "last month"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no period"):
        days_of(text)


def test_figures_are_those_of_kpi_monthly_beside_the_month_before(shop: Shop) -> None:
    report = make_report(shop, days_of("2024-03"))
    kpi = {str(r["month"])[:7]: r for r in shop.frame("select * from gold.kpi_monthly").to_dicts()}
    lines = {line.label: line for line in report.lines}
    for label, name, form in (
        ("Revenue", "revenue", "money"),
        ("Orders", "orders", "count"),
        ("On-time rate", "on_time_rate", "share"),
    ):
        assert lines[label].now == shown(kpi["2024-03"][name], form, "EUR")
        assert lines[label].before == shown(kpi["2024-02"][name], form, "EUR")
        assert lines[label].year == shown(kpi["2023-03"][name], form, "EUR")
    assert sum(v for _, v in report.drivers) == pytest.approx(kpi["2024-03"]["revenue"] - kpi["2024-02"]["revenue"])
    for cut in report.cuts:
        assert sum(now for _, now, _ in cut.rows) == pytest.approx(kpi["2024-03"]["revenue"])


def test_the_page_needs_nothing_else_and_says_what_was_found(shop: Shop) -> None:
    text = to_html(make_report(shop, days_of("2024-04")))
    assert "Revenue was 75 % below what its past let expect." in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert text.count("<svg") == text.count("</svg>") >= 4


def test_what_people_wrote_is_text_and_no_markup(tmp_path: Path) -> None:
    publish_shop(tmp_path)
    reader = Reader(tmp_path)
    report = make_report(Shop(reader), days_of("2024-04"))
    report = type(report)(**{**report.__dict__, "insights": ["<b>x</b> & <script>"]})
    assert "&lt;b&gt;x&lt;/b&gt; &amp; &lt;script&gt;" in to_html(report)
    reader.close()


def test_a_period_without_orders_is_refused(shop: Shop) -> None:
    with pytest.raises(InputError, match="there are no orders in"):
        make_report(shop, days_of("2021-05"))


def test_it_is_written_as_pdf(shop: Shop, tmp_path: Path) -> None:
    file = write_report(make_report(shop, days_of("2024-Q2")), "pdf", tmp_path / "reports" / "q2.pdf")
    assert file.read_bytes()[:5] == b"%PDF-"
