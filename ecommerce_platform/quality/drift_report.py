"""What the verdicts of `gold.profile_drift` come to for each entity's checks: which newest loads are unlike those before.

Verdicts are made in `drift.py`; how a check looks in the UI is in `orchestration/assets/profiles.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Alarm:
    """A load that is unlike those before it, in one measure of one column."""

    day: date
    raw_table: str
    column: str
    measure: str
    text: str


@dataclass
class Report:
    """One check of an entity: its alarms, newest first, and how its newest loads stand, in Markdown."""

    alarms: list[Alarm] = field(default_factory=list)
    state: str = ""


def read_reports(con: DuckDBPyConnection, lately_days: int) -> dict[tuple[str, str], Report]:
    """(entity, check) → what there is to say of the loads of the last days.

    Args:
        con: a connection to the warehouse.
        lately_days: days before each raw table's newest load that are looked at.
    """
    if not table_exists(con, "gold", "profile_drift"):
        return {}
    lately = (
        "select d.*, n.newest, case when d.measure = 'rows' then 'load_size' else 'drift' end as check_name "
        "from gold.profile_drift as d join (select entity, _raw_table, max(_load_date) as newest "
        "from gold.profile_drift group by all) as n on d.entity = n.entity and d._raw_table = n._raw_table "
        f"where d._load_date > n.newest - {int(lately_days)}"
    )
    reports: dict[tuple[str, str], Report] = {}
    for entity, check, raw, newest, judged, unjudged, why in con.execute(
        "select entity, check_name, _raw_table, newest, count(drifted), count(*) filter (where drifted is null), "
        f"min(explanation) filter (where drifted is null) from ({lately}) as lately "
        "where _load_date = newest group by all order by all"
    ).fetchall():
        report = reports.setdefault((entity, check), Report())
        measures = f"{judged} measures judged" if judged else "nothing judged"
        without = f", {unjudged} without a verdict" + (f" ({why})" if why else "") if unjudged else ""
        report.state += f"- `{raw}`, load of {newest}: {measures}{without}\n"
    for entity, check, *fields in con.execute(
        f"select entity, check_name, _load_date, _raw_table, column_name, measure, explanation from ({lately}) as lately "
        "where drifted order by _load_date desc, _raw_table, column_name, measure"
    ).fetchall():
        reports[entity, check].alarms.append(Alarm(*fields))
    return reports
