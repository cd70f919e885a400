"""Figures as people read them: money, counts, shares and changes as text. What they mean is in the metric definitions."""

from __future__ import annotations

import math
from datetime import date

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "BRL": "R$", "JPY": "¥", "INR": "₹", "PLN": "zł ", "CHF": "CHF "}
#: What stands where a figure is not known.
NONE = "–"
#: Names that their own words say better.
_SAID = {
    "aov": "Average order value", "bg_nbd_gamma_gamma": "BG/NBD with gamma-gamma", "roi_scenarios": "Returns of investments",
    "age_days": "Days since the first order", "cross_sell": "Cross-selling",
}  # fmt: skip
#: From which size on a number is told in which unit.
_STEPS = ((1e9, 1e9, "bn"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))


def symbol(currency: str) -> str:
    """A currency's sign, else its code and a space."""
    return _SYMBOLS.get(currency, f"{currency} ")


def number(value: float | None, digits: int = 0) -> str:
    """A number with thousands apart, such as `12,345`."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def short(value: float | None) -> str:
    """A number of about three digits, such as `1.23 M`."""
    if value is None or math.isnan(value):
        return NONE
    for size, unit, name in _STEPS:
        if abs(value) >= size:
            part = value / unit
            return number(part, 2 if abs(part) < 10 else 1 if abs(part) < 100 else 0) + " " + name
    return number(value, 0 if abs(value) >= 100 or value == int(value) else 2)


def shown(value: float | None, kind: str, currency: str = "", *, brief: bool = False) -> str:
    """A figure by the format that its metric's definition names.

    Args:
        value: the figure; None where it is not known.
        kind: `money`, `count`, `share`, `score` or `days`.
        currency: of money, as an ISO 4217 code.
        brief: money and counts of about three digits.
    """
    if value is None or math.isnan(value):
        return NONE
    value = float(value)
    if kind == "money":
        sign = "−" if value < 0 else ""
        size = abs(value)
        return (
            f"{sign}{symbol(currency)}{short(size) if brief and size >= 1e4 else number(size, 2 if size < 1000 else 0)}"
        )
    if kind == "share":
        return f"{number(value * 100, 1)} %"
    if kind in ("score", "days"):
        return number(value, 2 if abs(value) < 10 else 1) + (" days" if kind == "days" else "")
    return short(value) if brief else number(value)


def change(now: float | None, before: float | None, kind: str) -> str | None:
    """How a figure differs from another: in percent, of shares in percentage points; None where that says nothing."""
    if now is None or before is None or math.isnan(now) or math.isnan(before):
        return None
    now, before = float(now), float(before)
    if kind == "share":
        return f"{_signed((now - before) * 100, 1)} pp"
    if kind == "score":
        return _signed(now - before, 2)
    if kind == "days":
        return f"{_signed(now - before, 1)} days"
    if before <= 0:
        return None
    return f"{_signed((now / before - 1) * 100, 1)} %"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+,.{digits}f}"
    return text if float(text.replace(",", "")) else f"{abs(value):,.{digits}f}"


def period_text(first: date, grain: str) -> str:
    """A period by its first day, such as `Mar 2024` or `Week of 4 Mar`."""
    if grain == "year":
        return f"{first.year}"
    if grain == "quarter":
        return f"Q{(first.month + 2) // 3} {first.year}"
    if grain == "month":
        return f"{first:%b %Y}"
    return f"{'Week of ' if grain == 'week' else ''}{first.day} {first:%b %Y}"


def words(name: str) -> str:
    """A column's or value's name as words: `avg_review_score` → `Average review score`."""
    if name in _SAID:
        return _SAID[name]
    text = name.replace("_", " ").strip()
    if text.startswith("avg "):
        text = f"average {text[4:]}"
    return text[:1].upper() + text[1:]
