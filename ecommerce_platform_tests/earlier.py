"""What a drop looked like before it was corrected: its files with rows changed, missing, too many, or cut off.

Files of every format of the sources are read and written again here; nothing is known about their meaning but that
the first column is most of a key.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

Row = list[Any]


@dataclass
class Records:
    """A file's records, and how they become bytes again."""

    columns: list[str]
    rows: list[Row]
    encode: Callable[[list[str], list[Row]], bytes]
    #: Whether any text may stand in any column.
    loose: bool = True


def write_earlier(files: Sequence[Path], other_drops: Sequence[Path], folder: Path, random: Random) -> None:
    """Writes some earlier version of a drop; it may lack files, or come to nothing at all.

    Args:
        files: the drop as it stays.
        other_drops: folders of other days, whose files may be delivered by mistake.
        folder: where to write.
        random: decides everything.
    """
    folder.mkdir(parents=True)
    for file in files:
        target = folder / file.name
        fate = random.choices(
            ("changed", "same", "missing", "another day's", "cut off", "empty"), (50, 20, 10, 8, 8, 4)
        )
        match fate[0]:
            case "changed":
                target.write_bytes(change(file, random))
            case "same":
                shutil.copy(file, target)
            case "another day's":
                candidates = [drop / file.name for drop in other_drops if (drop / file.name).is_file()]
                shutil.copy(random.choice(candidates or [file]), target)
            case "cut off":
                content = file.read_bytes()
                target.write_bytes(content[: random.randrange(len(content) + 1)])
            case "empty":
                target.write_bytes(b"")
    if random.random() < 0.1:
        # A second file of the same raw table.
        file = random.choice(files)
        stem, dot, endings = file.name.partition(".")
        (folder / f"{stem}_2{dot}{endings}").write_bytes(change(file, random))
    if not any(folder.iterdir()):
        os.rmdir(folder)


def change(file: Path, random: Random) -> bytes:
    """The bytes of a file with some records changed, left out, added or in another order, or a column more or less."""
    packed = file.suffix == ".gz"
    data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
    records = read_records(file.name.removesuffix(".gz"), data)
    columns, rows = list(records.columns), _change_rows(records, random)
    if records.loose and random.random() < 0.1:
        columns.append("remark")
        rows = [[*row, random.choice(("x", "y"))] for row in rows]
    elif records.loose and len(columns) > 2 and random.random() < 0.05:
        lost = random.randrange(len(columns))
        columns.pop(lost)
        rows = [[v for n, v in enumerate(row) if n != lost] for row in rows]
    content = records.encode(columns, rows)
    return gzip.compress(content, 1) if packed else content


def _change_rows(records: Records, random: Random) -> list[Row]:
    if random.random() < 0.05:
        return []
    rows: list[Row] = []
    strength = random.choice((0.02, 0.1, 0.4))
    for row in records.rows:
        if random.random() > strength:
            rows.append(row)
            continue
        changed = list(row)
        other = random.choice(records.rows)
        fate = random.choice(("lost", "other value", "other value", "other key", "new key", "wrong", "twice", "none"))
        column = random.randrange(len(row))
        if fate == "lost":
            continue
        if fate in ("other value", "twice"):
            changed[column] = other[column] if column < len(other) else None
        elif fate == "other key":
            changed[0] = other[0] if other else None
        elif fate == "new key" and isinstance(changed[0], str):
            changed[0] += "9"
        elif fate == "wrong" and records.loose:
            changed[column] = "?"
        elif fate == "none":
            changed[column] = None
        rows += [row, changed] if fate == "twice" else [changed]
    if random.random() < 0.2:
        random.shuffle(rows)
    return rows


def read_records(name: str, data: bytes) -> Records:
    """The records of a file of any format; `name` tells which."""
    if name.endswith(".parquet"):
        return _read_parquet(data)
    if name.endswith(".jsonl"):
        return _read_objects([_object(line) for line in data.decode().splitlines()], _json_lines)
    if name.endswith(".json"):
        return _read_objects(json.loads(data), _json_array)
    return _read_csv(data)


def _read_csv(data: bytes) -> Records:
    text, encoding = _decoded(data)
    first = text.partition("\n")[0]
    delimiter = next((d for d in ";\t" if d in first), ",")
    csv.field_size_limit(1 << 30)
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)

    def encode(columns: list[str], rows: list[Row]) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(row for row in rows if row)
        return out.getvalue().encode(encoding)

    return Records(header, [row for row in rows if row], encode)


def _decoded(data: bytes) -> tuple[str, str]:
    """A text and its encoding; UTF-16 has its mark, and what is not UTF-8 is Windows' encoding."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16"), "utf-16"
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp1252"), "cp1252"


def _object(line: str) -> dict[str, Any] | str:
    """A JSON object; a line that is none stays as it is."""
    try:
        return json.loads(line)
    except ValueError:
        return line


def _read_objects(objects: list[dict[str, Any] | str], encode: Callable[[list[str], list[Row]], bytes]) -> Records:
    columns = list(dict.fromkeys(name for o in objects if isinstance(o, dict) for name in o))
    rows = [[o] if isinstance(o, str) else [o.get(name) for name in columns] for o in objects]
    return Records(columns, rows, encode)


def _json_lines(columns: list[str], rows: list[Row]) -> bytes:
    """Fields that are null are left out, as the generated shop does."""
    lines = [
        str(row[0]) if len(row) < len(columns) else json.dumps(_filled(columns, row), ensure_ascii=False)
        for row in rows
        if row
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _json_array(columns: list[str], rows: list[Row]) -> bytes:
    return json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False).encode()


def _filled(columns: list[str], row: Row) -> dict[str, Any]:
    return {name: value for name, value in zip(columns, row, strict=True) if value is not None}


def _read_parquet(data: bytes) -> Records:
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(data))

    def encode(columns: list[str], rows: list[Row]) -> bytes:
        out = io.BytesIO()
        pl.DataFrame(rows, schema=frame.schema, orient="row").write_parquet(out)
        return out.getvalue()

    return Records(frame.columns, [list(row) for row in frame.rows()], encode, loose=False)
