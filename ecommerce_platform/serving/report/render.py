"""A report as a page that needs nothing else (HTML), or as PDF. What it says is in `contents`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from ecommerce_platform.serving.dashboard.wording import shown
from ecommerce_platform.serving.report import picture
from ecommerce_platform.serving.report.contents import Cut, Report

_STYLE = """
@page { size: A4; margin: 17mm 15mm; @bottom-right { content: counter(page) " / " counter(pages); font: 9px sans-serif; color: #5A6576 } }
body { font: 13px/1.5 "Source Sans 3", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; color: #1B2333; max-width: 720px; margin: 0 auto; padding: 12px }
h1 { font-size: 26px; letter-spacing: -.02em; margin: 0 } h2 { font-size: 16px; margin: 22px 0 6px; break-after: avoid }
p.quiet, caption, footer { color: #5A6576; font-size: 11px } table { border-collapse: collapse; width: 100%; font-size: 12px }
th { text-align: right; font-weight: 600; color: #5A6576; border-bottom: 1px solid #B8C1CE; padding: 4px 6px }
td { text-align: right; padding: 4px 6px; border-bottom: 1px solid #E8ECF2; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } .good { color: #17704F } .bad { color: #B3261E }
.lead { font-size: 15px } li { margin: 3px 0 } section { break-inside: avoid } footer { margin-top: 24px; border-top: 1px solid #DDE3EC; padding-top: 6px }
"""


def to_html(report: Report) -> str:
    """The report as one HTML document without scripts, and without anything that has to be fetched."""
    parts = [
        f"<h1>{escape(report.shop)}: {escape(report.title)}</h1>",
        f'<p class="quiet">{escape(report.days.text)} · money in {escape(report.currency)} · figures as published on {escape(report.published)}</p>',
        *(f'<p class="lead">{escape(sentence)}</p>' for sentence in report.summary),
        _section("Key figures", _figures(report)),
        _section("Revenue over time", _over_time(report)),
    ]
    if report.drivers:
        rows = [(_capital(n), v, _signed(v, report.currency)) for n, v in report.drivers]
        parts.append(
            _section(
                "Why revenue changed", picture.bars(rows, "What added to revenue and what took from it", signed=True)
            )
        )
    parts += [
        *(_by(cut, report.currency) for cut in report.cuts if cut.rows),
        _list("What stands out over the whole history", report.insights),
        _list("Unusual days in this period", report.unusual),
        _list("What to do", report.actions),
    ]
    notes = " ".join(escape(t) for t in report.trust)
    foot = f"<footer>{notes} Snapshot {escape(report.snapshot)}. The change in brackets is against the period before.</footer>"
    title = f"{escape(report.shop)}: {escape(report.title)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main>{foot}</body></html>"
    )


def _by(cut: Cut, currency: str) -> str:
    """Revenue by the values of a dimension, each with its change."""
    title = f"Revenue by {cut.label.lower()}"
    changes = ("" if c is None else f"  ({_signed(c, currency)})" for _, _, c in cut.rows)
    rows = [
        (v, n, shown(n, "money", currency, brief=True) + change)
        for (v, n, _), change in zip(cut.rows, changes, strict=True)
    ]
    return _section(title, picture.bars(rows, title))


def to_pdf(report: Report) -> bytes:
    """The report as PDF."""
    from weasyprint import HTML

    found: bytes = HTML(string=to_html(report)).write_pdf()
    return found


def write_report(report: Report, form: str, to: Path) -> Path:
    """Writes the report as `html` or `pdf` and gives where."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(to_pdf(report) if form == "pdf" else to_html(report).encode())
    return to


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _list(title: str, items: Iterable[str]) -> str:
    found = "".join(f"<li>{escape(item)}</li>" for item in items)
    return _section(title, f"<ul>{found}</ul>") if found else ""


def _figures(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{escape(line.label)}</td><td><b>{escape(line.now)}</b></td><td>{escape(line.before)}</td>"
        f'<td class="{"" if line.good is None else "good" if line.good else "bad"}">{escape(line.change)}</td>'
        f"<td>{escape(line.year)}</td><td>{escape(line.year_change)}</td></tr>"
        for line in report.lines
    )
    heads = ("Figure", "Now", "Period before", "Change", "A year earlier", "Change")
    return f"<table><thead><tr>{''.join(f'<th scope=col>{h}</th>' for h in heads)}</tr></thead><tbody>{rows}</tbody></table>"


def _over_time(report: Report) -> str:
    labels, now, before = report.series
    most = max((v for v in (*now, *before) if v is not None), default=0)
    return picture.lines(
        labels, now, before, (report.title, "The period before"), shown(most, "money", report.currency, brief=True)
    )


def _signed(value: float, currency: str) -> str:
    return ("+" if value > 0 else "") + shown(value, "money", currency, brief=True)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
