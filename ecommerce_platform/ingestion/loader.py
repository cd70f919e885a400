"""Getting every record of every file into the bronze table, and proof that none is missing.

Files of the same shape are read by one scan. A CSV or JSON lines file counts as read when rows, line breaks
within values and rejected lines add up to its lines; one that does not, or that DuckDB gives up on, is salvaged
line by line. `target` numbers the rows, `bronze` keeps the books about files and rejects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.ingestion import giants, readers
from ecommerce_platform.ingestion.delivery import WITHOUT_REJECT, Delivery
from ecommerce_platform.ingestion.plain import last_character, make_plain
from ecommerce_platform.ingestion.readers import REJECTED, SCANNED, Scan, as_glob
from ecommerce_platform.ingestion.rejects import Reject
from ecommerce_platform.ingestion.salvage import explain_csv, salvage_csv
from ecommerce_platform.ingestion.salvage_json import salvage_json
from ecommerce_platform.ingestion.sniff import Shape, Unusable, unique_names
from ecommerce_platform.ingestion.target import Breaks, Target

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Files read by one statement, and about how many bytes of text they may hold: so much waits for its numbers, and
#: of compressed files stands on disk, at the same time. A single file may be larger.
BATCH_FILES = 1_000
BATCH_BYTES = 1 << 30
#: How much text is reckoned to be in a compressed byte.
_PACKED = 4
#: A file of JSON that is larger is read once, if its first records have all keys; and how many ways of having them.
ONCE_BYTES, _FIRST_RECORDS, _MOST_FORMS = 32 << 20, 2_000, 50
#: More different keys than this in one JSON file are data, not columns.
MAX_KEYS = 2_000


class ScanFailed(Exception):
    """DuckDB gave up on a scan, and with that on the transaction."""

    def __init__(self, error: Exception, scan: Scan, deliveries: Sequence[Delivery], final: bool) -> None:
        super().__init__(str(error))
        self.error, self.scan, self.deliveries, self.final = error, scan, deliveries, final


class Loader:
    """Reads deliveries into a target.

    Args:
        con: the warehouse, within a transaction while `load` runs.
        target: where rows go.
        scratch: a folder of the loader's own.
    """

    def __init__(self, con: DuckDBPyConnection, target: Target, scratch: Path) -> None:
        self.con, self.target, self.scratch = con, target, scratch
        self.batch = scratch

    @cached_property
    def side(self) -> DuckDBPyConnection:
        """A second connection to the database: a file that turns out damaged there costs no transaction."""
        return self.con.cursor()

    def close(self) -> None:
        """Closes the second connection; open, it would keep the database locked for other processes."""
        if "side" in self.__dict__:
            self.side.close()
            del self.side

    def load(self, deliveries: Sequence[Delivery]) -> None:
        """Writes the rows of all deliveries, and their rejects into their reject files.

        Raises:
            ScanFailed: DuckDB gave up; after a rollback, `find_culprits` and a new attempt get further.
            OSError: a file cannot be read or the disk is full.
        """
        usable = [d for d in deliveries if d.shape and not d.unusable]
        for shape, batch in _batches(usable):
            with self._plain(batch):
                if shape.format == "csv":
                    self._csv(shape, batch)
                elif shape.format == "parquet":
                    self._parquet(batch)
                else:
                    self._json(shape, batch)
        for delivery in deliveries:
            if delivery.unusable and delivery.unusable.kind not in WITHOUT_REJECT:
                code = "truncated_file" if delivery.unusable.kind == "truncated" else "unreadable_file"
                delivery.rejects.add(Reject(None, code, delivery.unusable.text))
            delivery.rejects.close()

    def find_culprits(self, failed: ScanFailed) -> None:
        """Finds the files that DuckDB gives up on, by reading each alone, and marks them.

        Raises:
            Exception: DuckDB's own, when no file is to blame.
        """
        if failed.scan.noted:  # read as if it were like its first records, which it is not
            for delivery in failed.deliveries:
                delivery.unlike = True
            return
        fresh = [d for d in failed.deliveries if not d.suspect]
        if failed.final or not fresh:
            raise failed.error
        # Line ends of several kinds are the usual reason. Where there are none such, all files are tried.
        found: list[tuple[Delivery, str]] = []
        for kind in (True, False):
            for delivery in fresh if not found else ():
                with self._plain([delivery]):
                    if _has_mixed_line_ends(delivery) is kind and (error := self._trial(failed.scan, delivery)):
                        found.append((delivery, error))
        if not found and any(_shape(d).format == "parquet" for d in fresh):
            raise failed.error
        # If it takes all of them together: line by line, each alone, they can be read.
        for delivery, error in found or [(d, "") for d in fresh]:
            delivery.suspect = True
            if _shape(delivery).format == "parquet":
                delivery.unusable = _damaged_parquet(error)

    def _trial(self, scan: Scan, delivery: Delivery) -> str | None:
        """What DuckDB says against a file, if anything."""
        assert delivery.plain is not None
        path = delivery.plain.path
        try:
            self.side.execute(
                f"select bit_xor({scan.row_hash}) from {scan.relation}", {"paths": [as_glob(path)]}
            ).fetchall()
        except _faults() as error:
            return _first_line(error, delivery)
        finally:
            _forget_rejected(self.side)
        return None

    @contextmanager
    def _plain(self, batch: Sequence[Delivery]) -> Iterator[None]:
        """Makes files plain for as long as the block lasts; several at a time, for unzipping takes a while."""

        def prepare(delivery: Delivery) -> None:
            assert delivery.shape is not None
            delivery.plain = make_plain(
                delivery.made or delivery.file.path, delivery.shape, self._file(delivery, "plain")
            )

        with TemporaryDirectory(dir=self.scratch) as folder:
            self.batch = Path(folder)
            try:
                if len(batch) > 1 and any(d.needs_scratch for d in batch):
                    with ThreadPoolExecutor(self._threads) as pool:
                        list(pool.map(prepare, batch))
                else:
                    for delivery in batch:
                        prepare(delivery)
                yield
            finally:
                for delivery in batch:
                    delivery.plain = None
                    delivery.rejects.close()

    @cached_property
    def _threads(self) -> int:
        row = self.side.execute("select current_setting('threads')").fetchone()
        return int(row[0]) if row else 1

    def _file(self, delivery: Delivery, kind: str) -> Path:
        """A temporary file of the batch at work."""
        return self.batch / f"{delivery.id}.{kind}"

    def _arrive(self, scan: Scan, paths: Sequence[Path], deliveries: Sequence[Delivery], final: bool = False) -> None:
        """Reads and counts rows; `final` files have been salvaged, so DuckDB must read them."""
        try:
            rows = self.target.arrive(scan, [as_glob(path) for path in paths], deliveries)
        except _faults() as error:
            raise ScanFailed(error, scan, deliveries, final) from error
        for delivery in deliveries:
            delivery.rows = rows.get(delivery.id, 0)

    def _take(self, scan: Scan, files: Sequence[tuple[Delivery, Path, int]], final: bool = False) -> None:
        """Reads files that are known to hold so many records."""
        deliveries = [delivery for delivery, _, _ in files]
        self._arrive(scan, [path for _, path, _ in files], deliveries, final)
        for delivery, _, records in files:
            self._prove(delivery, records)
        self.target.settle()

    def _prove(self, delivery: Delivery, records: int) -> None:
        if delivery.rows != records:
            # They have been counted in another way, so this is a bug, here or in DuckDB.
            raise RuntimeError(
                f"{delivery.file.where}: {records:,} records were found but {delivery.rows:,} were read; "
                "please report this with the file"
            )

    # --- CSV

    def _csv(self, shape: Shape, batch: list[Delivery]) -> None:
        for delivery in batch:
            delivery.columns = shape.columns
        filled = [d for d in batch if d.content_lines]
        whole = [d for d in filled if not d.suspect]
        faulty: list[Delivery] = []
        if whole:
            self._arrive(readers.csv_scan(shape), [_path(d) for d in whole], whole)
            short, _ = self._not_proven(shape, whole, {})
            self.target.settle(without=short)
            if short:
                faulty = self._with_rejects(shape, short)
        files = []
        for delivery in filled:
            if delivery.suspect or delivery in faulty:
                delivery.rows = 0
                salvaged = salvage_csv(_path(delivery), shape, self._file(delivery, "good"), delivery.rejects)
                if salvaged.rows:
                    files.append((delivery, salvaged))
        if files:
            scan = readers.salvaged_csv_scan(shape, [salvaged for _, salvaged in files])
            self._take(scan, [(d, salvaged.path, salvaged.rows) for d, salvaged in files], final=True)
        for delivery in batch:
            _note_damage(delivery)

    def _with_rejects(self, shape: Shape, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Reads files again that have lines DuckDB cannot read, and notes these; returns those that still do not add up."""
        self._arrive(readers.csv_scan(shape, noting=True), [_path(d) for d in deliveries], deliveries)
        faulty, rejects = self._not_proven(shape, deliveries, self._rejected_offsets(deliveries))
        self.target.settle(without=faulty)
        for delivery, reject in rejects:
            delivery.rejects.add(reject)
        return faulty

    def _not_proven(
        self, shape: Shape, deliveries: Sequence[Delivery], rejected: Mapping[int, list[int]]
    ) -> tuple[list[Delivery], list[tuple[Delivery, Reject]]]:
        """Files whose rows and rejected lines do not add up to their lines, and the rejects of the others.

        Args:
            shape: of the files.
            deliveries: files that have arrived.
            rejected: where lines begin that DuckDB could not read, by delivery.
        """
        unclear = [d for d in deliveries if d.id in rejected or not _plainly_complete(d)]
        breaks = self.target.line_breaks(unclear, shape.columns, shape.delimiter, shape.newline[-1]) if unclear else {}
        faulty: list[Delivery] = []
        noted: list[tuple[Delivery, Reject]] = []
        for delivery in unclear:
            plain = delivery.plain
            assert plain is not None
            found = breaks.get(delivery.id, Breaks())
            newlines, others = found.feeds, found.returns
            if shape.newline == "\r":
                newlines, others = others, newlines
            # Where lines end in both, each line end brings one of either kind.
            both = plain.newlines - newlines if shape.newline == "\r\n" else 0
            rejects: list[Reject] | None = []
            if found.swallowed or plain.others - both != others:
                rejects = None
            elif delivery.id in rejected:
                rejects = explain_csv(plain.path, shape, rejected[delivery.id])
            if rejects is None or delivery.rows + newlines + len(rejects) != delivery.content_lines:
                faulty.append(delivery)
            else:
                noted += [(delivery, reject) for reject in rejects]
        return faulty, noted

    def _rejected_offsets(self, deliveries: Sequence[Delivery]) -> dict[int, list[int]]:
        """Where DuckDB's rejected lines begin, in bytes, by delivery."""
        rows = self.con.execute(
            f"select file_path, list(line_byte_position - 1) from {REJECTED} join {SCANNED} "
            "using (scan_id, file_id) group by all"
        ).fetchall()
        _forget_rejected(self.con)
        ids = {str(_path(d)): d.id for d in deliveries}
        return {ids[path]: offsets for path, offsets in rows}

    # --- JSON

    def _json(self, shape: Shape, batch: list[Delivery]) -> None:
        faulty = [d for d in batch if d.suspect or _breaks_off(shape, d)]
        whole = [d for d in batch if d not in faulty]
        good: list[tuple[Delivery, Path, int, list[str]]] = []
        objects = ""
        if len(whole) == 1 and self._once(shape, whole[0]):
            whole = []
        while whole:
            objects = readers.json_objects(shape.layout, max(d.file.size for d in whole))
            try:
                found = self._json_keys(objects, [_path(d) for d in whole], whole)
            except _faults():
                scan = readers.json_scan(objects, [])
                failing = [d for d in whole if self._trial(scan, d)]
                cut = [d for d in failing if self._take_giants(shape, d)]
                # When it takes all of them together, none is read together.
                faulty += [d for d in failing or whole if d not in cut]
                whole = [d for d in whole if d not in faulty and d not in cut]
                continue
            for delivery in whole:
                total, sound, keys = found[delivery.id]
                lines = total if shape.layout != "lines" else delivery.content_lines
                if sound == total == lines:
                    good.append((delivery, _path(delivery), total, keys))
                else:
                    faulty.append(delivery)
            break
        self._take_json(objects, good)
        self._salvage_json(shape, faulty)
        for delivery in batch:
            _note_damage(delivery)

    def _salvage_json(self, shape: Shape, faulty: list[Delivery]) -> None:
        salvaged = []
        for delivery in faulty:
            target = self._file(delivery, "good")
            found = salvage_json(self.side, _path(delivery), shape, target, delivery.rejects)
            if found.rows:
                salvaged.append((delivery, found))
        if not salvaged:
            return
        objects = readers.json_objects("lines", max(found.longest for _, found in salvaged) + 1)
        keys = self._json_keys(objects, [found.path for _, found in salvaged], [d for d, _ in salvaged])
        self._take_json(objects, [(d, found.path, found.rows, keys[d.id][2]) for d, found in salvaged], final=True)

    def _once(self, shape: Shape, delivery: Delivery) -> bool:
        """Reads a large file by the keys that its first records have; false, if it turns out to have others or faults."""
        if delivery.unlike or delivery.plain is None or delivery.plain.size < ONCE_BYTES:
            return False
        objects = readers.json_objects(shape.layout, delivery.plain.size)
        paths = {"paths": [as_glob(_path(delivery))]}
        try:
            first = f"select json_keys(json) as k from (select json from {objects} limit {_FIRST_RECORDS})"
            forms = [k for (k,) in self.side.execute(f"select distinct k from ({first})", paths).fetchall()]
        except _faults():
            return False
        keys = _ordered(forms)
        if not keys or len(forms) > _MOST_FORMS or len({key.lower() for key in keys}) < len(keys):
            return False
        delivery.columns = unique_names(keys)
        scan = readers.json_scan_once(objects, list(zip(keys, delivery.columns, strict=True)), forms)
        self._arrive(scan, [_path(delivery)], [delivery])
        sound, others = self.target.other_keys()
        whole = shape.layout != "lines" or delivery.rows == delivery.content_lines
        fits = sound and whole and all(k and len(set(k)) == len(k) and set(k) <= set(keys) for k in others)
        if fits:
            delivery.columns = unique_names(_ordered([*forms, *others]))
        else:
            delivery.rows, delivery.columns = 0, ()
        self.target.settle(without=() if fits else [delivery])
        return fits

    def _take_giants(self, shape: Shape, delivery: Delivery) -> bool:
        """Reads a file of which some records are too large for DuckDB's reader; false, if it is not for these that it failed."""
        pieces = giants.cut(_path(delivery), shape.layout, self._file(delivery, "piece"))
        if not pieces:
            return False
        objects, paths = readers.json_pieces(shape.layout, pieces)
        try:
            sound = all(self._is_json(path) for piece in pieces for _, path in piece.values)
            total, good, keys = self._json_keys(objects, paths, [delivery])[delivery.id]
        except _faults():
            return False
        if not sound or good != total or len(keys) > MAX_KEYS:
            return False
        if shape.layout == "lines" and total != delivery.content_lines:
            return False
        delivery.columns = unique_names(keys)
        columns = list(zip(keys, delivery.columns, strict=True))
        scan = readers.json_scan(objects, columns, max(len(piece.values) for piece in pieces))
        self._arrive(scan, paths, [delivery], final=True)
        self._prove(delivery, total)
        self.target.settle()
        return True

    def _is_json(self, path: Path) -> bool:
        row = self.side.execute("select json_valid(content) from read_text($path)", {"path": as_glob(path)}).fetchone()
        return bool(row and row[0])

    def _json_keys(
        self, objects: str, paths: Sequence[Path], deliveries: Sequence[Delivery]
    ) -> dict[int, tuple[int, int, list[str]]]:
        """Of each file: its records, those that are objects without repeated keys, and all keys."""
        files = {"paths": [as_glob(path) for path in paths]}
        self.side.execute(
            f"""
            create or replace temp table ingestion_keys as
            select file_index::bigint as f, ltrim(left(json::varchar, 64)) like '{{%' as o, json_keys(json) as k, count(*) as n
            from {objects}
            group by all
            """,
            files,
        )
        counts = self.side.execute(
            """
            select f, sum(n)::bigint, coalesce(sum(n) filter (o and len(list_distinct(k)) = len(k)), 0)::bigint
            from ingestion_keys
            group by f
            """
        ).fetchall()
        names = self.side.execute(
            """
            select f, list(key order by position, key)
            from (
              select f, key, min(position) as position
              from (select f, unnest(k) as key, generate_subscripts(k, 1) as position from ingestion_keys where o)
              group by all
            )
            group by f
            """
        ).fetchall()
        self.side.execute("drop table ingestion_keys")
        totals = {f: (total, good) for f, total, good in counts}
        keys = dict(names)
        return {d.id: (*totals.get(i, (0, 0)), keys.get(i, [])) for i, d in enumerate(deliveries)}

    def _take_json(
        self, objects: str, files: Sequence[tuple[Delivery, Path, int, list[str]]], final: bool = False
    ) -> None:
        """Reads files of which records and keys are known."""
        named = []
        for delivery, path, records, keys in files:
            if len(keys) > MAX_KEYS:
                delivery.unusable = Unusable(
                    "unreadable",
                    f"its records have {len(keys):,} different keys, so keys are data there; "
                    "deliver them as a list of objects with the same keys",
                )
                continue
            delivery.columns = unique_names(keys)
            named.append((tuple(zip(keys, delivery.columns, strict=True)), (delivery, path, records)))
        # Keys that differ only in case are one column in files that hold one of them, two where both occur: then
        # only files with the same keys can be read together.
        union = {pair for pairs, _ in named for pair in pairs}
        clash = len({column.lower() for _, column in union}) < len(union)
        groups: dict[Any, list[Any]] = {}
        for pairs, file in named:
            groups.setdefault(pairs if clash else None, []).append((pairs, file))
        for group in groups.values():
            columns = list(dict.fromkeys(pair for pairs, _ in group for pair in pairs))
            self._take(readers.json_scan(objects, columns), [file for _, file in group], final)

    # --- Parquet

    def _parquet(self, batch: list[Delivery]) -> None:
        groups: dict[Any, list[tuple[Delivery, Path, int]]] = {}
        sound = []
        for delivery in batch:
            if delivery.plain and delivery.plain.damage:
                delivery.unusable = _damaged_parquet(delivery.plain.damage)
            else:
                sound.append(delivery)
        try:
            schemas = self._schemas(sound)
        except _faults():  # asked one by one, the damaged ones are found
            schemas = {}
            for delivery in sound:
                try:
                    schemas |= self._schemas([delivery])
                except _faults() as error:
                    delivery.unusable = _damaged_parquet(_first_line(error, delivery))
        described: dict[Any, tuple[str, ...]] = {}
        for delivery in sound:
            if delivery.unusable:
                continue
            schema, rows = schemas[delivery.id]
            if schema not in described:
                try:
                    described[schema] = self._column_names(delivery)
                except _faults() as error:
                    delivery.unusable = _damaged_parquet(_first_line(error, delivery))
                    continue
            delivery.columns = unique_names(described[schema])
            groups.setdefault(schema, []).append((delivery, _path(delivery), rows))
        for schema, files in groups.items():
            self._take(readers.parquet_scan(unique_names(described[schema])), files)

    def _schemas(self, deliveries: Sequence[Delivery]) -> dict[int, tuple[str, int]]:
        """Of each Parquet file its schema as it is written in the file, and its rows; one look at all files."""
        if not deliveries:
            return {}
        ids = {str(_path(d)): d.id for d in deliveries}
        rows = self.side.execute(
            """
            select file_name, schema, num_rows
            from (
              select file_name, string_agg(cast(to_json(s) ->> '$' as varchar), '' order by column_id) as schema
              from (select file_name, column_id, struct_pack(
                name, type, type_length, repetition_type, num_children, converted_type, scale, precision, field_id,
                logical_type, duckdb_type
              ) as s from parquet_schema($paths))
              group by all
            )
            join parquet_file_metadata($paths) using (file_name)
            """,
            {"paths": [as_glob(_path(d)) for d in deliveries]},
        ).fetchall()
        return {ids[path]: (schema, int(count)) for path, schema, count in rows}

    def _column_names(self, delivery: Delivery) -> tuple[str, ...]:
        """The columns of a Parquet file as DuckDB reads it."""
        columns = self.side.execute(
            "describe select * from read_parquet($paths, hive_partitioning = false)",
            {"paths": [as_glob(_path(delivery))]},
        ).fetchall()
        return tuple(c[0] for c in columns)


