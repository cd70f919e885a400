"""Linked customer records in the warehouse: which pairs, which persons, and who was whom before.

`silver.customer_links` holds the pairs that score above the source's threshold, `silver.customer_clusters` the persons
they make together with the shops' own keys; `silver.customer_identities`, a SELECT, follows both. Each works out again
only what changed records reach, and ends where a build from nothing would. How records are scored and put together is
in `identity.py`; nothing here knows a model.

`silver.identity_changes` is the audit trail, written beside `silver.customer_identities` in the same transaction. It
tells what happened in which order, so it is the one table here that depends on the order of loads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.errors import InputError, PassingError
from ecommerce_platform.ml import artifacts
from ecommerce_platform.ml.cards import card_files
from ecommerce_platform.ml.lifecycle import Place, register
from ecommerce_platform.persons import identity
from ecommerce_platform.warehouse.changes import (
    Log,
    changed_rows,
    own_code,
    record_change,
    record_seen,
    seen_versions,
    unseen,
)
from ecommerce_platform.warehouse.connection import let_go
from ecommerce_platform.warehouse.contract_checks import check_rows, check_table
from ecommerce_platform.warehouse.incremental import AlsoWrite
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.registry import current_version, newest_version
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import (
    WHOLE_ABOVE,
    Written,
    apply_difference,
    as_it_was,
    count_rows,
    find_difference,
    replace_table,
)

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

CUSTOMERS, LINKS, CLUSTERS = "silver.customers", "silver.customer_links", "silver.customer_clusters"
IDENTITIES, CHANGES = "silver.customer_identities", "silver.identity_changes"
#: How often records are scored anew because others took over changes meanwhile.
_ATTEMPTS = 5
_MOVES = Path(__file__).with_name("identity_moves.sql")

Connect = Callable[[], AbstractContextManager["DuckDBPyConnection"]]


@dataclass(frozen=True)
class Linking:
    """What links depend on besides the records: the trained parameters and the threshold fixed beforehand."""

    parameters: identity.Parameters
    threshold: float

    @property
    def code_version(self) -> str:
        """Changes with everything that would give other links from the same records."""
        parts = (identity.source_version(), self.parameters.version, repr(self.threshold))
        return sha256("/".join(parts).encode()).hexdigest()[:16]


def current_linking(place: Place, threshold: float) -> Linking:
    """The trained parameters in force with the threshold; those of the package where none were trained yet.

    The package's are stored and registered when they are first used, so that a later package changes nothing; they also
    take the place of parameters whose format this version no longer reads.

    Args:
        place: where models live.
        threshold: probability from which records are linked.

    Raises:
        InputError: the stored parameters are missing or were changed after training.
    """
    with place.connect() as con:
        row = current_version(con, identity.MODEL) if newest_version(con, identity.MODEL) else None
    if row:
        data, _ = artifacts.load_json_artifact(place.models, identity.MODEL, row["version"], sha256=row["sha256"])
        if identity.is_readable(data):
            return Linking(identity.Parameters.from_json(row["version"], data), threshold)
    default = identity.default_identity()
    _register(place, default)
    return Linking(default.parameters, threshold)


def links_among(place: Place, registered: Mapping[str, Any], rows: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Which records of a file are one person's, by the stored parameters of a version.

    Args:
        place: where models live.
        registered: the version's row in `ml.models`.
        rows: records with `identity.FILE_COLUMNS`, one per customer_id.
        threshold: probability from which records are linked.

    Returns:
        The columns of `identity.score`, `model` and `model_version`; a row per pair.

    Raises:
        InputError: a record occurs twice, or the stored parameters cannot be used.
    """
    import duckdb
    import polars as pl

    twice = rows.filter(rows["customer_id"].is_duplicated())
    if twice.height:
        raise InputError(f"the record {twice['customer_id'][0]!r} occurs twice", fix="give one row per customer_id")
    version = registered["version"]
    data, card = artifacts.load_json_artifact(place.models, identity.MODEL, version, sha256=registered["sha256"])
    with duckdb.connect(":memory:") as memory:
        memory.register("given", rows.to_arrow())
        records = memory.sql(f"{identity.records_select('given')} order by customer_id").pl()
        found = identity.score(memory, identity.Parameters.from_json(version, data), records, threshold)
    return found.with_columns(model=pl.lit(card.published_as), model_version=pl.lit(version))


