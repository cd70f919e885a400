"""What a look at plausibility says, as plain text and numbers, and where it looks. No rule about a shop stands here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.silver.conversions import needs_several_rows, parsed
from ecommerce_platform.silver.mapping import CompiledMapping

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Examples per finding.
EXAMPLES = 3


@dataclass(frozen=True)
class Implausible:
    """A doubt. `name` is the kind of fault, `where` the mapping's file and line, `examples` orders, ids or values."""

    name: str
    where: str
    what: str
    fix: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f", e.g. {', '.join(self.examples)}" if self.examples else ""
        return f"{self.what}{shown}"


@dataclass(frozen=True)
class Compared:
    """Figures held against each other: what, how many orders, how many differ and by how much in all."""

    what: str
    orders: int
    off: int
    money_off: Decimal
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f" ({self.money_off:,.2f} in all, e.g. {', '.join(self.examples)})" if self.off else ""
        return f"{self.what}: {self.orders:,} orders compared, {self.off:,} off{shown}"


@dataclass
class Plausibility:
    """All that was found: doubts, figures that were compared, and what could not be compared, with the reason."""

    doubts: list[Implausible] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rows:
    """Where a look is taken: a connection with bronze and silver, and the mappings of each entity.

    `currency` and `zone` are the shop's.
    """

    con: DuckDBPyConnection
    compiled: Mapping[str, Sequence[CompiledMapping]]
    currency: str
    zone: str

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a SELECT."""
        return self.con.execute(sql).fetchall()

    def filled(self, entity: str, column: str) -> bool:
        """Whether a mapping fills a column."""
        return any(column in m.expressions for m in self.compiled.get(entity, ()))

    def mappings(self, *entities: str) -> list[CompiledMapping]:
        """The mappings of these entities."""
        return [m for entity in entities for m in self.compiled.get(entity, ())]

    def columns(self, mapping: CompiledMapping) -> list[str]:
        """The raw columns there are in a mapping's bronze table."""
        rows = self.ask(f"describe {mapping.bronze}")
        return [name for name, *_ in rows if not name.startswith("_")]


def of_one_row(mapping: CompiledMapping, column: str) -> str | None:
    """SQL over one bronze row of a canonical column; None where it is not filled or needs several rows."""
    sql = mapping.expressions.get(column)
    return None if sql is None or needs_several_rows(parsed(sql)) else sql


def bronze(mapping: CompiledMapping) -> str:
    """The bronze rows that a mapping takes, for FROM."""
    return f"(select * from {mapping.bronze}{f' where {mapping.where}' if mapping.where else ''}) as b"


def place(mapping: CompiledMapping, column: str) -> str:
    """File and line where a canonical column is filled."""
    return f"{mapping.mapping.path}:{mapping.lines.get(column, 1)}"


def as_amount(column: str) -> str:
    """SQL of an amount in a raw column, with a decimal point or comma; null where it is none."""
    return f"coalesce(as_decimal({quote(column)}), as_decimal_comma({quote(column)}))"
