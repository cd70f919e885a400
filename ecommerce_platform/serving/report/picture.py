"""Small pictures for paper: lines and bars as SVG, without a browser. What is in them is asked in `contents`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

BLUE, GREY, GREEN, RED = "#1F5FBF", "#8791A0", "#2A9D78", "#C0394B"
_WIDTH = 660


def lines(
    labels: Sequence[str],
    now: Sequence[float | None],
    before: Sequence[float | None],
    texts: tuple[str, str],
    top: str,
    height: int = 190,
) -> str:
    """Two series over the same places: the first filled, the second dotted.

    Args:
        labels: of the places; the first, the middle and the last are written.
        now: figures, None where there is none.
        before: those compared with; empty for none.
        texts: what the series are called.
        top: the largest figure as text, written at the line on top.
        height: of the picture.
    """
    left, right, low, high = 8, _WIDTH - 8, height - 22, 26
    most = max([v for v in (*now, *before) if v is not None], default=0) or 1

    def point(place: int, value: float, count: int) -> str:
        x = left + (right - left) * (place / max(count - 1, 1))
        return f"{x:.1f},{low - (low - high) * value / most:.1f}"

    def path(values: Sequence[float | None]) -> str:
        return " ".join(point(n, v, len(labels)) for n, v in enumerate(values) if v is not None)

    parts = [_open(height, f"{texts[0]} and {texts[1]}" if before else texts[0])]
    parts += [
        f'<line x1="{left}" y1="{high}" x2="{right}" y2="{high}" stroke="#DDE3EC"/>',
        f'<line x1="{left}" y1="{low}" x2="{right}" y2="{low}" stroke="#B8C1CE"/>',
        f'<text x="{right}" y="{high - 5}" text-anchor="end" class="s">{escape(top)}</text>',
    ]
    if any(v is not None for v in now):
        first, last = (
            next(n for n, v in steps if v is not None) for steps in (enumerate(now), reversed(list(enumerate(now))))
        )
        base = f"{point(last, 0, len(labels))} {point(first, 0, len(labels))}"
        parts.append(f'<polygon points="{path(now)} {base}" fill="{BLUE}" opacity="0.10"/>')
        parts.append(f'<polyline points="{path(now)}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
    if before:
        parts.append(
            f'<polyline points="{path(before)}" fill="none" stroke="{GREY}" stroke-width="1.4" stroke-dasharray="2 3"/>'
        )
    parts.append(_legend(left, texts if before else texts[:1]))
    for place, anchor in ((0, "start"), (len(labels) // 2, "middle"), (len(labels) - 1, "end")):
        if 0 <= place < len(labels):
            x = left + (right - left) * place / max(len(labels) - 1, 1)
            parts.append(
                f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}" class="s">{escape(labels[place])}</text>'
            )
    return "".join(parts) + "</svg>"


def _legend(left: int, texts: Sequence[str]) -> str:
    """What the series are called, each with its mark."""
    marks = ((BLUE, "■"), (GREY, "┅"))
    said = "  ".join(
        f'<tspan fill="{c}">{m}</tspan> {escape(text)}' for (c, m), text in zip(marks, texts, strict=False)
    )
    return f'<text x="{left}" y="14" class="s">{said}</text>'


def bars(rows: Sequence[tuple[str, float, str]], what: str, *, signed: bool = False) -> str:
    """Values as lying bars, each with its text; to either side and coloured by their sign where `signed`."""
    step, name_width = 22, 170
    height = step * len(rows) + 6
    most = max((abs(v) for _, v, _ in rows), default=0) or 1
    room = _WIDTH - name_width - 120
    zero = name_width + (room / 2 if signed else 0)
    scale = (room / 2 if signed else room) / most
    parts = [_open(height, what)]
    for place, (name, value, text) in enumerate(rows):
        y = 4 + place * step
        width = abs(value) * scale
        x = zero - width if signed and value < 0 else zero
        colour = (RED if value < 0 else GREEN) if signed else BLUE
        shown = name if len(name) < 27 else name[:25] + "…"
        parts.append(f'<text x="{name_width - 8}" y="{y + 13}" text-anchor="end">{escape(shown)}</text>')
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{step - 6}" fill="{colour}" rx="2"/>'
        )
        end = (zero + room / 2 + 6) if signed else x + width + 6
        parts.append(f'<text x="{end:.1f}" y="{y + 13}" class="s">{escape(text)}</text>')
    return "".join(parts) + "</svg>"


def _open(height: int, what: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="100%" role="img" '
        f'aria-label="{escape(what, quote=True)}" font-family="sans-serif" font-size="11" fill="#1B2333">'
        "<style>.s{font-size:10px;fill:#5A6576}</style>"
    )