def train_parameters(place: Place, scratch: Mapping[str, Any], *, seed: int) -> artifacts.Card:
    """Learns link parameters from the warehouse's own records, stores and registers them; the next build uses them.

    Args:
        place: where models live; the warehouse is closed while training runs.
        scratch: DuckDB settings of the database in memory that trains.
        seed: of the random pairs.

    Raises:
        InputError: there are no customers, or too few to learn from.
    """
    import duckdb

    from ecommerce_platform.persons.training import train_identity

    with place.connect() as con:
        if not table_exists(con, *CUSTOMERS.split(".")):
            raise InputError("there are no customers to learn from", fix="run `ecommerce build` first")
        records = con.sql(f"{identity.records_select(CUSTOMERS)} order by customer_id").pl()
    with duckdb.connect(":memory:", config=dict(scratch)) as memory:
        trained = train_identity(memory, records, seed=seed)
    return _register(place, trained)


def _register(place: Place, trained: identity.TrainedIdentity) -> artifacts.Card:
    files = card_files(identity.ABOUT, trained.card, (), identity.exhibits(trained.card))
    card = artifacts.save_json_artifact(place.models, trained.parameters.to_json(), trained.card, files)
    register(place, card)
    return card


def add_logs(logs: Mapping[str, Log]) -> dict[str, Log]:
    """The logs that tables keep for those made of them by SELECTs, and besides for the two tables filled here."""
    own = {
        CUSTOMERS: [
            Log(tuple(sorted(identity.COLUMNS)), frozenset(identity.COLUMNS), (LINKS,)),
            Log(("customer_id", "person_key"), frozenset(("person_key", *identity.COLUMNS)), (CLUSTERS,)),
        ],
        LINKS: [Log(("customer_id_1", "customer_id_2"), frozenset(_links_columns()), (CLUSTERS,))],
    }
    found = dict(logs)
    for table, more in own.items():
        every = [*([found[table]] if table in found else []), *more]
        found[table] = Log(
            tuple(sorted({c for log in every for c in log.columns})),
            frozenset(c for log in every for c in log.watched),
            tuple(f for log in every for f in log.followers),
        )
    return found


def _links_columns() -> tuple[str, ...]:
    return ("customer_id_1", "customer_id_2", "match_weight", "match_probability")


# -- links -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ToScore:
    """Records to be scored, copied to a Parquet file; the warehouse is free while they are."""

    records: Path
    #: Records whose pairs are scored; None for all.
    touched: pl.Series | None
    now: Mapping[str, int]
    seen: Mapping[str, int]


def refresh_links(
    connect: Connect,
    contract: Contract,
    linking: Linking | None,
    scratch: Mapping[str, Any],
    *,
    log: Log | None = None,
    full_checks: bool = False,
) -> Written:
    """Brings `silver.customer_links` up to date with `silver.customers`.

    Args:
        connect: opens the warehouse; it is closed while records are scored.
        contract: the table's contract.
        linking: parameters and threshold; None where the source does not link: the table is empty then.
        scratch: DuckDB settings (memory_limit, temp_directory …) of the database in memory that scores.
        log: what is logged about the table's changed rows.
        full_checks: checks the whole table even if only some rows were written.

    Raises:
        BlockedError: a blocking check failed; the previous version stays.
        PassingError: other runs kept taking over changes while this one scored.
    """
    import duckdb

    if place := scratch.get("temp_directory"):
        Path(place).mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        with TemporaryDirectory(prefix="links-", dir=place) as folder:
            with connect() as con:
                found = _plan(con, contract, linking, Path(folder), log, full_checks)
            if isinstance(found, Written):
                return found
            assert linking is not None
            with duckdb.connect(":memory:", config=dict(scratch)) as memory:
                links = identity.score(memory, linking.parameters, found.records, linking.threshold, found.touched)
        with connect() as con:
            # Had another run taken over more meanwhile, this one's older links would undo it.
            if seen_versions(con).get(LINKS, {}) == found.seen:
                return _write_links(con, contract, linking, found, links, log, full_checks)
    raise PassingError(
        "other runs kept changing the customers while their records were scored",
        where=contract.table,
        fix="build again once they are done",
    )


