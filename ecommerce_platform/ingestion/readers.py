"""The SQL with which DuckDB reads delivered files: one scan for all files of a shape, every value as text.

A scan says which relation to read and which expression gives which column; when it runs, and into which table,
is in `bronze`. Files are told apart by `file_index`, their position in `$paths`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.ingestion.giants import Piece
from ecommerce_platform.ingestion.salvage import Salvaged
from ecommerce_platform.ingestion.sniff import Shape

#: Temporary tables that DuckDB notes its rejects in.
REJECTED, SCANNED = "ingestion_rejected", "ingestion_scanned"

#: DuckDB's default. A longer line is left out without a word when it is longer than a buffer, sixteen times this;
#: the line count finds that. More would cost memory: a buffer per thread.
_LINE = 2_000_000
_BUFFER = 32_000_000
_JSON_OBJECT = 16_777_216


@dataclass(frozen=True)
class Scan:
    """A relation over the files in `$paths`, and what each column is made of.

    `values` are SQL expressions of the relation's columns, one for each of `columns`; all give text. `noted`: columns of the
    relation, with their types, that rows have until they are settled.
    """

    relation: str
    columns: tuple[str, ...]
    values: tuple[str, ...]
    row_hash: str
    noted: tuple[tuple[str, str], ...] = ()

    def select(self, spelling: dict[str, str]) -> str:
        """The columns as the end of a select list; `spelling` is how a table writes a name, by its lower case."""
        return "".join(
            f", {value} as {quote(spelling[column.lower()])}"
            for column, value in zip(self.columns, self.values, strict=True)
        )


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def as_glob(path: Path) -> str:
    """A path as DuckDB's readers want it, with characters that would be wildcards taken literally."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def csv_scan(shape: Shape, *, noting: bool = False) -> Scan:
    """Delivered CSV files of one shape.

    Strict, for otherwise DuckDB drops values. Lines that it cannot read are left out.

    Args:
        shape: of the files.
        noting: tells of these lines in the tables `REJECTED` and `SCANNED`; that makes small files several times as dear.
    """
    newline = {"\n": "\\n", "\r\n": "\\r\\n", "\r": "\\r"}[shape.newline]
    leaving_out = (
        f"store_rejects = true, rejects_table = '{REJECTED}', rejects_scan = '{SCANNED}', rejects_limit = 100000"
        if noting
        else "ignore_errors = true"
    )
    return _csv(shape, f"header = true, skip = {shape.skip}, new_line = '{newline}', {leaving_out}")


def salvaged_csv_scan(shape: Shape, salvaged: Iterable[Salvaged]) -> Scan:
    """Files that `salvage_csv` wrote. One thread: these may hold records that span DuckDB's read buffers."""
    longest = max(s.longest for s in salvaged) + 1_000
    options = (
        f"header = false, new_line = '\\n', parallel = false, max_line_size = {max(_LINE, longest)}, "
        f"buffer_size = {max(_BUFFER, 2 * longest)}"
    )
    return _csv(shape, options)


def _csv(shape: Shape, options: str) -> Scan:
    # The columns get plain names first: a delivered name may be anything.
    names = [f"c{i}" for i in range(len(shape.columns))]
    types = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    relation = (
        f"read_csv($paths, auto_detect = false, columns = {{{types}}}, delim = {text(shape.delimiter)}, "
        f"quote = '\"', escape = '\"', strict_mode = true, compression = 'none', hive_partitioning = false, "
        f"{options})"
    )
    return Scan(relation, shape.columns, tuple(names), _row_hash(shape.columns, names))


def json_objects(layout: str, largest: int) -> str:
    """A relation of the records of JSON files as text, `json`; faulty lines of JSON lines are null.

    Args:
        layout: of the files' shape.
        largest: bytes of the largest file; buffers are not made larger than that takes.
    """
    format = {"array": "array", "lines": "newline_delimited", "objects": "unstructured"}[layout]
    size = min(_JSON_OBJECT, max(1_000_000, largest + 1))
    ignore = ", ignore_errors = true" if layout == "lines" else ""
    return (
        f"read_json_objects($paths, format = '{format}', compression = 'none', hive_partitioning = false, "
        f"maximum_object_size = {size}{ignore})"
    )


