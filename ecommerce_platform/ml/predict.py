"""Scoring a user's file with a stored model: reading, checking, and the way to the model's own scoring.

Every value is read as text and converted by the same few rules, whatever the file's format, so that a table
written to CSV and read back is scored exactly as it was in the warehouse. What a model then does with the
rows is in the model's module; which version is the current one is for the caller to look up in `ml.models`.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import segments

if TYPE_CHECKING:
    import polars as pl

_LINES_AT_ONCE = 100_000
_DELIMITERS = (",", ";", "\t", "|")
_TEXT, _WHOLE, _MONEY = "text", "a whole number of at least 1", "an amount of money"
_COLUMNS = {"person_id": _TEXT, "recency_days": _WHOLE, "frequency": _WHOLE, "monetary": _MONEY}
_FIXES = {
    _TEXT: "every row needs a person_id",
    _WHOLE: "write days and counts as plain digits, such as 12",
    _MONEY: "write amounts with a point and no currency or thousands separators, such as 1234.50",
}


def predict_file(models_dir: Path, model: str, registered: str | Mapping[str, Any], file: Path) -> pl.DataFrame:
    """Scores the rows of a file with one stored version of a model.

    Args:
        models_dir: the folder of all models.
        model: the model's name; `segments` is the one there is.
        registered: the version; or, better, its row in `ml.models` (`version`, `sha256`), which also proves
            that the artifact is the one that was trained.
        file: `.csv` (comma, semicolon, tab or bar; gzipped as `.csv.gz`), `.parquet`, or JSON lines
            (`.jsonl`, `.ndjson`, `.json`; one object a line; gzipped as well). Needs the columns person_id,
            recency_days (≥ 1), frequency (≥ 1) and monetary (money, rounded to four decimals; zero and below
            count as 0.01); others are left aside. The whole file is held in memory.

    Returns:
        A row per row of the file, in its order, with the columns of `ml.segments`: person_id, segment,
        segment_name, distance, model (`kmeans_rfm`, or `baseline:rfm_score_terciles` where the model did not
        win), model_version.

    Raises:
        InputError: no such model or version, an artifact that was changed, or a file that cannot be used;
            names file, record (counted from 1 without the header; for JSON the line), column and value.
    """
    if model not in _SCORERS:
        raise InputError(f"there is no model {model!r}", fix=f"use one of: {', '.join(_SCORERS)}")
    # Read before the model is loaded: a wrong file is the likelier mistake, and scikit-learn takes seconds to
    # import.
    rows = read_rows(file)
    if isinstance(registered, str):
        return _SCORERS[model](models_dir, registered, None, rows)
    return _SCORERS[model](models_dir, str(registered["version"]), str(registered["sha256"]), rows)


def read_rows(file: Path) -> pl.DataFrame:
    """The rows of a file as `train_segments` takes them, every value checked.

    Returns:
        person_id VARCHAR, recency_days BIGINT, frequency BIGINT, monetary DECIMAL(18,4), in the file's order.

    Raises:
        InputError: as `predict_file`.
    """
    kind = file.name.lower().removesuffix(".gz").rpartition(".")[2]
    raw = _read(file, kind)
    missing = [name for name in _COLUMNS if name not in raw.columns]
    if missing:
        raise InputError(
            f"the columns {', '.join(missing)} are missing; there are {', '.join(raw.columns) or 'none'}",
            where=file,
            fix=f"give the columns {', '.join(_COLUMNS)} (as in gold.rfm), named in the first line",
        )
    texts = raw.select(list(_COLUMNS))
    rows = texts.select(_converted(name, rule).alias(name) for name, rule in _COLUMNS.items())
    for name, rule in _COLUMNS.items():
        _refuse_nulls(rows[name], texts[name], rule, file, "line" if kind.startswith(("js", "nd")) else "record")
    return rows


def _read(file: Path, kind: str) -> pl.DataFrame:
    """A file as it is, by its kind."""
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        "csv": _read_csv,
        "parquet": _read_parquet,
        **dict.fromkeys(("jsonl", "ndjson", "json"), _read_json_lines),
    }
    if kind not in readers:
        raise InputError(
            "the file's name does not say what it is", where=file, fix="end it in .csv, .parquet or .jsonl"
        )
    if not file.is_file():
        raise InputError("there is no such file", where=file, fix="correct the path")
    if not file.stat().st_size:
        raise InputError("the file is empty", where=file, fix=f"give the columns {', '.join(_COLUMNS)}")
    try:
        return readers[kind](file)
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read as {kind}: {str(error).splitlines()[0]}",
            where=file,
            fix="open it and look, or export it again",
        ) from None


def _converted(name: str, rule: str) -> pl.Expr:
    """The column as its type; null wherever the text does not follow the rule."""
    import polars as pl

    if rule == _TEXT:
        return pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name))
    text = pl.col(name).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    if rule == _WHOLE:
        # Pandas writes whole numbers as 12.0 where a column once had a null.
        whole = text.cast(pl.Int64, strict=False)
        from_float = pl.when(number.is_finite() & (number == number.floor()) & (number < 2**53)).then(number)
        value = pl.coalesce(whole, from_float.cast(pl.Int64, strict=False))
        return pl.when(value >= 1).then(value)
    money = text.cast(pl.Decimal(18, 4), strict=False)
    return pl.when(number.is_finite() & (number.abs() < segments.MONETARY_LIMIT)).then(money)


def _refuse_nulls(values: pl.Series, texts: pl.Series, rule: str, file: Path, counted: str) -> None:
    wrong = values.is_null().arg_true()
    if not len(wrong):
        return
    # Every place would be a wall of text: the first wrong one is named, the others are counted.
    text = texts[wrong[0]]
    said = "the value is missing" if text is None or not text.strip() else f"{text[:40]!r} is not {rule}"
    more = f" (and {len(wrong) - 1:,} more in this column)" if len(wrong) > 1 else ""
    raise InputError(f"{said}{more}", where=f"{file}, {counted} {wrong[0] + 1}, column {values.name}", fix=_FIXES[rule])


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
                    fix=f"put values that contain {delimiter!r} in double quotes; {_FIXES[_MONEY]}",
                )


def _read_parquet(file: Path) -> pl.DataFrame:
    import polars as pl

    frame = pl.read_parquet(file)
    as_text = pl.all().cast(pl.String)
    if not frame.schema.get("monetary", pl.String()).is_float():
        return frame.select(as_text)
    # Through the decimal, because the text of a double can be longer than the amount it stands for.
    money = pl.col("monetary")
    amount = pl.when(money.is_finite() & (money.abs() < segments.MONETARY_LIMIT)).then(money)
    decimal = amount.cast(pl.Decimal(18, 4)).cast(pl.String)
    return frame.select(as_text).with_columns(
        pl.coalesce(frame.select(decimal).to_series(), pl.col("monetary")).alias("monetary")
    )


def _read_json_lines(file: Path) -> pl.DataFrame:
    import polars as pl

    parts = [pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))]
    rows: list[tuple[str | None, ...]] = []
    seen: set[str] = set()

    def keep() -> None:
        parts.append(pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row"))
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
            rows.append(tuple(_as_text(record.get(name)) for name in _COLUMNS))
            if len(rows) == _LINES_AT_ONCE:
                keep()
    keep()
    frame = pl.concat(parts)
    return frame.select([name for name in _COLUMNS if name in seen])


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)  # true, lists, objects: text that no rule takes for a number


def _score_segments(models_dir: Path, version: str, sha256: str | None, rows: pl.DataFrame) -> pl.DataFrame:
    model = segments.load_segments(models_dir, version, sha256=sha256)
    return segments.segment_rows(model, version, rows)


_SCORERS: dict[str, Callable[[Path, str, str | None, pl.DataFrame], pl.DataFrame]] = {segments.MODEL: _score_segments}