def _plan(
    con: DuckDBPyConnection,
    contract: Contract,
    linking: Linking | None,
    folder: Path,
    log: Log | None,
    full_checks: bool,
) -> Written | _ToScore:
    """What is to be scored, its records in a file of the folder; or, when there is nothing, the outcome."""
    code_version = linking.code_version if linking else "off"
    now, behind = unseen(con, LINKS, (CUSTOMERS,), code_version)
    if behind == {}:
        return _as_it_was(con, contract, full_checks)
    if linking is None:
        return replace_table(con, contract, _none(contract), code_version=code_version, log=log, reads=(CUSTOMERS,))
    con.execute(f"create or replace temp table _comparable as {identity.records_select(CUSTOMERS)}")
    touched = _touch_records(con, behind[CUSTOMERS]) if behind else None
    rows = con.execute("select count(*) from _comparable").fetchall()[0][0]
    if touched is not None and touched > max(1000, WHOLE_ABOVE * rows):
        touched = None
    chosen = "" if touched is None else "where customer_id in (select customer_id from _near)"
    records = folder / "records.parquet"
    con.execute(f"copy (select * from _comparable {chosen}) to $file (format parquet)", {"file": str(records)})
    work = _ToScore(
        records=records,
        touched=None if touched is None else con.sql("select customer_id from _touched order by 1").pl()["customer_id"],
        now=now,
        seen=seen_versions(con).get(LINKS, {}),
    )
    _drop(con, "_comparable", "_changed", "_keys", "_few", "_touched", "_near")
    let_go(con)  # scoring works in a database of its own
    return work


def _touch_records(con: DuckDBPyConnection, since: int) -> int:
    """Fills `_touched` with the records whose links may differ, `_near` with all that share a block with them."""
    changed = f"({changed_rows(CUSTOMERS, since)})"
    con.execute(f"create or replace temp table _changed as {identity.records_select(changed)}")
    con.execute("create or replace temp table _touched as select distinct customer_id from _changed")
    _near_to(con, "_changed")
    # A block that a change lifts over the largest size, or brings back below it, concerns all records in it.
    most = identity.LARGEST_BLOCK
    more = con.execute(
        "insert into _touched select distinct customer_id from (select customer_id, n, count(*) over (partition by block, "
        "key) as size from _near inner join (select block, key, count(*) as n from "
        f"({identity.keys_select('_changed')}) as keys group by block, key) as changed using (block, key)) as members "
        f"where size > {most} - n and size <= {most} + n and customer_id not in (select customer_id from _touched)"
    ).fetchall()
    if more[0][0]:
        _near_to(con, "(select * from _comparable where customer_id in (select customer_id from _touched))")
    return int(con.execute("select count(*) from _touched").fetchall()[0][0])


def _near_to(con: DuckDBPyConnection, records: str) -> None:
    """Fills `_near` with (customer_id, block, key) of all records that share a block with one of `records`."""
    con.execute(
        f"create or replace temp table _keys as select distinct block, key from ({identity.keys_select(records)}) as k"
    )
    # First whoever shares the rarest column of a block, which is quick to see; keys are made of those alone.
    con.execute(
        f"create or replace temp table _few as select * from _comparable where {identity.may_share_block(records)}"
    )
    con.execute(
        f"create or replace temp table _near as select keys.* from ({identity.keys_select('_few')}) as keys "
        "semi join _keys using (block, key)"
    )


def _write_links(
    con: DuckDBPyConnection,
    contract: Contract,
    linking: Linking,
    work: _ToScore,
    links: pl.DataFrame,
    log: Log | None,
    full_checks: bool,
) -> Written:
    con.register("_link_scored", links.to_arrow())
    version = f"'{linking.parameters.version}' as parameters_version"
    select = f"select * from (select *, {version} from _link_scored) as scored"
    if work.touched is None:
        return replace_table(
            con, contract, _typed(contract, select), code_version=linking.code_version, log=log, seen=work.now
        )
    con.register("_link_again", work.touched.rename("customer_id").to_frame().to_arrow())
    mine = "customer_id_1 in (select customer_id from _link_again) or customer_id_2 in (select customer_id from _link_again)"
    return _write_difference(con, contract, mine, select, linking.code_version, log, work.now, full_checks)