def json_pieces(layout: str, pieces: Sequence[Piece]) -> tuple[str, list[Path]]:
    """As `json_objects`, of one file in pieces: the relation, the rows in the order of the pieces, and what `$paths` has to be.

    Of each of a giant's values it has `value_<n>`, its text, and `token_<n>`, what stands for it in the record.
    """
    most = max(len(piece.values) for piece in pieces)
    largest = max((piece.path.stat().st_size for piece in pieces if not piece.giant), default=0)
    relations, paths = [], list[Path]()

    def only(path: Path) -> str:
        paths.append(path)
        return f"$paths[{len(paths)}:{len(paths)}]"

    for piece in pieces:
        if piece.giant:
            records, names = f"read_text({only(piece.path)}) as r", "r.content as json"
        else:
            records, names = f"{json_objects(layout, largest).replace('$paths', only(piece.path))} as r", "r.json"
        for n in range(most):
            if n < len(piece.values):
                token, path = piece.values[n]
                records += f", read_text({only(path)}) as v{n}"
                names += f", {text(token)} as token_{n}, v{n}.content as value_{n}"
            else:
                names += f", cast(null as varchar) as token_{n}, cast(null as varchar) as value_{n}"
        relations.append(f"select {names}, 0 as file_index from {records}")
    return f"({' union all '.join(relations)})", paths


def json_scan(objects: str, keys: Sequence[tuple[str, str]], values: int = 0) -> Scan:
    """Records of JSON files with a column for each key.

    Args:
        objects: what `json_objects` or `json_pieces` returned.
        keys: the keys and the columns they fill.
        values: how many values of a record stand beside it.
    """
    pointers = ", ".join(text(json_pointer(key)) for key, _ in keys)
    # All values in one look at the text; a struct would not hold keys that differ only in case.
    found = f"json_extract_string(json, [{pointers}])" if keys else "null"
    beside = "".join(f", token_{n}, value_{n}" for n in range(values))
    relation = f"(select {found} as v, hash(json::varchar) as h, file_index{beside} from {objects})"
    cases = " ".join(f"when v[{{0}}] = token_{n} then value_{n}" for n in range(values))
    position = f"case {cases} else v[{{0}}] end" if values else "v[{0}]"
    positions = tuple(position.format(i) for i in range(1, len(keys) + 1))
    return Scan(relation, tuple(column for _, column in keys), positions, "h")


def json_scan_once(objects: str, keys: Sequence[tuple[str, str]], forms: Sequence[Sequence[str]]) -> Scan:
    """As `json_scan`, with what tells whether these are all keys: `_known`, and `_keys` of records that are not of a form.

    Args:
        objects: what `json_objects` returned.
        keys: the keys and the columns they fill.
        forms: lists of keys that records are expected to have.
    """
    scan = json_scan(objects, keys)
    lists = ", ".join(f"[{', '.join(text(key) for key in form)}]" for form in forms)
    known = f"list_contains([{lists}], json_keys(json))"
    relation = scan.relation.replace(
        "file_index from",
        f"file_index, {known} as _known, case when not {known} then json_keys(json) end as _keys from",
        1,
    )
    return replace(scan, relation=relation, noted=(("_known", "boolean"), ("_keys", "varchar[]")))


def json_pointer(key: str) -> str:
    """The JSON pointer (RFC 6901) to a key of an object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def parquet_scan(columns: tuple[str, ...]) -> Scan:
    """Parquet files with the same columns and types; values in DuckDB's text form."""
    names = [f"c{i}" for i in range(len(columns))]
    inner = ", ".join(f"{name}::varchar as {name}" for name in names)
    files = "read_parquet($paths, hive_partitioning = false)"
    relation = f"(select {inner}, file_index from {files} as t({', '.join(names)}))"
    return Scan(relation, columns, tuple(names), _row_hash(columns, names))


def _row_hash(columns: Sequence[str], values: Sequence[str]) -> str:
    """A hash of a row that does not depend on the order in which a file delivers its columns."""
    ordered = sorted(zip(columns, values, strict=True), key=lambda pair: pair[0].lower())
    return f"hash({', '.join(value for _, value in ordered)})"
