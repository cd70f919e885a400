"""The usual alternative: read the drops with pandas, merge, group. Only the KPIs of kpi_summary and kpi_monthly.

Run as `python -m benchmarks.pandas_way DATA_DIR`; prints seconds and figures as JSON. It keeps the last delivery of each
order, as a notebook would, and does nothing else of what the platform does (no types checked, no rejects, no history).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd


def main() -> None:
    raw = Path(sys.argv[1]) / "raw"
    started = time.perf_counter()
    orders = pd.concat([pd.read_csv(p, dtype=str) for p in sorted(raw.glob("*/orders.csv"))], ignore_index=True)
    orders = orders.drop_duplicates("order_no", keep="last")
    orders["placed"] = pd.to_datetime(orders["placed"], format="ISO8601")
    items = pd.concat([pd.read_parquet(p) for p in sorted(raw.glob("*/order_items.parquet"))], ignore_index=True)
    customers = pd.concat([pd.read_json(p, lines=True, dtype=False) for p in sorted(raw.glob("*/web_customers.jsonl"))])
    customers = customers.drop_duplicates("customer_no", keep="last").assign(customer_system="SHOP")
    reviews = pd.concat([pd.read_csv(p, dtype=str) for p in sorted(raw.glob("*/reviews.csv"))], ignore_index=True)
    payments = pd.concat(
        [pd.read_csv(p, dtype=str, sep=";", decimal=",") for p in sorted(raw.glob("*/payments.csv"))], ignore_index=True
    )
    read = time.perf_counter()
    # Accounts of the web shop join records; numbers of the CRM are persons of their own. Linking is left out.
    customers["person_id"] = customers["account"].fillna("web-" + customers["customer_no"].astype(str))
    valid = orders[~orders["state"].isin(["cancelled", "not_available"])]
    lines = items.merge(valid[["order_no", "customer_system", "customer_no", "placed"]], on="order_no", how="inner")
    by = ["customer_system", "customer_no"]
    lines = lines.merge(customers[[*by, "person_id"]], on=by, how="left")
    lines["person_id"] = lines["person_id"].fillna("crm-" + lines["customer_no"])
    lines["revenue"] = lines["qty"].astype(float) * lines["unit_price"].astype(float) - lines["rebate"].astype(float)
    lines["month"] = lines["placed"].dt.to_period("M")
    monthly = lines.groupby("month").agg(
        revenue=("revenue", "sum"),
        orders=("order_no", "nunique"),
        customers=("person_id", "nunique"),
        units=("qty", "sum"),
    )
    per_person = lines.groupby("person_id")["order_no"].nunique()
    score = reviews["stars"].astype(float)
    summary = {
        "orders": int(lines["order_no"].nunique()),
        "customers": int(lines["person_id"].nunique()),
        "revenue": round(float(lines["revenue"].sum()), 2),
        "repeat_purchase_rate": float((per_person > 1).mean()),
        "nps_proxy": float(100 * ((score == 5).sum() - (score <= 3).sum()) / len(score)),
        "payments": len(payments.drop_duplicates()),
        "months": len(monthly),
    }
    done = time.perf_counter()
    print(json.dumps({"total": round(done - started, 3), "read": round(read - started, 3), "figures": summary}))


if __name__ == "__main__":
    main()
