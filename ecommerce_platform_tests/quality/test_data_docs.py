"""The pages stand on their own, are switched in one step, and are served to this machine alone."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.quality.data_docs import build, index, page, serve
from ecommerce_platform.quality.gx import Asked, ask
from ecommerce_platform_tests.quality.good_shop import fill, read_all_suites

CATALOG, SUITES = read_all_suites()


@pytest.fixture(scope="module")
def asked() -> Iterator[list[Asked]]:
    with duckdb.connect() as con:
        fill(con, CATALOG)
        con.execute("update gold.fct_orders set delivered_at = ordered_at - interval 1 day where order_id = 'O1'")
        con.execute("update gold.fct_orders set delivery_days = 61 where right(order_id, 1) = '4'")
        con.execute("alter table gold.rfm rename column segment to kind")
        con.execute("drop table silver.reviews")
        yield ask(con, list(SUITES.values()), CATALOG)


class Loads(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        wanted = given.get("src") or (given.get("href") if tag == "link" else None)
        if wanted:
            self.found.append(wanted)


def test_every_table_has_a_page_with_its_rules_in_words(asked: list[Asked], tmp_path: Path) -> None:
    build(asked, tmp_path)
    first = index(tmp_path).read_text()
    for answers in asked:
        if answers.suite.table == "silver.reviews":
            assert "silver.reviews.html" not in first
            continue
        assert f'href="{answers.suite.table}.html"' in first
        start = page(tmp_path, answers.suite.table)
        target = re.search(r"url=([^\"]+)", start.read_text())
        assert target
        shown = (start.parent / target[1]).read_text()
        for rule in answers.suite.rules:
            assert rule.rule.replace("'", "&#39;") in shown or rule.rule in shown, rule.name
        assert (start.parent / "expectations" / answers.suite.table.replace(".", "/")).with_suffix(".html").is_file()
    orders = next((tmp_path / "current" / "validations" / "gold" / "fct_orders").rglob("*.html")).read_text()
    assert "text-danger" in orders
    assert "61" in orders
    rfm = next((tmp_path / "current" / "validations" / "gold" / "rfm").rglob("*.html")).read_text()
    assert "raised an exception" in rfm


def test_no_page_needs_or_asks_for_anything_from_elsewhere(asked: list[Asked], tmp_path: Path) -> None:
    build(asked, tmp_path)
    pages = list((tmp_path / "current").rglob("*.html"))
    assert len(pages) > 3 * 5
    for path in pages:
        text = path.read_text()
        for wanted in Loads(text).found:
            assert not re.match(r"(https?:)?//", wanted), (path, wanted)
            assert (path.parent / wanted).is_file(), (path, wanted)
        if 'http-equiv="refresh"' not in text:
            assert "default-src 'self' 'unsafe-inline' data:" in text, path


def test_readers_see_the_old_pages_until_the_new_ones_are_complete(asked: list[Asked], tmp_path: Path) -> None:
    build(asked, tmp_path)
    before = (tmp_path / "current").resolve()
    text = index(tmp_path).read_text()
    with pytest.raises(AttributeError):
        build([replace(asked[0], suite=None)], tmp_path)  # type: ignore[arg-type]
    assert index(tmp_path).read_text() == text
    build(asked[:1], tmp_path)
    assert (before / "index.html").is_file(), "whoever is reading them still needs the old pages"
    assert "gold.rfm" not in index(tmp_path).read_text()
    build(asked[:1], tmp_path)
    assert not before.exists()
    assert sorted(p.name[:5] for p in tmp_path.iterdir()) == ["curre", "site-", "site-"]


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.getheader("Location") or response.read().decode()


def test_pages_are_served_by_the_shops_name_and_nothing_else_is(asked: list[Asked], tmp_path: Path) -> None:
    folder = tmp_path / "data_docs"
    (tmp_path / "warehouse.duckdb").write_text("secret")
    with serve(folder, "olist", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_port
        assert server.server_address[0] == "127.0.0.1"
        assert get(port, "/olist/")[0] == 404  # nothing is built yet
        build(asked, folder)
        assert get(port, "/") == (302, "/olist/")
        assert get(port, "/olist/") == (200, index(folder).read_text())
        assert get(port, "/olist/gold.rfm.html")[0] == 200
        for path in (
            "/synthetic/",
            "/olist/../warehouse.duckdb",
            "/olist/%2e%2e/%2e%2e/warehouse.duckdb",
            "/olist/validations/",
        ):
            assert get(port, path)[0] == 404, path
        for host, status in (("evil.example", 421), (f"localhost:{port}", 200), ("127.0.0.1", 200)):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/olist/", headers={"Host": host})
            assert connection.getresponse().status == status, host
        with pytest.raises(InputError, match=f"port {port} cannot be used"), serve(folder, "olist", port):
            pass
        server.shutdown()
        thread.join()
