"""Filling the canonical entities from bronze so that every order of loads ends in the same rows.

The rules are those of docs/convergence.md: a key's row is the version of its newest load; a full delivery alone
decides which keys exist; a unit is replaced whole; what does not convert or breaks a rule stands in
silver.rejects. A load costs what it brings, not what is already there. `ingestion` reads files;
`warehouse/write.py` makes tables of SELECTs over silver.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.contracts.yaml_file import line_of
from ecommerce_platform.errors import DefinitionError, raise_all
from ecommerce_platform.silver.cannot_run import why_it_fails
from ecommerce_platform.silver.empty_units import LEDGER, MENTIONED, mentioned_later, renew_empty_units, unit_of
from ecommerce_platform.silver.gathered import drop_others, fill_in, rebuild_ledger, renew_loads
from ecommerce_platform.silver.left_out import left_out_rows
from ecommerce_platform.silver.mapping import CompiledMapping, ordering
from ecommerce_platform.silver.overlaps import overlapping_rows
from ecommerce_platform.warehouse.changes import Log, record_change
from ecommerce_platform.warehouse.connection import macros
from ecommerce_platform.warehouse.contract_checks import CheckResult, check_rows, check_table
from ecommerce_platform.warehouse.lookup import column_types, table_exists
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import (
    Written,
    apply_difference,
    count_rows,
    ensure_table,
    find_difference,
    replace_table,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Share of superseded rows above which the kept rows are copied instead of the others deleted.
_COPY_ABOVE = 0.1
#: Part of `code_version`: another number fills every entity anew.
_RULES = "5"
#: Fewer rejected rows than this never set a load aside: in a small load a share says little.
_FEWEST = 20
#: Fewer rows of a load that contradict others, by number or by share, are ordinary.
_FEWEST_CONTRADICTING, _FEW_CONTRADICTING = 3, 0.02
#: Reason code of the rows of a load that was set aside.
SET_ASIDE = "load_set_aside"
#: Share of all loads above which filling the table anew costs less than changing it.
_MOST = 0.5
_WHERE_FROM = "_load_date, _source_file, _source_row"
#: Raw table, load day and fingerprint of its files, from what bronze has loaded.
_DELIVERED = (
    "select raw_table, _load_date, md5(string_agg(concat_ws(':', _source_file, size_bytes, "
    "case when sha256_learnt or sha256 is null then cast(modified_ns as varchar) else sha256 end, rows_loaded), "
    "'/' order by _source_file)) as fingerprint from bronze.files"
)


@dataclass
class LoadCount:
    """What one load brought to an entity."""

    landed: int = 0
    accepted: int = 0
    rejected: int = 0
    #: Rows of the entity that are new or different because of it.
    changed: int = 0


@dataclass(frozen=True)
class EntityLoad:
    """What filling an entity did."""

    rows: int
    inserted: int
    updated: int
    deleted: int
    #: (raw table, load day) → counts, for the loads that were taken over.
    loads: dict[tuple[str, date], LoadCount] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    #: Whole-delivery problems: a full delivery of which nothing could be used.
    problems: tuple[str, ...] = ()

    @property
    def rejected(self) -> int:
        """Rows rejected in the loads taken over."""
        return sum(c.rejected for c in self.loads.values())


def load_entity(
    con: DuckDBPyConnection,
    catalog: Catalog,
    contract: Contract,
    mappings: Sequence[CompiledMapping],
    *,
    again: Collection[date] = (),
    log: Log | None = None,
    full_checks: bool = False,
) -> EntityLoad:
    """Takes over into one entity what bronze has for it, in one transaction.

    That is: the loads whose files differ from what was taken over before. Nothing is written if there are none.

    Args:
        con: a connection to the warehouse.
        catalog: for the tables that are written beside the entity (rejects, loads).
        contract: the entity's contract.
        mappings: the mappings that fill it; none leaves it empty.
        again: loads to take over again though nothing about them has changed.
        log: what is logged about changed rows for the tables that follow the entity.
        full_checks: checks the whole table even if only some rows were written.

    Raises:
        DefinitionError: a mapping does not fit its raw table or contract.
        BlockedError: a blocking check failed; everything stays as it was.
    """
    import duckdb

    run = _EntityLoader(con, catalog, contract, mappings, log)
    try:
        with transaction(con):
            return run.load(set(again), full_checks)
    except duckdb.Error as error:
        if wrong := why_it_fails(con, mappings, error):
            raise wrong from None
        raise


class _EntityLoader:
    """One call of `load_entity`: its connection, names and counts."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        catalog: Catalog,
        contract: Contract,
        mappings: Sequence[CompiledMapping],
        log: Log | None,
    ) -> None:
        self.con, self.catalog, self.contract, self.mappings, self.log = con, catalog, contract, mappings, log
        self.table = f"{contract.layer}.{quote(contract.name)}"
        self.columns = ", ".join(quote(c) for c in contract.all_columns)
        self.key = ", ".join(quote(c) for c in contract.key)
        self.code_version = code_version(contract, mappings)
        self.loads: dict[tuple[str, date], LoadCount] = {}
        self.problems: list[str] = []
        self.inserted = self.updated = self.deleted = 0
        histories = (catalog.contract(f"silver.{name}") for name in catalog.histories)
        self.has_history = any(history.history_of == contract.name for history in histories)

    # -- which loads -----------------------------------------------------------------------------------------

    def load(self, again: set[date], full_checks: bool) -> EntityLoad:
        for name in ("bronze.files", "silver.rejects", "silver.loads", LEDGER):
            ensure_table(self.con, self.catalog.contract(name))
        exists = table_exists(self.con, self.contract.layer, self.contract.name) and not self._rejects_are_gone()
        taken = taken_over(self.con, self.contract.name)
        changed = any(version != self.code_version for _, version in taken.values())
        delivered = {m.raw_table: delivered_days(self.con, m.raw_table) for m in self.mappings}
        known = {raw: {d for r, d in taken if r == raw} | set(found) for raw, found in delivered.items()}
        pending = {
            raw: {d for d in days if d in again or taken.get((raw, d), ("", ""))[0] != delivered[raw].get(d)}
            for raw, days in known.items()
        }
        gone = {raw for raw, _ in taken} - set(delivered)
        most = sum(map(len, pending.values())) > _MOST * sum(map(len, known.values()))
        if not exists or changed or gone or (most and any(pending.values())):
            self._rebuild(delivered)
            results = check_table(self.con, self.contract)
        else:
            results = self._apply_all(pending, delivered)
            if full_checks:
                results = check_table(self.con, self.contract)
        if self.loads or not exists or changed or gone:
            for name in ("silver.rejects", "silver.loads", LEDGER):
                record_change(self.con, name)
        return EntityLoad(
            rows=count_rows(self.con, self.contract),
            inserted=self.inserted,
            updated=self.updated,
            deleted=self.deleted,
            loads=self.loads,
            checks=tuple(results),
            problems=tuple(self.problems),
        )

    def _rejects_are_gone(self) -> bool:
        """Whether rows that were rejected stand nowhere any more: only mapping them again brings them back."""
        found = self.con.execute(
            "select 1 from silver.loads as l where l.entity = $entity and l.rows_rejected > 0 and not exists (select 1 from "
            "silver.rejects as r where r.entity = l.entity and r._raw_table = l._raw_table and r._load_date = l._load_date) "
            "limit 1",
            {"entity": self.contract.name},
        ).fetchall()
        return bool(found)

    def _apply_all(self, pending: dict[str, set[date]], delivered: dict[str, dict[date, str]]) -> list[CheckResult]:
        if not any(pending.values()):
            return []
        # What is written, as it is written; no two mappings write the same key.
        self.con.execute(f"create or replace temp table _written as select {self.columns} from {self.table} limit 0")
        for mapping in self.mappings:
            if pending[mapping.raw_table]:
                self._apply(mapping, pending[mapping.raw_table], delivered[mapping.raw_table])
        return check_rows(self.con, self.contract, "_written", lambda c: c.sql)

    # -- taking loads over -----------------------------------------------------------------------------------

    def _rebuild(self, delivered: dict[str, dict[date, str]]) -> None:
        if table_exists(self.con, self.contract.layer, self.contract.name):
            self.deleted += count_rows(self.con, self.contract)
        self.con.execute("delete from silver.rejects where entity = ?", [self.contract.name])
        self.con.execute("delete from silver.loads where entity = ?", [self.contract.name])
        self.con.execute(f"delete from {LEDGER} where entity = ?", [self.contract.name])
        self.con.execute(create_table_sql(self.contract, or_replace=True))
        drop_others(self.con, self.contract.name, self.mappings)
        for mapping in self.mappings:
            days = delivered[mapping.raw_table]
            if not days and not mapping.gathered:
                continue
            # The first mapping of row-wise deltas is written straight into the table: no second copy of the rows.
            direct = mapping is self.mappings[0] and mapping.delivery == "delta" and not mapping.combines
            direct = direct and not mapping.gathered and not mapping.by_record
            if mapping.by_record:
                renew_empty_units(self.con, mapping, "true")
            stage = self._stage(mapping, "true", set(days), into=self.table if direct else None)
            self._count(mapping, stage, "true", days)
            if mapping.gathered:
                rebuild_ledger(self.con, mapping, stage, keep_gone=self.has_history)
            if mapping.delivery == "full":
                self._only_newest_delivery(mapping, stage, self._newest_accepted(mapping))
            self._only_newest_versions(mapping, stage)
            if mapping.gathered:
                fill_in(self.con, mapping, stage)
            if stage != self.table:
                self.con.execute(f"insert into {self.table} select {self.columns} from {stage}")
                self.con.execute(f"drop table {stage}")
        self.inserted += count_rows(self.con, self.contract)
        for raw, day, rows in self.con.execute(
            f"select _raw_table, _load_date, count(*) from {self.table} group by all"
        ).fetchall():
            self.loads[(raw, day)].changed = rows
        record_change(self.con, self.contract.table, self.code_version, log=self.log)

    def _apply(self, mapping: CompiledMapping, days: set[date], delivered: dict[date, str]) -> None:
        loads = f"_load_date in ({', '.join(_day(d) for d in sorted(days))})"
        parameters = [self.contract.name, mapping.raw_table]
        for table in ("silver.rejects", "silver.loads"):
            self.con.execute(f"delete from {table} where entity = ? and _raw_table = ? and {loads}", parameters)
        if mapping.by_record:
            renew_empty_units(self.con, mapping, loads)
        stage = self._stage(mapping, loads, days)
        self._count(mapping, stage, loads, {d: f for d, f in delivered.items() if d in days})
        if mapping.gathered:
            renew_loads(self.con, mapping, stage, loads, keep_gone=self.has_history)
        if mapping.delivery == "full":
            self._stage_delivery(mapping, stage)
        else:
            self._only_newest_versions(mapping, stage)
            self._stage_affected(mapping, stage, loads)
            self._bring_back(mapping, stage, loads)
            self._leave_newer(mapping, stage, loads)
            if mapping.gathered:
                self._stage_others_named(mapping, stage)
        if mapping.gathered:
            fill_in(self.con, mapping, stage)
        self._keys_are_disjoint(mapping, stage)
        self._write(mapping, stage)

    def _write(self, mapping: CompiledMapping, stage: str) -> None:
        """Makes the affected rows (`_affected`) those of the stage."""
        con = self.con
        difference = find_difference(con, self.contract, "_affected", stage)
        con.execute(f"insert into _written select {self.columns} from _difference where _stays")
        for day, changed in con.execute(
            "select _load_date, count(*) from _difference where _stays and _meaningful group by _load_date"
        ).fetchall():
            if count := self.loads.get((mapping.raw_table, day)):
                count.changed += changed
        apply_difference(con, self.contract, difference, self.code_version, self.log)
        self.inserted += difference.inserted
        self.updated += difference.updated
        self.deleted += difference.deleted
        con.execute(f"drop table _affected; drop table {stage}")

    def _stage(self, mapping: CompiledMapping, loads: str, days: Collection[date], into: str | None = None) -> str:
        """Maps the rows of `loads`, moves those that fail to silver.rejects, and leaves the others in a table."""
        con = self.con
        con.execute("create or replace temp table _failed (_load_date date, _source_file varchar, _source_row bigint)")
        self._fits(mapping)
        if mapping.combines:
            self._find_failing_bronze(mapping, loads)
            stage = self._create_stage(mapping.rows(loads, without="_failed" if self._any_failed() else None))
            self._reject(mapping, loads)
            self._reject_gathered(mapping, stage, loads)
            self._set_aside(mapping, stage, loads)
            return stage
        rows = mapping.rows(loads)
        if into:
            con.execute(f"insert into {into} select {self.columns} from ({rows}) as mapped")
            stage = into
        else:
            stage = self._create_stage(rows)
        self._find_failing_rows(mapping, stage, loads)
        if self._any_failed():
            self._reject(mapping, loads)
            # Other mappings of the entity may already be in the table: only this raw table's rows are meant.
            con.execute(
                f"delete from {stage} where _raw_table = '{mapping.raw_table}' and "
                f"({_WHERE_FROM}) in (select ({_WHERE_FROM}) from _failed)"
            )
            self._set_aside(mapping, stage, loads)
        return stage

    def _create_stage(self, rows: str) -> str:
        self.con.execute(f"create or replace temp table _stage as {rows}")
        return "_stage"

    def _fits(self, mapping: CompiledMapping) -> None:
        """A text that would reach a typed column without a macro is a mistake in the mapping, found before any row."""
        kinds = self._kinds(mapping)
        raise_all([*self._unordered(mapping, kinds), *self._unconverted(mapping, kinds)])

    def _kinds(self, mapping: CompiledMapping) -> dict[str, str]:
        """The type of each column that the mapping gives."""
        described = self.con.execute(
            "describe select " + ", ".join(f"{e} as {quote(n)}" for n, e in mapping.expressions.items())
            + "".join(f", {by or 'null'} as {ordering(n)}" for n, by in mapping.gathered.items())
            + f" from {mapping.bronze}"
            + (f" group by {', '.join(mapping.group_by)}" if mapping.group_by else "")
        ).fetchall()  # fmt: skip
        return {name: kind for name, kind, *_ in described}

    def _unordered(self, mapping: CompiledMapping, kinds: dict[str, str]) -> Iterator[DefinitionError]:
        """Columns gathered in an order that is none."""
        path, place = mapping.mapping.path.with_name("source.yml"), f"{mapping.contract.name}.{mapping.raw_table}"
        for name, by in mapping.gathered.items():
            if kinds[f"_by_{name}"] == "VARCHAR":
                yield DefinitionError(
                    f"gathered: {place}: {by} is text, which is not ordered as what it says is",
                    where=f"{path}:{line_of(path, ('gathered', place, name))}",
                    fix=f"convert it, e.g. as_timestamp({by})",
                )

    def _unconverted(self, mapping: CompiledMapping, kinds: dict[str, str]) -> Iterator[DefinitionError]:
        """Texts where another type is wanted, and the other way round."""
        for name, kind in kinds.items():
            if name not in mapping.expressions:
                continue
            wanted = self.contract.columns[name].type
            if (kind == "VARCHAR") != (wanted == "VARCHAR") and kind != '"NULL"':
                yield DefinitionError(
                    f"{name} is {wanted} in {self.contract.table}, but the mapping gives {kind}",
                    where=f"{mapping.mapping.path}:{mapping.lines.get(name, 1)}",
                    fix="convert it with one of the as_… macros",
                )

    # -- what fails ------------------------------------------------------------------------------------------

    def _find_failing_rows(self, mapping: CompiledMapping, stage: str, loads: str) -> None:
        """Row-wise mappings are mapped first and examined afterwards: comparing counts of delivered and converted
        values costs a fraction of testing every row, and only columns where they differ are looked at again."""
        con, where = self.con, self._bronze_where(mapping, loads)
        mine = f"_raw_table = '{mapping.raw_table}'"
        bare = {e: n for n, e in mapping.expressions.items()}
        direct = [c for c in mapping.conversions if c.call in bare]
        other = [c for c in mapping.conversions if c.call not in bare]
        counts = [f"count(as_text({c.argument}))" for c in direct]
        counts += [f"count(*) filter (where {c.failed})" for c in other]
        suspect: list[str] = []
        if counts:
            raw = con.execute(f"select {', '.join(counts)} from {mapping.bronze} where {where}").fetchone()
            assert raw is not None
            if direct:
                typed = con.execute(
                    f"select {', '.join(f'count({quote(bare[c.call])})' for c in direct)} from {stage} where {mine}"
                ).fetchone()
                assert typed is not None
                suspect += [c.failed for c, a, b in zip(direct, raw, typed, strict=False) if a != b]
            suspect += [c.failed for c, n in zip(other, raw[len(direct) :], strict=True) if n]
        if suspect:
            con.execute(
                f"insert into _failed select {_WHERE_FROM} from {mapping.bronze} "
                f"where {where} and ({' or '.join(suspect)})"
            )
        rules = mapping.typed_rules()
        broken = con.execute(
            f"select {', '.join(f'count(*) filter (where {r[3]})' for r in rules)} from {stage} where {mine}"
        ).fetchone()
        assert broken is not None
        if conditions := [r[3] for r, n in zip(rules, broken, strict=True) if n]:
            con.execute(
                f"insert into _failed select {_WHERE_FROM} from {stage} where {mine} and ({' or '.join(conditions)})"
            )

    def _find_failing_bronze(self, mapping: CompiledMapping, loads: str) -> None:
        """Gathering mappings must not see failing rows: a reject inside a group is the line, not the group."""
        failing = [c.failed for c in mapping.conversions] + [f"({r[3]}) is true" for r in mapping.row_rules()]
        if failing:
            self.con.execute(
                f"insert into _failed select {_WHERE_FROM} from {mapping.bronze} "
                f"where {self._bronze_where(mapping, loads)} and ({' or '.join(failing)})"
            )

    def _any_failed(self) -> bool:
        return self._any("_failed")

    def _any(self, table: str) -> bool:
        row = self.con.execute(f"select count(*) from {table}").fetchone()
        return bool(row and row[0])

    def _reject(self, mapping: CompiledMapping, loads: str) -> None:
        """Writes the rows of `_failed` to silver.rejects with every reason and the row as delivered."""
        rules = mapping.row_rules()
        conversions = [(c.reason, "not_convertible", c.failed) for c in mapping.conversions]
        texts = [c[0] for c in conversions]
        codes = [(c[2], c[1]) for c in conversions]
        required = self.contract.required_columns
        for name, code, text, condition in rules:
            expression = mapping.expressions.get(name, "null")
            # A required value that did not convert has been named already.
            said = [c.failed for c in mapping.conversions if c.call in expression]
            truly = f"(({condition}) is true" + "".join(f" and not {s}" for s in said) + ")"
            value = (
                ""
                if code == "missing_required"
                else f" || ', but is \"' || left(cast({expression} as varchar), 200) || '\"'"
            )
            where = f" ({expression} is empty)" if code == "missing_required" and name in required else ""
            label = (text + where).replace("'", "''")
            texts.append(f"case when {truly} then '{label}'{value} end")
            codes.append((truly, code))
        cases = " ".join(f"when {condition} then '{code}'" for condition, code in codes)
        self.con.execute(
            f"insert into silver.rejects by name select '{self.contract.name}' as entity, "
            f"'{mapping.raw_table}' as _raw_table, {_WHERE_FROM}, case {cases} end as reason_code, "
            f"concat_ws('; ', {', '.join(texts)}) as reason, {raw_row(self.con, mapping)} as raw_row "
            f"from {mapping.bronze} as b where {self._bronze_where(mapping, loads)} "
            f"and ({_WHERE_FROM}) in (select ({_WHERE_FROM}) from _failed)"
        )

    def _reject_gathered(self, mapping: CompiledMapping, stage: str, loads: str) -> None:
        """Groups whose result breaks a rule: every line of such a group is rejected."""
        rules = mapping.late_rules()
        if not rules or not mapping.group_by:
            if rules:
                self._reject_windowed(mapping, stage, loads, rules)
            return
        cases = " ".join(f"when {r[3]} then '{r[1]}'" for r in rules)
        reasons = ", ".join(
            # A value that is missing cannot be quoted.
            f"case when {condition} then '{text.replace(chr(39), chr(39) * 2)}' || "
            f"coalesce(', but is \"' || {quote(name)} || '\"', '') end"
            for name, _, text, condition in rules
        )
        key = [k for k in self.contract.key if mapping.expressions[k] in mapping.group_by]
        file = ["_source_file"] if mapping.by_file else []
        # Names of their own: a mapping may well read raw columns that are called as the canonical ones are.
        names = ", ".join(f"{quote(k)} as _key{n}" for n, k in enumerate(key))
        same = " and ".join(f"({mapping.expressions[k]}) = g._key{n}" for n, k in enumerate(key))
        same += "".join(f" and b.{f} = g._file" for f in file)
        broken = " or ".join(r[3] for r in rules)
        self.con.execute(
            f"insert into silver.rejects by name select '{self.contract.name}' as entity, "
            f"'{mapping.raw_table}' as _raw_table, b._load_date, b._source_file, b._source_row, "
            f"g._code as reason_code, g._reason as reason, {raw_row(self.con, mapping)} as raw_row "
            f"from {mapping.bronze} as b join (select {', '.join([names, *(f'{f} as _file' for f in file)])}, _load_date as _day, case {cases} end as _code, "
            f"concat_ws('; ', {reasons}) as _reason from {stage} where {broken}) as g on {same} and b._load_date = g._day "
            f"where ({_qualified('b')}) not in (select ({_WHERE_FROM}) from _failed)"
        )
        self.con.execute(f"delete from {stage} where {broken}")

    def _reject_windowed(
        self, mapping: CompiledMapping, stage: str, loads: str, rules: list[tuple[str, str, str, str]]
    ) -> None:
        broken = " or ".join(r[3] for r in rules)
        cases = " ".join(f"when {r[3]} then '{r[1]}'" for r in rules)
        reasons = ", ".join(f"case when {r[3]} then '{r[2].replace(chr(39), chr(39) * 2)}' end" for r in rules)
        self.con.execute(
            f"insert into silver.rejects by name select '{self.contract.name}' as entity, "
            f"'{mapping.raw_table}' as _raw_table, b._load_date, b._source_file, b._source_row, "
            f"s._code as reason_code, s._reason as reason, {raw_row(self.con, mapping)} as raw_row "
            f"from {mapping.bronze} as b join (select {_WHERE_FROM}, case {cases} end as _code, "
            f"concat_ws('; ', {reasons}) as _reason from {stage} where {broken}) as s using ({_WHERE_FROM})"
        )
        self.con.execute(f"delete from {stage} where {broken}")

    def _set_aside(self, mapping: CompiledMapping, stage: str, loads: str) -> None:
        """Takes loads of which too much is rejected out of the stage: what still converts in a file with shifted
        columns is not to be trusted either. Decided by each load alone, so the order of loads makes no difference."""
        con, where = self.con, self._bronze_where(mapping, loads)
        mine = f"entity = '{self.contract.name}' and _raw_table = '{mapping.raw_table}' and {loads}"
        con.execute(
            f"create or replace temp table _aside as select r._load_date, r.rejected, b.landed "
            f"from (select _load_date, count(*) as rejected from silver.rejects where {mine} "
            f"group by _load_date having count(*) >= {_FEWEST}) as r "
            f"join (select _load_date, count(*) as landed from {mapping.bronze} where {where} group by _load_date) as b "
            f"using (_load_date) where r.rejected > {mapping.max_rejected_share} * b.landed"
        )
        if not self._any("_aside"):
            return
        days = "_load_date in (select _load_date from _aside)"
        reason = (
            "format('the load is set aside: {:,} of its {:,} rows were rejected, more than the "
            f"{mapping.max_rejected_share:.0%} that are tolerated', a.rejected, a.landed)"
        )
        con.execute(
            f"insert into silver.rejects by name select '{self.contract.name}' as entity, "
            f"'{mapping.raw_table}' as _raw_table, b._load_date, b._source_file, b._source_row, "
            f"'{SET_ASIDE}' as reason_code, {reason} as reason, {raw_row(self.con, mapping)} as raw_row "
            f"from (select * from {mapping.bronze} where {where}) as b join _aside as a using (_load_date) "
            f"where ({_qualified('b')}) not in (select ({_WHERE_FROM}) from silver.rejects where {mine})"
        )
        con.execute(f"delete from {stage} where _raw_table = '{mapping.raw_table}' and {days}")

    def _bronze_where(self, mapping: CompiledMapping, loads: str) -> str:
        return f"{loads} and ({mapping.where})" if mapping.where else loads

    # -- which version ---------------------------------------------------------------------------------------

    def _count(self, mapping: CompiledMapping, stage: str, loads: str, delivered: dict[date, str]) -> None:
        """Writes the ledger: per load, what landed, what was accepted and what was rejected, each counted."""
        rows = "sum(_rows)" if stage == "_stage" else "count(*)"
        mine = f"_raw_table = '{mapping.raw_table}'"
        accepted = self._by_day(f"cast({rows} as bigint)", stage, mine)
        landed = self._by_day("count(*)", mapping.bronze, loads)
        rejected = self._by_day("count(*)", "silver.rejects", f"entity = '{self.contract.name}' and {mine}")
        contradicting = self._contradicting(mapping, stage)
        overlapping = overlapping_rows(self.con, mapping, loads)
        left_out = left_out_rows(self.con, mapping, loads, without="_failed")
        ledger = []
        for day, fingerprint in sorted(delivered.items()):
            count = LoadCount(landed.get(day, 0), accepted.get(day, 0), rejected.get(day, 0))
            self.loads[(mapping.raw_table, day)] = count
            if mapping.delivery == "full" and count.accepted == 0:
                self.problems.append(
                    f"the full delivery of {mapping.raw_table} on {day} has no usable row "
                    f"({count.landed} landed, {count.rejected} rejected); the delivery before it stays in force"
                )
            ledger.append(
                (self.contract.name, mapping.raw_table, day, fingerprint, self.code_version,
                 count.landed, count.accepted, count.rejected, contradicting.get(day, 0), overlapping.get(day, 0),
                 left_out.get(day, 0))
            )  # fmt: skip
        self._enter(ledger)

    def _by_day(self, count: str, table: str, condition: str) -> dict[date, int]:
        query = f"select _load_date, {count} from {table} where {condition} group by _load_date"
        return dict(self.con.execute(query).fetchall())

    def _enter(self, ledger: Sequence[tuple[object, ...]]) -> None:
        if ledger:
            # One statement for all days: a backfill of years has hundreds of them.
            self.con.execute(
                "insert into silver.loads (entity, _raw_table, _load_date, fingerprint, code_version, rows_landed, "
                "rows_accepted, rows_rejected, rows_contradicting, rows_overlapping, rows_left_out) "
                "select unnest(?::varchar[]), unnest(?::varchar[]), "
                "unnest(?::date[]), unnest(?::varchar[]), unnest(?::varchar[]), "
                + ", ".join(["unnest(?::bigint[])"] * 6),
                [list(column) for column in zip(*ledger, strict=True)],
            )

    def _contradicting(self, mapping: CompiledMapping, stage: str) -> dict[date, int]:
        """Load day → accepted rows too many, because their key stands in the load with other values, too."""
        mine = f"from {stage} where _raw_table = '{mapping.raw_table}'"
        # Equal values have equal hashes, so equal counts prove that there is nothing to look for.
        row = self.con.execute(f"select count(*), count(distinct hash({self.key}, _load_date)) {mine}").fetchone()
        assert row is not None
        if row[0] == row[1]:
            return {}
        values = ", ".join(quote(c) for c in self.contract.columns if c not in mapping.gathered)
        return dict(
            self.con.execute(
                f"select _load_date, count(distinct hash({values})) - count(distinct hash({self.key})) as more {mine} "
                "group by _load_date having more > 0"
            ).fetchall()
        )

    def _newest_accepted(self, mapping: CompiledMapping) -> date | None:
        row = self.con.execute(
            "select max(_load_date) from silver.loads where entity = ? and _raw_table = ? and rows_accepted > 0",
            [self.contract.name, mapping.raw_table],
        ).fetchone()
        return row[0] if row else None

    def _only_newest_delivery(self, mapping: CompiledMapping, stage: str, newest: date | None) -> None:
        """Of a full table, the newest usable delivery decides which keys exist; a key whose row was rejected there
        is not lacking: its version before stays."""
        if newest is None:
            return
        rescued = self._rejected_keys(mapping, newest)
        keep = f"_load_date = {_day(newest)}"
        if rescued:
            keep += f" or (_load_date < {_day(newest)} and {_tuple(self.contract.key)} in (select {_tuple(self.contract.key)} from _rejected_keys))"
        self.con.execute(f"delete from {stage} where not ({keep})")

    def _rejected_keys(self, mapping: CompiledMapping, day: date) -> bool:
        """Fills `_rejected_keys` with the readable keys of the rows rejected on `day`; whether there are any."""
        if any(k in mapping.late for k in self.contract.key):
            return False
        keys = ", ".join(f"{mapping.expressions[k]} as {quote(k)}" for k in self.contract.key)
        # A row may be rejected for its missing key: a null among the keys would make every `in` unknown.
        readable = " and ".join(f"{quote(k)} is not null" for k in self.contract.key)
        self.con.execute(
            f"create or replace temp table _rejected_keys as select * from (select distinct {keys} from {mapping.bronze} "
            f"where _load_date = {_day(day)} and ({_WHERE_FROM}) in (select ({_WHERE_FROM}) from silver.rejects "
            f"where entity = '{self.contract.name}' and _raw_table = '{mapping.raw_table}')) as keys where {readable}"
        )
        row = self.con.execute("select count(*) from _rejected_keys").fetchone()
        return bool(row and row[0])

    def _only_newest_versions(self, mapping: CompiledMapping, stage: str) -> None:
        """Leaves one row per key: of each version key (the key, or the unit) the newest load, in it the last row.

        Of units that are whole within a file, the load's last file alone counts, of those whole within a record the last
        record; one that brings no rows counts, too.
        """
        con, mine = self.con, f"_raw_table = '{mapping.raw_table}'"
        if mapping.by_record and self._any(LEDGER):
            con.execute(f"delete from {stage} as s where {mentioned_later(mapping, 's')}")
        version, key = mapping.version_key, self.contract.key
        vk = ", ".join(quote(c) for c in version)
        load = "_load_date, _source_file" if mapping.by_file else "_load_date"
        load = "_load_date, _source_file, _parent_row" if mapping.by_record else load
        # Equal values have equal hashes, so equal counts prove that there is nothing to resolve.
        row = con.execute(
            f"select count(*), count(distinct hash({self.key})), count(distinct hash({vk})), "
            + (f"count(distinct hash({vk}, {load}))" if version != key else "count(distinct hash(_load_date))")
            + f" from {stage} where {mine}"
        ).fetchone()
        assert row is not None
        total, keys, versions, version_loads = row
        if keys == total and (version == key or versions == version_loads):
            return
        newest_load = f"max(row({load})) over (partition by {vk})" if version != key else f"row({load})"
        last = (
            f"row_number() over (partition by {self.key} order by _load_date desc, _source_file desc, _source_row desc)"
        )
        con.execute(
            f"create or replace temp table _kept as select _rowid from (select rowid as _rowid, row({load}) as _load, "
            f"{newest_load} as _newest, {last} as _place from {stage} where {mine}) as ranked "
            "where _place = 1 and _load = _newest"
        )
        self._leave_kept(mapping, stage, gone=(total - keys) / total)

    def _leave_kept(self, mapping: CompiledMapping, stage: str, *, gone: float) -> None:
        """Leaves the rows of a mapping that `_kept` names; `gone` is about which part of all goes."""
        con = self.con
        if stage != self.table and gone > _COPY_ABOVE:
            con.execute(
                f"create or replace temp table _copy as select * from {stage} where rowid in (select _rowid from _kept)"
            )
            con.execute(f"create or replace temp table {stage} as select * from _copy")
            con.execute("drop table _copy")
        else:
            mine = f"_raw_table = '{mapping.raw_table}'"
            con.execute(f"delete from {stage} where {mine} and rowid not in (select _rowid from _kept)")
        con.execute("drop table _kept")

    def _stage_affected(self, mapping: CompiledMapping, stage: str, loads: str) -> None:
        """The table's rows that these loads can change: those that came from them, and those they bring anew."""
        vk = _tuple(mapping.version_key)
        mine = f"select rowid as _rowid, * from {self.table} where _raw_table = '{mapping.raw_table}'"
        # Two looks rather than one with `or`: each skips what cannot match, by load day and by the range of keys.
        looks = [loads, f"not ({loads}) and {vk} in (select {vk} from {stage})"]
        if mentioned := self._mentioned(mapping):
            looks.append(f"not ({loads}) and {vk} not in (select {vk} from {stage}) and {mentioned}")
        self.con.execute(
            f"create or replace temp table _affected as {' union all '.join(f'{mine} and {look}' for look in looks)}"
        )

    def _mentioned(self, mapping: CompiledMapping) -> str:
        """Condition: the unit of a mapped row is one that the loads mention, or mentioned, without rows; none if there are no such."""
        if not (mapping.by_record and self._any(MENTIONED)):
            return ""
        return f"{unit_of(mapping)} in (select unit from {MENTIONED})"

    def _bring_back(self, mapping: CompiledMapping, stage: str, loads: str) -> None:
        """Keys whose row came from these loads but that these loads no longer (or only in an older version) deliver
        are worked out again from the rest of bronze: the version before comes back, or the row goes."""
        con, vk = self.con, mapping.version_key
        same = " and ".join(f"s.{quote(c)} = old.{quote(c)}" for c in vk)
        names = ", ".join(f"old.{quote(c)}" for c in vk)
        con.execute(
            f"create or replace temp table _again as select distinct {names} from _affected as old "
            f"where old.{loads} and not exists "
            f"(select 1 from {stage} as s where {same} and s._load_date >= old._load_date)"
        )
        mentioned = self._mentioned(mapping)
        if not mentioned and not self._any("_again"):
            return
        rest = f"not ({loads})"
        # Rejected rows of other loads are rejected still: they have no say in which version is the newest.
        rejected = (
            f"(select {_WHERE_FROM} from silver.rejects where entity = '{self.contract.name}' "
            f"and _raw_table = '{mapping.raw_table}')"
        )
        con.execute(f"create or replace temp table _still_rejected as {rejected}")
        # Made anew rather than inserted into: of large scans inserted into a table that was empty before, DuckDB 2.0.0
        # shows no row ids for the rest of the transaction, and the newest version is found by row id.
        con.execute(
            f"create or replace temp table _both as select * from {stage} union all "
            f"select * from ({mapping.rows(rest, without='_still_rejected')}) as r "
            f"where {_tuple(vk)} in (select {_tuple(vk)} from _again){f' or {mentioned}' if mentioned else ''}"
        )
        con.execute(f"create or replace temp table {stage} as select * from _both")
        con.execute("drop table _both")
        self._only_newest_versions(mapping, stage)

    def _leave_newer(self, mapping: CompiledMapping, stage: str, loads: str) -> None:
        """Takes out of the stage what the table has from a newer load, and out of the affected rows what stays."""
        con = self.con
        same = " and ".join(f"s.{quote(c)} = old.{quote(c)}" for c in mapping.version_key)
        con.execute(
            f"delete from {stage} as s where exists (select 1 from _affected as old "
            f"where {same} and old._load_date > s._load_date and not old.{loads})"
        )
        gone = f" and not {mentioned_later(mapping, 'old', within=loads)}" if mapping.by_record else ""
        con.execute(
            f"delete from _affected as old where not old.{loads} and not exists (select 1 from {stage} as s where {same}){gone}"
        )

    def _stage_others_named(self, mapping: CompiledMapping, stage: str) -> None:
        """Stages the rows that stay those of other loads, but whose gathered values these loads may change."""
        con, key = self.con, _tuple(self.contract.key)
        con.execute(
            f"create or replace temp table _named as select rowid as _rowid, * from {self.table} "
            f"where _raw_table = '{mapping.raw_table}' and {key} in (select {key} from _gathered_keys) "
            "and rowid not in (select _rowid from _affected)"
        )
        for table in ("_affected", stage):
            con.execute(
                f"create or replace temp table _both as select * from {table} union all by name "
                f"select {'_rowid, ' if table == '_affected' else ''}{self.columns} from _named"
            )
            con.execute(f"create or replace temp table {table} as select * from _both")
        con.execute("drop table _both; drop table _named; drop table _gathered_keys")

    def _stage_delivery(self, mapping: CompiledMapping, stage: str) -> None:
        """Full tables: stages the rows of the newest usable delivery; all rows of the raw table are affected."""
        con = self.con
        newest = self._newest_accepted(mapping)
        con.execute(
            f"create or replace temp table _affected as select rowid as _rowid, * from {self.table} "
            f"where _raw_table = '{mapping.raw_table}'"
        )
        con.execute(
            "create or replace temp table _still_rejected as select _load_date, _source_file, _source_row "
            f"from silver.rejects where entity = '{self.contract.name}' and _raw_table = '{mapping.raw_table}'"
        )
        rescued = newest is not None and self._rejected_keys(mapping, newest)
        loads = "false" if newest is None else f"_load_date {'<=' if rescued else '='} {_day(newest)}"
        self._create_stage(mapping.rows(loads, without="_still_rejected"))
        self._only_newest_delivery(mapping, stage, newest)
        self._only_newest_versions(mapping, stage)

    def _keys_are_disjoint(self, mapping: CompiledMapping, stage: str) -> None:
        """Several raw tables may fill an entity only with keys of their own: else the later load would win."""
        if len(self.mappings) == 1:
            return
        same = " and ".join(f"s.{quote(c)} = old.{quote(c)}" for c in self.contract.key)
        row = self.con.execute(
            f"select old._raw_table, {', '.join(f's.{quote(c)}' for c in self.contract.key)} from {stage} as s "
            f"join {self.table} as old on {same} where old._raw_table <> '{mapping.raw_table}' limit 1"
        ).fetchone()
        if row:
            raise DefinitionError(
                f"{mapping.raw_table} and {row[0]} both deliver the key {', '.join(map(str, row[1:]))} "
                f"of {self.contract.table}",
                where=mapping.mapping.path,
                fix="give the keys of each system a prefix of its own, e.g. 'crm-' || as_text(id)",
            )


