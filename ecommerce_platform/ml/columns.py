"""What a model asks of the columns of a user's file: rules that turn text into typed values, or say what is wrong.

Only rules live here; reading a file is in `predict.py`, which columns a model wants in the model's module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

#: What DECIMAL(18,4) holds.
MONEY_LIMIT = 1e14

_FIXES = {
    "text": "every row needs a value here",
    "whole": "write days and counts as plain digits, such as 12",
    "number": "write numbers with a point, such as 0.75",
    "money": "write amounts with a point and no currency or thousands separators, such as 1234.50",
    "day": "write days as 2026-01-31",
}


@dataclass(frozen=True)
class Rule:
    """What a column holds.

    Attributes:
        kind: text, whole (BIGINT), number (DOUBLE), money (DECIMAL(18,4)) or day (DATE).
        at_least: the smallest value there may be.
        at_most: the largest.
        optional: whether a value may be missing, and with it the whole column (null then).
        choices: for text, the values there may be; none named: any.
    """

    kind: Literal["text", "whole", "number", "money", "day"]
    at_least: float | None = None
    at_most: float | None = None
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """What a value has to be, in words."""
        kinds = {"text": "text", "whole": "a whole number", "number": "a number", "money": "an amount of money"}
        said = {**kinds, "day": "a day"}[self.kind]
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.at_least is not None and self.at_most is not None:
            return f"{said} from {self.at_least:g} to {self.at_most:g}"
        if self.at_least is not None:
            return f"{said} of at least {self.at_least:g}"
        return said if self.at_most is None else f"{said} of at most {self.at_most:g}"

    @property
    def fix(self) -> str:
        """How to write it."""
        return f"write {self.says}" if self.choices else _FIXES[self.kind]

    @property
    def dtype(self) -> Any:
        """Its polars type."""
        import polars as pl

        types = {"text": pl.String, "whole": pl.Int64, "number": pl.Float64, "day": pl.Date}
        return pl.Decimal(18, 4) if self.kind == "money" else types[self.kind]

    def convert(self, name: str) -> pl.Expr:
        """The text column `name` as its type; null wherever the text does not follow the rule."""
        import polars as pl

        if self.kind == "text":
            known = pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name))
            return pl.when(known.is_in(self.choices)).then(known) if self.choices else known
        text = pl.col(name).str.strip_chars()
        number = text.cast(pl.Float64, strict=False)
        if self.kind == "day":
            return text.str.to_date("%Y-%m-%d", strict=False)
        if self.kind == "whole":
            # Pandas writes whole numbers as 12.0 where a column once had a null.
            whole = text.cast(pl.Int64, strict=False)
            from_float = pl.when(number.is_finite() & (number == number.floor()) & (number < 2**53)).then(number)
            value = pl.coalesce(whole, from_float.cast(pl.Int64, strict=False))
        elif self.kind == "money":
            money = text.cast(pl.Decimal(18, 4), strict=False)
            value = pl.when(number.is_finite() & (number.abs() < MONEY_LIMIT)).then(money)
        else:
            value = pl.when(number.is_finite()).then(number)
        return self._within(value)

    def _within(self, value: pl.Expr) -> pl.Expr:
        import polars as pl

        number, inside = value.cast(pl.Float64), pl.lit(True)
        if self.at_least is not None:
            inside = inside & (number >= self.at_least)
        if self.at_most is not None:
            inside = inside & (number <= self.at_most)
        return pl.when(inside).then(value)


TEXT = Rule("text")
#: A count or a number of days that is never zero.
COUNT = Rule("whole", at_least=1)
MONEY = Rule("money")
