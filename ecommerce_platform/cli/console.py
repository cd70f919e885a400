"""How commands answer: exit codes, lines, tables, the progress bar and the spinner; results go to stdout, the rest to stderr.

What is said belongs in the commands, figures of a query in `show`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.object_store import protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

FAILED, USAGE, INCOMPLETE = 1, 2, 3


def console(stderr: bool = False) -> Console:
    """A new console each time: while a bar is drawn, stderr is the bar's."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Where nobody watches (a pipe, CI) lines must not be folded at 80 columns.
    width = None if stream.isatty() or "COLUMNS" in os.environ else 200
    # Without emoji: a value like a:x:0 is shown as it is.
    return Console(stderr=stderr, width=width, emoji=False)


def say(text: str, *, stderr: bool = False, **how: Any) -> None:
    """A sentence with rich's markup; `how` is what rich's `print` takes."""
    console(stderr).print(text, **how)


def say_line(text: str, *, stderr: bool = False) -> None:
    """A sentence with paths, commands or values in it: with markup, but neither coloured by content nor folded."""
    say(text, stderr=stderr, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Something to know, which is no fault."""
    from rich.markup import escape

    say_line(f"[yellow]note:[/] {escape(text)}")


def left(files: Iterable[str], source: str) -> None:
    """Names files that are of no raw table of the source."""
    from rich.markup import escape

    for name in files:
        say(f"[dim]left: {escape(name)} (no table of {source} names it)[/]")


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[int] = (),
    styles: Mapping[int, str] | None = None,
) -> None:
    """Prints a table; None is an empty cell, numbers have groups of three.

    Args:
        title: above the table.
        columns: their names.
        rows: a value per column.
        right: numbers of the columns that stand right.
        styles: number of a column → its style.
    """
    from rich.table import Table

    shown = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        side, style = "right" if number in right else "left", (styles or {}).get(number, "")
        shown.add_column(name, justify=side, style=style, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        shown.add_row(*map(_cell, row))
    console().print(shown)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes rows to stdout as CSV."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


class Bar:
    """What is at work and how much of it is done."""

    def __init__(self, drawn: Progress, what: str) -> None:
        self._drawn, self._task = drawn, drawn.add_task(what, total=None)

    def step(self, what: str | None, done: int, total: int | None) -> None:
        """`done` of `total` is done; None leaves what is at work, or the total, as it was."""
        self._drawn.update(self._task, description=what, completed=done, total=total)

    def built(self, name: str, event: str, done: int, total: int) -> None:
        """A step of a build (`operations.builds.Listener`): the table that was started last is at work."""
        self.step(name if event == "start" else None, done, total)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the bar away while something is shown or asked."""
        self._drawn.stop()
        yield
        self._drawn.start()


@contextmanager
def bar(what: str, *, in_bytes: bool = False) -> Iterator[Bar]:
    """A progress bar on stderr; where that is no terminal, nothing is drawn."""
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    counts = DownloadColumn() if in_bytes else MofNCompleteColumn()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), counts, TimeElapsedColumn(),
        console=console(stderr=True), transient=True,
    ) as drawn:  # fmt: skip
        yield Bar(drawn, what)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """A moving line on stderr for work whose length is not known; where that is no terminal, nothing is drawn."""
    with console(stderr=True).status(what):
        yield


def show_log() -> None:
    """Lets the platform's own log lines (who is waited for, what could not be removed) be seen on stderr."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record), stderr=True, style="dim", markup=False, highlight=False, soft_wrap=True)

    log = logging.getLogger("ecommerce_platform")
    log.addHandler(Lines())
    log.setLevel(logging.INFO)
    log.propagate = False


def size(count: int) -> str:
    """Bytes as people read them."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"


def short(path: Path | str) -> str:
    """A path from here on if it lies below, else as it is; so are URLs."""
    if protocol(str(path)):
        return str(path)
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