def lagging_days(con: DuckDBPyConnection) -> set[date]:
    """Loads that bronze holds in another state than the entities took over: a run ended between the two."""
    if not (table_exists(con, "bronze", "files") and table_exists(con, "silver", "loads")):
        return set()
    rows = con.execute(
        f"select distinct coalesce(b._load_date, s._load_date) from ({_DELIVERED} group by raw_table, _load_date) as b "
        "full join silver.loads as s on s._raw_table = b.raw_table and s._load_date = b._load_date "
        "where b.fingerprint is distinct from s.fingerprint and b.raw_table in (select _raw_table from silver.loads)"
    ).fetchall()
    return {day for (day,) in rows}


def raw_row(con: DuckDBPyConnection, mapping: CompiledMapping) -> str:
    """SQL text: the bronze row `b` as JSON, as `silver.rejects` shows it.

    Columns that the mapping reads come first, even if they are empty; of the others, those with a value, by name: which
    of them bronze has, and where, depends on what else was delivered.
    """
    place = {name.lower(): number for number, name in reversed(list(enumerate(mapping.raw_columns)))}
    parts = []
    for name in sorted(column_types(con, mapping.bronze), key=lambda n: (place.get(n.lower(), len(place)), n.lower())):
        if name in ("_load_date", "_source_file", "_source_row", "_row_hash"):
            continue
        value = f"cast(to_json(b.{quote(name)}) as varchar)"
        if name.lower() in place:
            value = f"coalesce({value}, 'null')"
        label = json.dumps(name, ensure_ascii=False).replace("'", "''")
        parts.append(f"'{label}:' || {value}")
    return f"'{{' || concat_ws(',', {', '.join(parts)}) || '}}'"


