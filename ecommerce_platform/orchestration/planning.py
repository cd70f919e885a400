"""The Dagster instance of the platform: what is written down when a run is planned, whatever storage it goes to.

Dagster plans a row for every check of a run, and for each day that the run covers, before it knows whether the check
will be asked. Nothing ever completes the rows of checks that are not, and each of them hides the check's last verdict
(docs/decisions/0020). And it plans only days that the definitions in memory have a key for (0031). `dagster.yaml` names this class. How it reaches into Dagster is guarded by `test_planning.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import DagsterInstance, DailyPartitionsDefinition, PartitionsDefinition, TimeWindowPartitionsDefinition
from dagster._core.instance.ref import InstanceRef
from dagster._core.instance.runs.run_domain import RunDomain

from ecommerce_platform.orchestration.partitions import ask_for, range_of

if TYPE_CHECKING:
    from dagster import DagsterRun
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
    from dagster._core.snap import ExecutionPlanSnapshot


class PlatformInstance(DagsterInstance):
    """`DagsterInstance` whose runs plan tables only: a check leaves a row when it is asked, not before."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """Nothing beyond what `dagster.yaml` may say anyway."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """Where Dagster keeps what `dagster.yaml` does not place."""
        return InstanceRef.config_defaults(base_dir)

    @cached_property
    def run_domain(self) -> RunDomain:
        """What creates runs."""
        return _Planning(self)


class _Planning(RunDomain):
    def _get_partitions_def(
        self, key: Any, asset_graph: BaseAssetGraph[Any], remote_job_origin: Any, run: DagsterRun
    ) -> PartitionsDefinition[Any] | None:
        """The days of the run itself where the definitions in memory end before them.

        Who plans a run may have loaded its definitions before the drop came; who executes it loads them anew.
        """
        found = super()._get_partitions_def(key, asset_graph, remote_job_origin, run)
        days = range_of(run.tags)
        if isinstance(found, TimeWindowPartitionsDefinition) and days:
            # From the day before, and with an offset: of a day that has not ended Dagster finds no window otherwise.
            return DailyPartitionsDefinition(
                start_date=(days[0] - timedelta(days=1)).isoformat(),
                end_date=(days[1] + timedelta(days=1)).isoformat(),
                timezone=found.timezone,
                end_offset=1,
            )
        return found

    def _log_asset_planned_events(
        self, dagster_run: DagsterRun, execution_plan_snapshot: ExecutionPlanSnapshot, asset_graph: BaseAssetGraph[Any]
    ) -> None:
        if days := range_of(dagster_run.tags):
            ask_for(Path(self._instance.root_directory), *days)
        super()._log_asset_planned_events(dagster_run, _without_checks(execution_plan_snapshot), asset_graph)


def _without_checks(plan: ExecutionPlanSnapshot) -> ExecutionPlanSnapshot:
    steps = [
        step._replace(outputs=[o for o in step.outputs if o.properties is None or o.properties.asset_check_key is None])
        for step in plan.steps
    ]
    return plan._replace(steps=steps)
