"""The entry point that `workspace.yaml` names. It only assembles, and only when Dagster asks."""

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """The platform's definitions for the settings in the environment."""
    from ecommerce_platform.disk import keep_private
    from ecommerce_platform.orchestration.assembly import build_definitions
    from ecommerce_platform.settings import read_settings

    keep_private()
    return build_definitions(read_settings())
