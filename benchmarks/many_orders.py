"""A snapshot of millions of orders out of one of thousands, in minutes: every order and person many times, under other ids.

For load figures of what is served, which follow from rows, row groups and distinct values; a build of that size is what
`make bench` measures. Tables of figures (KPIs, profiles, products) stay as they are, so their sums are those of the original.
`python -m benchmarks.many_orders FROM TO --copies 250`
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from ecommerce_platform.reading.snapshots import current_snapshot, read_manifest, snapshot_id

#: Columns of ids that differ from copy to copy. Products, sellers and campaigns stay the same.
IDS = {"order_id", "person_id", "customer_id", "review_id", "return_id", "shipment_id", "fee_id", "record_id"}
#: Numbers in place of such ids; each copy has a range of its own.
NUMBERS = {"order_number", "person_number"}
_RANGE = 20_000_000
#: Tables whose rows are persons' or orders', of which there are more.
GROW = {
    "silver.orders", "silver.order_items", "silver.payments", "silver.reviews", "silver.returns", "silver.customers",
    "gold.fct_orders", "gold.fct_order_items", "gold.fct_payments", "gold.fct_customer_days", "gold.dim_customer",
    "gold.narrow_orders", "gold.narrow_lines", "gold.rfm", "ml.segments", "ml.churn_scores", "ml.clv_scores",
}  # fmt: skip


def multiply(published: Path, target: Path, copies: int) -> Path:
    """Writes the larger snapshot to another published folder, as the current one; gives its folder.

    Args:
        published: the folder of snapshots to take the current one of.
        target: the new folder.
        copies: how many times.
    """
    source = current_snapshot(published)
    manifest = read_manifest(source)
    name = snapshot_id(datetime.now(UTC))
    folder = target / "snapshots" / name
    con = duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(target / "tmp")})
    con.execute("set preserve_insertion_order = true")
    for table, entry in [*manifest["tables"].items(), *manifest.get("restricted", {}).items()]:
        file = folder / entry["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        if table not in GROW:
            shutil.copyfile(source / entry["file"], file)
            continue
        columns = [
            row[0] for row in con.execute(f"describe select * from read_parquet('{source / entry['file']}')").fetchall()
        ]
        ids = ", ".join(
            f"{c} || '~' || n as {c}" if c in IDS else f"cast({c} + n * {_RANGE} as integer) as {c}"
            for c in columns
            if c in IDS | NUMBERS
        )
        # As published: sorted where single rows are looked up (`publishing/publish.py`).
        key = entry["key"][0] if len(entry["key"]) == 1 and not table.startswith("silver.") else None
        order, groups = (f" order by t.{key}", ", row_group_size 16384") if key == "person_id" else ("", "")
        if table.startswith("gold.narrow"):
            order = " order by t.order_date"
        con.execute(
            f"copy (select t.* replace ({ids}) from range({copies}) as times (n), read_parquet('{source / entry['file']}') as t{order}) "
            f"to '{file}' (format parquet, compression zstd{groups})"
        )
        entry |= {"rows": entry.get("rows", 0) * copies, "bytes": file.stat().st_size}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "snapshot": name}))
    shutil.copy(published / ".source", target / ".source")
    link = target / "current"
    link.unlink(missing_ok=True)
    os.symlink(Path("snapshots") / name, link)
    return folder


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("published", type=Path)
    arguments.add_argument("target", type=Path)
    arguments.add_argument("--copies", type=int, default=250)
    chosen = arguments.parse_args()
    print(multiply(chosen.published, chosen.target, chosen.copies))
