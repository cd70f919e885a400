"""Commands about the Dagster instance: its UI, its start, its environment. What it runs: `orchestration`."""

from __future__ import annotations

from typing import Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import say, short


def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
) -> None:
    """Serves the Dagster UI, with the daemon that runs schedules and sensors, until interrupted."""
    from ecommerce_platform.operations.ui import serve_ui

    settings = given_settings()
    say(f"Dagster UI: http://{host}:{port}", highlight=False)
    serve_ui(settings, host, port)


def setup() -> None:
    """Initialises DAGSTER_HOME (done by `make setup`)."""
    from ecommerce_platform.orchestration.instance import initialise

    settings = given_settings()
    initialise(settings)
    say(f"ready: source {settings.source_name}, data in {short(settings.data)}, DAGSTER_HOME {short(settings.home)}")


def variables() -> None:
    """Prints the environment of these settings as shell assignments (used by the Makefile); Dagster can start with it."""
    import shlex

    from ecommerce_platform.orchestration.instance import initialise

    settings = given_settings()
    initialise(settings)
    for name, value in settings.environment().items():
        print(f"export {name}={shlex.quote(value)}")
