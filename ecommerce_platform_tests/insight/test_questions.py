"""The page of business questions is what the shops' tables say today."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.cli.documents import GENERATED, SHOPS
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.insight.questions import (
    Answer,
    Question,
    answer,
    questions_page,
    read_questions,
    tables_asked,
)
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.driver import Driver

#: What is to be answered, by a word of each question.
ASKED = (
    "segments", "churn", "together", "discounts", "delivery", "month", "category", "year over year", "payment", "brands",
    "retention", "top 1, 5 and 20",
)  # fmt: skip


@pytest.mark.long
def test_the_committed_answers_are_those_of_the_tables(tmp_path: Path, test_data: Path) -> None:
    with ExitStack() as stack:
        shops = {}
        for name in SHOPS:
            if name == "synthetic":
                generate_shop(tmp_path / name, **GENERATED)
            else:
                shutil.copytree(test_data / name, tmp_path / name / "raw" / "2026-01-01")
            driver = Driver.of(name, tmp_path / name)
            driver.build(of=driver.needs.keys() & tables_asked())
            shops[name] = stack.enter_context(driver.connect())
        page = questions_page(shops, SHOPS)
    committed = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    assert committed == page, "run `ecommerce questions FOLDER` to renew docs/questions.md"


def test_every_question_stands_on_the_committed_page_with_its_select() -> None:
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    questions = read_questions()
    assert list(sections) == [question.title for question in questions]
    for question in questions:
        assert question.sql.strip() in sections[question.title]
        assert [title for title in SHOPS.values() if f"**{title}**" in sections[question.title]] == list(SHOPS.values())
    for word in ASKED:
        assert any(word in question.title for question in questions), word


def question(sql: str) -> Question:
    return Question("Which is it?", "", sql, Path("x.sql"))


def test_a_table_that_the_shop_has_not_is_said_instead_of_an_answer() -> None:
    with duckdb.connect() as con:
        found = answer(con, question("select 1 as x from gold.attribution"))
    assert found == Answer(why_not="This shop has no gold.attribution, which needs web_events.")


def test_no_row_is_said_instead_of_an_empty_table() -> None:
    with duckdb.connect() as con:
        con.execute("create schema gold; create table gold.rfm (orders bigint)")
        asked = question("select orders from gold.rfm")
        assert answer(con, asked).why_not == "Its tables hold nothing that answers this."
        con.execute("insert into gold.rfm values (3)")
        assert answer(con, asked) == Answer(("orders",), ((3,),))


def test_a_file_that_does_not_begin_with_a_question_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- Segments.\nselect 1 as x\n")
    with pytest.raises(DefinitionError, match="no question"):
        read_questions(tmp_path)
