"""Where parcels come late, and which other carrier brings them there in time: `ml.delivery_plan`.

A lane is a region that is delivered to. What lateness does to customers is `gold.delivery_experience`'s subject, sellers are
`gold.seller_scorecard`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of
from ecommerce_platform.decisions.statistics import holm

READS = ("silver.shipments", "gold.fct_orders")
SELECTS = ("shipments_known", "carrier_lanes")
ROWS = ("silver.shipments where carrier is not null", "gold.fct_orders where is_counted")
#: Newest days that parcels are taken from, and the fewest of a carrier on a lane.
DAYS, FEWEST = 182, 50
ALPHA, _Z95 = 0.05, 1.96


def decide_delivery(con: Any) -> Decided:
    """The better carrier of each lane, where it is surely less often late."""
    parcels, carriers, promised, delivered = rows_of(con, "shipments_known").fetchall()[0]
    if not parcels:
        return refused(["the source maps no shipments (which carrier took which order, and when)"])
    missing = [
        f"shipments have no {what}"
        for what, count in (("carrier", carriers), ("promised_at, nor have their orders", promised), ("delivered_at", delivered))
        if not count
    ]  # fmt: skip
    if missing:
        return refused(missing)
    rows = plan_lanes(rows_of(con, "carrier_lanes", days=DAYS).pl().rows(named=True))
    if not rows:
        return refused([f"no region has a carrier with {FEWEST} promised parcels in the newest {DAYS} days"])
    return _summed_up(rows)


def plan_lanes(lanes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per lane and carrier; the alternative is the carrier of the same lane that is least often late, where it surely is.

    Surely: two-sided score test of two shares, Holm over all lanes and carriers that have another beside them. Intervals of the
    difference are those of Agresti and Caffo (2000), at 95 % each. That the best of several is looked at makes it look a little
    better than it is.

    Args:
        lanes: `region`, `carrier`, `parcels`, `late` (parcels), `days` and `cost` (means; None where unknown).
    """
    known = [lane for lane in lanes if lane["parcels"] >= FEWEST]
    pairs = [(lane, _best_other(lane, known)) for lane in known]
    compared = [n for n, (_, other) in enumerate(pairs) if other]
    tested = holm([_p_value(lane, other) for lane, other in pairs if other])
    p_values = dict(zip(compared, tested, strict=True))
    return [_row(lane, other, p_values.get(n)) for n, (lane, other) in enumerate(pairs)]


def _share(lane: Mapping[str, Any]) -> float:
    return float(lane["late"] / lane["parcels"])


def _best_other(lane: Mapping[str, Any], lanes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    others = [o for o in lanes if o["region"] == lane["region"] and o["carrier"] != lane["carrier"]]
    return min(others, key=lambda other: (_share(other), other["carrier"]), default=None)


def _p_value(lane: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    from scipy.special import ndtr

    n, m = lane["parcels"], other["parcels"]
    both = (lane["late"] + other["late"]) / (n + m)
    error = np.sqrt(both * (1 - both) * (1 / n + 1 / m))
    return float(2 * ndtr(-abs(_share(lane) - _share(other)) / error)) if error > 0 else 1.0


def _difference(lane: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[float, float]:
    """Interval of how much more often the lane's carrier is late than the other."""
    parts = [((side["late"] + 1) / (side["parcels"] + 2), side["parcels"] + 2) for side in (lane, other)]
    (p, n), (q, m) = parts
    half = _Z95 * float(np.sqrt(p * (1 - p) / n + q * (1 - q) / m))
    return p - q - half, p - q + half


def _row(lane: Mapping[str, Any], other: Mapping[str, Any] | None, p_value: float | None) -> dict[str, Any]:
    row = {
        "region": lane["region"], "carrier": lane["carrier"], "parcels": lane["parcels"], "late_share": _share(lane),
        "days": lane["days"], "cost": lane["cost"], "p_value": p_value,
    }  # fmt: skip
    if other is None or p_value is None or p_value >= ALPHA or _share(other) >= _share(lane):
        return row
    low, high = (lane["parcels"] * end for end in _difference(lane, other))
    fewer = lane["parcels"] * (_share(lane) - _share(other))

    def more(what: str) -> float | None:
        return None if lane[what] is None or other[what] is None else float(other[what] - lane[what])

    extra = more("cost")
    return row | {
        "alternative": other["carrier"], "alternative_late_share": _share(other), "alternative_parcels": other["parcels"],
        "fewer_late": fewer, "fewer_late_low": min(low, fewer), "fewer_late_high": max(high, fewer), "days_more": more("days"),
        "cost_more": None if extra is None else extra * lane["parcels"],
        "cost_per_late_avoided": None if extra is None else extra * lane["parcels"] / fewer,
    }  # fmt: skip


def _summed_up(rows: list[dict[str, Any]]) -> Decided:
    better = [row for row in rows if row.get("alternative")]
    assumptions = (
        f"parcels of a lane are alike whoever carries them, and the other carrier takes more of them as well as its present ones; "
        f"the newest {DAYS} days; Holm at {ALPHA:.0%}; ends of intervals (95 % each) added up, which is wider than 95 %"
    )
    if not better:
        return Decided(
            "abstained",
            f"on none of {len(rows)} lanes and carriers another is surely less often late",
            rows,
            assumptions,
        )
    fewer, low, high = (
        sum(row[name] for row in better) for name in ("fewer_late", "fewer_late_low", "fewer_late_high")
    )
    costs = [row["cost_more"] for row in better]
    money = "" if None in costs else f", for {sum(costs):+,.0f} of shipping cost"
    return Decided(
        "made", f"on {len(better)} of {len(rows)} lanes and carriers another is surely less often late: {fewer:,.0f} late parcels fewer"
        f"{money}", rows, assumptions, value=fewer, low=low, high=high, unit=f"late parcels in {DAYS} days", made_from=ROWS,
    )  # fmt: skip