# -- clusters ----------------------------------------------------------------------------------------------------


def refresh_clusters(
    con: DuckDBPyConnection,
    contract: Contract,
    *,
    link: bool,
    log: Log | None = None,
    full_checks: bool = False,
) -> Written:
    """Brings `silver.customer_clusters` up to date with the links and the shop's own keys.

    Args:
        con: a connection to the warehouse.
        contract: the table's contract.
        link: whether the source links; the table is empty if not.
        log: what is logged about the table's changed rows.
        full_checks: checks the whole table even if only some rows were written.

    Raises:
        BlockedError: a blocking check failed; the previous version stays.
    """
    code_version = identity.source_version() if link else "off"
    reads = (CUSTOMERS, LINKS)
    now, behind = unseen(con, CLUSTERS, reads, code_version)
    if behind == {}:
        return _as_it_was(con, contract, full_checks)
    if not link:
        return replace_table(con, contract, _none(contract), code_version=code_version, log=log, reads=reads)
    if behind is not None:
        reached = _reach(con, behind)
        rows = con.execute(f"select count(*) from {CUSTOMERS}").fetchall()[0][0]
        if reached > max(1000, WHOLE_ABOVE * rows):
            behind = None
    persons = _persons(con, "" if behind is None else "where customer_id_1 in (select customer_id from _reached)")
    con.register("_link_persons", persons.to_arrow())
    if behind is None:
        whole = _typed(contract, "select * from _link_persons")
        written = replace_table(con, contract, whole, code_version=code_version, log=log, reads=reads)
    else:
        mine, select = "customer_id in (select customer_id from _reached)", "select * from _link_persons"
        written = _write_difference(con, contract, mine, select, code_version, log, now, full_checks)
    _drop(con, "_reached")
    return written


def _persons(con: DuckDBPyConnection, scope: str) -> pl.DataFrame:
    """The persons behind the links in a scope, and behind the keys of their records."""
    from ecommerce_platform.persons.people import build_persons

    links = con.sql(f"select {', '.join(_links_columns())} from {LINKS} {scope}").pl()
    con.register("_link_scope", links.to_arrow())
    keyed = con.sql(
        f"select customer_id, person_key from {CUSTOMERS} where person_key in ("
        f"select person_key from {CUSTOMERS} where customer_id in "
        "(select customer_id_1 from _link_scope union all select customer_id_2 from _link_scope))"
    ).pl()
    con.unregister("_link_scope")
    let_go(con)  # persons are worked out in frames
    return build_persons(links, keyed, lambda pairs: _conflicts(con, pairs))


def _reach(con: DuckDBPyConnection, behind: Mapping[str, int]) -> int:
    """Fills `_reached` with every record whose person may be another than before, whole components of them.

    That is: the changed records, both ends of changed links, all that shared a person or a key with one of these, and
    whatever is connected to them now.
    """
    seeds = []
    if CUSTOMERS in behind:
        log = f"({changed_rows(CUSTOMERS, behind[CUSTOMERS])})"
        seeds.append(f"select customer_id from {log} as changed")
        seeds.append(
            f"select customers.customer_id from {CUSTOMERS} as customers "
            f"inner join {log} as changed on customers.person_key = changed.person_key"
        )
    if LINKS in behind:
        log = f"({changed_rows(LINKS, behind[LINKS])})"
        seeds.append(f"select unnest([customer_id_1, customer_id_2]) from {log} as changed")
    con.execute(
        f"create or replace temp table _reached as select distinct * from ({' union all '.join(seeds)}) as r (customer_id)"
    )
    con.execute(
        f"insert into _reached select distinct customer_id from {CLUSTERS} where person_id in ("
        f"select person_id from {CLUSTERS} where customer_id in (select customer_id from _reached)) "
        "and customer_id not in (select customer_id from _reached)"
    )
    reached = 0
    while True:
        now = int(con.execute("select count(*) from _reached").fetchall()[0][0])
        if now == reached:
            return now
        reached = now
        con.execute(
            "insert into _reached select distinct customer_id from ("
            f"select customer_id_2 as customer_id from {LINKS} where customer_id_1 in (select customer_id from _reached) "
            f"union all select customer_id_1 from {LINKS} where customer_id_2 in (select customer_id from _reached) "
            f"union all select customer_id from {CUSTOMERS} where person_key in ("
            f"select person_key from {CUSTOMERS} where customer_id in (select customer_id from _reached))) as more "
            "where customer_id not in (select customer_id from _reached)"
        )


