"""Profiles as pictures: the newest load of each raw table beside the loads before it, small enough for metadata.

A picture is an SVG within a data URI within Markdown: it needs no server, no library and a few kilobytes. `profiles.py`
says what is in a profile; columns of personal data have no figures there and so none here.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Loads before the newest that are shown with it.
_BEFORE = 28
#: Panels beside each other, their size and the height of the bars, in pixels.
_ACROSS, _WIDTH, _HEIGHT, _BARS = 4, 190, 92, 50
#: Bars of one panel; neighbours are put together.
_MOST_BARS = 24


@dataclass
class _Column:
    """How often each value or bin of a column occurs: in the newest load, and in the loads before it together."""

    kind: str
    bounds: str
    newest: dict[str, int]
    before: dict[str, int] = field(default_factory=dict)

    def add(self, counts: str | None) -> None:
        """Counts a load from before."""
        for name, number in json.loads(counts or "{}").items():
            self.before[name] = self.before.get(name, 0) + number


@dataclass
class _Table:
    """What is drawn of a raw table."""

    title: str
    columns: dict[str, _Column] = field(default_factory=dict)


def pictures(con: DuckDBPyConnection, entities: Collection[str] = ()) -> dict[str, str]:
    """Entity → Markdown with a picture of the newest load of each of its raw tables.

    Args:
        con: a connection to the warehouse with `gold.table_profiles`.
        entities: those that are shown; all if none is named.
    """
    ranked = (
        "select *, dense_rank() over (partition by entity, _raw_table order by _load_date desc) as place "
        "from gold.table_profiles where rows_profiled > 0 and (? = [] or list_contains(?, entity))"
    )
    rows = con.execute(
        "select entity, _raw_table, place, _load_date, column_name, kind, rows_count, top_values, histogram, "
        "minimum, maximum "
        f"from ({ranked}) as ranked where place <= {_BEFORE + 1} and coalesce(top_values, histogram) is not null "
        "order by entity, _raw_table, place, column_name",
        [list(entities), list(entities)],
    ).fetchall()
    drawn: dict[tuple[str, str], _Table] = {}
    for entity, raw, place, day, column, kind, count, values, histogram, least, most in rows:
        if place == 1:
            title = f"`{raw}`, load of {day}: {count:,} rows; grey: the loads before it"
            table = drawn.setdefault((entity, raw), _Table(title))
            bounds = f"{least:.6g} … {most:.6g}" if least is not None else ""
            table.columns[column] = _Column("values" if values else kind, bounds, json.loads(values or histogram))
        elif (entity, raw) in drawn and (known := drawn[entity, raw].columns.get(column)):
            known.add(values if known.kind == "values" else histogram)
    found: dict[str, str] = {}
    for (entity, raw), table in drawn.items():
        panels = [_panel(name, c.kind, c.bounds, c.newest, c.before) for name, c in table.columns.items()]
        found[entity] = found.get(entity, "") + f"{table.title}\n\n![{raw}]({_uri(panels)})\n\n"
    return found


_UNITS = {"number": "", "time": " days before the load", "text": " characters"}


def _panel(column: str, kind: str, reach: str, now: Mapping[str, int], before: Mapping[str, int]) -> str:
    """One column: bars of the newest load, grey ones of the loads before it, and which values the newest load has."""
    if kind == "values":
        names = sorted(now.keys() | before.keys(), key=lambda n: (-before.get(n, 0) - now.get(n, 0), n))[:_MOST_BARS]
    else:
        names = sorted(now.keys() | before.keys(), key=float)
    step = -(-len(names) // _MOST_BARS)
    groups = [names[i : i + step] for i in range(0, len(names), step)]
    bars, outline = _shares(groups, now), _shares(groups, before)
    top = max(*bars, *outline, 1e-9)
    width = (_WIDTH - 20) / len(groups)
    grey = "".join(_bar(i, width, share / top) for i, share in enumerate(outline))
    blue = "".join(_bar(i, width, share / top, 0.25) for i, share in enumerate(bars))
    label = ", ".join(names) if kind == "values" else reach + _UNITS[kind]
    return (
        f'<text x="10" y="12" font-weight="bold">{escape(column)}</text>'
        f'<path d="{grey}" fill="#c9ced6"/><path d="{blue}" fill="#2a6fdb"/>'
        f'<text x="10" y="{_BARS + 30}" fill="#666">{escape(_short(label))}</text>'
    )


def _shares(groups: Sequence[Sequence[str]], counts: Mapping[str, int]) -> list[float]:
    total = max(sum(counts.values()), 1)
    return [sum(counts.get(name, 0) for name in group) / total for group in groups]


def _bar(position: int, width: float, height: float, inset: float = 0.0) -> str:
    """The outline of a bar as part of a path; `inset` is the share of the width left free on each side."""
    if not height:
        return ""
    x, wide, high = 10 + (position + inset) * width, width * (1 - 2 * inset), max(height * _BARS, 0.7)
    return f"M{x:.1f} {_BARS + 18}v-{high:.1f}h{wide:.1f}v{high:.1f}z"


def _short(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _uri(panels: Sequence[str]) -> str:
    down = -(-len(panels) // _ACROSS)
    width, height = _ACROSS * _WIDTH, down * _HEIGHT
    placed = "".join(
        f'<g transform="translate({i % _ACROSS * _WIDTH} {i // _ACROSS * _HEIGHT})">{panel}</g>'
        for i, panel in enumerate(panels)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>{placed}</svg>'
    )
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
