"""How every model and every decision does on several shops, as a page of Markdown: read off `ml.model_summary` and `ml.decisions`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ecommerce_platform.insight.questions import markdown_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HEAD = """# Models and decisions, by source

Written by `ecommerce by-source`; do not edit. Each shop is built once, with the models' quick choice of methods and folds that a
build makes (`ecommerce train MODEL --full` tries all). What each model and decision is, and what it is compared with:
[models](models.md), [recommendations](recommendations.md).

{shops}

## Models

“Winner” is what gets published: the method where every metric below surely beats the baseline's on later data (“from” and “to”
are the 95 % interval of method − baseline), else the baseline. `identity` is judged where the truth is known ([persons](persons.md)).
"""
_MODELS = ("model", "source", "winner", "metric", "method", "baseline", "baseline's", "from", "to")
_DECISIONS = """
## Decisions

No export delivers what `decisions:` in `source.yml` says (what a day of work costs, say), and without it most decisions are
refused. To see what the data themselves allow, all shops are given the generated shop's figures here: **what is worth
something in the real exports' currencies is no advice**, whether it can be decided is. `made`: there are recommendations;
`abstained`: the data are there, and nothing in them is surer than chance; `refused`: something is missing.
"""


def by_source_page(
    shops: Mapping[str, DuckDBPyConnection],
    titles: Mapping[str, str],
    models: Mapping[str, Collection[str]],
    decisions: Collection[str],
) -> str:
    """The page.

    Args:
        shops: an open warehouse by the shop's name, in the order of the page, with `ml` built.
        titles: what a shop is called at the head of the page.
        models: name of every model → tables that it is made from.
        decisions: every decision's name.
    """
    sizes = {name: con.execute("select count(*) from gold.fct_orders").fetchall()[0][0] for name, con in shops.items()}
    said = "\n".join(f"- `{name}`: {titles[name]}, {sizes[name]:,} orders" for name in shops)
    lines = [_HEAD.format(shops=said), *_table(_MODELS)]
    lines += [markdown_line(row) for model, reads in models.items() for row in _of_model(model, reads, shops)]
    ledgers = {name: _ledger(con) for name, con in shops.items()}
    lines += [_DECISIONS, *_table(("decision", *shops))]
    lines += [markdown_line((f"[`{d}`](#{d})", *(ledger[d][0] for ledger in ledgers.values()))) for d in decisions]
    for decision in decisions:
        lines += ["", f"### {decision}", ""]
        lines += [
            f"- `{name}`: **{status}**{_worth(*worth)}. {reason}"
            for name, (status, reason, *worth) in ((n, ledger[decision]) for n, ledger in ledgers.items())
        ]
    return "\n".join(lines) + "\n"


def _table(header: Collection[str]) -> list[str]:
    return [markdown_line(header), markdown_line(["---"] * len(header))]


def _of_model(model: str, reads: Collection[str], shops: Mapping[str, DuckDBPyConnection]) -> Iterator[list[str]]:
    """A row per shop and metric that decides; one that says why where there is none."""
    for name, con in shops.items():
        rows = con.execute(
            "select published_as, metric, value, baseline, baseline_value, interval_low, interval_high, verdict, decides "
            "from ml.model_summary where model = ? order by fold, metric",
            [model],
        ).fetchall()
        judged = [row for row in rows if row[-1]]
        first = [f"`{model}`", name]
        if not rows:
            missing = ", ".join(f"`{table}`" for table in sorted(set(reads) - _tables(con)))
            yield [*first, "none", f"not trained: the source has no {missing or 'data for it'}", *[""] * 5]
        elif not judged:
            yield [*first, f"`{rows[0][0]}`", f"not judged: {rows[0][7]}", "", f"`{rows[0][3]}`", *[""] * 3]
        for published, metric, value, baseline, other, low, high, _, _ in judged:
            yield [*first, f"`{published}`", metric, _figure(value), f"`{baseline}`", *map(_figure, (other, low, high))]


def _tables(con: DuckDBPyConnection) -> set[str]:
    found = con.execute("select table_schema || '.' || table_name from information_schema.tables").fetchall()
    return {str(name) for (name,) in found}


def _ledger(con: DuckDBPyConnection) -> dict[str, tuple[Any, ...]]:
    rows = con.execute(
        "select decision, status, reason, expected_value, value_low, value_high, value_unit from ml.decisions"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def _worth(value: float | None, low: float | None, high: float | None, unit: str | None) -> str:
    if value is None:
        return ""
    between = "" if low is None else f" ({_figure(low)} to {_figure(high)})"
    return f", worth {_figure(value)}{between} {unit or ''}".rstrip()


def _figure(value: float | None) -> str:
    """Three significant digits: what differs between machines lies beyond them."""
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
