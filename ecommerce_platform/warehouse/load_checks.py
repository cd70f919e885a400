"""The outcome of a check on what loads brought, as plain text and numbers: what ingestion and silver find, and whoever shows
it understands. Checks on a table's own rows are in `contract_checks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Check:
    """A check that is declared: its name and what it means where it passes."""

    name: str
    meaning: str


@dataclass(frozen=True)
class LoadCheck:
    """Outcome of one check.

    Attributes:
        name: of the check.
        problems: what is wrong, the most telling first; none where the check passes.
        severity: `block` for what makes input unusable, `warn` for what is worth looking at.
        told: worth knowing although nothing is wrong.
        numbers: by name.
        columns, rows: the problems as a table with the name `title`; none without columns.
    """

    name: str
    problems: Sequence[str]
    severity: Literal["block", "warn"] = "warn"
    told: Sequence[str] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    title: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def explain(self, most: int = 3) -> str | None:
        """The first of what there is to say, and how many more there are."""
        said = [*self.problems] or [*self.told]
        more = [f"and {len(said) - most:,} more"] if len(said) > most else []
        return "; ".join([*said[:most], *more]) or None
