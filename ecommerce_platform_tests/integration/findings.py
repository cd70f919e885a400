"""What the platform has found in a shop, to be held against what is known of its export."""

from __future__ import annotations

import json
import re

from ecommerce_platform.operations.status import read_status
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.conftest import Shop

#: A number with what stands right before or behind it, in what a check says.
_ROWS = re.compile(r"(?:^|; )(?P<rule>[^;:]+): (?P<rows>[\d,]+) rows")
_RECORDS = re.compile(r"(?P<rows>[\d,]+) records? a second time")


def findings(shop: Shop) -> dict[str, int | None]:
    """`table check` or, of a business rule, `table rule` → rows; all that fails or warns, and rejects by reason."""
    settings = read_settings(source=shop.source, data_dir=shop.data, dagster_home=shop.folder / "dagster_home")
    found: dict[str, int | None] = {}
    for table, check, _, said in read_status(settings).checks:
        if check == "expectations":
            continue
        rules = {m["rule"]: int(m["rows"].replace(",", "")) for m in _ROWS.finditer(said)}
        records = [int(m["rows"].replace(",", "")) for m in _RECORDS.finditer(said)]
        if check in ("foreign_keys", "contract"):
            found |= {f"{table} {rule}": rows for rule, rows in rules.items()}
        else:
            found[f"{table} {check}"] = sum(records) if records else rules.get(check)
    for table, text in shop.query("select table_name, verdicts from changes.verdicts"):
        found |= {f"{table} {v['rule']}": v["found"] for v in json.loads(text) if v["outcome"] == "broken"}
    for what in ("silver.rejects", "bronze.rejects"):
        found |= {f"{what} {code}": n for code, n in shop.query(f"select reason_code, count(*) from {what} group by 1")}
    return found