def _ordered(forms: Sequence[Sequence[str]]) -> list[str]:
    """All keys of some lists, by the earliest place and the name; none where a list is none of an object's."""
    if not all(form and len(set(form)) == len(form) for form in forms):
        return []
    first: dict[str, int] = {}
    for form in forms:
        for place, key in enumerate(form):
            first[key] = min(place, first.get(key, place))
    return sorted(first, key=lambda key: (first[key], key.encode()))


def _batches(deliveries: Sequence[Delivery]) -> Iterator[tuple[Shape, list[Delivery]]]:
    """Deliveries that can be read together, in groups that are not too large."""
    groups: dict[Any, list[Delivery]] = {}
    for delivery in deliveries:
        shape = delivery.shape
        assert shape is not None
        # What `plain` evens out makes no difference.
        key = (shape.format, shape.layout, shape.delimiter, shape.newline, shape.skip, shape.columns)
        groups.setdefault(key, []).append(delivery)
    for group in groups.values():
        batch: list[Delivery] = []
        size = 0
        for delivery in group:
            packed = _shape(delivery).gzip or _shape(delivery).format == "parquet"
            own = delivery.file.size * (_PACKED if packed else 1)
            if batch and (len(batch) == BATCH_FILES or size + own > BATCH_BYTES):
                yield _shape(batch[0]), batch
                batch, size = [], 0
            batch.append(delivery)
            size += own
        yield _shape(batch[0]), batch


