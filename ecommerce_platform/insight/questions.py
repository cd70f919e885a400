"""The business questions and their answers: `models/questions/*.sql` asked of several shops, as a page of Markdown.

A question is a SELECT over gold; its first comment line is the question, the others say how its answer is to be read.
Where a shop's tables hold nothing to answer with, the page says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import MODELS, Catalog, read_catalog
from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.show import as_read

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

QUESTIONS = MODELS / "questions"


@dataclass(frozen=True)
class Question:
    """A question that people ask, and the SELECT that answers it."""

    title: str
    #: How the answer is to be read; may be empty.
    reading: str
    sql: str
    path: Path


@dataclass(frozen=True)
class Answer:
    """What a shop's tables say: columns and rows, or why there are none."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    why_not: str = ""


def read_questions(folder: Path = QUESTIONS) -> list[Question]:
    """Every question, by the names of their files.

    Raises:
        DefinitionError: a file does not begin with a question.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        comment, sql = _parted(path.read_text(encoding="utf-8"))
        if not comment or not comment[0].endswith("?"):
            raise DefinitionError("its first line is no question", where=f"{path}:1", fix="begin with `-- Which …?`")
        found.append(Question(comment[0], " ".join(line for line in comment[1:] if line), sql, path))
    return found


def tables_asked() -> frozenset[str]:
    """Every table that a question reads."""
    return frozenset().union(*(tables_read(question.sql) for question in read_questions()))


def answer(con: DuckDBPyConnection, question: Question, catalog: Catalog | None = None) -> Answer:
    """Asks one question of an open warehouse or snapshot."""
    known = catalog or read_catalog()
    built = {
        f"{schema}.{table}"
        for schema, table in con.execute("select table_schema, table_name from information_schema.tables").fetchall()
    }
    missing = sorted(tables_read(question.sql) - built)
    if missing:
        needs = sorted({entity for table in missing for entity in known.contract(table).requires})
        because = f", which needs {' and '.join(needs)}" if needs else ""
        return Answer(why_not=f"This shop has no {' and no '.join(missing)}{because}.")
    found = con.execute(question.sql)
    columns = tuple(str(c[0]) for c in found.description or ())
    rows = tuple(found.fetchall())
    empty = "" if rows else "Its tables hold nothing that answers this."
    return Answer(columns, rows, empty)


def questions_page(shops: Mapping[str, DuckDBPyConnection], titles: Mapping[str, str] | None = None) -> str:
    """All questions with the answers of each shop, as Markdown.

    Args:
        shops: an open warehouse or snapshot by the shop's name, in the order of the page.
        titles: what a shop is called on the page, where that is not its name.
    """
    catalog, questions = read_catalog(), read_questions()
    lines = [
        "# What the business asks",
        "",
        "Generated from the tables by `ecommerce questions`; do not edit. Each question is one SELECT over gold",
        "(`ecommerce_platform/models/questions`), which `ecommerce sql` runs on a shop of your own, too. Money is in the",
        "shop's currency, shares and rates lie between 0 and 1.",
        "",
        *(f"- [{q.title}](#{_anchor(q.title)})" for q in questions),
    ]
    for question in questions:
        lines += ["", f"## {question.title}", ""]
        lines += [question.reading, ""] if question.reading else []
        lines += ["```sql", question.sql.strip(), "```"]
        for name, con in shops.items():
            lines += ["", f"**{(titles or {}).get(name, name)}**", ""]
            lines += _shown(answer(con, question, catalog))
    return "\n".join(lines) + "\n"


def _parted(text: str) -> tuple[list[str], str]:
    """The comment at the head of a SELECT, line by line, and what follows it."""
    lines = text.splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return [line[2:].strip() for line in lines[:end]], "\n".join(lines[end:]) + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _shown(found: Answer) -> list[str]:
    if found.why_not:
        return [found.why_not]
    columns = [as_read(name, [_worded(row[n]) for row in found.rows]) for n, name in enumerate(found.columns)]
    marks = ["---:" if figures else "---" for _, figures in columns]
    return [
        markdown_line(found.columns),
        markdown_line(marks),
        *(markdown_line(row) for row in zip(*(v for v, _ in columns), strict=True)),
    ]


def _worded(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def markdown_line(cells: Collection[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
