"""The dashboard in a real browser, as a person uses it: signing in, looking, filtering, drilling, taking along."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from ecommerce_platform.serving.dashboard.screens import PAGES
from ecommerce_platform_tests.browser.conftest import Look, Served

#: A real browser over a real server: minutes, one after the other.
pytestmark = [pytest.mark.long, pytest.mark.servers]
PATHS = [p.path for p in PAGES]
#: What Streamlit draws for a card's line, an empty group without a name; nothing of ours can name it.
NOT_OURS = "metric_chart"


def test_nobody_looks_without_signing_in_and_a_link_works_once(browser: Any, served: Served, signed_in: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served.url}/trust?region=North")
    assert "/-/sign-in?next=" in page.url
    assert page.get_by_role("button", name="Sign in").is_visible()
    page.goto(served.link())  # the fixture has used it
    assert "This link was used" in page.inner_text("body")
    assert context.request.get(f"{served.url}/_stcore/host-config").status == 401
    context.close()


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_drawn_without_an_error(look: Look, path: str) -> None:
    look.open(path)
    assert look.page.locator("h1").first.inner_text()
    assert look.page.locator("[data-testid=stException]").count() == 0
    assert look.page.locator("[data-testid=stAlertContentError]").count() == 0


def test_navigation_shows_each_page_and_keeps_the_filter(look: Look) -> None:
    look.open("", region="North")
    revenue = look.card("Revenue")
    look.page.get_by_role("link", name="Customers").click()
    look.page.get_by_role("heading", name="Customers", exact=True).wait_for()
    look.settled()
    assert "region=North" in look.page.url
    look.page.get_by_role("link", name="Executive").click()
    look.page.get_by_role("heading", name="How the shop is doing").wait_for()
    assert look.settled().card("Revenue") == revenue


def test_a_filter_changes_the_figures_and_the_address_that_then_shows_the_same(look: Look) -> None:
    whole = look.open("").card("Revenue")
    look.page.get_by_role("button", name="Filters").click()
    look.page.get_by_role("combobox", name=re.compile("Category")).click()
    look.page.get_by_role("option", name="Light").click()
    look.page.wait_for_url(re.compile("category=Light"))
    part = look.settled().card("Revenue")
    assert part != whole
    assert look.open(look.page.url.removeprefix(look.url + "/")).card("Revenue") == part


def test_a_period_and_what_it_is_compared_with_are_chosen(look: Look) -> None:
    look.open("").choose("Period", "Last 90 days")
    look.page.wait_for_url(re.compile("period=90d"))
    look.choose("Compared with", "A year earlier")
    look.page.wait_for_url(re.compile("compare=year"))
    look.page.get_by_text(re.compile(r"compared with .* 2023$")).wait_for()


def test_a_click_on_a_bar_holds_the_page_to_it(look: Look) -> None:
    look.open("", period="all")
    bar = look.page.locator(".st-key-plot_revenue_by_category .bars .point path").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    look.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    look.page.wait_for_url(re.compile("category="))


def test_a_drill_goes_down_by_click_and_back(look: Look) -> None:
    look.open("diagnose", period="all")
    chart = look.page.locator(".st-key-plot_drill_time")
    chart.scroll_into_view_if_needed()
    bars = chart.locator(".bars .point path")
    bars.first.wait_for()
    box = bars.first.bounding_box()
    look.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    look.page.get_by_role("button", name="2023", exact=True).wait_for()
    look.page.get_by_role("button", name="All").click()
    look.page.get_by_role("button", name="2023", exact=True).wait_for(state="detached")


def test_the_table_behind_a_picture_is_taken_along_as_csv_and_excel(look: Look, tmp_path: Path) -> None:
    import polars as pl

    look.open("", period="all")
    look.page.locator(".st-key-data_revenue_over_time button").first.click()
    files = {}
    for name, key in (("CSV", "csv"), ("Excel", "xlsx")):
        button = look.page.locator(f".st-key-{key}_in_revenue_over_time button")
        button.wait_for()
        with look.page.expect_download() as waiting:
            button.click()
        files[name] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[name])
    table = pl.read_csv(files["CSV"])
    assert {"period", "revenue", "gross_amount"} <= set(table.columns)
    assert len(table) > 12
    with ZipFile(files["Excel"]) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row ") == len(table) + 1
    assert f"<v>{table['revenue'][0]:.16G}</v>" in sheet


@pytest.mark.parametrize("path", PATHS)
def test_on_a_phone_nothing_is_wider_than_the_screen(phone: Look, path: str) -> None:
    phone.open(path)
    assert phone.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    wide = phone.page.evaluate(
        "[...document.querySelectorAll('[data-testid=stMain] [data-testid^=st]')].filter(e => {"
        "const r = e.getBoundingClientRect(); return r.width > 0 && r.right > window.innerWidth + 2 && r.left < window.innerWidth"
        "}).map(e => e.dataset.testid)"
    )
    assert not wide


def test_everything_is_reached_by_the_keyboard(look: Look) -> None:
    look.open("explore")
    reached: list[str] = []
    for _ in range(60):
        look.page.keyboard.press("Tab")
        reached.append(
            look.page.evaluate(
                "(e => (e.getAttribute('aria-label') || e.innerText || '').slice(0, 60))(document.activeElement)"
            )
        )
    told = " | ".join(reached)
    for name in ("Diagnose", "Period", "Compared with", "Filters", "Figure", "Cut by"):
        assert name in told, told


def test_a_field_is_changed_by_the_keyboard_alone(look: Look) -> None:
    look.open("")
    box = look.page.get_by_role("combobox", name=re.compile("Period"))
    box.focus()
    look.page.keyboard.press("ArrowDown")
    look.page.keyboard.press("ArrowDown")
    look.page.keyboard.press("Enter")
    look.page.wait_for_url(re.compile("period="))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_serious(look: Look, path: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    look.page.emulate_media(color_scheme=scheme)
    look.open(path)
    for _ in range(6):  # while parts fade in they have less contrast than they will have
        look.page.wait_for_timeout(1000)
        serious = {
            v["id"]: nodes[:3]
            for v in Axe().run(look.page).response["violations"]
            if v["impact"] in ("serious", "critical")
            and (nodes := [n["html"][:200] for n in v["nodes"] if NOT_OURS not in n["html"]])
        }
        if not serious:
            break
    assert not serious


def test_signing_out_ends_what_is_open(browser: Any, served: Served) -> None:
    from ecommerce_platform.serving.access.accounts import Accounts

    accounts = Accounts.of(Path(served.environment["ECOMMERCE_DATA_DIR"]))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served.url}/-/link?t={accounts.one_time_link()}")
    page.wait_for_selector("h1")
    page.reload()  # a session survives it
    page.get_by_role("heading", name="How the shop is doing").wait_for()
    page.goto(f"{served.url}/-/sign-out")
    page.get_by_role("button", name="Sign out here").click()
    page.goto(served.url)
    assert "/-/sign-in" in page.url
    context.close()
