"""The bare engine: the same loading, mapping, history and SELECTs on the same drops as one DuckDB script, nothing around it.

No Dagster, no checks, no rejects, no ledgers, no transactions: what an analyst would write who has the SELECTs. Who is
who (`silver.customer_clusters`) is not SQL: it is taken from the platform's warehouse where there is one, and the time is not
counted. Run as `python -m benchmarks.bare DATA_DIR [SOURCE]`; prints the seconds of each part as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.orchestration.resources import connection_config
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.warehouse.connection import MACROS

if TYPE_CHECKING:
    from ecommerce_platform.orchestration.project import Project

TABLES = {"csv": "read_csv", "parquet": "read_parquet"}
WAREHOUSE = "bare.duckdb"
#: Not SQL: how records of one person are found.
GIVEN = "silver.customer_clusters"
_LOADED = "(_load_date, _source_file, _source_row)"


def scan(raw: Path, table, columns: list[str]) -> str:
    found = [str(f) for p in table.files for f in sorted(raw.glob(f"*/{p}*"))]
    kind = table.format or "csv"
    if kind in ("json", "jsonl"):
        # Named columns: finding them in 730 files with union_by_name takes more than 2 GB.
        names = ", ".join(f"'{c}': 'VARCHAR'" for c in columns)
        option = f", format='{'array' if kind == 'json' else 'newline_delimited'}', columns={{{names}}}"
        return f"read_json({found!r}, filename=true{option})"
    option = ", all_varchar=true, header=true, quote='\"', escape='\"'" if kind == "csv" else ""
    if table.delimiter:
        option += f", delim='{table.delimiter}'"
    if kind == "csv" and table.encoding != "utf-8":
        # DuckDB has Windows' encoding in an extension only; the generated shop writes nothing in which the two differ.
        option += f", encoding='{table.encoding.replace('cp1252', 'latin-1')}'"
    return f"{TABLES[kind]}({found!r}, filename=true{option})"


def load(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Every raw table as delivered, as text, with provenance."""
    for name, table in project.source.file.tables.items():
        mapped = [m for found in project.compiled.values() for m in found if m.raw_table == name]
        source = scan(project.settings.raw, table, list(dict.fromkeys(c for m in mapped for c in m.raw_columns)))
        columns = [c[0] for c in con.execute(f"describe select * exclude (filename) from {source}").fetchall()]
        texts = ", ".join(f'cast("{c}" as varchar) as "{c}"' for c in columns)
        con.execute(
            f"create table bronze.{project.source.bronze_table(name)} as select {texts}, "
            "cast(regexp_extract(filename, '(\\d{4}-\\d{2}-\\d{2})/[^/]*$', 1) as date) as _load_date, "
            "regexp_extract(filename, '[^/]*$') as _source_file, row_number() over () as _source_row "
            f"from {source}"
        )


