"""What was planned of a shop's experiments before they began: `experiments.yml` beside `source.yml`.

An experiment that is not in it is read with defaults and labelled exploratory. How they are read is in `decisions`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from ecommerce_platform.contracts.contract import Strict
from ecommerce_platform.contracts.yaml_file import read_model

Metric = Literal["orders", "revenue", "profit", "converted", "aov"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Sequential(Strict):
    """Looked at more than once: intervals then hold at all looks together."""

    #: Effect on the primary metric that was planned for, as a share of the control's mean.
    expected_lift: float = Field(gt=0)


class ExperimentPlan(Strict):
    """One experiment as it was planned."""

    description: str = Field(default="", max_length=400)
    #: Arm → share of the units; equal shares when not given, and said so.
    shares: dict[str, float] = {}
    #: The arm that others are compared with.
    control: str = "control"
    primary: Metric = "orders"
    #: Further metrics, corrected for their number.
    secondary: tuple[Metric, ...] = ()
    #: Metric → share of the control's mean that may at most be lost.
    guardrails: dict[Metric, float] = {}
    #: Days from the assignment in which outcomes count.
    outcome_window_days: int = Field(ge=1, le=730)
    sequential: Sequential | None = None

    @field_validator("shares")
    @classmethod
    def _above_0(cls, value: dict[str, float]) -> dict[str, float]:
        if any(share <= 0 for share in value.values()):
            raise ValueError("a planned share is above 0")
        if value and abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError(f"planned shares sum to 1, not {sum(value.values()):g}")
        return value

    @model_validator(mode="after")
    def _one_role(self) -> Self:
        named = [self.primary, *self.secondary, *self.guardrails]
        if len(set(named)) < len(named):
            raise ValueError("a metric is primary, secondary or a guardrail, not two of them")
        if self.shares and self.control not in self.shares:
            raise ValueError(f"the control {self.control!r} has no planned share")
        if any(not 0 < margin < 1 for margin in self.guardrails.values()):
            raise ValueError("a guardrail's margin is a share between 0 and 1")
        return self


class ExperimentPlans(Strict):
    """All that `experiments.yml` may say."""

    PAGE: ClassVar[str] = "docs/recommendations.md, Experiments"

    experiments: dict[str, ExperimentPlan] = {}
    #: p-value below which arms are of other sizes than planned, so that effects are withheld.
    ratio_threshold: float = Field(default=0.01, gt=0, lt=0.5)
    #: One minus the level of intervals.
    alpha: float = Field(default=0.05, gt=0, lt=0.5)


def read_plans(folder: Path) -> ExperimentPlans:
    """The plans in a source's folder; none where it has no `experiments.yml`.

    Raises:
        DefinitionError: with file and line.
    """
    path = folder / "experiments.yml"
    return read_model(path, ExperimentPlans) if path.is_file() else ExperimentPlans()
