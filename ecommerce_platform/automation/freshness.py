"""How old a table may be, from its contract to Dagster's policy. How old it is, Dagster's daemon finds out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract

if TYPE_CHECKING:
    import dagster as dg


def freshness_policy(contract: Contract) -> dg.FreshnessPolicy | None:
    """The policy of a table whose contract says `fresh_within_hours`; None for all others.

    The table warns in the last fifth of its time, so that somebody can act before it is too old.
    """
    import dagster as dg

    if contract.fresh_within_hours is None:
        return None
    allowed = timedelta(hours=contract.fresh_within_hours)
    return dg.FreshnessPolicy.time_window(fail_window=allowed, warn_window=allowed * 0.8)
