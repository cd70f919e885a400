"""The job that extracts from the source's database; declarations only.

A job and not an asset: an extract belongs to no day's partition, and building tables from drops must not need a database.
What it lands, the sensor `raw_drops` loads, as it loads any drop.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

from typing import TYPE_CHECKING

import dagster as dg

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from ecommerce_platform.ingestion.extraction.extract import Extracted

EXTRACT_JOB = "extract"


def extract_job(settings: Settings, source: Source) -> dg.JobDefinition:
    """The job `extract`; which tables, and whether from the beginning, is configuration."""

    class Tables(dg.Config):
        """Raw tables to extract (none: all), and whether those with a watermark are read from the beginning."""

        tables: list[str] = []
        full: bool = False

    @dg.op(
        name="extract_tables",
        description="Reads what is new out of the database and makes it the day's drop, or part of it.",
        # Lost connections are tried again within an extract; this is for a server that is away for longer.
        retry_policy=dg.RetryPolicy(max_retries=3, delay=300, backoff=dg.Backoff.EXPONENTIAL),
    )
    def extract_tables(context: dg.OpExecutionContext, config: Tables) -> None:
        from ecommerce_platform.ingestion.extraction.extract import extract
        from ecommerce_platform.orchestration.assets.declare import as_failure

        with as_failure():
            done = extract(source, settings.raw, tables=config.tables, full=config.full, scratch=settings.scratch)
        for table in done.tables:
            for note in table.notes:
                context.log.warning(f"{table.raw}: {note}")
        where = f"the drop of {done.day}" if done.folder else "no drop: nothing has changed"
        context.log.info(f"{sum(t.rows for t in done.tables):,} rows in {where}")
        context.add_output_metadata({"drop": str(done.day) if done.folder else "none", "tables": _as_table(done)})

    @dg.job(
        name=EXTRACT_JOB,
        executor_def=dg.in_process_executor,
        description=f"Reads what is new out of the database of {source.name} and lands it as a drop "
        f"({', '.join(source.file.extracts)}). The sensor `raw_drops` loads it.",
    )
    def run() -> None:
        extract_tables()

    return run


def _as_table(done: "Extracted") -> dg.MetadataValue:
    rows = [f"| {t.raw} | {t.rows:,} | {t.bytes:,} | {t.since or ''} | {t.file or 'unchanged'} |" for t in done.tables]
    return dg.MetadataValue.md(
        "\n".join(["| raw table | rows | bytes | since | file |", "| --- | ---: | ---: | --- | --- |", *rows])
    )
