"""The bare engine: the same SQL files on the same drops as one DuckDB script, and nothing around it.

No Dagster, no checks, no rejects, no ledgers, no transactions: what an analyst would write who has the SELECTs. Run as
`python -m benchmarks.bare DATA_DIR [SOURCE]`; prints the seconds of each layer as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

import duckdb

from ecommerce_platform.assets.resources import connection_config
from ecommerce_platform.build import read_ground
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.settings import read_settings
from ecommerce_platform.warehouse.connection import MACROS

TABLES = {"csv": "read_csv", "parquet": "read_parquet"}


def scan(raw: Path, table, columns: list[str]) -> str:
    found = [str(f) for p in table.files for f in sorted(raw.glob(f"*/{p}*"))]
    kind = table.format or "csv"
    if kind in ("json", "jsonl"):
        # Named columns: finding them in 730 files with union_by_name takes more than 2 GB.
        names = ", ".join(f"'{c}': 'VARCHAR'" for c in columns)
        option = f", format='{'array' if kind == 'json' else 'newline_delimited'}', columns={{{names}}}"
        return f"read_json({found!r}, filename=true{option})"
    option = ", all_varchar=true, header=true" if kind == "csv" else ""
    if table.delimiter:
        option += f", delim='{table.delimiter}'"
    if kind == "csv" and table.encoding != "utf-8":
        # DuckDB has Windows' encoding in an extension only; the generated shop writes nothing in which the two differ.
        option += f", encoding='{table.encoding.replace('cp1252', 'latin-1')}'"
    return f"{TABLES[kind]}({found!r}, filename=true{option})"


def main() -> None:
    settings = read_settings(data_dir=Path(sys.argv[1]), source=sys.argv[2] if len(sys.argv) > 2 else "synthetic")
    ground = read_ground(settings)
    models = ground.models
    target = settings.data / "bare.duckdb"
    target.unlink(missing_ok=True)
    started = time.perf_counter()
    seconds, mark = {}, started
    con = duckdb.connect(str(target), config=connection_config(settings))
    con.execute(MACROS.read_text())
    for schema in ("bronze", "silver", "gold", "ml"):
        con.execute(f"create schema {schema}")

    for name, table in ground.source.file.tables.items():
        mapped = [m for found in ground.compiled.values() for m in found if m.raw_table == name]
        source = scan(settings.raw, table, list(dict.fromkeys(c for m in mapped for c in m.raw_columns)))
        columns = [c[0] for c in con.execute(f"describe select * exclude (filename) from {source}").fetchall()]
        texts = ", ".join(f'cast("{c}" as varchar) as "{c}"' for c in columns)
        con.execute(
            f"create table bronze.{ground.source.bronze_table(name)} as select {texts}, "
            "cast(regexp_extract(filename, '(\\d{4}-\\d{2}-\\d{2})/[^/]*$', 1) as date) as _load_date, "
            "regexp_extract(filename, '[^/]*$') as _source_file, row_number() over () as _source_row "
            f"from {source}"
        )
    seconds["bronze"], mark = time.perf_counter() - mark, time.perf_counter()

    for entity in ground.catalog.entities:
        contract = ground.catalog.contract(f"silver.{entity}")
        selects = []
        for mapping in ground.compiled[entity]:
            rows = mapping.rows("true")
            if mapping.delivery == "full":
                rows = mapping.rows(f"_load_date = (select max(_load_date) from {mapping.bronze})")
            if mapping.gathers:
                selects.append(rows)
                continue
            # The newest version of each key, found before anything is converted: the faster of two ways tried.
            keys = ", ".join(mapping.expressions[k] for k in mapping.version_key)
            newest = f"rowid in (select arg_max(rowid, (_load_date, _source_file, _source_row)) from {mapping.bronze} group by {keys})"
            if mapping.delivery == "full":
                newest = f"_load_date = (select max(_load_date) from {mapping.bronze})"
            selects.append(mapping.rows(newest))
        names = ", ".join(contract.all_columns)
        empty = ", ".join(f"cast(null as {c.type}) as {n}" for n, c in contract.all_columns.items())
        body = " union all ".join(f"select {names} from ({s})" for s in selects) or f"select {empty} where false"
        con.execute(f"create table silver.{entity} as {body}")
    file = ground.source.file
    con.execute(
        f"create table silver.shop as select '{file.name}' as source, '{file.currency}' as currency, '{file.time_zone}' "
        f"as time_zone, date '{file.start_date}' as start_date, cast({file.churn_window_days} as integer) as churn_window_days"
    )
    # The generated shop's catalogue states its brands.
    con.execute(create_table_sql(ground.catalog.contract("silver.brand_rules")))
    graph = {name: {r for r in model.reads if r in models} for name, model in models.items()}
    order = [n for n in TopologicalSorter(graph).static_order() if not n.startswith("ml.")]
    for name in [n for n in order if n.startswith("silver.")]:
        con.execute(f"create table {name} as {models[name].table.sql}")
    seconds["silver"], mark = time.perf_counter() - mark, time.perf_counter()
    for name in [n for n in order if n.startswith("gold.")]:
        con.execute(f"create table {name} as {models[name].table.sql}")
    seconds["gold"] = time.perf_counter() - mark
    con.close()
    seconds["total"] = time.perf_counter() - started
    print(json.dumps({k: round(v, 3) for k, v in seconds.items()}))


if __name__ == "__main__":
    main()
