"""Pictures for model cards, as SVG: lines, bands, points and bars over one pair of axes.

A card is a file that somebody opens anywhere and a text in the UI, so a picture needs no library and no server, and the
same figures give the same bytes. What is drawn is up to the models; nothing here knows one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from xml.sax.saxutils import escape

#: Told apart also by those who see few colours (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_WIDTH, _HEIGHT = 640, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 34, 58
_TICKS = 5

Values = Sequence[Any]


@dataclass(frozen=True)
class Line:
    """Points joined by a line; x are numbers or days, None in y breaks it."""

    x: Values
    y: Values
    name: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """The space between two lines: an interval."""

    x: Values
    low: Values
    high: Values
    name: str = ""


@dataclass(frozen=True)
class Points:
    """Single points."""

    x: Values
    y: Values
    name: str = ""


@dataclass(frozen=True)
class Bars:
    """A bar from zero per label; several `Bars` stand beside each other."""

    labels: Sequence[str]
    y: Values
    name: str = ""


Layer = Line | Band | Points | Bars


def plot(*layers: Layer, title: str, x: str = "", y: str = "") -> str:
    """An SVG of the layers, the first at the bottom, with axes that hold them all.

    Args:
        layers: what is drawn. Bars count as x = 0, 1, … with their labels, and cannot stand beside days.
        title: above it.
        x: what runs to the right, with its unit.
        y: what runs up, with its unit.
    """
    bars = [layer for layer in layers if isinstance(layer, Bars)]
    days = any(isinstance(v, date) for layer in layers if not isinstance(layer, Bars) for v in layer.x)
    xs = [v for layer in layers for v in _xs(layer)]
    ys = [v for layer in layers for v in _ys(layer)] + ([0.0] if bars else [])
    if not xs or not ys:
        xs, ys = [0.0, 1.0], [0.0, 1.0]
    axes = _Axes(*_range(xs, exact=bool(bars) or days), *_range(ys))
    drawn = [*_frame(axes, title, x, y, bars[0].labels if bars else None, days)]
    for number, layer in enumerate(layers):
        drawn += _draw(layer, axes, COLOURS[number % len(COLOURS)], len(bars), bars)
    drawn += _legend(layers)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="#333">{"".join(drawn)}</svg>\n'
    )


@dataclass(frozen=True)
class _Axes:
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    found = float(value.toordinal()) if isinstance(value, date) else float(value)
    return found if math.isfinite(found) else None


def _xs(layer: Layer) -> list[float]:
    if isinstance(layer, Bars):
        return [-0.5, len(layer.labels) - 0.5]
    return [n for v in layer.x if (n := _number(v)) is not None]


def _ys(layer: Layer) -> list[float]:
    both = (*layer.low, *layer.high) if isinstance(layer, Band) else layer.y
    return [n for v in both if (n := _number(v)) is not None]


def _range(values: Sequence[float], *, exact: bool = False) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    step = _step(low, high)
    return (low, high) if exact else (math.floor(low / step) * step, math.ceil(high / step) * step)


def _step(low: float, high: float) -> float:
    """A round distance between ticks: 1, 2 or 5 times a power of ten."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _frame(axes: _Axes, title: str, x: str, y: str, labels: Sequence[str] | None, days: bool) -> Iterator[str]:
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    yield f'<text x="{_LEFT}" y="18" font-size="13" font-weight="bold">{escape(title)}</text>'
    bottom = _HEIGHT - _BOTTOM
    for value in _ticks(axes.y_low, axes.y_high):
        at = axes.y(value)
        yield f'<path d="M{_LEFT} {at}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4}" text-anchor="end">{_text(value)}</text>'
    if labels is not None:
        ticks = [(float(i), label) for i, label in enumerate(labels)]
        ticks = ticks[:: max(1, len(ticks) // 15 + 1)] if len(ticks) > 15 else ticks
    elif days:
        ticks = [(v, date.fromordinal(round(v)).isoformat()) for v in _ticks(axes.x_low, axes.x_high)]
    else:
        ticks = [(v, _text(v)) for v in _ticks(axes.x_low, axes.x_high)]
    for value, label in ticks:
        yield f'<text x="{axes.x(value)}" y="{bottom + 15}" text-anchor="middle">{escape(label[:24])}</text>'
    yield f'<text x="{(_LEFT + _WIDTH) / 2}" y="{bottom + 31}" text-anchor="middle">{escape(x)}</text>'
    middle = (_TOP + bottom) / 2
    yield f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    step = _step(low, high)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _text(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):g}{unit}"
    return f"{value:.6g}"


def _draw(layer: Layer, axes: _Axes, colour: str, beside: int, bars: Sequence[Bars]) -> Iterator[str]:
    if isinstance(layer, Bars):
        width = 0.8 / beside
        start = -0.4 + width * next(i for i, other in enumerate(bars) if other is layer)
        for place, value in enumerate(layer.y):
            if (number := _number(value)) is not None:
                left, right = axes.x(place + start), axes.x(place + start + width)
                top, base = sorted((axes.y(number), axes.y(0.0)))
                yield f'<rect x="{left}" y="{top}" width="{right - left:.1f}" height="{base - top:.1f}" fill="{colour}"/>'
        return
    xs = [_number(v) for v in layer.x]
    if isinstance(layer, Band):
        both = [(a, _number(lo), _number(hi)) for a, lo, hi in zip(xs, layer.low, layer.high, strict=True)]
        there = [(axes.x(a), axes.y(lo), axes.y(hi)) for a, lo, hi in both if None not in (a, lo, hi)]  # type: ignore[arg-type]
        outline = [(a, hi) for a, _, hi in there] + [(a, lo) for a, lo, _ in reversed(there)]
        yield f'<polygon points="{" ".join(f"{a},{b}" for a, b in outline)}" fill="{colour}" fill-opacity="0.2"/>'
        return
    places = [
        None if a is None or (b := _number(v)) is None else (axes.x(a), axes.y(b))
        for a, v in zip(xs, layer.y, strict=True)
    ]
    if isinstance(layer, Points):
        # One path of dots rather than a circle each: a tenth of the bytes, for cards are kept in the event log too.
        dots = "".join(f"M{found[0]} {found[1]}h0" for found in places if found)
        yield f'<path d="{dots}" stroke="{colour}" stroke-width="4" stroke-linecap="round" stroke-opacity="0.6"/>'
        return
    path, pen = "", "M"
    for found in places:
        path += f"{pen}{found[0]} {found[1]}" if found else ""
        pen = "L" if found else "M"
    dash = ' stroke-dasharray="5 4"' if layer.dashed else ""
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'


def _legend(layers: Sequence[Layer]) -> Iterator[str]:
    left = float(_LEFT)
    for number, layer in enumerate(layers):
        if layer.name:
            colour, at = COLOURS[number % len(COLOURS)], _HEIGHT - 12
            yield f'<rect x="{left}" y="{at - 9}" width="10" height="10" fill="{colour}"/>'
            yield f'<text x="{left + 14}" y="{at}">{escape(layer.name)}</text>'
            left += 26 + 6.2 * len(layer.name)
