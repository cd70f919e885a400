"""Model cards: what a version was made from, how it did, what it cannot do; as Markdown with pictures beside it.

The card of a version of a shop lies with its artifact; `models_page` is the page about all models that needs no data.
What a card shows besides its figures is up to the models (`Exhibit`); nothing here knows one.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecommerce_platform.ml.artifacts import Card

CARD_PAGE = "card.md"


@dataclass(frozen=True)
class Exhibit:
    """Something a card shows under a heading: a text, a table (`header`, `rows`), a picture (`plots.plot`), or several."""

    title: str
    text: str = ""
    header: tuple[str, ...] = ()
    rows: Sequence[Sequence[Any]] = ()
    svg: str = ""

    @property
    def file(self) -> str:
        """The name of its picture's file."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") + ".svg"


@dataclass(frozen=True)
class About:
    """What a model says of itself, whatever the data: `lifecycle.Model` has all of it."""

    name: str
    title: str
    purpose: str
    limits: tuple[str, ...]
    baseline: str
    tables: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    columns: Mapping[str, str] | None = None


def card_files(about: About, card: Card, comparisons: Sequence[Any], exhibits: Sequence[Exhibit]) -> dict[str, bytes]:
    """The files of a version's card, by name: the page, and the pictures that it shows."""
    pictures = {exhibit.file: exhibit.svg.encode() for exhibit in exhibits if exhibit.svg}
    return {CARD_PAGE: card_page(about, card, comparisons, exhibits).encode(), **pictures}


def card_page(
    about: About, card: Card, comparisons: Sequence[Any], exhibits: Sequence[Exhibit], *, embedded: bool = False
) -> str:
    """The card as Markdown.

    Args:
        about: the model.
        card: of the version.
        comparisons: with the baseline (`lifecycle.Comparison`).
        exhibits: what else is shown.
        embedded: puts the pictures into the text, for where there are no files beside it.
    """
    lines = [
        f"# {about.title}: {card.model} {card.version}",
        "",
        about.purpose,
        "",
        f"**{card.verdict[0].upper()}{card.verdict[1:]}**",
        "",
    ]
    lines += _facts(card)
    if comparisons:
        lines += ["## On later data", "", _before_the_final_fit(card), "", *_compared(card, comparisons), ""]
    for exhibit in exhibits:
        lines += [f"## {exhibit.title}", ""]
        lines += [exhibit.text, ""] if exhibit.text else []
        lines += [*markdown_table(exhibit.header, exhibit.rows), ""] if exhibit.rows else []
        if exhibit.svg:
            encoded = f"data:image/svg+xml;base64,{b64encode(exhibit.svg.encode()).decode()}"
            lines += [f"![{exhibit.title}]({encoded if embedded else exhibit.file})", ""]
    if about.limits:
        lines += ["## Limits", "", *(f"- {limit}" for limit in about.limits), ""]
    lines += ["## Parameters", "", "```json", json.dumps(card.parameters, indent=1, sort_keys=True), "```"]
    return "\n".join(lines) + "\n"


def _before_the_final_fit(card: Card) -> str:
    return (
        "Each row compares what was fitted as of its fold's first day with the baseline on the days after it. The figures "
        "are from before the last fit, which has seen everything. The interval is of value − baseline, 95 %."
    )


def _facts(card: Card) -> list[str]:
    tournament = (
        "all methods and folds (--full)" if card.parameters.get("full") else "the quick choice of methods and folds"
    )
    rows = [
        ("trained", f"{card.trained_at:%Y-%m-%d %H:%M} UTC, seed {card.seed}, {tournament}"),
        ("data", f"{card.data_from or '?'} to {card.data_to or '?'}, {card.rows_trained:,} rows"),
        ("features", ", ".join(card.feature_names)),
        ("code", f"{card.code_version}; {', '.join(f'{n} {v}' for n, v in sorted(card.libraries.items()))}"),
    ]
    return [*markdown_table(("", ""), rows), ""]


def _compared(card: Card, comparisons: Sequence[Any]) -> list[str]:
    rows = [
        (c.fold, c.metric, figure(c.value), figure(c.baseline_value), figure(c.interval_low), figure(c.interval_high),
         "yes" if c.decides else "")
        for c in comparisons
    ]  # fmt: skip
    return markdown_table(("fold", "metric", "model", card.baseline, "difference from", "to", "decides"), rows)


def figure(value: float | None) -> str:
    """A number with four significant digits; empty without one."""
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table; numbers are shortened, characters that would break it escaped."""

    def cell(value: Any) -> str:
        shown = "" if value is None else figure(value) if isinstance(value, float) else str(value)
        return shown.replace("|", "\\|").replace("\r", " ").replace("\n", " ")

    return [
        f"| {' | '.join(header)} |",
        f"|{' --- |' * len(header)}",
        *(f"| {' | '.join(map(cell, r))} |" for r in rows),
    ]


def models_page(models: Sequence[About]) -> str:
    """The page about all models: what each is for, made from, compared with and cannot do."""
    lines = [
        "# Models",
        "",
        "Generated from the models and the contracts of their tables by `ecommerce docs`; do not edit. How each did on the",
        "data of a shop is on the card of the version (`data/<source>/models/<model>/<version>/card.md`, and the asset",
        "`ml/<model>_model` in the UI), in `ml.evaluations`, and in `ecommerce models`; how each did on four shops stands in",
        "[models and decisions, by source](by-source.md).",
        "",
        "Every model is judged on later data than it was fitted on, against the baseline that is named here. It is published",
        "where every interval that decides excludes 0 in its favour; else the baseline is, as `baseline:<name>`.",
        "",
    ]
    for about in models:
        lines += [f"## {about.name}", "", f"**{about.title}.** {about.purpose}", ""]
        rows = [
            ("fills", ", ".join(f"`{t}`" for t in about.tables)),
            ("made from", ", ".join(f"`{t}`" for t in about.reads)),
            ("baseline", f"`{about.baseline}`"),
        ]
        lines += [*markdown_table(("", ""), rows), ""]
        if about.columns:
            asked = "; ".join(f"`{name}` ({says})" for name, says in about.columns.items())
            lines += [f"`ecommerce predict {about.name} --input FILE` asks for {asked}.", ""]
        lines += [*(f"- {limit}" for limit in about.limits), ""] if about.limits else []
    return "\n".join(lines).rstrip() + "\n"
