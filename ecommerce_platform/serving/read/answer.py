"""An answer of the read layer: columns, types, rows, and whether rows were cut off. How it is found: `reader.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

#: Bytes that a row, and a value besides its text, are counted as: what CPython takes, roughly.
_ROW, _VALUE = 72, 40


@dataclass(frozen=True)
class Answer:
    """Rows of one snapshot; shared between all who asked the same, so nobody changes it."""

    columns: tuple[str, ...]
    #: DuckDB's types, as text.
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    #: Whether there are more rows than were asked for, or may be given.
    truncated: bool

    def records(self) -> list[dict[str, Any]]:
        """The rows as dicts."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def column(self, name: str) -> list[Any]:
        """The values of one column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def first(self) -> dict[str, Any] | None:
        """The first row as a dict; None where there is none."""
        return dict(zip(self.columns, self.rows[0], strict=True)) if self.rows else None

    def frame(self) -> pl.DataFrame:
        """The rows as a Polars frame for pictures and tables: DECIMAL becomes a float, all else keeps its type."""
        import polars as pl

        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return pl.DataFrame(
            [
                pl.Series(name, [float(v) if isinstance(v, Decimal) else v for v in values], dtype=_polars(kind))
                for name, kind, values in zip(self.columns, self.types, columns, strict=True)
            ]
        )

    @cached_property
    def size(self) -> int:
        """Bytes it takes in memory, roughly."""
        return sum(map(size_of, self.rows))


def size_of(row: Iterable[Any]) -> int:
    """Bytes a row takes in memory, roughly."""
    return _ROW + sum(_VALUE + (len(v) if isinstance(v, str | bytes) else 0) for v in row)


def _polars(kind: str) -> Any:
    """The Polars type of a DuckDB type; None (found from the values) for those that aren't plain."""
    import polars as pl

    if kind.startswith("DECIMAL"):
        return pl.Float64
    plain = {
        "VARCHAR": pl.String, "BOOLEAN": pl.Boolean, "INTEGER": pl.Int64, "BIGINT": pl.Int64, "DOUBLE": pl.Float64,
        "HUGEINT": pl.Int128, "DATE": pl.Date, "TIMESTAMP": pl.Datetime("us"),
    }  # fmt: skip
    return plain.get(kind)
