"""Scoring a user's file with a stored model: reading, checking, and the way to the model's own scoring.

Every value is read as text and converted by the rules of the model's columns (`columns.py`), whatever the file's format,
so that a table written to CSV and read back is scored exactly as it was in the warehouse. What a model then does with the
rows is in the model's module; which version is the current one is for the caller to look up in `ml.models`.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.columns import MONEY, MONEY_LIMIT, Rule
from ecommerce_platform.ml.lifecycle import Model, predict_rows

if TYPE_CHECKING:
    import polars as pl

_LINES_AT_ONCE = 100_000
_DELIMITERS = (",", ";", "\t", "|")


def predict_file(models_dir: Path, model: Model, registered: str | Mapping[str, Any], file: Path) -> pl.DataFrame:
    """Scores the rows of a file with one stored version of a model.

    Args:
        models_dir: the folder of all models.
        model: the model.
        registered: the version; or, better, its row in `ml.models` (`version`, `sha256`), which also proves
            that the artifact is the one that was trained.
        file: `.csv` (comma, semicolon, tab or bar; gzipped as `.csv.gz`), `.parquet`, or JSON lines
            (`.jsonl`, `.ndjson`, `.json`; one object a line; gzipped as well). Needs the model's `columns`; others are
            left aside. The whole file is held in memory.

    Returns:
        A row per row of the file, in its order: what the model says of it, `model` (the method, or
        `baseline:<name>` where it did not win) and `model_version`.

    Raises:
        InputError: the model scores no files, there is no such version, an artifact that was changed, or a file that
            cannot be used; names file, record (counted from 1 without the header; for JSON the line), column and value.
    """
    if not model.columns:
        raise InputError(
            f"{model.name} scores no files", fix=f"look at {' and '.join(model.scored_on)}, which builds fill"
        )
    # Read before the model is loaded: a wrong file is the likelier mistake, and scikit-learn takes seconds to
    # import.
    rows = read_rows(file, model.columns)
    if isinstance(registered, str):
        return predict_rows(models_dir, model, registered, rows)
    return predict_rows(models_dir, model, str(registered["version"]), rows, sha256=str(registered["sha256"]))


def read_rows(file: Path, columns: Mapping[str, Rule]) -> pl.DataFrame:
    """The rows of a file with typed columns, every value checked.

    Args:
        file: as for `predict_file`.
        columns: which columns, and what each holds.

    Returns:
        These columns in their types and order, in the file's order of rows. An optional one that the file lacks is null.

    Raises:
        InputError: as `predict_file`.
    """
    import polars as pl

    kind = file.name.lower().removesuffix(".gz").rpartition(".")[2]
    raw = _read(file, kind, columns)
    missing = [name for name, rule in columns.items() if name not in raw.columns and not rule.optional]
    if missing:
        raise InputError(
            f"the columns {', '.join(missing)} are missing; there are {', '.join(raw.columns) or 'none'}",
            where=file,
            fix=f"give the columns {', '.join(columns)}, named in the first line",
        )
    texts = raw.select(pl.col(n) if n in raw.columns else pl.lit(None, dtype=pl.String).alias(n) for n in columns)
    rows = texts.select(rule.convert(name).cast(rule.dtype).alias(name) for name, rule in columns.items())
    for name, rule in columns.items():
        _refuse_nulls(rows[name], texts[name], rule, file, "line" if kind.startswith(("js", "nd")) else "record")
    return rows


def _read(file: Path, kind: str, columns: Mapping[str, Rule]) -> pl.DataFrame:
    """A file as it is, by its kind."""
    import polars as pl

    readers: dict[str, Callable[[], pl.DataFrame]] = {
        "csv": lambda: _read_csv(file),
        "parquet": lambda: _read_parquet(file, columns),
        **dict.fromkeys(("jsonl", "ndjson", "json"), lambda: _read_json_lines(file, tuple(columns))),
    }
    if kind not in readers:
        raise InputError(
            "the file's name does not say what it is", where=file, fix="end it in .csv, .parquet or .jsonl"
        )
    if not file.is_file():
        raise InputError("there is no such file", where=file, fix="correct the path")
    if not file.stat().st_size:
        raise InputError("the file is empty", where=file, fix=f"give the columns {', '.join(columns)}")
    try:
        return readers[kind]()
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read as {kind}: {str(error).splitlines()[0]}",
            where=file,
            fix="open it and look, or export it again",
        ) from None


def _refuse_nulls(values: pl.Series, texts: pl.Series, rule: Rule, file: Path, counted: str) -> None:
    there = (texts.str.strip_chars() != "").fill_null(False)
    wrong = (values.is_null() & there if rule.optional else values.is_null()).arg_true()
    if not len(wrong):
        return
    # Every place would be a wall of text: the first wrong one is named, the others are counted.
    text = texts[wrong[0]]
    said = f"{text[:40]!r} is not {rule.says}" if there[wrong[0]] else "the value is missing"
    more = f" (and {len(wrong) - 1:,} more in this column)" if len(wrong) > 1 else ""
    raise InputError(f"{said}{more}", where=f"{file}, {counted} {wrong[0] + 1}, column {values.name}", fix=rule.fix)


@contextmanager
def _opened(file: Path) -> Iterator[IO[str]]:
    zipped = file.name.lower().endswith(".gz")
    with (
        gzip.open(file, "rt", encoding="utf-8-sig", newline="")
        if zipped
        else file.open(encoding="utf-8-sig", newline="")
    ) as lines:
        yield lines


def _read_csv(file: Path) -> pl.DataFrame:
    import polars as pl

    with _opened(file) as lines:
        header = lines.readline()
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        # Nothing inferred: as text a decimal stays what was written, and ids keep their leading zeros.
        return pl.read_csv(file, separator=delimiter, infer_schema=False)
    except pl.exceptions.ComputeError:
        _refuse_long_lines(file, delimiter)
        raise


def _refuse_long_lines(file: Path, delimiter: str) -> None:
    # Polars does not say where it stumbled, so the file is read once more.
    with _opened(file) as lines:
        records = csv.reader(lines, delimiter=delimiter)
        expected = len(next(records))
        for record in records:
            if len(record) > expected:
                raise InputError(
                    f"{len(record)} values where the first line has {expected} columns",
                    where=f"{file}, line {records.line_num}",
                    fix=f"put values that contain {delimiter!r} in double quotes; {MONEY.fix}",
                )


def _read_parquet(file: Path, columns: Mapping[str, Rule]) -> pl.DataFrame:
    import polars as pl

    frame = pl.read_parquet(file)
    money = [n for n, rule in columns.items() if rule.kind == "money" and frame.schema.get(n, pl.String()).is_float()]
    exact = []
    for name in money:
        # Through the decimal, because the text of a double can be longer than the amount it stands for.
        amount = pl.when(pl.col(name).is_finite() & (pl.col(name).abs() < MONEY_LIMIT)).then(pl.col(name))
        decimal = amount.cast(pl.Decimal(18, 4)).cast(pl.String)
        exact.append(pl.coalesce(decimal, pl.col(name).cast(pl.String)).alias(name))
    return frame.with_columns(exact).select(pl.all().cast(pl.String))


def _read_json_lines(file: Path, columns: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    parts = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String))]
    rows: list[tuple[str | None, ...]] = []
    seen: set[str] = set()

    def keep() -> None:
        parts.append(pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row"))
        rows.clear()

    with _opened(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                # Numbers stay the text they are written as.
                record = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
            except ValueError as error:
                raise InputError(
                    f"not a JSON object: {error}",
                    where=f"{file}, line {number}",
                    fix="write one object on each line, without blank lines",
                ) from None
            if not isinstance(record, dict):
                raise InputError(
                    f"a JSON {type(record).__name__}, not an object",
                    where=f"{file}, line {number}",
                    fix="write one object on each line, without a list around them",
                )
            seen.update(record)
            rows.append(tuple(_as_text(record.get(name)) for name in columns))
            if len(rows) == _LINES_AT_ONCE:
                keep()
    keep()
    frame = pl.concat(parts)
    return frame.select([name for name in columns if name in seen])


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)  # true, lists, objects: text that no rule takes for a number
