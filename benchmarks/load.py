"""One run of the platform over a range of loads, as a process of its own: what the tables cost and what Dagster costs.

`python -m benchmarks.load DATA_DIR FIRST LAST [again]` prints JSON: seconds of the run, seconds of work by table (from
opening the warehouse to the commit with its checks), steps and days. `again` loads the days even if nothing changed.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from pathlib import Path

from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.orchestration.instance import open_instance
from ecommerce_platform.orchestration.partitions import LOAD_JOB, ONLY_PENDING, range_tags
from ecommerce_platform.settings import read_settings


def main(data: Path, first: date, last: date, again: bool) -> dict:
    settings = read_settings(data_dir=data, dagster_home=data / "dagster_home")
    with open_instance(settings) as instance:
        job = build_definitions(settings).resolve_job_def(LOAD_JOB)
        tags = range_tags(first, last) | ({} if again else {ONLY_PENDING: "true"})
        started = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        seconds = time.perf_counter() - started
    assert result.success
    events = [e for e in result.all_events if e.is_step_materialization]
    work = {}
    changed = {}
    for event in events:
        metadata = event.materialization.metadata
        if "seconds" in metadata:
            table = ".".join(event.asset_key.path)
            work[table] = metadata["seconds"].value
            changed[table] = sum(metadata[f"rows_{what}"].value for what in ("inserted", "updated", "deleted"))
    partitioned = len({e.asset_key for e in events if e.partition})
    return {
        "seconds": seconds,
        "work": work,
        "changed": changed,
        "days": (last - first).days + 1,
        "steps": len(work),
        "partitioned": partitioned,
        "materializations": len(events),
    }


if __name__ == "__main__":
    folder, first, last, *rest = sys.argv[1:]
    print(json.dumps(main(Path(folder), date.fromisoformat(first), date.fromisoformat(last), rest == ["again"])))