def _conflicts(con: DuckDBPyConnection, pairs: pl.DataFrame) -> pl.DataFrame:
    con.register("_link_pairs", pairs.to_arrow())
    chosen = f"(select * from {CUSTOMERS} where customer_id in (select l from _link_pairs union all select r from _link_pairs))"
    con.execute(f"create or replace temp table _comparable as {identity.records_select(chosen)}")
    found = con.sql(identity.conflicts_select("_link_pairs", "_comparable")).pl()
    con.unregister("_link_pairs")
    _drop(con, "_comparable")
    return found


# -- the audit trail ---------------------------------------------------------------------------------------------


def also_written(catalog: Catalog) -> dict[str, AlsoWrite]:
    """What is written in the transaction of a SELECT's table: whose person has become another."""
    trail = catalog.tables.get(CHANGES)
    if trail is None:
        return {}
    contract = trail.contract

    def note(con: DuckDBPyConnection, scope: str | None) -> None:
        record_identity_changes(con, contract, scope)

    return {IDENTITIES: note}


def record_identity_changes(con: DuckDBPyConnection, contract: Contract, scope: str | None) -> int:
    """Adds to `silver.identity_changes` whose person is another than it last said; call it in the transaction that
    writes `silver.customer_identities`.

    Args:
        con: a connection to the warehouse, inside a transaction.
        contract: of `silver.identity_changes`.
        scope: relation with the customer_ids that may have changed; None for all.

    Returns:
        How many rows were added.
    """
    con.execute(create_table_sql(contract))
    near = f"where customer_id in (select customer_id from {scope})" if scope else ""
    con.execute(
        f"create or replace temp table _moved as with changes as (select * from {CHANGES} {near}), "
        f"identities as (select * from {IDENTITIES} {near}) select * from ({own_code(str(_MOVES))}) as moves"
    )
    added = int(con.execute("select count(*) from _moved").fetchall()[0][0])
    if added:
        con.execute(
            f"insert into {CHANGES} by name select *, {record_change(con, CHANGES)} as version, "
            "cast(timezone('UTC', now()) as timestamp) as changed_at, "
            f"(select max(parameters_version) from {LINKS}) as parameters_version from _moved"
        )
    _drop(con, "_moved")
    return added


# -- shared ------------------------------------------------------------------------------------------------------


def _as_it_was(con: DuckDBPyConnection, contract: Contract, full_checks: bool) -> Written:
    return as_it_was(con, contract, check_table(con, contract) if full_checks else ())


def _write_difference(
    con: DuckDBPyConnection,
    contract: Contract,
    mine: str,
    select: str,
    code_version: str,
    log: Log | None,
    now: Mapping[str, int],
    full_checks: bool,
) -> Written:
    """Makes the rows of the table for which `mine` holds those of `select`."""
    with transaction(con):
        con.execute(f"create or replace temp table _new as {_typed(contract, select)}")
        con.execute(
            f"create or replace temp table _old as select rowid as _rowid, * from {contract.table} where {mine}"
        )
        difference = find_difference(con, contract, "_old", "_new")
        if difference.rows:
            apply_difference(con, contract, difference, code_version, log)
        record_seen(con, contract.table, now)
        results = check_table(con, contract) if full_checks else check_rows(con, contract, "_new", lambda c: c.sql)
        _drop(con, "_new", "_old")
        rows = count_rows(con, contract)
        return Written(
            rows, difference.inserted, difference.updated, difference.deleted, tuple(results),
            changed=bool(difference.rows),
        )  # fmt: skip


def _typed(contract: Contract, select: str) -> str:
    columns = ", ".join(f"cast({name} as {column.type}) as {name}" for name, column in contract.columns.items())
    return f"select {columns} from ({select}) as rows_"


def _none(contract: Contract) -> str:
    columns = ", ".join(f"cast(null as {column.type}) as {name}" for name, column in contract.columns.items())
    return f"select {columns} where false"


def _drop(con: DuckDBPyConnection, *tables: str) -> None:
    for table in tables:
        con.execute(f"drop table if exists temp.{table}")