def fill_shop(con: DuckDBPyConnection, contract: Contract, source: Source) -> Written:
    """Writes `silver.shop`: what source.yml says about the shop, as one row."""
    file = source.file
    select = (
        f"select '{file.name}' as source, '{file.currency}' as currency, '{file.time_zone}' as time_zone, "
        f"date '{file.start_date}' as start_date, cast({file.churn_window_days} as integer) as churn_window_days, "
        f"cast({file.min_pair_orders} as integer) as min_pair_orders"
    )
    return replace_table(con, contract, select)


def fill_brand_rules(con: DuckDBPyConnection, contract: Contract, source: Source) -> Written:
    """Writes `silver.brand_rules`: the words by which source.yml recognises brands, in their order."""
    words = [(rule.brand, word) for rule in source.file.brand_rules for word in rule.names]
    rows = ", ".join(f"({n}, {_text(brand)}, {_text(word)})" for n, (brand, word) in enumerate(words, start=1))
    select = (
        "select cast(position as integer) as position, cast(brand as varchar) as brand, cast(word as varchar) as word "
        f"from (values {rows or '(null, null, null)'}) as rules (position, brand, word) where position is not null"
    )
    return replace_table(con, contract, select)


def taken_over(con: DuckDBPyConnection, entity: str) -> dict[tuple[str, date], tuple[str, str]]:
    """(raw table, load day) → fingerprint and code version of what an entity or a history has taken over."""
    rows = con.execute(
        "select _raw_table, _load_date, fingerprint, code_version from silver.loads where entity = ?", [entity]
    ).fetchall()
    return {(raw, day): (fingerprint, version) for raw, day, fingerprint, version in rows}


