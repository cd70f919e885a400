"""A dashboard: looks at the current snapshot again and again until told to stop, and says what it saw."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

#: Three tables that were made one after the other; they agree if they are of one state.
SUMS = """
select (select sum(revenue_amount) from gold.fct_order_items where is_valid), (select sum(revenue) from gold.kpi_daily),
    (select sum(revenue) from gold.kpi_summary), (select sum(revenue) from gold.fct_days)
"""


def read_once(published: Path) -> str:
    """Reads the current snapshot and compares what must agree; its id."""
    from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot, read_manifest

    folder = current_snapshot(published)
    manifest = read_manifest(folder)
    with open_snapshot(folder) as con:
        sums = con.execute(SUMS).fetchone()
        assert sums is not None
        assert len(set(sums)) == 1, sums
        for table, entry in manifest["tables"].items():
            rows = con.execute(f"select count(*) from {table}").fetchone()
            assert rows == (entry["rows"],), (table, rows, entry["rows"])
        if Path("/proc/self/fd").is_dir():
            opened = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if _there(n)]
            assert not [path for path in opened if "warehouse.duckdb" in path], opened
    return folder.name


def _there(handle: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{handle}")


def main(published: Path, stop: Path, report: Path) -> None:
    """Reads until the file `stop` is there."""
    seconds, seen, errors = [], [], []
    while not stop.exists():
        started = time.perf_counter()
        try:
            found = read_once(published)
        except Exception as error:
            errors.append(repr(error))
        else:
            if found not in seen:
                seen.append(found)
        seconds.append(time.perf_counter() - started)
        time.sleep(1.5)
    report.write_text(json.dumps({"seconds": seconds, "snapshots": seen, "errors": errors}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
