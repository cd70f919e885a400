"""SQL that wants more than to read tables: what a stranger might send, and what a source folder from elsewhere might hold."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

SECRET = "the-secret-of-this-test"

#: Reads what is no table. `{secret}` is a file, `{folder}` its folder, `{database}` a DuckDB file, `{out}` a new file.
READS = (
    "select * from read_text('{secret}')",
    "select * from read_blob('{secret}')",
    "select * from read_csv('{secret}', header = false)",
    "select * from read_json('{secret}')",
    "select * from read_parquet('{folder}/*/*.parquet')",
    "select * from '{secret}'",
    'select * from "{secret}"',
    "select * from glob('{folder}/*')",
    "select * from sniff_csv('{secret}')",
    "select * from parquet_metadata('{folder}/**/*.parquet')",
    "select (select max(content) from read_text('{secret}')) as content",
    "select * from (values (1)) as t (i), lateral (select * from read_text('{secret}'))",
    "with stolen as (select * from read_text('{secret}')) select * from stolen",
    "select 1 as x where exists (select 1 from read_text('{secret}'))",
    "from query('select * from read_text(''{secret}'')')",
    "describe select * from read_csv('{secret}')",
    "summarize '{secret}'",
    "select * from read_duckdb('{database}')",
    "select * from sqlite_scan('{database}', 't')",
    "select * from duckdb_secrets()",
)
#: Does something: writes, opens, installs, sets, or is more than one statement.
ACTS = (
    "copy (select 1) to '{out}'",
    "copy (select 1) to '{out}' (format parquet, use_tmp_file false)",
    "export database '{out}'",
    "attach '{database}' as other",
    "attach '{database}' as other (read_only)",
    "attach '{out}'",
    "install httpfs",
    "load httpfs",
    "force install spatial",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma enable_logging",
    "call enable_logging()",
    "create table mine as select 1",
    "create macro f() as 1",
    "create secret s (type s3, key_id 'a', secret 'b')",
    "drop view gold.kpi_summary",
    "insert into gold.kpi_summary (source) values ('x')",
    "delete from gold.kpi_summary",
    "with gone as (delete from gold.kpi_summary returning *) select * from gone",
    "with made as (insert into about.tables (table_name) values ('x') returning *) select * from made",
    "select 1; select 2",
    "select 1; copy (select 1) to '{out}'",
    "explain analyze copy (select 1) to '{out}'",
    "prepare p as select 1",
    "checkpoint",
    "begin",
    "",
)
HOSTILE = (*READS, *ACTS)


def everything(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of its content, to see that nothing was written."""
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()
    }
