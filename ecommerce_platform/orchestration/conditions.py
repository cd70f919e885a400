"""When an asset materializes by itself: the conditions, and the sensor that evaluates them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

AUTOMATION_SENSOR = "automation"


def publish_condition() -> dg.AutomationCondition[Any]:
    """Fires once after anything upstream was updated, when nothing upstream is in progress any more.

    Not `AutomationCondition.eager()`: that waits until no partition upstream is missing, and below daily tables
    some day is always missing (a day without a drop has a partition too). An update that comes while a load is in
    progress is not lost: it stays pending until it can be answered.
    """
    import dagster as dg

    condition = dg.AutomationCondition
    # Without `since_last_handled` an update seen while something is in progress would be forgotten at the next tick.
    updated = condition.any_deps_updated().since_last_handled()
    quiet = ~condition.any_deps_in_progress() & ~condition.in_progress()
    return (updated & quiet).with_label("publish after updates upstream")


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates all conditions; stopped until somebody wants tables to move by themselves.

    It replaces the one that Dagster would make under another name. A shop that publishes nightly needs no other; one
    whose readers want each load at once switches it on.
    """
    import dagster as dg

    return dg.AutomationConditionSensorDefinition(
        name=AUTOMATION_SENSOR,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Publishes a snapshot after tables were updated, once nothing they depend on is in progress. "
        "Switch it on when readers should see each load at once; else `nightly_publish` does it.",
    )