def _shape(delivery: Delivery) -> Shape:
    assert delivery.shape is not None
    return delivery.shape


def _path(delivery: Delivery) -> Path:
    assert delivery.plain is not None
    return delivery.plain.path


def _has_mixed_line_ends(delivery: Delivery) -> bool:
    plain, newline = delivery.plain, _shape(delivery).newline
    return plain is not None and plain.others != (plain.newlines if newline == "\r\n" else 0)


def _plainly_complete(delivery: Delivery) -> bool:
    """Whether each line has become a row, so that nothing needs to be counted within the values."""
    return delivery.rows == delivery.content_lines and not _has_mixed_line_ends(delivery)


def _breaks_off(shape: Shape, delivery: Delivery) -> bool:
    """Whether JSON other than lines ends too early; of an array that ends in a comma DuckDB says nothing."""
    if shape.layout == "lines" or delivery.plain is None:
        return False
    return bool(delivery.plain.damage) or (shape.layout == "array" and last_character(_path(delivery)) != b"]")


def _note_damage(delivery: Delivery) -> None:
    """Rejects for a file that ends too early: its unfinished last line, and the file."""
    plain = delivery.plain
    if plain is None or plain.damage is None:
        return
    if plain.cut:
        reason = "the file breaks off in this line"
        delivery.rejects.add(Reject(plain.newlines + 1, "truncated_file", reason, plain.cut))
    delivery.rejects.add(
        Reject(None, "truncated_file", f"{plain.damage}; what comes before is loaded, have it delivered again")
    )


def _damaged_parquet(error: str) -> Unusable:
    return Unusable("unreadable", f"the Parquet file is damaged ({error}); have it delivered again")


def _first_line(error: Exception, delivery: Delivery) -> str:
    text = str(error).partition("\n")[0]
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", text).replace(str(_path(delivery)), delivery.file.name)


def _forget_rejected(con: DuckDBPyConnection) -> None:
    con.execute(f"drop table if exists temp.{REJECTED}; drop table if exists temp.{SCANNED}")


def _faults() -> tuple[type[Exception], ...]:
    """What DuckDB raises when it cannot make sense of a file, as opposed to running out of memory, say."""
    import duckdb

    return (
        duckdb.InvalidInputException,
        duckdb.ConversionException,
        duckdb.NotImplementedException,
        duckdb.OutOfRangeException,
        duckdb.SerializationException,
    )