def delivered_days(con: DuckDBPyConnection, raw_table: str) -> dict[date, str]:
    """Load day → fingerprint of its files, from what bronze has loaded of a raw table."""
    rows = con.execute(f"{_DELIVERED} where raw_table = ? group by raw_table, _load_date", [raw_table]).fetchall()
    return {day: fingerprint for _, day, fingerprint in rows}


def code_version(contract: Contract, mappings: Sequence[CompiledMapping]) -> str:
    """Hash of all that decides an entity's rows besides the data: mappings, contract and macros."""
    parts = [contract.text, macros(), _RULES]
    for mapping in mappings:
        parts += [mapping.made_of] if mapping.made_of else []
        parts += [mapping.mapping.sql, mapping.delivery, ",".join(mapping.version_key), str(mapping.max_rejected_share)]
        parts += [f"{column} by {by}" for column, by in mapping.gathered.items()]
        parts += [f"{name} is {sql}" for name, sql in mapping.named.items()]
        parts += [f"times of {mapping.time_zone}"] if mapping.time_zone else []
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def loads_set_aside(con: DuckDBPyConnection, entity: str) -> list[str]:
    """What there is to say of the loads of which an entity took over nothing, because too much was rejected."""
    # Where every single row was rejected for a reason of its own, none is left to say that the load was set aside.
    rows = con.execute(
        "select _raw_table, _load_date, any_value(reason) from silver.rejects "
        "where entity = $entity and reason_code = $code group by _raw_table, _load_date "
        "union all select l._raw_table, l._load_date, format('all of the load''s {:,} rows were rejected', l.rows_landed) "
        "from silver.loads as l where l.entity = $entity and l.rows_accepted = 0 "
        f"and l.rows_rejected = l.rows_landed and l.rows_landed >= {_FEWEST} and not exists (select 1 from silver.rejects "
        "as r where r.entity = l.entity and r._raw_table = l._raw_table and r._load_date = l._load_date "
        "and r.reason_code = $code) order by all",
        {"entity": entity, "code": SET_ASIDE},
    ).fetchall()
    return [f"{raw} of {day}: {reason}{_most_often(con, entity, raw, day)}" for raw, day, reason in rows]


