"""Filling an entity's history: every version its loads delivered, with the days on which it held.

A history is a function of the accepted rows in bronze: on any day it shows what silver would show with the loads up
to that day. So it does not depend on the order of loads, and a late, corrected or removed drop rewrites exactly the
keys it touches. docs/history.md has the rules. `entities.py` says which rows are accepted and
what became of them; nothing here rejects a row or reads a file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import PROVENANCE, Contract
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.errors import DefinitionError, InputError
from ecommerce_platform.silver import entities as silver
from ecommerce_platform.silver.entities import EntityLoad, LoadCount, delivered_days, taken_over
from ecommerce_platform.silver.gathered import fill_in_as_of, history_follows, named_in
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.contract_checks import CheckResult, check_rows, check_table
from ecommerce_platform.warehouse.incremental import exchange
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import apply_difference, count_rows, ensure_table, find_difference

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROW = "_load_date, _source_file, _source_row"
#: Part of `code_version`: another number rebuilds every history.
_RULES = "1"
_SCRATCH = (
    "_deliveries",
    "_repeated",
    "_rejected",
    "_mentioned",
    "_states",
    "_several",
    "_touched",
    "_still",
    "_versions",
)


def load_history(
    con: DuckDBPyConnection,
    catalog: Catalog,
    contract: Contract,
    mappings: Sequence[CompiledMapping],
    *,
    again: Collection[date] = (),
    full_checks: bool = False,
) -> EntityLoad:
    """Takes over into a history what its entity has taken over, in one transaction. The entity is loaded first.

    Args:
        con: a connection to the warehouse.
        catalog: for the entity's contract and the ledger of loads.
        contract: the history's contract.
        mappings: the mappings that fill the entity; none leaves the history empty.
        again: loads to take over again though nothing about them has changed.
        full_checks: checks the whole table even if only some rows were written.

    Taken over are the loads that the entity has taken over in another form than the history. Loads that bronze holds
    but the entity has not taken over count as not there yet.

    Raises:
        DefinitionError: a mapping numbers rows or replaces whole units, so its keys have no versions.
        InputError: the entity was filled by other mappings than today's.
        BlockedError: a blocking check failed; everything stays as it was.
    """
    check_mappings(contract, mappings)
    run = _HistoryLoader(con, catalog, contract, mappings)
    with transaction(con):
        return run.load(set(again), full_checks)


def check_mappings(contract: Contract, mappings: Sequence[CompiledMapping]) -> None:
    """Holds an entity's mappings against what a history can follow: keys that live by themselves.

    Raises:
        DefinitionError: the first mapping that numbers rows within a unit or is replaced unit by unit.
    """
    for mapping in mappings:
        if mapping.windowed or mapping.version_key != mapping.contract.key:
            raise DefinitionError(
                f"{mapping.contract.name} is replaced unit by unit here, so its rows have no versions to keep in "
                f"{contract.table}",
                where=mapping.mapping.path,
                fix=f"remove the unit and the numbering from the mapping, or {contract.path.name}",
            )


def history_code_version(contract: Contract, entity: Contract, mappings: Sequence[CompiledMapping]) -> str:
    """Hash of all that decides a history's rows besides the data: the entity's definition, its own and the rules."""
    parts = [silver.code_version(entity, mappings), contract.text, _RULES]
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


class _HistoryLoader:
    """One call of `load_history`.

    The work is done on `_states`: one row per key and day on which a load says something about the key, with the
    values that hold from `_day` on. `_next` is the full delivery after that day (null for deltas and the newest
    one): a key that is not among its rows ends there. `_version` is set on versions that the history has already.
    """

    def __init__(
        self, con: DuckDBPyConnection, catalog: Catalog, contract: Contract, mappings: Sequence[CompiledMapping]
    ) -> None:
        self.con, self.contract, self.mappings = con, contract, mappings
        self.ledger = catalog.contract("silver.loads")
        self.rejects = catalog.contract("silver.rejects")
        self.entity = catalog.contract(f"silver.{contract.history_of}")
        self.table = f"{contract.layer}.{quote(contract.name)}"
        self.key = [quote(k) for k in self.entity.key]
        self.others = [quote(c) for c in self.entity.columns if c not in self.entity.key]
        self.carried = [quote(c) for c in (*self.entity.columns, *PROVENANCE)]
        self.code_version = history_code_version(contract, self.entity, mappings)
        self.known: dict[tuple[str, date], str] = {}
        self.inserted = self.updated = self.deleted = 0

    # -- which loads -----------------------------------------------------------------------------------------

    def load(self, again: set[date], full_checks: bool) -> EntityLoad:
        con, name = self.con, self.contract.name
        for contract in (self.rejects, self.ledger):
            ensure_table(con, contract)
        self.known = self._known()
        taken = taken_over(con, name)
        pending, rebuild = self._pending(taken, again)
        loads = self._enter(self.known, pending, rebuild)
        keys = [f"{quote(k)} {self.entity.columns[k].type}" for k in self.entity.key]
        con.execute(f"create or replace temp table _written ({', '.join(keys)})")
        if rebuild:
            self._rebuild()
        else:
            self._catch_up(taken, pending)
        for mapping in self.mappings:
            if mapping.gathered:
                history_follows(con, mapping)
        for scratch in _SCRATCH:
            con.execute(f"drop table if exists {scratch}")
        results = self._check(rebuild or full_checks, any(pending.values()))
        if rebuild or self.inserted or self.updated or self.deleted:
            record_change(con, self.contract.table, self.code_version)
        if any(pending.values()):
            record_change(con, "silver.loads")
        con.execute("drop table _written")
        return EntityLoad(
            rows=count_rows(con, self.contract),
            inserted=self.inserted,
            updated=self.updated,
            deleted=self.deleted,
            loads=loads,
            checks=tuple(results),
        )

    def _pending(
        self, taken: Mapping[tuple[str, date], tuple[str, str]], again: set[date]
    ) -> tuple[dict[str, set[date]], bool]:
        """The days of each raw table that are to be taken over; whether the table is made anew from all days."""
        known = self.known
        changed = any(version != self.code_version for _, version in taken.values())
        pending: dict[str, set[date]] = {}
        everything = not {raw for raw, _ in taken} - {m.raw_table for m in self.mappings}
        rebuild = changed or not everything or not table_exists(self.con, self.contract.layer, self.contract.name)
        for raw in (m.raw_table for m in self.mappings):
            both = {d for r, d in taken if r == raw} | {d for r, d in known if r == raw}
            differs = {d for d in both if taken.get((raw, d), ("",))[0] != known.get((raw, d), "")}
            pending[raw] = differs | (both & again)
            everything = everything and both <= pending[raw]
        if rebuild or everything:
            return {raw: {d for r, d in (*taken, *known) if r == raw} for raw in pending}, True
        return pending, False

    def _catch_up(self, taken: Mapping[tuple[str, date], object], pending: Mapping[str, set[date]]) -> None:
        for mapping in self.mappings:
            mine, before = pending[mapping.raw_table], {d for r, d in taken if r == mapping.raw_table}
            if not mine:
                continue
            if not mine & before and min(mine) > max(before, default=date.min):
                self._append(mapping, mine)
            else:
                self._rewrite(mapping, mine)

    def _check(self, whole: bool, something: bool) -> list[CheckResult]:
        """The table's checks: of all rows, of the keys that were written, or none."""
        con = self.con
        if whole:
            return check_table(con, self.contract)
        if not something:
            return []
        con.execute(
            f"create or replace temp table _checked as select * from {self.table} "
            f"where ({self._key()}) in (select ({self._key()}) from _written)"
        )
        instead = {self.contract.table: "_checked"}
        results = check_rows(con, self.contract, "_checked", lambda c: exchange(c.sql, instead))
        con.execute("drop table _checked")
        return results

    def _known(self) -> dict[tuple[str, date], str]:
        """(raw table, load day) → fingerprint of what the entity has taken over and bronze still holds in that form."""
        found = {}
        today = silver.code_version(self.entity, self.mappings)
        entity = taken_over(self.con, self.entity.name)
        for mapping in self.mappings:
            raw = mapping.raw_table
            for day, fingerprint in delivered_days(self.con, raw).items():
                taken, version = entity.get((raw, day), ("", today))
                if version != today:
                    raise InputError(
                        f"{self.entity.table} was filled by other mappings than today's",
                        where=self.contract.table,
                        fix=f"build {self.entity.table} first",
                    )
                if taken == fingerprint:
                    found[(raw, day)] = fingerprint
        return found

    def _enter(
        self, known: dict[tuple[str, date], str], pending: dict[str, set[date]], rebuild: bool
    ) -> dict[tuple[str, date], LoadCount]:
        """Makes the history's entries in the ledger what they are after this load; the counts are the entity's."""
        con, name = self.con, self.contract.name
        if rebuild:
            con.execute("delete from silver.loads where entity = ?", [name])
        loads: dict[tuple[str, date], LoadCount] = {}
        for raw, days in pending.items():
            if not days:
                continue
            there = sorted(d for d in days if (raw, d) in known)
            if not rebuild:
                con.execute(
                    f"delete from silver.loads where entity = ? and _raw_table = ? and {_in_days(days)}", [name, raw]
                )
            if there:
                rows = con.execute(
                    "insert into silver.loads by name select ? as entity, _raw_table, _load_date, fingerprint, "
                    "? as code_version, rows_landed, rows_accepted, rows_rejected from silver.loads "
                    f"where entity = ? and _raw_table = ? and {_in_days(there)} "
                    "returning _load_date, rows_landed, rows_accepted, rows_rejected",
                    [name, self.code_version, self.entity.name, raw],
                ).fetchall()
                loads |= {(raw, day): LoadCount(*counts) for day, *counts in rows}
        return loads

    def _says(self, mapping: CompiledMapping, among: Collection[date] | None = None) -> list[date]:
        """The loads that count: those taken over, in the form in which bronze and the entity have them now. A full
        delivery without a usable row says nothing."""
        rows = self.con.execute(
            "select _load_date, fingerprint, rows_accepted from silver.loads where entity = ? and _raw_table = ? "
            "order by 1",
            [self.contract.name, mapping.raw_table],
        ).fetchall()
        return [
            day
            for day, fingerprint, accepted in rows
            if self.known.get((mapping.raw_table, day)) == fingerprint
            and (accepted or mapping.delivery != "full")
            and (among is None or day in among)
        ]

    # -- taking loads over -----------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        if table_exists(self.con, self.contract.layer, self.contract.name):
            self.deleted += count_rows(self.con, self.contract)
        self.con.execute(create_table_sql(self.contract, or_replace=True))
        for mapping in self.mappings:
            if days := self._says(mapping):
                self._deliveries(mapping, days)
                among = self._insert_single(mapping, days)
                self._stage(mapping, days, among)
                self._carry_over(mapping, days)
                self._find_several()
                for versions in self._versions_sql():
                    self._insert(versions)
        self.inserted += count_rows(self.con, self.contract)

    def _insert_single(self, mapping: CompiledMapping, days: Sequence[date]) -> str:
        """Writes the keys that come only once straight into the table; the condition over bronze for the others.

        In a table of deltas that is nearly all of it, and there is no room for a second copy of millions of rows.
        """
        if mapping.combines:
            return ""
        key = self._raw_key(mapping)
        self.con.execute(
            f"create or replace temp table _repeated as select hash({key}) as _hash from {mapping.bronze} "
            f"where {_in_days(days)} group by 1 having count(*) > 1"
        )
        following = "(select d._next from _deliveries as d where d._day = r._load_date)"
        following = following if mapping.delivery == "full" else "cast(null as date)"
        single = f"{_in_days(days)} and hash({key}) not in (select _hash from _repeated)"
        self._insert(
            f"select {self._carried('r')}, 1 as version, r._load_date as valid_from, {following} as valid_to, "
            f"{following} is null as is_current from ({mapping.rows(single, without=self._without())}) as r"
        )
        return f" and hash({key}) in (select _hash from _repeated)"

    def _insert(self, versions: str) -> None:
        self.con.execute(f"insert into {self.table} select {self._columns()} from ({versions}) as v")

    def _append(self, mapping: CompiledMapping, pending: set[date]) -> None:
        """Days newer than all before: only the last version of each key can be closed or extended."""
        con, raw, full = self.con, mapping.raw_table, mapping.delivery == "full"
        days = self._says(mapping, pending)
        if not days:
            return
        self._deliveries(mapping, days)
        self._stage(mapping, days)
        mine = f"h._raw_table = '{raw}'"
        odd = full and self._drop_what_goes_on(mapping, days, mine)
        delivered = f"exists (select 1 from _states as s where {self._same('s', 'h')})"
        if full:
            still = f"exists (select 1 from _still as x where {self._same('x', 'h')})"
            wanted = f"not {still} and (h.is_current or {delivered})"
        else:
            wanted = f"h.is_current and {delivered}"
        following = f"coalesce(h.valid_to, {_day(days[0])})" if full else "cast(null as date)"
        con.execute(
            f"create or replace temp table _versions as select {self._carried('h')}, h.valid_from as _day, "
            f"{following} as _next, h.version as _version from {self.table} as h where {mine} and {wanted}"
        )
        con.execute(
            f"insert into _states by name select * from _versions qualify "
            f"row_number() over (partition by {self._key()} order by _version desc) = 1"
        )
        self._find_several()
        con.execute(f"create or replace temp table _versions as {' union all '.join(self._versions_sql())}")
        self.updated += self._changed(
            f"update {self.table} as h set valid_to = v.valid_to, is_current = v.is_current from _versions as v "
            f"where v._is_known and {self._same('v', 'h')} and h.valid_from = v.valid_from "
            "and h.valid_to is distinct from v.valid_to"
        )
        self.inserted += self._changed(
            f"insert into {self.table} select {self._columns()} from _versions where not _is_known"
        )
        con.execute(f"insert into _written select {self._key()} from _versions")
        if odd:
            self._work_out(mapping)

    def _drop_what_goes_on(self, mapping: CompiledMapping, days: Sequence[date], mine: str) -> bool:
        """Of a full delivery: takes from `_states` what merely goes on, and fills `_still` with its keys.

        Whether some keys have to be worked out from bronze: those fill `_touched`.
        """
        con, odd = self.con, False
        con.execute(f"create or replace temp table _still as select {self._key()} from _states where false")
        current = f"(select * from {self.table} as h where {mine} and h.is_current)"
        if self._find_mentioned(mapping, days):
            # What a rejected row leaves in force may have to be looked up in bronze: always, if the key had
            # ended, and if there are several new days. On a single new day a current version just goes on.
            ended = f"where not exists (select 1 from {current} as h where {self._same('h', 'm')})"
            con.execute(
                f"create or replace temp table _touched as select distinct {self._key('m')} from _mentioned as m "
                + (ended if len(days) == 1 else "")
            )
            odd = self._any("_touched")
            con.execute(f"insert into _still select distinct {self._key()} from _mentioned")
        if len(days) == 1:
            con.execute(
                f"insert into _still select {self._key('s')} from _states as s join {current} as h "
                f"on {self._same('h', 's')}" + "".join(f" and h.{c} is not distinct from s.{c}" for c in self.others)
            )
        con.execute(f"delete from _states as s where exists (select 1 from _still as x where {self._same('x', 's')})")
        return odd

    def _rewrite(self, mapping: CompiledMapping, pending: set[date]) -> None:
        """Days before, between or instead of those taken over: the keys they touch are worked out again from bronze.

        A key is touched if a new row has it, if a version began, ended or was delivered on such a day, and, by a full
        delivery, if it had a version in force that the delivery may end.
        """
        con, mine, days = self.con, f"h._raw_table = '{mapping.raw_table}'", self._says(mapping, pending)
        some = sorted(pending)
        at = f"h._load_date {_among(some)} or h.valid_from {_among(some)} or h.valid_to {_among(some)}"
        if mapping.delivery == "full":
            at += "".join(f" or (h.valid_from <= {_day(d)} and (h.valid_to > {_day(d)} or h.is_current))" for d in days)
        selects = [f"select {self._key('h')} from {self.table} as h where {mine} and ({at})"]
        if mapping.gathered:
            selects.append(named_in(mapping, _in_days(some)))
        if days:
            self._deliveries(mapping, days)
            self._stage(mapping, days)
            selects.append(f"select {self._key()} from _states")
            if mapping.delivery == "full" and self._find_mentioned(mapping, days):
                selects.append(f"select {self._key()} from _mentioned")
        con.execute(f"create or replace temp table _touched as {' union '.join(selects)}")
        self._work_out(mapping)

    def _work_out(self, mapping: CompiledMapping) -> None:
        """Makes the history of the keys in `_touched` what bronze says."""
        con, days = self.con, self._says(mapping)
        con.execute(f"insert into _written select {self._key()} from _touched")
        touched = f"exists (select 1 from _touched as t where {self._same('t', 'h')})"
        lost = f"from {self.table} as h where h._raw_table = '{mapping.raw_table}' and {touched}"
        if not days:
            self.deleted += self._changed(f"delete {lost}")
            return
        self._deliveries(mapping, days)
        self._stage(mapping, days, touched=True)
        self._carry_over(mapping, days, touched=True)
        self._find_several()
        con.execute(f"create or replace temp table _versions as {' union all '.join(self._versions_sql())}")
        con.execute(f"create or replace temp table _affected as select h.rowid as _rowid, h.* {lost}")
        difference = find_difference(con, self.contract, "_affected", "_versions")
        apply_difference(con, self.contract, difference, self.code_version, None)
        con.execute("drop table _affected")
        self.inserted += difference.inserted
        self.updated += difference.updated
        self.deleted += difference.deleted

    # -- what the loads say ----------------------------------------------------------------------------------

    def _deliveries(self, mapping: CompiledMapping, days: Sequence[date]) -> None:
        """`_deliveries`: the days, for full deliveries each with the one after it."""
        following = [*days[1:], None] if mapping.delivery == "full" else [None] * len(days)
        self.con.execute(
            "create or replace temp table _deliveries as select unnest(?::date[]) as _day, unnest(?::date[]) as _next",
            [list(days), following],
        )
        self.con.execute(
            f"create or replace temp table _rejected as select {_ROW} from silver.rejects "
            f"where entity = '{self.entity.name}' and _raw_table = '{mapping.raw_table}' and {_in_days(days)}"
        )

    def _stage(self, mapping: CompiledMapping, days: Sequence[date], among: str = "", *, touched: bool = False) -> None:
        """`_states` from the accepted rows of the days: of each key and day the last row."""
        con, loads, after = self.con, _in_days(days) + among, ""
        if touched:
            if any(k in mapping.late for k in self.entity.key):
                after = f" where ({self._key()}) in (select ({self._key()}) from _touched)"
            else:
                loads += f" and ({self._raw_key(mapping)}) in (select ({self._key()}) from _touched)"
        rows = mapping.rows(loads, without=self._without())
        carried = ", ".join(self.carried)
        following = "d._next" if mapping.delivery == "full" else "cast(null as date)"
        join = " join _deliveries as d on d._day = r._load_date" if mapping.delivery == "full" else ""
        con.execute(
            f"create or replace temp table _states as select {self._carried('r')}, r._load_date as _day, "
            f"{following} as _next, cast(null as integer) as _version from ({rows}) as r{join}{after}"
        )
        self._find_several()
        # Equal values have equal hashes, so equal counts prove that no key comes twice in a load.
        row = con.execute(
            f"select count(*), count(distinct hash({self._key()}, _day)) from _states "
            f"where hash({self._key()}) in (select _hash from _several)"
        ).fetchone()
        assert row is not None
        if row[0] != row[1]:
            con.execute(
                f"create or replace temp table _last as select {carried}, _day, _next, _version from _states qualify "
                f"row_number() over (partition by {self._key()}, _day order by _source_file desc, _source_row desc) = 1"
            )
            con.execute("create or replace temp table _states as select * from _last")
            con.execute("drop table _last")
        if mapping.gathered:
            fill_in_as_of(con, mapping, "_states", self._says(mapping))

    def _find_mentioned(self, mapping: CompiledMapping, days: Sequence[date], *, touched: bool = False) -> bool:
        """`_mentioned`: keys that a full delivery has only in rejected rows, so that it does not lack them."""
        if any(k in mapping.late for k in self.entity.key) or not self._any("_rejected"):
            return False
        names = [f"{raw} as {k}" for raw, k in zip(self._raw_keys(mapping), self.key, strict=True)]
        among = f" and ({self._raw_key(mapping)}) in (select ({self._key()}) from _touched)" if touched else ""
        self.con.execute(
            f"create or replace temp table _mentioned as select m.*, d._next from (select distinct {', '.join(names)}, "
            f"_load_date as _day from {mapping.bronze} where {_in_days(days)} "
            f"and ({_ROW}) in (select ({_ROW}) from _rejected){among}) as m join _deliveries as d on d._day = m._day "
            f"where not exists (select 1 from _states as s where {self._same('s', 'm')} and s._day = m._day)"
        )
        return self._any("_mentioned")

    def _carry_over(self, mapping: CompiledMapping, days: Sequence[date], *, touched: bool = False) -> None:
        """Where a full delivery mentions a key only in rejected rows, the last accepted values go on."""
        if mapping.delivery != "full" or not self._find_mentioned(mapping, days, touched=touched):
            return
        self.con.execute(
            f"create or replace temp table _still as select {self._carried('s')}, m._day, m._next, s._version "
            f"from _mentioned as m join _states as s on {self._same('s', 'm')} and s._day < m._day "
            f"qualify row_number() over (partition by {self._key('m')}, m._day order by s._day desc) = 1"
        )
        self.con.execute("insert into _states by name select * from _still")

    # -- from states to versions -----------------------------------------------------------------------------

    def _find_several(self) -> None:
        """`_several`: hashes of the keys with more than one state. The others, usually nearly all, need no sorting."""
        self.con.execute(
            f"create or replace temp table _several as select hash({self._key()}) as _hash from _states "
            "group by 1 having count(*) > 1"
        )

    def _versions_sql(self) -> tuple[str, str]:
        """SELECTs that give the versions of `_states`: those of keys with one state, and those of the others."""
        carried, key = ", ".join(self.carried), self._key()
        one = (
            f"select {carried}, coalesce(_version, 1) as version, _day as valid_from, _next as valid_to, "
            "_next is null as is_current, _version is not null as _is_known from _states "
            f"where hash({key}) not in (select _hash from _several)"
        )
        values = f"row({', '.join(self.others)})" if self.others else "true"
        in_order = f"window w as (partition by {key} order by _day)"
        several = f"""
select {carried}, cast(_number as integer) as version, _day as valid_from, _until as valid_to,
    _until is null as is_current, _version is not null as _is_known
from (
    select *,
        coalesce(_ends, lead(case when _begins then _day else _ends end) over w) as _until,
        coalesce(first_value(_version) over w, 1) - 1 + sum(case when _begins then 1 else 0 end) over w as _number
    from (
        select *,
            lag(_day) over w is null or {values} is distinct from lag({values}) over w
                or coalesce(lag(_next) over w <> _day, false) as _begins,
            case when lead(_day) over w is distinct from _next then _next end as _ends
        from _states
        where hash({key}) in (select _hash from _several)
        {in_order}
    ) as states
    where _begins or _ends is not null
    {in_order}
) as bounds
where _begins"""
        return one, several

    # -- words -----------------------------------------------------------------------------------------------

    def _key(self, alias: str = "") -> str:
        return ", ".join(f"{alias}.{k}" if alias else k for k in self.key)

    def _carried(self, alias: str) -> str:
        return ", ".join(f"{alias}.{c}" for c in self.carried)

    def _columns(self) -> str:
        return ", ".join(quote(c) for c in self.contract.all_columns)

    def _same(self, one: str, other: str) -> str:
        return " and ".join(f"{one}.{k} = {other}.{k}" for k in self.key)

    def _raw_keys(self, mapping: CompiledMapping) -> list[str]:
        return [f"cast({mapping.expressions[k]} as {self.entity.columns[k].type})" for k in self.entity.key]

    def _raw_key(self, mapping: CompiledMapping) -> str:
        return ", ".join(self._raw_keys(mapping))

    def _without(self) -> str | None:
        return "_rejected" if self._any("_rejected") else None

    def _any(self, table: str) -> bool:
        row = self.con.execute(f"select count(*) from {table}").fetchone()
        return bool(row and row[0])

    def _changed(self, statement: str) -> int:
        row = self.con.execute(statement).fetchone()
        return int(row[0]) if row else 0


def _day(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _among(days: Collection[date]) -> str:
    return f"in ({', '.join(_day(d) for d in sorted(days))})"


def _in_days(days: Collection[date]) -> str:
    return f"_load_date {_among(days)}"