def map_entities(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Every entity: the newest version of each key, in the canonical columns."""
    for entity in project.catalog.entities:
        contract = project.catalog.contract(f"silver.{entity}")
        selects = []
        for mapping in project.compiled[entity]:
            # The newest version of each key, found before anything is converted: the faster of two ways tried.
            keys = ", ".join(mapping.expressions[k] for k in mapping.version_key)
            which = f"rowid in (select arg_max(rowid, {_LOADED}) from {mapping.bronze} group by {keys})"
            if mapping.combines:
                which = "true"
            if mapping.delivery == "full":
                which = f"_load_date = (select max(_load_date) from {mapping.bronze})"
            selects.append(mapping.rows(which))
        names = ", ".join(contract.all_columns)
        empty = ", ".join(f"cast(null as {c.type}) as {n}" for n, c in contract.all_columns.items())
        body = " union all ".join(f"select {names} from ({s})" for s in selects) or f"select {empty} where false"
        con.execute(f"create table silver.{entity} as {body}")
    file = project.source.file
    con.execute(
        f"create table silver.shop as select '{file.name}' as source, '{file.currency}' as currency, '{file.time_zone}' "
        f"as time_zone, date '{file.start_date}' as start_date, cast({file.churn_window_days} as integer) as churn_window_days, "
        f"cast({file.min_pair_orders} as integer) as min_pair_orders"
    )
    # The generated shop's catalogue states its brands.
    con.execute(create_table_sql(project.catalog.contract("silver.brand_rules")))


def write_history(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Every history: equal values on consecutive deliveries are one version; a full delivery ends what it lacks."""
    for contract in project.contracts.values():
        if contract.history_of is None:
            continue
        entity = project.catalog.contract(f"silver.{contract.history_of}")
        key = ", ".join(entity.key)
        values = ", ".join(c for c in entity.columns if c not in entity.key)
        names = ", ".join(contract.all_columns)
        selects = []
        for mapping in project.compiled[contract.history_of]:
            keys = ", ".join(mapping.expressions[k] for k in mapping.version_key)
            newest = f"rowid in (select arg_max(rowid, {_LOADED}) from {mapping.bronze} group by _load_date, {keys})"
            full = mapping.delivery == "full"
            # In deltas every state of a key follows the one before it; in full deliveries one may be missing between.
            number = "_delivery" if full else f"row_number() over (partition by {key} order by _load_date)"
            ends = "_next" if full else f"lead(valid_from) over (partition by {key} order by valid_from)"
            selects.append(
                f"""
                select {names} from (
                    select * exclude (_version), _version as version, {ends} as valid_to, valid_to is null as is_current
                    from (
                        select first(columns(* exclude ({key}, _version, _next, _load_date)) order by _load_date),
                            {key}, _version, min(_load_date) as _load_date, min(_load_date) as valid_from,
                            arg_max_null(_next, _load_date) as _next
                        from (
                            select * exclude (_new), sum(_new) over (partition by {key} order by _load_date) as _version
                            from (
                                select *, case when lag(({values})) over w is distinct from ({values})
                                    or lag(_number) over w is distinct from _number - 1 then 1 else 0 end as _new
                                from (
                                    select *, {number} as _number
                                    from ({mapping.rows("true" if mapping.combines else newest)}) inner join (
                                        select _load_date, row_number() over (order by _load_date) as _delivery,
                                            lead(_load_date) over (order by _load_date) as _next
                                        from {mapping.bronze} group by _load_date
                                    ) using (_load_date)
                                )
                                window w as (partition by {key} order by _load_date)
                            )
                        )
                        group by {key}, _version
                    )
                )"""
            )
        body = " union all ".join(selects)
        con.execute(f"create table {contract.table} as {body}" if body else create_table_sql(contract))


def run_selects(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Every table of silver and gold that is a SELECT."""
    graph = {name: {r for r in model.reads if r in project.models} for name, model in project.models.items()}
    for name in TopologicalSorter(graph).static_order():
        if not name.startswith("ml."):
            con.execute(f"create table {name} as {project.models[name].table.sql}")


def take_clusters(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Who is who, as the platform found it; nobody where it has not been built."""
    if (warehouse := project.settings.warehouse).exists():
        con.execute(f"attach '{warehouse}' as platform (read_only)")
        con.execute(f"create table {GIVEN} as from platform.{GIVEN}")
        con.execute("detach platform")
    else:
        con.execute(create_table_sql(project.catalog.contract(GIVEN)))


def build(settings: Settings) -> dict[str, float]:
    """Builds `<data>/bare.duckdb` anew; the seconds of each part, and in all without what is given."""
    project = read_project(settings)
    models = project.models  # parsed before the clock starts
    assert models
    target = settings.data / WAREHOUSE
    target.unlink(missing_ok=True)
    seconds = {}
    with duckdb.connect(str(target), config=connection_config(settings)) as con:
        con.execute(MACROS.read_text())
        for schema in ("bronze", "silver", "gold"):
            con.execute(f"create schema {schema}")
        take_clusters(con, project)
        parts = {"loading": load, "mapping": map_entities, "history": write_history, "selects": run_selects}
        for name, part in parts.items():
            started = time.perf_counter()
            part(con, project)
            seconds[name] = time.perf_counter() - started
        started = time.perf_counter()
        con.execute("checkpoint")
        seconds["selects"] += time.perf_counter() - started
    return {**seconds, "total": sum(seconds.values())}


def main() -> None:
    settings = read_settings(data_dir=Path(sys.argv[1]), source=sys.argv[2] if len(sys.argv) > 2 else "synthetic")
    print(json.dumps({k: round(v, 3) for k, v in build(settings).items()}))


if __name__ == "__main__":
    main()