def _most_often(con: DuckDBPyConnection, entity: str, raw_table: str, day: date) -> str:
    """Why most of a load's rows were rejected, to stand behind what is said of the load; without the rows' own values."""
    found = con.execute(
        "select regexp_replace(reason, '\"[^\"]*\"', '…', 'g') as why from silver.rejects where entity = ? and _raw_table = ? "
        "and _load_date = ? and reason_code <> ? group by why order by count(*) desc, why limit 1",
        [entity, raw_table, day, SET_ASIDE],
    ).fetchall()
    return f"; most often: {found[0][0]}" if found else ""


def contradicting_loads(con: DuckDBPyConnection, entity: str) -> list[str]:
    """What there is to say of loads that deliver more than a few keys twice with different values, the newest first.

    A record that changes on the day on which it is made may well come twice: a few are no finding.
    """
    rows = con.execute(
        "select _raw_table, _load_date, rows_contradicting from silver.loads where entity = ? "
        f"and rows_contradicting >= {_FEWEST_CONTRADICTING} and rows_contradicting > {_FEW_CONTRADICTING} * rows_accepted "
        "order by _load_date desc, _raw_table",
        [entity],
    ).fetchall()
    return [f"{raw} of {day}: {count:,} rows have the key of another one, but other values" for raw, day, count in rows]


def shrunk_deliveries(con: DuckDBPyConnection, entity: str, raw_tables: Sequence[str]) -> list[str]:
    """What there is to say of full deliveries in force that have less than half of the rows of the one before."""
    rows = con.execute(
        "select _raw_table, _load_date, rows_accepted, before from (select _raw_table, _load_date, rows_accepted, "
        "lag(rows_accepted) over deliveries as before, lead(_load_date) over deliveries as next from silver.loads "
        "where entity = ? and _raw_table in (select unnest(?)) and rows_accepted > 0 "
        "window deliveries as (partition by _raw_table order by _load_date)) as l "
        "where next is null and 2 * rows_accepted < before order by all",
        [entity, list(raw_tables)],
    ).fetchall()
    return [
        f"the full delivery of {raw} on {day} has {now:,} rows, the one before {before:,}"
        for raw, day, now, before in rows
    ]


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _day(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _tuple(columns: Sequence[str]) -> str:
    return "(" + ", ".join(quote(c) for c in columns) + ")"


def _qualified(alias: str) -> str:
    return ", ".join(f"{alias}.{c.strip()}" for c in _WHERE_FROM.split(","))
